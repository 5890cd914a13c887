"""Nothing on paper tells a guilty change from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from rollguard.config import ms_of
from rollguard.replay.simulation import Recipe, case_kinds
from rollguard.replay.simulation.history import LOOKBACK_MS, change_history, recorded
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, Change

#: Kinds that any change may be guilty of, so that it may be compared with all that shipped in the same hours.
ANYBODY = ("error_burst", "errors_only", "conversion_drop", "dependent_service", "unrecorded_change", "decoys")
SEEDS = 50
#: Each comparison may be this unlikely.
LEAST = 1e-3
START_MS = 1_767_225_600_000


def _shape(change: Change) -> str:
    began = [began_ms for _, began_ms, _ in change.reach]
    return "one" if len(began) == 1 else "at once" if len(set(began)) == 1 else f"{(began[1] - began[0]) // 60_000} min"


NAMED: dict[str, Callable[[Change], str | int | bool]] = {
    "service": lambda change: change.service,
    "kind": lambda change: change.kind,
    "reach": _shape,
    "first region": lambda change: change.reach[0][0],
    "approvals": lambda change: change.approvals,
    "AI": lambda change: change.ai_assisted,
    "authors": lambda change: len(set(change.authors)),
    "reversible": lambda change: change.reversible,
}
MEASURED: dict[str, Callable[[Change], float]] = {
    "width": lambda change: change.reach[0][2] - change.reach[0][1],
    "id": lambda change: int(change.deploy_id.removeprefix("chg-")),
    "author": lambda change: int(change.authors[0].removeprefix("dev")),
    "minor version": lambda change: int(change.version.split(".")[1]),
    "hour": lambda change: change.reach[0][1] % DAY_MS / HOUR_MS,
}


@pytest.fixture(scope="module")
def suspects() -> tuple[list[Change], list[Change]]:
    """The guilty of 300 cases, and the innocent that shipped in the same hours."""
    guilty: list[Change] = []
    innocent: list[Change] = []
    for kind in ANYBODY:
        for seed in range(1, SEEDS + 1):
            recipe = Recipe(kind=kind, seed=seed)
            plan, (_, end_ms) = recipe.plan(), recipe.span_ms
            [culprit] = [change for change in plan.culprits if change is not None]
            low_ms, high_ms = end_ms - 23 * HOUR_MS, end_ms - 4 * HOUR_MS
            if kind == "decoys":
                low_ms, high_ms = culprit.reach[0][1] - HOUR_MS, culprit.reach[0][1] + HOUR_MS
            guilty.append(culprit)
            innocent += [change for change in plan.changes if low_ms <= change.reach[0][1] < high_ms and change is not culprit]
    return guilty, innocent


def unlikely(guilty: Iterable[object], innocent: Iterable[object]) -> float:
    """Probability of two columns to differ so much, if they were drawn alike."""
    counts = [Counter(each) for each in (guilty, innocent)]
    values = sorted(counts[0] | counts[1], key=str)
    return float(chi2_contingency([[count[value] for value in values] for count in counts]).pvalue)


@pytest.mark.parametrize("field", NAMED)
def test_what_stands_in_a_record_does_not_tell_who_is_guilty(suspects: tuple[list[Change], list[Change]], field: str) -> None:
    guilty, innocent = ([NAMED[field](change) for change in changes] for changes in suspects)
    assert unlikely(guilty, innocent) > LEAST


@pytest.mark.parametrize("field", MEASURED)
def test_numbers_and_times_do_not_tell_it_either(suspects: tuple[list[Change], list[Change]], field: str) -> None:
    guilty, innocent = ([MEASURED[field](change) for change in changes] for changes in suspects)
    assert ks_2samp(guilty, innocent).pvalue > LEAST


def test_the_comparison_would_notice(suspects: tuple[list[Change], list[Change]]) -> None:
    """A broken specimen: of the guilty, those with two approvals go free two times in three."""
    guilty, innocent = ([change.approvals for change in changes] for changes in suspects)
    caught = [approvals for number, approvals in enumerate(guilty) if approvals < 2 or number % 3 == 0]
    assert unlikely(caught, innocent) < LEAST


@pytest.mark.parametrize("kind", [name for name, kind in case_kinds().items() if kind.culprit == "a change"])
def test_an_innocent_change_could_have_been_picked_by_its_kind(kind: str) -> None:
    """Whatever a kind demands of its culprit, innocent changes of its cases have too: within some seeds there is one with the same looks."""
    looks = ("kind", "reach", "authors")
    for seed in range(1, 30):
        plan = Recipe(kind=kind, seed=seed).plan()
        [culprit] = [change for change in plan.culprits if change is not None]
        if any(all(NAMED[look](change) == NAMED[look](culprit) for look in looks) for change in plan.changes if change is not culprit):
            return
    pytest.fail("no innocent change looks like a guilty one")


def test_records_come_late_twice_or_not_at_all() -> None:
    rng = np.random.default_rng(3)
    changes = change_history(rng, START_MS, START_MS + 60 * DAY_MS)
    named = frozenset({changes[5].deploy_id})
    hidden = frozenset({changes[6].deploy_id})
    records = recorded(rng, changes, unrecorded=hidden, never=named)
    ids = {record["deploy_id"] for record in records}
    waves = sum(len(change.reach) for change in changes)
    known_ms = [ms_of(record.get("received_at", record["started_at"])) for record in records]
    assert named <= ids
    assert not hidden & ids
    assert 0.97 < len(ids) / len(changes) < 1.0
    assert 0.02 < sum("received_at" in record for record in records) / waves < 0.07
    assert len({repr(record) for record in records}) < len(records)
    assert known_ms == sorted(known_ms)


def test_a_history_reaches_back_before_its_case_and_is_calmer_at_weekends() -> None:
    changes = change_history(np.random.default_rng(4), START_MS, START_MS + 84 * DAY_MS)
    began = np.array([change.reach[0][1] for change in changes])
    assert START_MS - LOOKBACK_MS <= began.min() < START_MS
    weekend = ((began // DAY_MS + 3) % 7) >= 5
    assert 0.4 < (weekend.sum() / 2) / ((~weekend).sum() / 5) < 0.6
