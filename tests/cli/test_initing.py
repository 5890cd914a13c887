"""`rollguard init` on files: what it writes, asks, refuses and tells."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rollguard.config import Layer, default_text, load_layers, read_layer
from tests.cli.terminal import Said, said

Rollguard = Callable[..., Said]


@pytest.fixture
def rollguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Rollguard:
    """The command line in a folder of samples, with what a person types."""
    monkeypatch.chdir(tmp_path)
    rows = [{"orderId": f"o-{n}", "placedAt": 1_775_001_603 + n, "svc": "checkout", "market": ("de", "fr")[n % 2], "total": 5.5} for n in range(40)]
    (tmp_path / "shop.orders.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines = ["uuid,when,app,market,status_code", *(f"u-{n},2026-03-02T09:00:{n:02}Z,web,{('de', 'fr')[n % 2]},500" for n in range(40))]
    (tmp_path / "web.errors.csv").write_text("\n".join(lines))

    def run(*words: object, types: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(types))
        return said(monkeypatch, capsys, "init", *words)

    return run


SAMPLES = ("--sample", "shop.orders.jsonl", "--sample", "web.errors.csv")


def test_samples_become_a_config_that_check_takes(
    rollguard: Rollguard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = rollguard(*SAMPLES, "--yes", "--store", "postgresql://me@db/rollguard")
    assert (done.code, done.err) == (0, "")
    assert "orders: shop.orders: 40 of 40 records of the sample can be read" in done.out
    assert "errors: web.errors: 40 of 40 records of the sample can be read" in done.out
    assert (
        done.out.splitlines()[-1]
        == "Next: rollguard topics create -c rollguard.yaml && rollguard check -c rollguard.yaml --live && rollguard worker -c rollguard.yaml"
    )
    settings = load_layers([Layer(default_text(), "default.yaml"), read_layer(tmp_path / "rollguard.yaml")])
    assert (settings.sources["orders"].epoch, settings.sources["orders"].fields["region"], settings.store.url) == (
        "s",
        "market",
        "postgresql://me@db/rollguard",
    )
    checked = said(monkeypatch, capsys, "check", "-c", "rollguard.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert "no mistakes" in checked.out


def test_a_file_that_is_there_is_not_written_over_unless_that_is_said(rollguard: Rollguard, tmp_path: Path) -> None:
    (tmp_path / "rollguard.yaml").write_text("mine")
    done = rollguard(*SAMPLES, "--yes")
    assert (done.code, done.out) == (2, "")
    assert "is not written over" in done.err
    assert (tmp_path / "rollguard.yaml").read_text() == "mine"
    assert rollguard(*SAMPLES, "--yes", "--force").code == 0
    assert "guessed from 40 of 40 records" in (tmp_path / "rollguard.yaml").read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rollguard.yaml", "shop.orders.jsonl", "web.errors.csv"]


def test_a_person_is_asked_and_a_wrong_answer_is_asked_again(rollguard: Rollguard, tmp_path: Path) -> None:
    # Topics of orders (mistyped, then right), errors, deliveries, changes; then nothing is left in doubt of orders but the id of errors.
    done = rollguard(*SAMPLES, types="shop.ordrs\nshop.orders\n\n\n\n" + "\n" * 9)
    assert done.code == 0, done
    assert "Did you mean 'shop.orders'?" in done.err
    assert "rollguard.yaml: written." in done.out
    assert "topic: shop.orders" in (tmp_path / "rollguard.yaml").read_text()


def test_nobody_who_answers_leaves_nothing_behind(rollguard: Rollguard, tmp_path: Path) -> None:
    done = rollguard(*SAMPLES)
    assert done.code == 1
    assert "With --yes nothing is asked" in done.err
    assert not (tmp_path / "rollguard.yaml").exists()


def test_a_machine_reads_what_was_inferred(rollguard: Rollguard) -> None:
    told = json.loads(rollguard(*SAMPLES, "--json").out)
    fields = {each["name"]: each["theirs"] for each in told["inferred"]["sources"]["orders"]["fields"]}
    assert fields == {"id": "orderId", "ts": "placedAt", "service": "svc", "region": "market", "version": None}
    assert told["read"]["errors"] == {"read": 40, "of": 40, "first_refused": None}
    assert told["next"][1] == "rollguard check -c rollguard.yaml --live"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--sample", "web.errors.csv", "--topic", "errors=web.errors", "--yes"),
            "no sample looks like orders (seen: web.errors). Name it: --topic orders=NAME",
        ),
        ((*SAMPLES, "--topic", "orders=shop.ordrs", "--yes"), "Did you mean 'shop.orders'?"),
        ((*SAMPLES, "--topic", "ordrs=shop.orders", "--yes"), "Did you mean 'orders'?"),
        ((*SAMPLES, "--field", "orders.regionn=market", "--yes"), "Did you mean 'orders.region'?"),
        ((*SAMPLES, "--bootstrap", "127.0.0.1:1"), "means nothing with --bootstrap"),
        (("--sample", "notes.txt"), "no form that is known"),
        (("--sample", "gone.jsonl", "--yes"), "it is not there"),
        ((*SAMPLES, "--yes", "--out", "no/such/folder.yaml"), "there is no folder no/such"),
        (("--bootstrap", "nowhere", "--yes"), "'nowhere' is no address"),
        (
            ("--bootstrap", "127.0.0.1:1", "--yes", "--password", "hunter2", "--user", "me", "--security-protocol", "SASL_SSL"),
            "a secret does not stand in a config",
        ),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(rollguard: Rollguard, words: tuple[str, ...], told: str) -> None:
    done = rollguard(*words)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "hunter2" not in done.err


def test_brokers_that_are_away_are_one_line(rollguard: Rollguard) -> None:
    done = rollguard("--bootstrap", "127.0.0.1:1", "--yes")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "nobody listens there" in done.err
