"""A verdict explained: every suspect's evidence with numbers, and what would change it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import said
from tests.properties.shop import CULPRIT, START_MS, a_shop, everywhere, write

SHOP = a_shop()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with one incident."""
    return write(tmp_path_factory.mktemp("explain") / "case", SHOP, end_ms=SHOP.end_ms)


def test_a_verdict_is_explained_by_evidence_that_adds_up(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "explain", case, "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["verdict"] == "guilty"
    first = told["suspects"][0]
    assert first["deploy_id"] == CULPRIT
    assert {each["kind"] for each in first["evidence"]} <= {"time", "waves", "place", "service", "version"}
    for each in first["evidence"]:
        # Taking away what speaks for it lowers its probability, and the other way round.
        assert (each["nats"] > 0) == (each["probability_without"] < first["probability"])
        assert each["reasons"]
    assert any("approvals" in fact for fact in first["facts"])
    assert told["would_change"]


def test_a_person_reads_how_much_likelier_and_what_hangs_on_it(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "explain", case)
    assert done.code == 0
    for word in ("the verdict is guilty", CULPRIT, "x likelier", "without it", "no evidence", "no change"):
        assert word in done.out, word
    assert "nats" not in done.out


def test_an_unknown_incident_is_told_with_those_there_are(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = json.loads(said(monkeypatch, capsys, "explain", case, "--json").out)["incident_id"]
    done = said(monkeypatch, capsys, "explain", case, known[:-1] + "z")
    assert (done.code, done.out) == (2, "")
    assert f"Did you mean '{known}'?" in done.err


def test_a_quiet_case_has_nothing_to_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = everywhere(a_shop(hours=0.3, per_second=1.0), START_MS)
    done = said(monkeypatch, capsys, "explain", write(tmp_path / "quiet", quiet, end_ms=quiet.end_ms))
    assert (done.code, done.err) == (0, "")
    assert "nothing to explain" in done.out
