"""Six past incidents, replayed from the command line with the shipped config: fixtures, not proof."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cases.replays import CASES, NAMES, Replayed

GOLDEN = Path(__file__).with_name("golden")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here: ../shared/data/cases")


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _culprits(replayed: Replayed) -> set[str]:
    return {incident["culprit"] for incident in replayed.labelled if incident["culprit"]}


@pytest.mark.parametrize("name", ["promise-7"])
def test_wrong_promises_page_within_four_minutes_and_the_right_change_comes_first(replayed: Replayed) -> None:
    [labelled] = replayed.labelled
    first, page = replayed.decisions("page")[0]
    assert timedelta(0) <= _when(page["at"]) - _when(labelled["onset"]) <= timedelta(minutes=4)
    assert first["suspects"][0]["deploy_id"] == labelled["culprit"]


@pytest.mark.parametrize("name", ["promo-7", "quiet-7"])
def test_nobody_is_paged_when_nothing_is_wrong(replayed: Replayed) -> None:
    assert replayed.decisions("page") == []


@pytest.mark.parametrize("name", ["provider-7"])
def test_nobody_is_blamed_for_a_providers_failure(replayed: Replayed) -> None:
    assert replayed.found
    assert "guilty" not in {incident["verdict"] for incident in replayed.found}
    assert replayed.decisions("rollback") == []


@pytest.mark.parametrize("name", ["decoys-7", "promise-7", "region_only-7"])
def test_the_labelled_culprit_is_the_first_suspect_in_the_end(replayed: Replayed) -> None:
    assert replayed.found
    assert {incident["suspects"][0]["deploy_id"] for incident in replayed.found if incident["suspects"]} == _culprits(replayed)


@pytest.mark.parametrize("name", NAMES)
def test_no_innocent_change_is_rolled_back(replayed: Replayed) -> None:
    deploys = [msgspec.json.decode(line) for line in (CASES / replayed.name / "deploys.jsonl").read_bytes().splitlines()]
    allowed = {(deploy["service"], deploy["rollback"]["to_version"]) for deploy in deploys if deploy["deploy_id"] in _culprits(replayed)}
    targets = {decision["target"] for _, decision in replayed.decisions("rollback")}
    assert {tuple(target.split(" @ ")[0].split(" -> ")) for target in targets} <= allowed
    assert {incident["suspects"][0]["deploy_id"] for incident, _ in replayed.decisions("rollback")} <= _culprits(replayed)


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_about_a_labelled_incident(replayed: Replayed) -> None:
    for incident, page in replayed.decisions("page"):
        assert any(
            _when(page["at"]) >= _when(labelled["onset"])
            and _when(incident["onset"]) <= _when(labelled["end"])
            and (incident["closed_at"] is None or _when(incident["closed_at"]) >= _when(labelled["onset"]))
            for labelled in replayed.labelled
        ), f"paged at {page['at']} about what began at {incident['onset']}"


def _golden(replayed: Replayed) -> list[dict[str, Any]]:
    """What a reviewer reads of a case."""
    kept = ("incident_id", "opened_at", "onset", "closed_at", "verdict", "metrics", "regions")
    return [
        {name: incident[name] for name in kept}
        | {
            "first_suspect": [[suspect["deploy_id"], round(suspect["probability"], 2)] for suspect in incident["suspects"][:1]],
            "orders_lost": round(incident["orders_lost"]),
            "decisions": [[decision["at"], decision["action"], decision["target"]] for decision in incident["decisions"]],
        }
        for incident in replayed.found
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_case_gives_what_was_agreed(replayed: Replayed, *, rewrite_golden: bool) -> None:
    file = GOLDEN / f"{replayed.name}.json"
    found = msgspec.json.format(msgspec.json.encode(_golden(replayed)), indent=1) + b"\n"
    if rewrite_golden:
        GOLDEN.mkdir(exist_ok=True)
        file.write_bytes(found)
    assert file.read_bytes() == found, "if this is meant, write it anew and read the difference: pytest tests/cases --rewrite-golden"
