"""Times in which no source says anything: what was lost then is not known, and the incident says so to its end."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.incidents import Desk, IncidentState
from rollguard.incidents.books import Books
from rollguard.incidents.pipe import joined, speechless, unheard
from tests.incidents import scenes

START, MINUTE = scenes.START, scenes.MINUTE
ALL = ("orders", "errors", "promised_minutes")


def books_of(shop: scenes.Shop, last: int) -> Books:
    books = Books(10_000)
    for bucket in range(START, last + 1):
        books.add(shop.tick(bucket))
    return books


@given(st.lists(st.tuples(st.integers(5, 100), st.integers(1, 12)), max_size=4))
def test_a_stretch_is_what_no_source_spoke_in(silent: list[tuple[int, int]]) -> None:
    dumb = {START + since + at for since, span in silent for at in range(span)}
    shop = scenes.Shop()
    books = Books(10_000)
    for bucket in range(START, START + 130):
        shop.silent = dict.fromkeys(ALL, range(bucket, bucket + 1)) if bucket in dumb else {}
        books.add(shop.tick(bucket))
    found = speechless(books, shop.settings, "", START + 4, before=START + 4)
    assert {bucket for start, stop in found for bucket in range(start, stop)} == dumb
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


def test_orders_that_stop_alone_are_the_shops() -> None:
    shop = scenes.Shop(silent={"orders": range(START + 20, START + 60), "promised_minutes": range(START + 20, START + 60)})
    assert speechless(books_of(shop, START + 60), shop.settings, "", START + 10, before=START + 10) == []


def test_who_sells_little_is_silent_by_chance() -> None:
    shop = scenes.Shop(silent=dict.fromkeys(ALL, range(START + 20, START + 21)))
    for name in scenes.USUAL:
        shop.hurts.append(scenes.Hurt(name, 0.01, START))
    assert speechless(books_of(shop, START + 30), shop.settings, "", START + 10, before=START + 10) == []


@settings(max_examples=30)
@given(silent=st.integers(0, 60), sells=st.sampled_from([1.0, 0.02]), late=st.integers(0, 1))
def test_a_source_is_unheard_from_the_onset_on_until_its_next_event(silent: int, sells: float, late: int) -> None:
    onset, back = START + 20, START + 20 + late + silent
    # What is told to begin a bucket too early has events in its first one.
    shop = scenes.Shop(silent={"orders": range(onset + late, back)}, hurts=[scenes.Hurt("orders", sells, 0)])
    found = unheard(books_of(shop, START + 90), shop.settings, "orders", onset)
    each = scenes.USUAL["orders"] * len(shop.leaves) * sells
    told = late + silent >= 2 and silent * each >= 8.0
    assert found == ((onset + late, back) if told else None)
    assert unheard(books_of(shop, START + 90), shop.settings, "errors", onset) is None


def test_a_source_is_heard_as_long_as_any_of_its_metrics_counts_something() -> None:
    some = "metrics: {paid: {kind: count, source: orders, worse: lower, smallest: 0.1, where: {type: [paid]}}}\nsources: {orders: {fields: {type: type}}}\n"
    silent = range(START + 20, START + 80)
    for others, found in (({}, None), ({"orders": silent}, (silent.start, silent.stop))):
        shop = scenes.Shop(settings=scenes.settings_with(some), metrics=("orders", "errors", "paid"), silent={"paid": silent, **others})
        assert unheard(books_of(shop, START + 90), shop.settings, "paid", silent.start) == found


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=6), st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=6))
def test_stretches_joined_hold_the_same_buckets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    spans = [[(start, start + length) for start, length in each] for each in (one, other)]
    found = joined(*spans)
    assert {at for start, stop in found for at in range(start, stop)} == {at for each in spans for start, stop in each for at in range(start, stop)}
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


def states(shop: scenes.Shop, last: int) -> list[IncidentState]:
    left = shop.left("orders", START + 41, START + 40)
    back = shop.returned("orders", START + 90, START + 88)
    return [entry.incident for entry in Desk(shop.settings).feed(shop.log(START, last, [left, back])) if entry.incident is not None]


def test_what_was_lost_while_nothing_came_is_not_known_and_never_billed() -> None:
    silent = range(START + 40, START + 80)
    seen = states(scenes.Shop(silent=dict.fromkeys(ALL, silent)), START + 90 + 40 * MINUTE)
    assert seen[-1].closed_at_ms is not None
    assert "the pipe that brings events is more likely broken than the shop" in seen[-1].data_quality[-1]
    assert abs(seen[-1].orders_lost) < 1.0
    assert any("not known" in state.cost for state in seen)
    alone = states(scenes.Shop(silent={"orders": silent}, hurts=[scenes.Hurt("orders", 0.0, START + 40, START + 80)]), START + 90 + 40 * MINUTE)
    assert alone[-1].orders_lost > 1000.0


def test_a_source_that_breaks_alone_is_in_doubt_to_the_end_of_the_incident() -> None:
    seen = states(scenes.Shop(hurts=[scenes.Hurt("orders", 0.0, START + 40, START + 80)]), START + 90 + 40 * MINUTE)
    assert seen[-1].closed_at_ms is not None
    for state in seen:
        assert state.data_quality == (
            "orders: from its onset on not one event of orders came: either it stopped altogether, or the pipe that brings them broke and nothing was lost",
        )


def test_one_order_in_hundreds_tells_that_the_pipe_is_whole() -> None:
    one = range(START + 46, START + 47)
    hurts = [
        scenes.Hurt("orders", 0.0, START + 40, one.start),
        scenes.Hurt("orders", 0.01, one.start, one.stop),
        scenes.Hurt("orders", 0.0, one.stop, START + 80),
    ]
    seen = states(scenes.Shop(hurts=hurts), START + 90 + 40 * MINUTE)
    doubts = [bool(state.data_quality) for state in seen]
    assert doubts[0]
    assert not any(doubts[doubts.index(False) :])


def test_of_a_region_of_which_nothing_comes_what_was_lost_is_not_known() -> None:
    shop = scenes.Shop()
    there = {"region": "eu-west"}
    shop.hurts += [scenes.Hurt(metric, 0.0, START + 40, START + 80, where=there) for metric in ALL]
    left, back = shop.left("orders", START + 41, START + 40, **there), shop.returned("orders", START + 90, START + 88, **there)
    found = [e.incident for e in Desk(shop.settings).feed(shop.log(START, START + 90 + 40 * MINUTE, [left, back])) if e.incident is not None]
    assert found[-1].regions == ("eu-west",)
    assert "eu-west: no source had an event there for" in found[-1].data_quality[-1]
    assert abs(found[-1].orders_lost) < 1.0
    only_orders = scenes.Shop(hurts=[scenes.Hurt("orders", 0.0, START + 40, START + 80, where=there)])
    found = [e.incident for e in Desk(shop.settings).feed(only_orders.log(START, START + 90 + 40 * MINUTE, [left, back])) if e.incident is not None]
    assert found[-1].data_quality == ()
    assert found[-1].orders_lost > 1000.0


def test_a_change_just_before_nothing_comes_any_more_is_not_called_guilty() -> None:
    silent = range(START + 40, START + 80)
    suspect = scenes.deploy(started=scenes.START_MS + 5 * scenes.MINUTE_MS, minutes=1.0, regions=[None])

    def said(shop: scenes.Shop) -> IncidentState:
        left, back = shop.left("orders", START + 41, START + 40), shop.returned("orders", START + 90, START + 88)
        entries = Desk(shop.settings).feed(shop.log(START, START + 90 + 40 * MINUTE, [left, back, *suspect]))
        return [entry.incident for entry in entries if entry.incident is not None][-1]

    mute = said(scenes.Shop(silent=dict.fromkeys(ALL, silent)))
    stopped = said(scenes.Shop(silent={"orders": silent}, hurts=[scenes.Hurt("orders", 0.0, START + 40, START + 80)]))
    assert (mute.verdict, stopped.verdict) == ("inconclusive", "guilty")
    assert mute.suspects[0].evidence["pipe"] == -3.0
    assert mute.suspects[0].probability < stopped.suspects[0].probability
    assert "pipe" not in stopped.suspects[0].evidence
