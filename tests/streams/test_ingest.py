import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers
from rollguard.streams import Block, Ingest, Key, SnapshotError, measures
from rollguard.streams.cap import OTHER
from rollguard.streams.ingest import MANY_KEYS

START = 1_775_001_600_000
BUCKET = 10_000
FIRST = START // BUCKET
LATENESS = 20_000
Row = tuple[int, str, str, Key, int, int]


def settings_of(text: str = "") -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


SETTINGS = settings_of()
MEASURES = measures(SETTINGS)


def line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def order(at: int, ts: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"o{at}", "ts": ts, "service": "checkout", "region": "eu", "version": "1"} | more


def rows(blocks: Iterable[Block | None], settings: Settings = SETTINGS) -> list[Row]:
    """All rows of some blocks, with names for numbers."""
    found = []
    for block in blocks:
        if block is not None:
            known = measures(settings)
            assert list(block.keys) == sorted(set(block.keys))
            columns = (block.bucket, block.measure, block.key, block.bin, block.value)
            cells = list(zip(*(column.tolist() for column in columns), strict=True))
            places = [cell[:4] for cell in cells]
            assert places == sorted(set(places))
            assert all(block.since <= cell[0] < block.frontier for cell in cells)
            found += [(bucket, known[m].metric, known[m].part, block.keys[key], bin_, value) for bucket, m, key, bin_, value in cells]
    return found


def feed(stage: Ingest, lines: Sequence[bytes], cuts: Iterable[int] = (), first: int = 1) -> list[Block]:
    """Feed lines in batches that end at the cuts; the blocks they gave."""
    blocks, start = [], 0
    for end in [*sorted(cuts), len(lines)]:
        given_out = stage.feed(lines[start:end], first + start)
        start = max(start, min(end, len(lines)))
        blocks.append(given_out.block)
    return [block for block in blocks if block is not None]


def orders_of(times: Iterable[int], **more: Any) -> list[bytes]:
    return [line(order(at, ts, **more)) for at, ts in enumerate(times)]


# What a partition of deliveries may hold: steps in time, jitter, wrong clocks, few ids so that copies occur, bad lines.
@st.composite
def deliveries(draw: st.DrawFn, jitter_ms: int = 25_000) -> list[bytes]:
    lines, now = [], START
    for at in range(draw(st.integers(0, 90))):
        now += draw(st.sampled_from([0, 500, 3000, 9000, 9000, 70_000]))
        kind = draw(st.integers(0, 19))
        if kind == 0:
            lines.append(draw(st.sampled_from([b"", b"{", b"\xff", b"[]", line(order(at, now, region=None))])))
        elif kind <= 3 and lines:
            lines.append(lines[draw(st.integers(max(0, len(lines) - 15), len(lines) - 1))])
        else:
            ts = max(START, now - draw(st.integers(0, jitter_ms))) + (3_600_000 if kind == 4 else 0)
            event = order(draw(st.integers(at // 2, at)), ts, service=draw(st.sampled_from(["a", "b"])), version=draw(st.sampled_from(["1", "2", None])))
            for field in ("promised_minutes", "actual_minutes"):
                minutes = draw(st.sampled_from([None, 30, 30, -2.5, 45]))
                if minutes is not None:
                    event[field] = minutes
            lines.append(line(event))
    return lines


def bin_by_hand(value: float) -> int:
    step, edge = 1, 1e-3
    while edge <= abs(value):
        step, edge = step + 1, edge * 1.05
    return step if value > 0 else -step


class ByHand:
    """One record after the other, in dicts."""

    def __init__(self, start: bool = True) -> None:
        self.frontier: int | None = FIRST if start else None
        self.window: list[int] = []
        self.counts: Counter[str] = Counter()
        self.late_by: Counter[Key] = Counter()
        self.seen: set[tuple[str, int, str]] = set()
        self.cells: Counter[tuple[int, str, str, Key, int]] = Counter()

    def take(self, raw: bytes) -> None:
        self.counts["read"] += 1
        try:
            event = json.loads(raw)
            ts, bucket = event["ts"], event["ts"] // BUCKET
            key = (event["service"], event["region"], event["version"] or "")
            assert event["region"]
        except (ValueError, TypeError, KeyError, AssertionError):
            self.counts["refused"] += 1
            if self.frontier is not None:
                self.cells[self.frontier, "", "refused", (OTHER,) * 3, 0] += 1
            return
        if self.frontier is not None and bucket < self.frontier:
            self.counts["late"] += 1
            self.late_by[key] += 1
            self.cells[self.frontier, "", "late", key, 0] += 1
        else:
            kinds = {name for name in ("event", "promised_minutes", "actual_minutes") if name == "event" or event.get(name) is not None}
            new = {kind for kind in kinds if (event["event_id"], bucket, kind) not in self.seen}
            self.seen |= {(event["event_id"], bucket, kind) for kind in new}
            self.counts["kept" if new else "doubled"] += 1
            for kind in new - {"event"}:
                self.cells[bucket, kind, "bins", key, bin_by_hand(event[kind])] += 1
        self.window = [*self.window, ts][-21:]
        if len(self.window) == 21:
            now = (sorted(self.window)[10] - LATENESS) // BUCKET
            self.frontier = now if self.frontier is None else max(self.frontier, now)

    def closed(self) -> list[Row]:
        numbers = {(each.metric, each.part): at for at, each in enumerate(MEASURES) if each.source in {"deliveries", "orders"}}
        found: list[Row] = [(*cell, value) for cell, value in self.cells.items() if self.frontier is not None and cell[0] < self.frontier]
        return sorted(found, key=lambda row: (row[0], numbers[row[1], row[2]], row[3:]))  # type: ignore[index]


CUTS = st.lists(st.integers(0, 90), max_size=5)


@given(deliveries(), CUTS, st.booleans())
def test_closed_rows_and_counts_are_those_of_a_plain_loop(lines: list[bytes], cuts: list[int], start: bool) -> None:
    by_hand = ByHand(start)
    for each in lines:
        by_hand.take(each)
    stage = Ingest(SETTINGS, "deliveries", 0, start_ms=START if start else None)
    blocks = feed(stage, lines, [cut for cut in cuts if cut <= len(lines)])
    assert rows(blocks) == by_hand.closed()
    assert stage.frontier == by_hand.frontier
    counts = stage.counts
    found = {"read": counts.read, "kept": counts.kept, "late": counts.late, "doubled": counts.doubled, "refused": sum(counts.refused.values())}
    assert found == {name: by_hand.counts[name] for name in found}
    assert counts.late_by == by_hand.late_by
    assert counts.read == counts.kept + counts.late + counts.doubled + sum(counts.refused.values())


@given(deliveries(), CUTS, st.booleans())
def test_batches_do_not_matter(lines: list[bytes], cuts: list[int], start: bool) -> None:
    given_start = START if start else None
    whole, cut = (Ingest(SETTINGS, "deliveries", 0, start_ms=given_start) for _ in range(2))
    one = feed(whole, lines)
    many = feed(cut, lines, [each for each in cuts if each <= len(lines)])
    assert rows(one) == rows(many)
    assert [block.since for block in one[:1]] == [block.since for block in many[:1]]
    assert all(before.frontier == after.since for before, after in pairwise(many))
    assert whole.snapshot() == cut.snapshot()


@given(deliveries(), st.integers(0, 90), st.integers(0, 90))
def test_a_stage_restored_at_any_record_goes_on_as_if_never_stopped(lines: list[bytes], stop: int, cut: int) -> None:
    stop, cut = min(stop, len(lines)), min(cut, len(lines))
    unbroken = Ingest(SETTINGS, "deliveries", 0, start_ms=START)
    stage = Ingest(SETTINGS, "deliveries", 0, start_ms=START)
    assert rows(feed(unbroken, lines[:stop])) == rows(feed(stage, lines[:stop]))
    stage = Ingest.restore(SETTINGS, "deliveries", 0, stage.snapshot())
    assert stage.snapshot() == unbroken.snapshot()
    for part in (lines[stop : max(stop, cut)], lines[max(stop, cut) :]):
        one, other = unbroken.feed(part, 0), stage.feed(part, 0)
        assert one.dead == other.dead
        assert (one.block is None) == (other.block is None)
        if one.block is not None and other.block is not None:
            assert (one.block.since, one.block.frontier, one.block.why, one.block.keys) == (
                other.block.since,
                other.block.frontier,
                other.block.why,
                other.block.keys,
            )
        assert rows([one.block]) == rows([other.block])
    last = FIRST + 10**6
    assert rows([unbroken.silence(last)]) == rows([stage.silence(last)])
    assert stage.counts == unbroken.counts
    assert stage.snapshot() == unbroken.snapshot()


@given(deliveries(), st.integers(0, 90))
def test_a_prefix_of_the_lines_gives_a_prefix_of_the_closed_rows(lines: list[bytes], cut: int) -> None:
    whole = rows(feed(Ingest(SETTINGS, "deliveries", 0, start_ms=START), lines))
    part = rows(feed(Ingest(SETTINGS, "deliveries", 0, start_ms=START), lines[:cut]))
    assert whole[: len(part)] == part


def everything(lines: Sequence[bytes], source: str = "orders", settings: Settings = SETTINGS, **more: Any) -> tuple[list[Row], Ingest]:
    stage = Ingest(settings, source, 0, **({"start_ms": START} | more))
    blocks = feed(stage, lines)
    last = stage.silence(10**9)
    return rows([*blocks, last], settings), stage


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, LATENESS), st.sampled_from(["eu", "us"])), max_size=80), CUTS)
def test_arrival_shuffled_within_the_lateness_changes_nothing(events: list[tuple[int, int, str]], cuts: list[int]) -> None:
    named = [(ts, delay, line(order(at, START + ts, region=region))) for at, (ts, delay, region) in enumerate(events)]
    in_order = [each for _, _, each in sorted(named)]
    shuffled = [each for _, _, each in sorted(named, key=lambda event: event[0] + event[1])]
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    blocks = feed(stage, shuffled, [cut for cut in cuts if cut <= len(shuffled)])
    found = rows([*blocks, stage.silence(10**9)])
    expected, straight = everything(in_order)
    assert found == expected
    assert stage.counts == straight.counts
    assert stage.counts.late == 0


@given(st.lists(st.integers(0, 3000), min_size=30, max_size=80), st.lists(st.tuples(st.integers(0, 79), st.integers(0, 6)), max_size=30))
def test_copies_anywhere_in_the_open_bucket_change_nothing(steps: list[int], copies: list[tuple[int, int]]) -> None:
    lines = orders_of((START + np.cumsum(steps)).tolist())
    with_copies: list[list[bytes]] = [[each] for each in lines]
    for at, behind in copies:
        # At most six steps of 3 s behind its original: less than the lateness.
        if at + behind < len(lines):
            with_copies[at + behind].append(lines[at])
    expected, straight = everything(lines)
    found, stage = everything([each for group in with_copies for each in group])
    assert found == expected
    assert stage.counts.kept == straight.counts.kept
    assert stage.counts.doubled == sum(map(len, with_copies)) - len(lines)


@given(st.integers(0, 19), st.lists(st.integers(0, 2000), min_size=60, max_size=120))
def test_one_clock_in_twenty_an_hour_ahead_moves_no_frontier(wrong: int, steps: list[int]) -> None:
    times = (START + np.cumsum(steps)).tolist()
    right = [line(order(at, ts)) for at, ts in enumerate(times) if at % 20 != wrong]
    mixed = [line(order(at, ts + (3_600_000 if at % 20 == wrong else 0))) for at, ts in enumerate(times)]
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    blocks = feed(stage, mixed)
    assert stage.frontier is not None
    assert stage.frontier <= max(FIRST, (times[-1] - LATENESS) // BUCKET)
    assert stage.counts.late == 0
    # What is closed in time is what the right clocks said; the wrong ones wait in their own hour.
    found = rows([*blocks, stage.silence(FIRST + 359)])
    assert found == [row for row in everything(right)[0] if row[0] < FIRST + 359]


def test_a_pause_loses_nothing() -> None:
    pause_ms = 5 * 3_600_000
    times = [START + 1000 * at for at in range(100)] + [START + pause_ms + 1000 * at for at in range(100)]
    lines = orders_of(times)
    for end_ms in (None, START + pause_ms + 200_000):
        found, stage = everything(lines, end_ms=end_ms)
        assert stage.counts.kept == 200
        assert sum(row[-1] for row in found if row[1] == "orders") == 200
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    assert stage.feed(lines, 0, np.array(times)).dead == ()


def test_a_pause_closes_its_buckets_in_one_block_without_a_row_for_each() -> None:
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    stage.feed(orders_of([START + at for at in range(30)]), 0)
    block = stage.feed([line(order(100 + at, START + 86_400_000 + at)) for at in range(21)], 30).block
    assert block is not None
    assert (block.since, block.frontier, block.why) == (FIRST, FIRST + 8640 - 2, "advance")
    assert len(block) == 2


def test_silence_and_unread_close_open_buckets_and_say_why() -> None:
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    assert stage.feed(orders_of([START, START + 15_000]), 0).block is None
    silent = stage.silence(FIRST + 1)
    assert silent is not None
    assert (silent.source, silent.partition, silent.since, silent.frontier, silent.why, len(silent)) == ("orders", 0, FIRST, FIRST + 1, "silent", 2)
    assert stage.silence(FIRST + 1) is None
    assert stage.unread(FIRST) is None
    unread = stage.unread(FIRST + 9)
    assert unread is not None
    assert (unread.since, unread.frontier, unread.why, len(unread)) == (FIRST + 1, FIRST + 9, "unread", 2)
    mark = stage.silence(FIRST + 10)
    assert mark is not None
    assert len(mark) == 0
    stage.feed(orders_of([START + 95_000, START + 105_000]), 2)
    assert stage.counts.late == 1


def test_without_a_start_the_first_block_begins_with_the_first_events() -> None:
    stage = Ingest(SETTINGS, "orders", 0)
    assert stage.frontier is None
    assert stage.feed(orders_of([START + 1000 * at for at in range(20)]), 0).block is None
    silent = stage.silence(FIRST + 30)
    assert silent is not None
    assert (silent.since, silent.frontier) == (FIRST, FIRST + 30)
    nothing = Ingest(SETTINGS, "orders", 0).silence(FIRST)
    assert nothing is not None
    assert (nothing.since, nothing.frontier) == (FIRST, FIRST)


def test_events_before_the_start_are_late() -> None:
    found, stage = everything(orders_of([START - 1, START, START - 86_400_000]))
    assert (stage.counts.late, stage.counts.kept) == (2, 1)
    assert stage.counts.late_by == {("checkout", "eu", "1"): 2}
    assert {row[0] for row in found} == {FIRST}


def test_refused_lines_become_dead_letters_with_their_offset() -> None:
    stage = Ingest(SETTINGS, "orders", 3, start_ms=START)
    dead = stage.feed([b"", *orders_of([START]), b"{", line(order(1, START, region=None))], 88_214).dead
    assert [(letter.source, letter.partition, letter.offset, letter.reason) for letter in dead] == [
        ("orders", 3, 88_214, "empty"),
        ("orders", 3, 88_216, "json"),
        ("orders", 3, 88_217, "missing"),
    ]
    assert str(dead[2]) == "orders[3]@88217: event refused: field 'region' is null. Kept as dead letter."
    assert stage.counts.refused == {"empty": 1, "json": 1, "missing": 1}


TWO_IN_ONE = settings_of("""
sources:
  orders: {topic: shop, where: {type: [order_placed]}, fields: {type: type, service: {path: shop.service}}}
  errors: {topic: shop, where: {type: [error, 500]}, fields: {type: type}}
""")


def test_two_sources_may_share_a_topic_and_each_knows_only_its_own() -> None:
    lines = []
    for at in range(400):
        event = order(at, START + at * 500)
        lines.append(line({"type": "order_placed", "shop": {"service": event.pop("service")}, **event} if at % 4 else {"type": 500, **event}))
    for source, mine in (("orders", lines[1::4] + lines[2::4] + lines[3::4]), ("errors", lines[0::4])):
        shared = Ingest(TWO_IN_ONE, source, 0)
        blocks = feed(shared, lines, [7, 100, 350])
        alone = Ingest(TWO_IN_ONE, source, 0)
        assert rows(blocks, TWO_IN_ONE) == rows(feed(alone, sorted(mine, key=lines.index), [50]), TWO_IN_ONE)
        assert shared.frontier == alone.frontier
        assert (shared.counts.kept, shared.counts.filtered) == (len(mine), len(lines) - len(mine))
        assert alone.counts.filtered == 0


def test_a_filtered_record_leaves_no_trace_but_its_count() -> None:
    others = [
        line({"type": "refund", **order(1, START + 10**9)}),
        line({"type": "refund", **order(2, START)}),
        line({"ts": "never"}),
        b'{"type": "refund", "ts": 1}',
    ]
    mine = [line({"type": "order_placed", "shop": {"service": "cart"}, **order(at, START + at * 1000)}) for at in range(60)]
    mixed = [each for one in mine for each in (*others, one)]
    clean, stage = Ingest(TWO_IN_ONE, "orders", 0), Ingest(TWO_IN_ONE, "orders", 0)
    dead = stage.feed(mixed, 1).dead
    clean.feed(mine, 1)
    assert dead == ()
    assert stage.counts == msgspec.structs.replace(clean.counts, read=300, filtered=240)
    assert stage.frontier == clean.frontier
    assert rows([stage.silence(FIRST + 10)], TWO_IN_ONE) == rows([clean.silence(FIRST + 10)], TWO_IN_ONE)
    again = Ingest.restore(TWO_IN_ONE, "orders", 0, stage.snapshot())
    assert again.counts == stage.counts


def test_an_event_beyond_its_record_and_the_median_is_refused_as_future() -> None:
    now = [START + 1000 * at for at in range(40)]
    lines = [*orders_of(now), line(order(99, now[-1] + 700_000)), line(order(98, now[-1] + 500_000))]
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    given_out = stage.feed(lines, 0, np.array([*now, now[-1], now[-1]]))
    assert [(letter.offset, letter.reason) for letter in given_out.dead] == [(40, "future")]
    assert "700 s ahead of its record, at most 600 s allowed" in given_out.dead[0].detail


def test_in_files_only_what_lies_beyond_the_end_can_be_the_future() -> None:
    end_ms = START + 100_000
    lines = [*orders_of([START + 1000 * at for at in range(90)]), line(order(97, end_ms + 600_000)), line(order(98, end_ms + 600_001))]
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START, end_ms=end_ms)
    assert [letter.offset for letter in stage.feed(lines, 1).dead] == [92]
    # A case that ends too early loses nothing: its events are beyond the end, but not beyond their neighbours.
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START, end_ms=START - 300_000)
    assert stage.feed(orders_of([START + 4000 * at for at in range(400)]), 1).dead == ()


@given(st.integers(0, 60))
def test_the_future_is_judged_alike_in_every_batch(cut: int) -> None:
    ahead = np.random.default_rng(cut).choice([0, 0, 0, 900_000, 2_000_000], size=60).tolist()
    lines = orders_of([START + 1000 * at + each for at, each in enumerate(ahead)])
    whole, parts = (Ingest(SETTINGS, "orders", 0, start_ms=START, end_ms=START + 60_000) for _ in range(2))
    assert rows(feed(whole, lines)) == rows(feed(parts, lines, [cut]))
    assert whole.snapshot() == parts.snapshot()


def test_promised_and_actual_minutes_of_one_delivery_both_count() -> None:
    promised, actual = order(1, START, promised_minutes=30), order(1, START, actual_minutes=40)
    found, stage = everything([line(event) for event in (promised, actual, promised, actual, promised | actual)], "deliveries")
    assert [(row[1], row[-1]) for row in found] == [("actual_minutes", 1), ("promised_minutes", 1)]
    assert (stage.counts.kept, stage.counts.doubled) == (2, 3)


def test_how_many_events_carry_each_measured_field_is_counted() -> None:
    events = [order(1, START, promised_minutes=30), order(1, START, promised_minutes=30), order(2, START), order(3, START, promised_minutes=None)]
    _, stage = everything([line(event) for event in events], "deliveries")
    assert stage.counts.measured == {"actual_minutes": 0, "promised_minutes": 1}


def test_the_same_id_in_another_bucket_is_another_event() -> None:
    found, stage = everything([line(order(1, START)), line(order(1, START + BUCKET)), line(order(1, START + BUCKET))])
    assert (stage.counts.kept, stage.counts.doubled) == (2, 1)
    assert [row[-1] for row in found if row[1] == "orders"] == [1, 1]


def test_without_an_id_every_event_counts() -> None:
    text = "sources: {orders: {fields: {id: null}}}"
    found, stage = everything([line(order(1, START))] * 3, settings=settings_of(text))
    assert (stage.counts.kept, stage.counts.doubled) == (3, 0)
    assert [row[-1] for row in found] == [3, 3]


SALES = """
sources: {orders: {fields: {amount: amount, status: status}}, errors: {fields: {status: status}}}
metrics:
  revenue: {kind: sum, source: orders, field: amount, worse: lower, where: {status: [placed]}}
  refunds: {kind: count, source: orders, worse: higher, where: {status: [refunded, 7]}}
  errors: {where: {status: [broken]}}
"""


def test_sums_are_whole_cents_and_filters_choose_events() -> None:
    settings = settings_of(SALES)
    events = [("placed", 10.72), ("placed", 0.005), ("placed", -3.125), ("refunded", 99), ("7", 1), (7, 1), (None, 5), ("placed", None)]
    found, stage = everything([line(order(at, START, status=status, amount=amount)) for at, (status, amount) in enumerate(events)], settings=settings)
    key = ("checkout", "eu", "1")
    assert found == [
        (FIRST, "errors", "n", key, 0, 8),  # `where` chooses errors, not the orders they are measured against
        (FIRST, "orders", "count", key, 0, 8),
        (FIRST, "refunds", "count", key, 0, 3),
        (FIRST, "revenue", "count", key, 0, 3),
        (FIRST, "revenue", "sum", key, 0, 1072 + 0 - 312),
    ]
    assert stage.counts.kept == 8


def test_a_sum_beyond_64_bits_saturates() -> None:
    settings = settings_of(SALES.replace("revenue: {", "revenue: {scale: 1000000, "))
    found, _ = everything([line(order(at, START, status="placed", amount=1e12)) for at in range(30)], settings=settings)
    assert [row[-1] for row in found if row[1:3] == ("revenue", "sum")] == [2**63 - 1]


def test_a_label_explosion_keeps_the_same_values_for_any_order_and_leaves_the_rest_alone() -> None:
    settings = settings_of("labels: {max_values: 5, keep: {service: [checkout]}}")
    n = 200_000
    usual = [line(order(at, START + at // 2, region="eu" if at % 3 else "us")) for at in range(0, n, 100)]
    wild = [line(order(n + at, START + at // 2, service=f"s{at}", version=f"v{at}")) for at in range(n)]
    named = [(json.loads(each)["ts"], each) for each in wild + usual]
    results = []
    for seed in (1, 2):
        delays = np.random.default_rng(seed).integers(LATENESS, size=len(named)).tolist()
        lines = [each for _, each in sorted((ts + delay, each) for (ts, each), delay in zip(named, delays, strict=True))]
        stage = Ingest(settings, "orders", 0, start_ms=START)
        most = 0
        blocks = []
        for at in range(0, len(lines), 10_000):
            blocks.append(stage.feed(lines[at : at + 10_000], at).block)
            most = max(most, len(stage._keys), len(stage._open))
        assert most < 2 * MANY_KEYS + 10_000
        found = rows([*blocks, stage.silence(FIRST + 100)], settings)
        assert stage.counts.kept == len(lines)
        results.append(found)
        kept = {row[3][0] for row in found}
        assert kept >= {"checkout", OTHER}
        for label in (0, 2):
            assert max(len({row[3][label] for row in found if row[0] == bucket}) for bucket in range(FIRST, FIRST + 10)) <= 6
    assert results[0] == results[1]
    alone = rows([*feed(stage := Ingest(settings, "orders", 0, start_ms=START), usual), stage.silence(FIRST + 100)], settings)

    def of_checkout(found: list[Row]) -> Counter[tuple[int, str, str]]:
        sums: Counter[tuple[int, str, str]] = Counter()
        for bucket, metric, _, key, _, value in found:
            if key[0] == "checkout":
                sums[bucket, metric, key[1]] += value
        return sums

    assert of_checkout(results[0]) == of_checkout(alone)
    assert sum(row[-1] for row in results[0] if row[1] == "orders") == len(wild + usual)


def test_late_events_of_many_series_stay_few_counters() -> None:
    settings = settings_of("labels: {max_values: 5}")
    lines = [line(order(at, START - BUCKET, service=f"s{at}", version=f"v{at}")) for at in range(20_000)]
    counted = []
    for seed, size in ((1, 1000), (2, 7000)):
        lines = [lines[at] for at in np.random.default_rng(seed).permutation(len(lines)).tolist()]
        stage = Ingest(settings, "orders", 0, start_ms=START)
        feed(stage, lines, range(size, len(lines), size))
        assert stage.counts.late == sum(stage.counts.late_by.values()) == 20_000
        counted.append(stage.counts.late_by)
    assert counted[0] == counted[1]
    assert len(counted[0]) <= 36


def test_a_snapshot_of_other_settings_partition_or_version_is_refused() -> None:
    data = Ingest(SETTINGS, "orders", 0, start_ms=START).snapshot()
    for settings, source, partition, damaged in (
        (settings_of("bucket: 5s"), "orders", 0, data),
        (SETTINGS, "errors", 0, data),
        (SETTINGS, "orders", 1, data),
        (SETTINGS, "orders", 0, data[:-3]),
        (SETTINGS, "orders", 0, b""),
        (SETTINGS, "orders", 0, b"\x93" * 5000),
    ):
        with pytest.raises(SnapshotError, match="snapshot refused") as caught:
            Ingest.restore(settings, source, partition, damaged)
        assert caught.value.code == "snapshot"
        assert isinstance(caught.value, RollguardError)


def test_an_empty_feed_changes_nothing() -> None:
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    before = stage.snapshot()
    given_out = stage.feed([], 0)
    assert (given_out.block, given_out.dead, stage.snapshot()) == (None, (), before)


SCRIPT = """
import hashlib, json
from rollguard.config import Layer, default_text, load_layers
from rollguard.streams import Ingest, Merger
settings = load_layers([Layer(default_text(), "default.yaml"), Layer("labels: {max_values: 4}", "test.yaml")])
stage, merger = Ingest(settings, "orders", 0, start_ms=0), Merger(settings, [("orders", 0)])
events = [
    {"event_id": f"o{at % 400}", "ts": 1775001600000 + 200 * at, "service": f"s{at % 31}", "region": f"r{at % 7}", "version": f"v{at % 13}"}
    for at in range(900)
]
found = []
for at in range(0, 900, 50):
    block = stage.feed([json.dumps(event).encode() for event in events[at : at + 50]], at).block
    closed = block and merger.feed(block)
    if closed:
        found.append((closed.keys, [column.tolist() for column in (closed.bucket, closed.measure, closed.key, closed.bin, closed.value)]))
print(hashlib.sha256(repr(found).encode() + stage.snapshot() + merger.snapshot()).hexdigest(), len(found))
"""


def test_every_process_gives_the_same_bytes() -> None:
    def output(seed: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"} | {"PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-P", "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment).stdout

    assert output("1") == output("2")
    assert int(output("3").split()[1]) > 5


@given(st.lists(st.integers(-3_600_000, 600_000), min_size=1, max_size=30))
def test_the_clock_is_that_of_most_events_and_of_one_or_two_that_which_is_behind(skews: list[int]) -> None:
    stage = Ingest(SETTINGS, "orders", 0)
    stamps = [START + 4_000_000 + 1000 * number for number in range(len(skews))]
    lines = [line(order(number, stamp + skew)) for number, (stamp, skew) in enumerate(zip(stamps, skews, strict=True))]
    stage.feed(lines, 0, np.array(stamps, dtype=np.int64))
    last = skews[-21:]
    assert stage.clock(0) == (min(last) if len(last) < 3 else sorted(last)[len(last) // 2])
