"""What goes wrong with the data changes nothing that it should not: wrong clocks, pauses, silent and missing sources, floods of labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rollguard.detectors import SeriesName, Signal, Tick
from rollguard.replay import Run, fold
from tests.properties.chain import Chain, parted, settings_of, without
from tests.properties.shop import CONFIG, CULPRIT, HOUR_MS, HURT, MINUTE_MS, START_MS, Event, Shop, a_shop, everywhere, ms_of, replayed

SHOP = a_shop()
#: A quiet moment after the warm-up, 25 minutes before the culprit.
QUIET_MS = SHOP.onset_ms - 25 * MINUTE_MS


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the shop gives when nothing is wrong with its data."""
    return replayed(tmp_path_factory.mktemp("shop") / "case", SHOP)


def outline(incidents: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What a person would act on: where it hurts, who did it, what was decided."""
    return [
        (
            incident["metrics"],
            incident["regions"],
            incident["verdict"],
            [suspect["deploy_id"] for suspect in incident["suspects"]][:1],
            [(decision["action"], decision["target"]) for decision in incident["decisions"]],
        )
        for incident in incidents
    ]


def decisions(run: Run) -> list[str]:
    return [decision["action"] for incident in run.incidents for decision in incident["decisions"]]


def counted(run: Run, name: str) -> set[int]:
    return {source[name] for source in run.summary["sources"].values()}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sources", [("orders", "deliveries", "errors"), ("orders",)], ids=["all", "orders"])
def test_a_clock_an_hour_ahead_changes_no_incident(tmp_path: Path, usual: Run, sources: tuple[str, ...], seed: int) -> None:
    # Its own events are missing where they belong and appear an hour later: what was lost moves by their share. Nothing else does.
    chance = np.random.default_rng(seed)
    wrong = {
        source: [
            replace(event, ts_ms=event.ts_ms + HOUR_MS) if far < 0.03 else event for event, far in zip(events, chance.random(len(events)).tolist(), strict=True)
        ]
        for source, events in SHOP.events.items()
        if source in sources
    }
    run = replayed(tmp_path / "case", SHOP.with_events(**wrong))
    assert counted(run, "late") == {0}
    assert {reason for source in run.summary["sources"].values() for reason in source["refused"]} == {"future"}
    [found], [expected] = run.incidents, usual.incidents
    assert outline([found]) == outline([expected])
    assert abs(ms_of(found["opened_at"]) - ms_of(expected["opened_at"])) <= MINUTE_MS // 2
    assert abs(ms_of(found["onset"]) - ms_of(expected["onset"])) <= MINUTE_MS
    assert found["orders_lost"] == pytest.approx(expected["orders_lost"], rel=0.1)


def paused(shop: Shop, since_ms: int, minutes: int) -> Shop:
    until_ms = since_ms + minutes * MINUTE_MS
    return shop.with_events(**{source: [event for event in events if not since_ms <= event.ts_ms < until_ms] for source, events in shop.events.items()})


@pytest.mark.parametrize("minutes", [1, 10, 45])
def test_a_pause_of_all_sources_loses_nothing(tmp_path: Path, usual: Run, minutes: int) -> None:
    shop = paused(SHOP, START_MS + HOUR_MS, minutes)
    run = replayed(tmp_path / "case", shop)
    assert counted(run, "late") == {0}
    assert {source: each["kept"] for source, each in run.summary["sources"].items()} == {source: len(events) for source, events in shop.events.items()}
    if minutes <= 10:
        assert outline(run.incidents) == outline(usual.incidents)
    else:
        # Less has been learnt, so less can be said, but of the same incident.
        assert [incident["suspects"][0]["deploy_id"] for incident in run.incidents] == [CULPRIT]


def test_a_pause_while_watching_pages_and_is_over_when_it_is_over(tmp_path: Path, usual: Run) -> None:
    # The worst case: a change went everywhere just before.
    run = replayed(tmp_path / "case", paused(everywhere(SHOP, QUIET_MS - 40_000), QUIET_MS, 10))
    assert counted(run, "late") == {0}
    pause, after = run.incidents
    assert pause["metrics"] == ["orders"]
    assert {decision["action"] for decision in pause["decisions"]} == {"page", "hold"}
    assert pause["closed_at"] < after["opened_at"]
    assert outline([after]) == outline(usual.incidents)


def missing(shop: Shop, source: str) -> Shop:
    return replace(shop, events={name: events for name, events in shop.events.items() if name != source})


def apart(incidents: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What hurts, and the gaps in the data."""
    gaps = [incident for incident in incidents if incident["incident_id"].startswith("gap/")]
    return [incident for incident in incidents if incident not in gaps], gaps


@pytest.mark.parametrize("missing_or_silent", ["missing", "silent"])
def test_a_source_without_a_part_in_an_incident_may_be_silent_or_missing(tmp_path: Path, usual: Run, missing_or_silent: str) -> None:
    shop = missing(SHOP, "deliveries") if missing_or_silent == "missing" else without(SHOP, since_ms=QUIET_MS, source="deliveries")
    found, gaps = apart(replayed(tmp_path / "case", shop).incidents)
    assert outline(found) == outline(usual.incidents)
    assert [gap["incident_id"].split("/")[1] for gap in gaps] == (["deliveries"] if missing_or_silent == "silent" else [])


@pytest.mark.parametrize("missing_or_silent", ["missing", "silent"])
def test_without_one_of_its_sources_an_incident_still_has_its_culprit(tmp_path: Path, missing_or_silent: str) -> None:
    shop = missing(SHOP, "errors") if missing_or_silent == "missing" else without(SHOP, since_ms=QUIET_MS, source="errors")
    [found], _ = apart(replayed(tmp_path / "case", shop).incidents)
    assert (found["metrics"], found["regions"], found["suspects"][0]["deploy_id"]) == (["orders"], [HURT], CULPRIT)


def test_what_was_never_read_is_unknown_and_no_stop(tmp_path: Path) -> None:
    run = replayed(tmp_path / "case", missing(SHOP, "orders"))
    assert "orders" not in {metric for incident in run.incidents for metric in incident["metrics"]}
    assert "rollback" not in decisions(run)
    assert any("no file for source orders" in note for note in run.summary["notes"])


def test_a_complete_stop_of_orders_pages_and_never_acts_alone(tmp_path: Path) -> None:
    # The worst case: a change went everywhere just before. The shop ends before the culprit comes.
    before = replace(SHOP, hours=SHOP.hours - 0.55)
    quiet = before.with_events(**{source: [event for event in events if event.ts_ms < before.end_ms] for source, events in SHOP.events.items()})
    run = replayed(tmp_path / "case", without(everywhere(quiet, QUIET_MS - 40_000), since_ms=QUIET_MS, source="orders"))
    [stop] = run.incidents
    assert ms_of(stop["opened_at"]) <= QUIET_MS + MINUTE_MS
    assert stop["data_quality"] == ["orders: no event at all in the last 2 min"]
    assert {decision["action"] for decision in stop["decisions"]} == {"page", "hold"}
    assert "only silence speaks for it" in " ".join(stop["decisions"][-1]["blocked_by"])


NAMED = "checkout"
KEEP = CONFIG + f"labels: {{keep: {{service: [{NAMED}]}}}}\n"


def _seen(shop: Shop) -> tuple[dict[tuple[int, SeriesName], float], list[Signal], list[dict[str, Any]]]:
    """What was counted of the named series and the pooled ones, their signals, and the incidents."""
    ones = dict.fromkeys(shop.events, 1)
    chain = Chain(settings_of(KEEP), shop, ones)
    for place, lines in parted(shop, ones).items():
        chain.feed(place, lines)
    chain.finish()
    observed: dict[tuple[int, SeriesName], float] = {}
    series: tuple[SeriesName, ...] = ()
    rows: list[int] = []
    for record in chain.records:
        for account in record.accounts if isinstance(record, Tick) else ():
            if account.metric != "errors":
                continue
            if account.series is not series:
                series = account.series
                rows = [row for row, name in enumerate(series) if name.label("service") in {None, NAMED}]
            observed.update(((record.bucket, series[row]), float(account.observed[row])) for row in rows)
    signals = [record for record in chain.records if isinstance(record, Signal) and record.series.label("service") in {None, NAMED}]
    return observed, signals, fold(msgspec.json.decode(line) for line in chain.timeline)


def test_a_label_explosion_leaves_the_named_values_alone(usual: Run) -> None:
    def flood(at: int, event: Event) -> Event:
        return event if event.fields["service"] == NAMED else replace(event, fields=event.fields | {"service": f"pod-{at}"})

    flooded = SHOP.with_events(errors=[flood(at, event) for at, event in enumerate(SHOP.events["errors"])])
    assert len({event.fields["service"] for event in flooded.events["errors"]}) > 3000
    observed, signals, incidents = _seen(flooded)
    expected, expected_signals, _ = _seen(SHOP)
    assert {place: observed[place] for place in expected} == expected
    assert {(signal.kind, signal.series) for signal in signals} == {(signal.kind, signal.series) for signal in expected_signals}
    # More series share the budget, so a threshold may be passed a little later.
    first = {(signal.kind, signal.series): signal.bucket for signal in reversed(expected_signals)}
    assert all(0 <= signal.bucket - first[signal.kind, signal.series] <= 6 for signal in signals if signal.kind == "left")
    assert outline(incidents) == outline(usual.incidents)
