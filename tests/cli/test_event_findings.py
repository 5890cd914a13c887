"""What the newest records of a source say: pure, so that clocks and mistakes are planted without a broker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard.cli.event_findings import change_findings, source_findings
from rollguard.cli.findings import Finding
from rollguard.cli.places import Places
from rollguard.config import Layer, default_text, load_layers
from rollguard.streams.kafka import RecordSeen

NOW_MS = 1_775_001_600_000
MINUTE_MS = 60_000


def record(at: int, value: bytes | None, at_ms: int) -> RecordSeen:
    return RecordSeen(partition=0, offset=at, at_ms=at_ms, appended=False, value=value)


def orders(*, event_ms: Any = lambda at_ms: at_ms, n: int = 20, **changed: Any) -> list[RecordSeen]:
    """Orders that are written at an even rate until now; `event_ms` makes their time of that."""
    found = []
    for at in range(n):
        at_ms = NOW_MS - 1000 * (n - at)
        event = {"event_id": f"e{at}", "ts": event_ms(at_ms), "service": "checkout", "region": "eu-west", "version": "1"} | changed
        found.append(record(at, json.dumps(event).encode(), at_ms))
    return found


def found(records: list[RecordSeen], config: str = "") -> list[Finding]:
    settings = load_layers([Layer(default_text(), "default.yaml"), *([Layer(config, "shop.yaml")] if config else [])])
    return list(source_findings(settings, "orders", records, NOW_MS, Places(None)))


def test_what_can_be_read_is_well_and_nothing_else_is_said() -> None:
    assert [(each.state, each.text) for each in found(orders())] == [("ok", "the newest 20 records can be read")]
    assert found([]) == []


@pytest.mark.parametrize("hours", [-10.0, -5.5, -1.0, 1.0, 2.0, 9.5])
def test_a_steady_difference_of_half_hours_is_a_time_zone(hours: float) -> None:
    (finding,) = found(orders(event_ms=lambda at_ms: at_ms - round(hours * 60 * MINUTE_MS)))
    assert finding.state == "mend"
    assert "looks like a time zone" in finding.text
    assert ("behind" if hours > 0 else "ahead of") in finding.text
    assert finding.where.endswith("sources.orders.fields.ts")


@pytest.mark.parametrize("minutes", [0.5, 3.0, 7.0, 22.0, 44.0])
def test_a_delay_that_is_no_zone_is_none(minutes: float) -> None:
    states = {each.state for each in found(orders(event_ms=lambda at_ms: at_ms - round(minutes * MINUTE_MS)))}
    assert states <= {"ok", "note"}


def test_old_events_that_are_written_now_are_no_zone_since_they_are_not_evenly_old() -> None:
    late = found(orders(event_ms=lambda at_ms: NOW_MS - 2 * 60 * MINUTE_MS - 60 * (NOW_MS - at_ms)))
    assert {each.state for each in late} <= {"ok", "note"}


def test_one_clock_that_is_ahead_is_a_note_and_many_are_to_be_mended() -> None:
    ahead = orders(event_ms=lambda at_ms: at_ms + 47 * MINUTE_MS)
    (one,) = [each for each in found([*orders(), ahead[0]]) if "ahead" in each.text]
    (many,) = [each for each in found([*orders(n=5), *ahead]) if "ahead" in each.text]
    assert (one.state, many.state) == ("note", "mend")


def test_a_few_refused_records_are_a_note_with_the_first_reason() -> None:
    (finding,) = found([*orders(n=40), record(99, b"{rubbish", NOW_MS), record(100, None, NOW_MS)])
    assert finding.state == "note"
    assert finding.text.startswith("2 of the newest 42 records are refused")


def test_a_field_deep_in_the_event_is_found_by_its_near_match() -> None:
    (finding,) = [each for each in found(orders(shop={"market": "de"}), "sources: {orders: {fields: {region: {path: shop.markt}}}}") if each.state == "mend"]
    assert finding.text.endswith("Did you mean 'shop.market'?")
    assert finding.where.endswith("sources.orders.fields.region")


def test_changes_of_another_environment_and_refused_ones_are_told() -> None:
    settings = load_layers([Layer(default_text(), "default.yaml")])
    change = {"deploy_id": "d", "service": "checkout", "started_at": NOW_MS, "environment": "prod"}
    seen = [record(n, json.dumps(change).encode(), NOW_MS) for n in range(3)]
    (finding,) = change_findings(settings, seen, Places(None))
    assert (finding.state, "set environment: prod" in finding.text) == ("mend", True)
    told = list(change_findings(settings, [*seen, record(9, b"{}", NOW_MS)], Places(None)))
    assert any("1 of the newest 4 changes refused" in each.text and "docs/changes-in.md" in each.text for each in told)
