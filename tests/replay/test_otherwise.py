"""What would have been different: persons who approve, waves, the gate, another budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollguard.config import Budget, Mode, ms_of, rfc3339
from rollguard.detectors import Account, SeriesName, Tick
from rollguard.replay import Case, Run, Switches, open_case, run_case, run_otherwise
from rollguard.replay.report.minutes import MINUTE_MS, Minutes
from rollguard.replay.staging import staged
from tests.properties import shop as shops

SHOP = shops.a_shop()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return open_case(shops.write(tmp_path_factory.mktemp("shop") / "case", SHOP, end_ms=SHOP.end_ms))


@pytest.fixture(scope="module")
def usual(case: Case) -> Run:
    return run_case(case)


def decisions(run: Run, action: str) -> list[dict[str, Any]]:
    return [each for incident in run.incidents for each in incident["decisions"] if each["action"] == action]


def test_no_switch_changes_nothing(case: Case, usual: Run) -> None:
    run = run_otherwise(case, Switches())
    assert (run.timeline, run.summary) == (usual.timeline, usual.summary)


@pytest.mark.parametrize("minutes", [2, 5])
def test_persons_approve_so_long_after_the_page(case: Case, minutes: int) -> None:
    run = run_otherwise(case, Switches(approve_after_ms=minutes * MINUTE_MS))
    [page], [undone] = decisions(run, "page"), decisions(run, "rollback")
    bucket_ms = case.settings.bucket_ms
    assert 0 <= ms_of(undone["at"]) - ms_of(page["at"]) - minutes * MINUTE_MS <= bucket_ms
    assert undone["plan"]["deploy_id"] == shops.CULPRIT
    assert set(undone["approved_by"]) <= {"somebody", "somebody-else"}
    assert undone["approved_by"]
    [found] = run.summary["otherwise"]
    assert found["otherwise"]["first_rollback_at"] == undone["at"]
    assert found["usual"]["pages"] == 1


def test_who_comes_after_nothing_hurts_any_more_approves_nothing(case: Case) -> None:
    run = run_otherwise(case, Switches(approve_after_ms=25 * MINUTE_MS))
    assert decisions(run, "rollback") == []
    assert "gone before they came" in run.summary["otherwise"][0]["text"]


def test_where_neither_side_undoes_anything_it_is_said_why(tmp_path: Path) -> None:
    nobody = shops.Shop(SHOP.hours, SHOP.events, [line for line in SHOP.deploys if shops.CULPRIT.encode() not in line])
    unknown = open_case(shops.write(tmp_path / "case", nobody, end_ms=SHOP.end_ms))
    run = run_otherwise(unknown, Switches(approve_after_ms=5 * MINUTE_MS))
    [found] = run.summary["otherwise"]
    assert decisions(run, "page")
    assert (found["usual"]["rollbacks"], found["otherwise"]["rollbacks"]) == (0, 0)
    assert f"There was no plan that persons may approve: {'; '.join(decisions(run, 'hold')[-1]['blocked_by'])}." in found["text"]


def test_the_later_they_approve_the_less_is_saved(case: Case) -> None:
    saved = [run_otherwise(case, Switches(approve_after_ms=minutes * MINUTE_MS)).summary["otherwise"][0]["otherwise"]["saved"] for minutes in (1, 4, 7)]
    assert saved == sorted(saved, reverse=True)
    assert saved[0] > saved[-1]


def test_in_advise_nobody_is_asked_and_nothing_is_done(case: Case) -> None:
    run = run_otherwise(case, Switches(mode=Mode.ADVISE))
    assert decisions(run, "page")
    assert decisions(run, "rollback") == []
    assert "otherwise" not in run.summary


def test_what_is_not_said_of_a_budget_stays_as_the_config_has_it(case: Case) -> None:
    mine = case.settings.model_copy(update={"budget": Budget(false_pages=1.0, per="7d", per_change=0.01)})
    assert Switches(budget=Budget(false_pages=4.0)).applied(mine).budget == Budget(false_pages=4.0, per="7d", per_change=0.01)
    said = Switches(budget=Budget(false_pages=4.0, per="1d")).applied(mine).budget
    assert said == Budget(false_pages=4.0, per="1d", per_change=0.01)


def test_another_budget_stands_beside_the_usual_one(case: Case, usual: Run) -> None:
    [found] = run_otherwise(case, Switches(budget=Budget(false_pages=1e-9))).summary["otherwise"]
    assert found["usual"]["orders_lost"] == usual.summary["orders_lost"]
    assert found["text"].startswith("a budget of 1e-09 in 30d instead of 1 in 30d: ")
    pages = [ms_of(figures["first_page_at"]) for figures in (found["usual"], found["otherwise"]) if figures["first_page_at"]]
    assert pages == sorted(pages), "who bears less is told no sooner"


def test_the_gate_holds_back_who_lacks_an_approval_and_says_what_that_costs(case: Case) -> None:
    [found] = run_otherwise(case, Switches(approvals=2)).summary["otherwise"]
    assert (found["answer"], found["stopped_of_all"]) == ("wait", [3, 3])
    assert "needs 2 approvals, and has 1" in found["text"]
    [passed] = run_otherwise(case, Switches(approvals=1)).summary["otherwise"]
    assert (passed["answer"], passed["stopped_of_all"]) == ("pass", [0, 3])


def test_of_one_region_waves_would_have_changed_nothing(case: Case) -> None:
    [found] = run_otherwise(case, Switches(staged_regions=True)).summary["otherwise"]
    assert "lost" not in found
    assert f"{shops.CULPRIT} hurt eu-west alone" in found["text"]


@pytest.mark.parametrize(
    ("after_min", "lost", "mean", "between"),
    # Three regions lose 1, 2 and 6 a minute, and a rollback takes two minutes more. After 40 the second wave, by name, has hurt for ten.
    [(8, 90.0, 30.0, [10.0, 60.0]), (38, 360.0, 133.3, [60.0, 250.0])],
)
def test_waves_hurt_only_the_regions_that_were_reached(after_min: int, lost: float, mean: float, between: list[float]) -> None:
    onset_ms = 1_000_000 * MINUTE_MS
    rates = {"ap": 1.0, "eu": 2.0, "us": 6.0}
    minutes = Minutes(MINUTE_MS)
    names = tuple(SeriesName(metric="orders", labels=(("region", region),)) for region in rates)
    came, usual = np.array([10.0 - rate for rate in rates.values()]), np.full(len(rates), 10.0)
    for at in range(-10, 120):
        account = Account(metric="orders", series=names, observed=came, expected=usual, variance=usual, error=0.0 * usual, missing=False, silent=False)
        minutes.add(Tick(bucket=1_000_000 + at, accounts=(account,), ready=True))
    incident = {
        "incident_id": "inc-1",
        "verdict": "guilty",
        "onset": rfc3339(onset_ms),
        "regions": list(rates),
        "suspects": [{"deploy_id": "chg-1"}],
        "decisions": [{"action": "page", "at": rfc3339(onset_ms)}, {"action": "rollback", "at": rfc3339(onset_ms + after_min * MINUTE_MS)}],
    }
    found = staged(incident, minutes, [], "orders")
    assert (found["lost"], found["lost_staged"], found["lost_staged_between"]) == (lost, mean, between)
    assert found["saved_by_staging"] == pytest.approx(lost - mean, abs=0.11)


def test_without_a_guilty_change_nobody_guesses() -> None:
    incident = {"incident_id": "inc-1", "verdict": "inconclusive"}
    assert "lost" not in staged(incident, Minutes(10_000), [], "orders")


def test_what_was_written_says_what_was_different(case: Case, tmp_path: Path) -> None:
    run = run_otherwise(case, Switches(staged_regions=True))
    run.write(tmp_path / "out")
    assert b'"otherwise"' in (tmp_path / "out" / "summary.json").read_bytes()
