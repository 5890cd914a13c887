"""Cases of every kind: they can be read, their labels are true, and the same recipe gives the same bytes."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.config import ms_of
from rollguard.incidents import ChangeSeen, sightings
from rollguard.replay import open_case
from rollguard.replay.simulation import Recipe, case_kinds, simulate_case
from rollguard.replay.simulation.history import LOOKBACK_MS, recorded
from rollguard.replay.simulation.plan import Plan
from rollguard.replay.simulation.shop import DAY_MS, REGIONS, SERVICES
from rollguard.replay.simulation.world import Made, make_events
from rollguard.streams import Decoder

KINDS = case_kinds()
SOURCES = ("orders", "deliveries", "errors")
GUILTY = tuple(name for name, kind in KINDS.items() if kind.culprit not in {"nobody", "nobody recorded"})


def recipe_of(kind: str, seed: int = 1, rate: float = 0.5) -> Recipe:
    return Recipe(kind=kind, seed=seed, days=1, rate=rate)


@cache
def happened(recipe: Recipe) -> tuple[Plan, Made, Made]:
    """Plan of a case, what happened, and what would have without any harm: its twin."""
    plan, span = recipe.plan(), recipe.span_ms
    made, twin = (make_events(recipe.dice, each, *span, recipe.rate) for each in (plan, replace(plan, harms=())))
    return plan, made, twin


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of each kind."""
    folder = tmp_path_factory.mktemp("library")
    for kind in KINDS:
        simulate_case(recipe_of(kind), folder)
    return folder


def labels_of(folder: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{kind}-1" / "labels.json").read_bytes())
    return found


def changes_of(folder: Path, kind: str) -> list[ChangeSeen]:
    lines = (folder / f"{kind}-1" / "deploys.jsonl").read_bytes().splitlines()
    return [seen for line in lines for seen in sightings(line, environment="production")]


def test_there_are_at_least_eighteen_kinds_with_a_sentence_each() -> None:
    assert len(KINDS) >= 18
    assert len({kind.sentence for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_opens_and_every_line_of_it_can_be_read(library: Path, kind: str) -> None:
    case = open_case(library / f"{kind}-1")
    assert case.notes == ()
    assert (case.start_ms, case.end_ms) == recipe_of(kind).span_ms
    for source in SOURCES:
        for lines in case.events()[source][0]:
            decoded = Decoder(case.settings, source).decode(lines.lines)
            assert decoded.refusals == ()
    assert changes_of(library, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_incident_lies_in_the_last_day_and_its_culprit_began_before_it(library: Path, kind: str) -> None:
    start_ms, end_ms = recipe_of(kind).span_ms
    labels = labels_of(library, kind)
    assert (labels["kind"], labels["seed"]) == (kind, 1)
    # What only the data are in doubt of is labelled, too, though nobody has to be woken for it.
    assert bool([incident for incident in labels["incidents"] if incident["page"]]) == KINDS[kind].page
    began: dict[str, int] = {}
    for seen in changes_of(library, kind):
        began[seen.deploy_id] = min(began.get(seen.deploy_id, seen.started_ms), seen.started_ms)
    for incident in labels["incidents"]:
        onset_ms = ms_of(incident["onset"])
        assert max(start_ms, end_ms - DAY_MS) <= onset_ms < ms_of(incident["end"]) <= end_ms
        assert sum(onset_ms - LOOKBACK_MS <= each < onset_ms for each in began.values()) >= 20
        assert incident["page"] or incident["data"]
        assert set(incident["regions"]) <= set(REGIONS)
        assert set(incident["services"]) <= set(SERVICES)
        assert incident["oracle_s"] is None or 0 < incident["oracle_s"] <= (ms_of(incident["end"]) - onset_ms) / 1000 + 10
        if incident["culprit"] is not None:
            assert 0 <= onset_ms - began[incident["culprit"]] <= DAY_MS
    assert {incident["culprit"] is not None for incident in labels["incidents"]} == ({kind in GUILTY} if labels["incidents"] else set())


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_is_right_only_of_what_can_be_rolled_back(library: Path, kind: str) -> None:
    reversible: dict[str, bool] = {}
    for seen in changes_of(library, kind):
        reversible[seen.deploy_id] = reversible.get(seen.deploy_id, True) and seen.rollback.supported
    for incident in labels_of(library, kind)["incidents"]:
        assert incident["rollback"] == (incident["culprit"] is not None and reversible[incident["culprit"]])
    assert kind != "migration" or not labels_of(library, kind)["incidents"][0]["rollback"]


@pytest.mark.parametrize("kind", KINDS)
def test_lost_orders_are_those_that_the_twin_without_the_harm_has(kind: str) -> None:
    plan, made, twin = happened(recipe_of(kind))
    assert sum(made.lost) == len(twin.orders) - len(made.orders)
    if not plan.harms:
        assert made.orders.ts_ms.tobytes() == twin.orders.ts_ms.tobytes()
        assert made.errors.ts_ms.tobytes() == twin.errors.ts_ms.tobytes()
        return
    missing = Counter(twin.orders.ts_ms.tolist()) - Counter(made.orders.ts_ms.tolist())
    low_ms, high_ms = min(harm.onset_ms for harm in plan.harms), max(harm.end_ms for harm in plan.harms)
    assert all(low_ms <= ts_ms < high_ms for ts_ms in missing)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_places_and_services_that_the_labels_name_are_hurt(kind: str) -> None:
    plan, made, twin = happened(recipe_of(kind))
    regions = {region for harm in plan.harms for region in harm.since_ms}
    services = {service for harm in plan.harms for service in harm.errors}
    for region in range(len(REGIONS)):
        lost = (twin.orders.region == region).sum() - (made.orders.region == region).sum()
        assert lost == 0 or region in regions
    for service in range(len(SERVICES)):
        more = (made.errors.service == service).sum() - (twin.errors.service == service).sum()
        assert (more > 0) == (service in services)
    promises, usual = (Counter(zip(each.orders.ts_ms.tolist(), each.promised_minutes.tolist(), strict=True)) for each in (made, twin))
    assert bool(promises - usual) == any(harm.wrong > 0.0 for harm in plan.harms)


@pytest.mark.parametrize("kind", ["conversion_drop", "operator_config", "complete_stop"])
def test_the_share_of_orders_that_is_gone_is_what_the_kind_says(kind: str) -> None:
    plan, made, twin = happened(recipe_of(kind, rate=2.0))
    [harm] = plan.harms
    assert harm.change is not None
    region = min(harm.since_ms, key=lambda each: harm.since_ms[each])
    # Once the change is there for all.
    from_ms = max(harm.since_ms[region], next(done_ms for name, _, done_ms in harm.change.reach if name == REGIONS[region]))
    before, after = (((each.orders.region == region) & (each.orders.ts_ms >= from_ms) & (each.orders.ts_ms < harm.end_ms)).sum() for each in (twin, made))
    assert before > 50
    assert abs(1.0 - after / before - harm.loss) < 4.0 * float(np.sqrt(harm.loss * (1.0 - harm.loss) / before)) + 1e-9


def test_who_meets_the_fault_meets_the_version() -> None:
    """All errors that a fault of a service adds come from its new version, also while the roll-out is under way."""
    for seed in range(1, 60):
        plan, made, twin = happened(recipe_of("errors_only", seed, rate=0.2))
        culprit, [harm] = plan.culprits[0], plan.harms
        assert culprit is not None
        later = [change for change in plan.changes if change.service == culprit.service and max(change.reach)[1] > culprit.reach[0][1]]
        if culprit.version != culprit.from_version and later == [culprit]:
            break
    else:
        pytest.fail("no seed has such a culprit")
    total, new = (Counter[int](), Counter[int]())
    for sign, each in ((1, made), (-1, twin)):
        names = np.array(each.error_versions.texts)[each.error_versions.codes]
        mine = np.isin(each.errors.service, list(harm.errors))
        total[0] += sign * int(mine.sum())
        new[0] += sign * int((mine & (names == culprit.version)).sum())
    assert new == total
    assert total[0] > 10


def test_of_an_unrecorded_change_there_is_no_record(library: Path) -> None:
    plan = recipe_of("unrecorded_change").plan()
    assert not plan.unrecorded & {seen.deploy_id for seen in changes_of(library, "unrecorded_change")}
    assert labels_of(library, "unrecorded_change")["note"]


def test_what_a_trigger_wakes_was_there_before_it(library: Path) -> None:
    [incident] = labels_of(library, "dormant_trigger")["incidents"]
    changes = changes_of(library, "dormant_trigger")
    carrier = [seen for seen in changes if [seen.deploy_id] == incident["carriers"] and seen.finished_ms is not None]
    trigger = [seen for seen in changes if seen.deploy_id == incident["culprit"]]
    assert {seen.kind for seen in trigger} <= {"flag", "config"}
    assert max(seen.finished_ms or 0 for seen in carrier) < min(seen.started_ms for seen in trigger)


def test_two_culprits_hurt_at_the_same_time(library: Path) -> None:
    first, second = labels_of(library, "two_culprits")["incidents"]
    assert first["culprit"] != second["culprit"]
    assert sorted(first["metrics"] + second["metrics"]) == ["errors", "orders"]
    assert ms_of(second["onset"]) < ms_of(first["end"])


def test_a_symptom_that_is_older_than_a_change_is_not_its_fault(library: Path) -> None:
    [incident] = labels_of(library, "older_symptom")["incidents"]
    accused = [seen.started_ms for seen in changes_of(library, "older_symptom") if seen.deploy_id == incident["accused"]]
    assert ms_of(incident["onset"]) < min(accused)
    assert incident["culprit"] is None


@pytest.mark.parametrize(("kind", "regions"), [("pipe_region", 1), ("pipe_all", 4)])
def test_behind_a_broken_pipe_nothing_arrives_and_no_order_is_lost(library: Path, kind: str, regions: int) -> None:
    labels = labels_of(library, kind)
    [incident] = labels["incidents"]
    assert incident["data"]
    assert len(incident["regions"]) == regions
    assert labels["lost_orders"] == 0
    for source in SOURCES:
        for line in gzip.decompress((library / f"{kind}-1" / f"{source}.jsonl.gz").read_bytes()).splitlines():
            event = json.loads(line)
            assert event["region"] not in incident["regions"] or not ms_of(incident["onset"]) <= event["ts"] < ms_of(incident["end"])


def test_doubled_events_come_again_with_the_same_id(library: Path) -> None:
    doubled, usual = (
        sum(number - 1 for number in Counter(gzip.decompress((library / f"{kind}-1" / "orders.jsonl.gz").read_bytes()).splitlines()).values())
        for kind in ("doubled_events", "quiet")
    )
    assert doubled > 10 * max(usual, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_recipe_gives_the_same_bytes(library: Path, kind: str, tmp_path: Path) -> None:
    simulate_case(recipe_of(kind), tmp_path)
    names = sorted(each.name for each in (library / f"{kind}-1").iterdir())
    assert names == ["case.yaml", "deliveries.jsonl.gz", "deploys.jsonl", "errors.jsonl.gz", "labels.json", "orders.jsonl.gz"]
    for name in names:
        assert (tmp_path / f"{kind}-1" / name).read_bytes() == (library / f"{kind}-1" / name).read_bytes()


def test_what_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        simulate_case(recipe_of("no_such_kind"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "quiet-1").mkdir()
    with pytest.raises(FileExistsError):
        simulate_case(recipe_of("quiet"), tmp_path)
    assert list((tmp_path / "quiet-1").iterdir()) == []


@settings(max_examples=60)
@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 10**9), days=st.integers(1, 3), rate=st.floats(0.005, 0.05))
def test_whatever_the_seed_a_plan_happens_inside_its_case(kind: str, seed: int, days: int, rate: float) -> None:
    recipe = Recipe(kind=kind, seed=seed, days=days, rate=rate)
    plan, (start_ms, end_ms) = recipe.plan(), recipe.span_ms
    made = make_events(recipe.dice, plan, start_ms, end_ms, recipe.rate)
    assert len(plan.culprits) == len(plan.harms) == len(made.lost)
    assert len({change.deploy_id for change in plan.changes}) == len(plan.changes)
    records = recorded(recipe.dice("records"), plan.changes, unrecorded=plan.unrecorded, never=plan.named)
    began = {record["deploy_id"]: ms_of(record["started_at"]) for record in reversed(records)}
    for harm, first_ms in zip(plan.harms, made.first_ms, strict=True):
        assert start_ms <= harm.onset_ms < harm.end_ms < end_ms
        assert sum(harm.onset_ms - LOOKBACK_MS <= began_ms < harm.onset_ms for began_ms in began.values()) >= 20
        assert first_ms is None or harm.onset_ms <= first_ms < harm.end_ms + 5_000
        assert harm.change is None or all(ts_ms >= began_ms for (_, began_ms, _), ts_ms in zip(_reached(harm), harm.since_ms.values(), strict=True))
    for events in (made.orders, made.errors):
        assert (np.diff(events.ts_ms) >= 0).all()
        assert not len(events) or start_ms <= events.ts_ms[0] <= events.ts_ms[-1] < end_ms
    assert (made.promised_minutes >= 0).all()


def _reached(harm: Any) -> list[tuple[str, int, int]]:
    return [wave for wave in harm.change.reach if REGIONS.index(wave[0]) in harm.since_ms]
