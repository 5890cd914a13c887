"""Gaps in the data: what is told, how often, and what is never done about one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Mode
from rollguard.detectors import Tick
from rollguard.incidents import Desk, Entry, Pulse
from rollguard.incidents.gaps import GAP_MS, Gaps
from tests.incidents import scenes

START, MINUTE = scenes.START, scenes.MINUTE
LONG = GAP_MS // 10_000


def gaps(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.incident_id.startswith("gap/")]


def told(shop: scenes.Shop, last: int = START + 20 * MINUTE, mode: str = "auto") -> list[Entry]:
    """What a desk says of a shop in which nothing hurts."""
    return Desk(shop.settings.model_copy(update={"mode": Mode(mode)})).feed(shop.log(START, last))


@given(st.integers(1, 40), st.integers(LONG - 4, LONG + 4))
def test_a_source_that_cannot_be_read_is_told_once_it_lasted_two_minutes(since: int, span: int) -> None:
    shop = scenes.Shop(missing={"orders": range(START + since, START + since + span)})
    found = gaps(told(shop))
    if span < LONG:
        assert found == []
        return
    assert [entry.event for entry in found] == ["opened", "decided", "closed"]
    assert len({entry.incident_id for entry in found}) == 1
    opened = found[0].incident
    assert opened is not None
    assert opened.verdict == "inconclusive"
    assert opened.onset_ms == (START + since) * 10_000
    assert found[0].at_ms == scenes.at_ms(START + since + LONG - 1)


def test_what_was_never_read_is_not_missed() -> None:
    assert gaps(told(scenes.Shop(missing={"orders": range(START, START + 99 * MINUTE)}))) == []


def test_a_gap_that_comes_and_goes_is_told_each_time_it_lasts() -> None:
    shop = scenes.Shop()
    seen: list[Entry] = []
    for number in range(3):
        begin = START + 1 + number * 3 * LONG
        shop.missing["orders"] = range(begin, begin + LONG)
        seen += Desk(shop.settings).feed(shop.log(START + number * 3 * LONG, START + (number + 1) * 3 * LONG - 1))
    assert [entry.event for entry in gaps(seen)].count("opened") == 3


@pytest.mark.parametrize(("mode", "action"), [("observe", "observe"), ("advise", "page"), ("approve", "page"), ("auto", "page")])
def test_a_person_is_told_of_a_gap_and_nothing_is_rolled_back(mode: str, action: str) -> None:
    shop = scenes.Shop(missing={"orders": range(START + 5, START + 99)})
    decided = [entry.decision.action for entry in told(shop, mode=mode) if entry.decision is not None]
    assert decided == [action]


def test_time_that_stands_still_is_told_once_and_ends_with_the_next_bucket() -> None:
    shop = scenes.Shop()
    desk = Desk(shop.settings)
    assert desk.feed([Pulse(at_ms=scenes.at_ms(START))]) == []
    desk.feed(shop.log(START, START + 3))
    later_ms = scenes.at_ms(START + 3) + 120_000
    first = desk.feed([Pulse(at_ms=later_ms), Pulse(at_ms=later_ms + 60_000)])
    assert [entry.event for entry in first] == ["opened", "decided"]
    assert first[0].at_ms == later_ms
    state = first[0].incident
    assert state is not None
    assert state.onset_ms == (START + 4) * 10_000
    assert [entry.event for entry in desk.feed(shop.log(START + 4, START + 4))] == ["closed"]


@given(st.integers(0, 3 * LONG))
def test_a_desk_restored_within_a_gap_goes_on_as_if_never_stopped(stop: int) -> None:
    shop = scenes.Shop(missing={"orders": range(START + 5, START + 5 + 2 * LONG)})
    log = list(shop.log(START, START + 4 * LONG))
    whole = Desk(shop.settings).feed(log)
    cut = next(at for at, record in enumerate(log) if isinstance(record, Tick) and record.bucket == START + stop) + 1
    desk = Desk(shop.settings)
    first = desk.feed(log[:cut])
    assert [*first, *Desk.restore(shop.settings, desk.snapshot()).feed(log[cut:])] == whole


@given(st.integers(1, 40), st.integers(LONG - 4, LONG + 4))
def test_a_source_that_says_nothing_while_others_go_on_is_told_once_it_lasted_two_minutes(since: int, span: int) -> None:
    shop = scenes.Shop(silent={"promised_minutes": range(START + since, START + since + span)})
    found = gaps(told(shop))
    if span < LONG:
        assert found == []
        return
    assert [entry.event for entry in found] == ["opened", "decided", "closed"]
    opened = found[0].incident
    assert opened is not None
    assert opened.onset_ms == (START + since) * 10_000
    assert "deliveries: not one event since this began" in opened.symptoms[0]
    assert found[0].at_ms == scenes.at_ms(START + since + LONG - 1)


def test_a_source_of_few_events_is_not_missed_between_them() -> None:
    shop, found, entries = scenes.Shop(), Gaps(), list[Entry]()
    for bucket in range(START, START + 6 * 60 * MINUTE):
        # One bucket in twenty holds all that comes: what is usual is its mean over all twenty.
        shop.silent = {} if bucket % 20 == 0 else {"promised_minutes": range(bucket, bucket + 1)}
        entries += found.tick(shop.tick(bucket), shop.settings, scenes.at_ms(bucket))
    in_a_bucket = max(account.events for account in shop.tick(START - START % 20).accounts if account.metric == "promised_minutes")
    assert found.usual["deliveries"] == pytest.approx(in_a_bucket / 20, rel=0.4)  # the first bucket still counts, by a 64th
    assert not [entry for entry in entries if entry.at_ms > scenes.at_ms(START + 4 * 60 * MINUTE)]


def test_where_no_source_says_anything_none_of_them_is_told_apart() -> None:
    everything = range(START + 5, START + 5 + 3 * LONG)
    assert gaps(told(scenes.Shop(silent=dict.fromkeys(("orders", "errors", "promised_minutes"), everything)))) == []


def test_who_was_told_that_orders_stopped_is_not_told_that_no_promise_comes() -> None:
    silent = range(START + 5, START + 5 + 3 * LONG)
    shop = scenes.Shop(silent={"orders": silent, "promised_minutes": silent}, hurts=[scenes.Hurt("orders", 0.0, START + 5)])
    left = shop.left("orders", START + 7, START + 5)
    found = Desk(shop.settings).feed(shop.log(START, START + 20 * MINUTE, [left]))
    assert gaps(found) == []
    assert [entry.event for entry in found if entry.event == "opened"] == ["opened"]
