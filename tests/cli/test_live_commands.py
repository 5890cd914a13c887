"""The commands around the live service, as far as they need no broker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from rollguard.store import Batch, Store, TimelineRow
from tests.cli.terminal import Said, said

LINES = (
    b'{"at":"2026-03-02T10:00:30Z","event":"opened","incident_id":"inc-1","incident":{"onset":"2026-03-02T10:00:00Z","state":"open",'
    b'"verdict":"guilty","orders_lost":12.0,"suspects":[{"deploy_id":"chg-1","probability":0.97}]}}',
    b'{"at":"2026-03-02T10:05:00Z","event":"updated","incident_id":"inc-1","incident":{"onset":"2026-03-02T10:00:00Z","state":"open",'
    b'"verdict":"guilty","orders_lost":99.0,"suspects":[{"deploy_id":"chg-1","probability":0.99}]}}',
)


Rollguard = Callable[..., Said]


@pytest.fixture
def rollguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rollguard:
    return partial(said, monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(f"store: {{url: 'sqlite:///{tmp_path / 'rollguard.db'}'}}\n", encoding="utf-8")
    return path


def found_before(config: Path) -> None:
    store = Store.open(f"sqlite:///{config.parent / 'rollguard.db'}")
    store.migrate()
    epoch = store.claim("desk", "test", 0)
    at_ms = (1_772_445_630_000, 1_772_445_900_000)
    rows = tuple(
        TimelineRow(id=f"{at}/0", at_ms=when, incident_id="inc-1", event="updated", line=line, offset=at)
        for at, (line, when) in enumerate(zip(LINES, at_ms, strict=True))
    )
    store.record("desk", epoch, Batch(from_offset=0, to_offset=2, timeline=rows), 0)
    store.close()


def test_without_an_incident_that_is_said(rollguard: Rollguard, config: Path) -> None:
    assert "No incident so far." in rollguard("incidents", "-c", str(config)).out


def test_incidents_are_listed_with_suspect_and_cost(rollguard: Rollguard, config: Path) -> None:
    found_before(config)
    out = rollguard("incidents", "-c", str(config)).out
    assert "inc-1" in out
    assert "chg-1 99 %" in out
    assert "99" in out


def test_what_was_known_by_a_time_is_what_stands_before_it(rollguard: Rollguard, config: Path) -> None:
    found_before(config)
    out = rollguard("incidents", "-c", str(config), "--until", "2026-03-02T10:01:00Z", "--json").out
    assert [each["orders_lost"] for each in msgspec.json.decode(out)] == [12.0]


def test_incidents_are_written_as_a_replay_writes_them(rollguard: Rollguard, config: Path, tmp_path: Path) -> None:
    found_before(config)
    rollguard("incidents", "-c", str(config), "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "timeline.jsonl").read_bytes() == b"".join(line + b"\n" for line in LINES)
    assert msgspec.json.decode((tmp_path / "out" / "incidents.jsonl").read_bytes())["incident_id"] == "inc-1"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("worker", "--only", "ingset"), "Did you mean 'ingest'?"),
        (("produce", ".", "--speed", "fast"), "--speed fast: no pace. Expected: a number above 0, as 100, or max."),
        (("incidents", "--until", "noon"), "--until noon: no time. Expected: RFC 3339 with an offset"),
        (("replay", "--from", "2026-03-02T09:00:00"), "no offset. Expected: RFC 3339 with one. Did you mean 2026-03-02T09:00:00Z?"),
        (("replay", "--from", "2026-03-02T09:00Z", "--to", "2026-03-02T08:00Z"), "--to 2026-03-02T08:00Z: not after --from 2026-03-02T09:00Z."),
        (("replay", ".", "--from", "2026-03-02T09:00Z"), "one of the two"),
        (("replay",), "Expected: the folder of a case, or --from TIME with -c FILE"),
        (("replay", ".", "--to", "2026-03-02T09:00Z"), "--to: means nothing without --from"),
    ],
)
def test_a_wrong_word_is_told_with_what_was_expected(rollguard: Rollguard, config: Path, words: tuple[str, ...], text: str) -> None:
    told = rollguard(*words, "-c", str(config))
    assert told.code == 2
    assert text in told.err


def test_a_password_in_the_url_of_the_database_is_refused_and_not_shown(rollguard: Rollguard, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("store: {url: 'postgresql://rollguard:hunter2@db/rollguard'}\n", encoding="utf-8")
    told = rollguard("incidents", "-c", str(path))
    assert told.code == 2
    assert "store.password" in told.err
    assert "hunter2" not in told.err + told.out
