"""What a person sees of the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rollguard.replay import fold
from tests.cli.terminal import said
from tests.properties.shop import CULPRIT, a_shop, write

COMMAND = str(Path(sys.executable).with_name("rollguard"))
SHOP = a_shop()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with one incident."""
    return write(tmp_path_factory.mktemp("cli") / "case", SHOP, end_ms=SHOP.end_ms)


def test_out_holds_the_timeline_its_fold_and_the_summary(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = said(monkeypatch, capsys, "replay", case, "--out", tmp_path / "out", "--json")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["incidents.jsonl", "report.html", "report.json", "summary.json", "timeline.jsonl"]
    timeline = [json.loads(line) for line in (tmp_path / "out" / "timeline.jsonl").read_text().splitlines()]
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    assert [line["at"] for line in timeline] == sorted(line["at"] for line in timeline)
    assert {line["event"] for line in timeline} >= {"opened", "decided", "closed"}
    assert incidents == fold(timeline)
    printed = json.loads(done.out)
    assert printed["incidents"] == incidents
    assert printed["summary"] == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_a_newcomer_is_told_what_broke_who_did_it_and_what_was_decided(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "replay", case)
    assert done.code == 0
    for word in (
        "what broke",
        "orders lost",
        "verdict",
        "guilty",
        CULPRIT,
        "Who did it",
        "no change",
        "What would have been done",
        "paged",
        "ROLL BACK",
        "What was read",
    ):
        assert word in done.out, word
    assert "\x1b" not in done.out


def test_a_mode_decides_what_may_be_done(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    actions = {}
    for mode in ("observe", "advise", "auto"):
        done = said(monkeypatch, capsys, "replay", case, "--mode", mode, "--json")
        actions[mode] = {decision["action"] for incident in json.loads(done.out)["incidents"] for decision in incident["decisions"]}
    assert actions["observe"] == {"observe"}
    assert actions["advise"] == {"page", "hold"}
    assert actions["auto"] >= {"page", "rollback"}


def test_a_config_lies_between_the_defaults_and_the_case(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("mode: observe\n")
    done = said(monkeypatch, capsys, "replay", case, "--config", tmp_path / "mine.yaml", "--json")
    assert json.loads(done.out)["summary"]["pages"] == 0
    done = said(monkeypatch, capsys, "replay", case, "--config", tmp_path / "no.yaml")
    assert (done.code, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("words", [("replay", "--help"), ("demo", "--help"), ("--help",), ()])
def test_help_teaches_with_an_example_and_the_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    done = said(monkeypatch, capsys, *words)
    assert "rollguard demo" in done.out or "rollguard replay" in done.out
    assert "0 fine" in done.out


def test_a_mistyped_command_or_option_is_exit_2_with_a_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "repaly")
    assert (done.code, "Did you mean 'replay'?" in done.err) == (2, True)
    assert said(monkeypatch, capsys, "replay", "--outt", "x").code == 2


def test_a_closed_pipe_is_no_error(case: Path) -> None:
    with subprocess.Popen([COMMAND, "replay", str(case)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""


def test_completion_can_be_had_for_a_shell() -> None:
    environment = os.environ | {"_ROLLGUARD_COMPLETE": "source_bash"}
    done = subprocess.run([COMMAND], capture_output=True, text=True, check=False, env=environment)
    assert "rollguard" in done.stdout
    assert "complete" in done.stdout


def test_a_demo_of_another_scale_keeps_its_promises_and_tells_the_truth_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "demo", "--scale", "0.05", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert abs(told["story"]["lost_orders"] - 6_000) < 500
    assert told["incidents"][0]["suspects"][0]["deploy_id"] == told["story"]["culprit"]
    assert told["story"]["lost"] + told["story"]["saved"] == told["story"]["lost_orders"]
    assert told["story"]["first_page_after_s"] <= 60
    assert told["story"]["saved_share"] >= 0.95
