import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers
from rollguard.streams import Block, Closed, Ingest, Key, Merger, Partitions, SnapshotError, Why
from rollguard.streams.cap import OTHER

START = 1_775_001_600_000
FIRST = START // 10_000
PLACES = [("errors", 0), ("orders", 0), ("orders", 1)]
Cell = tuple[int, int, Key, int]


def settings_of(text: str = "") -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


SETTINGS = settings_of()


def block_of(place: tuple[str, int], since: int, frontier: int, cells: dict[Cell, int] | None = None, why: Why = "advance") -> Block:
    cells = cells or {}
    keys = tuple(sorted({cell[2] for cell in cells}))
    ordered = sorted((bucket, measure, keys.index(key), bin_, value) for (bucket, measure, key, bin_), value in cells.items())
    bucket, measure, key, bin_, value = zip(*ordered, strict=True) if ordered else ((), (), (), (), ())
    return Block(
        *place,
        since,
        frontier,
        why,
        keys,
        np.array(bucket, dtype=np.int64),
        np.array(measure, dtype=np.int16),
        np.array(key, dtype=np.int32),
        np.array(bin_, dtype=np.int16),
        np.array(value, dtype=np.int64),
    )


KEYS: st.SearchStrategy[Key] = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["eu", "us"]), st.sampled_from(["", "1"]))


@st.composite
def logs(draw: st.DrawFn) -> list[list[Block]]:
    """For each partition its blocks in order; all end at bucket 12."""
    found = []
    for place in PLACES:
        ends = sorted({*draw(st.lists(st.integers(1, 11), max_size=4)), 12})
        since, blocks = draw(st.sampled_from([0, 0, 0, ends[0]])), []
        for end in ends:
            cells: dict[Cell, int] = draw(
                st.dictionaries(st.tuples(st.integers(since, max(since, end - 1)), st.integers(0, 3), KEYS, st.integers(-1, 1)), st.integers(1, 9), max_size=5)
            )
            why: Why = draw(st.sampled_from(["advance", "advance", "clock", "silent", "unread"]))
            blocks.append(block_of(place, since, end, cells if since < end else {}, why))
            since = end
        found.append(blocks)
    return found


def interleaved(parts: Sequence[Sequence[Block]], chance: random.Random) -> list[Block]:
    turns = [at for at, part in enumerate(parts) for _ in part]
    chance.shuffle(turns)
    rest = [iter(part) for part in parts]
    return [next(rest[turn]) for turn in turns]


def fed(merger: Merger, blocks: Iterable[Block]) -> list[Closed]:
    return [closed for block in blocks if (closed := merger.feed(block)) is not None]


class Joined:
    """Some `Closed` put together: all that may not depend on how they were cut."""

    def __init__(self, parts: Sequence[Closed]) -> None:
        for one, other in pairwise(parts):
            assert one.end == other.start
            assert other.keys[: len(one.keys)] == one.keys
        for part in parts:
            assert part.start < part.end
            places = list(zip(part.bucket.tolist(), part.measure.tolist(), part.key.tolist(), part.bin.tolist(), strict=True))
            assert places == sorted(set(places))
            assert all(part.start <= bucket < part.end for bucket in part.bucket.tolist())
            assert all(len(flags) == part.end - part.start for flags in (*part.missing.values(), *part.silent.values()))
        self.span = (parts[0].start, parts[-1].end) if parts else None
        self.keys = parts[-1].keys if parts else ()
        self.columns = [
            (bucket, measure, key, bin_, value)
            for part in parts
            for bucket, measure, key, bin_, value in zip(
                part.bucket.tolist(), part.measure.tolist(), part.key.tolist(), part.bin.tolist(), part.value.tolist(), strict=True
            )
        ]
        self.missing = {name: [flag for part in parts for flag in part.missing[name].tolist()] for name in ("errors", "orders")}
        self.silent = {name: [flag for part in parts for flag in part.silent[name].tolist()] for name in ("errors", "orders")}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joined) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def cells(self) -> Counter[Cell]:
        return Counter({(bucket, measure, self.keys[key], bin_): value for bucket, measure, key, bin_, value in self.columns})


def cells_of(blocks: Iterable[Block]) -> Counter[Cell]:
    sums: Counter[Cell] = Counter()
    for block in blocks:
        for bucket, measure, key, bin_, value in zip(
            *(column.tolist() for column in (block.bucket, block.measure, block.key, block.bin, block.value)), strict=True
        ):
            sums[bucket, measure, block.keys[key], bin_] += value
    return sums


@given(logs(), st.randoms(use_true_random=False))
def test_what_closes_is_the_sum_of_all_blocks(parts: list[list[Block]], chance: random.Random) -> None:
    joined = Joined(fed(Merger(SETTINGS, PLACES), interleaved(parts, chance)))
    cells = cells_of(block for part in parts for block in part)
    assert joined.cells() == cells
    # What lies before the first row of all was perhaps not watched.
    start = min((bucket for bucket, *_ in cells), default=12)
    assert joined.span == ((start, 12) if cells else None)
    for why, flags in (("unread", joined.missing), ("silent", joined.silent)):
        for name in ("errors", "orders"):
            expected = [False] * (12 - start)
            for part in parts:
                if part[0].source == name:
                    spans = [(block.since, block.frontier) for block in part if block.why == why]
                    if why == "unread":
                        spans.append((start, part[0].since))
                    for since, end in spans:
                        for bucket in range(max(since, start), end):
                            expected[bucket - start] = True
            assert flags[name] == expected


@given(logs(), st.randoms(use_true_random=False))
def test_how_partitions_are_interleaved_does_not_matter(parts: list[list[Block]], chance: random.Random) -> None:
    one, other = Merger(SETTINGS, PLACES), Merger(SETTINGS, reversed(PLACES))
    assert Joined(fed(one, interleaved(parts, chance))) == Joined(fed(other, interleaved(parts, chance)))
    assert one.snapshot() == other.snapshot()


@given(logs(), st.randoms(use_true_random=False), st.integers(0, 15))
def test_keys_are_numbered_by_first_bucket_and_value(parts: list[list[Block]], chance: random.Random, cut: int) -> None:
    parted = fed(Merger(SETTINGS, PLACES), interleaved(parts, chance)[:cut])
    joined = Joined(parted)
    firsts: dict[Key, int] = {}
    for bucket, _, key, _ in sorted(joined.cells()):
        firsts.setdefault(key, bucket)
    assert list(joined.keys) == sorted(firsts, key=lambda key: (firsts[key], key))


@given(logs(), st.randoms(use_true_random=False), st.integers(0, 15))
def test_a_merger_restored_at_any_block_goes_on_as_if_never_stopped(parts: list[list[Block]], chance: random.Random, stop: int) -> None:
    blocks = interleaved(parts, chance)
    unbroken, stopped = Merger(SETTINGS, PLACES), Merger(SETTINGS, PLACES)
    before = fed(stopped, blocks[:stop])
    stopped = Merger.restore(SETTINGS, stopped.snapshot())
    whole = fed(unbroken, blocks)
    assert [(closed.start, closed.end) for closed in before + fed(stopped, blocks[stop:])] == [(closed.start, closed.end) for closed in whole]
    again = Merger.restore(SETTINGS, (first := Merger(SETTINGS, PLACES)).snapshot())
    assert Joined(fed(again, blocks)) == Joined(whole)
    assert first.frontier is None
    assert stopped.snapshot() == unbroken.snapshot()


@given(logs(), st.randoms(use_true_random=False), st.integers(0, 15))
def test_what_comes_after_a_restart_is_what_would_have_come(parts: list[list[Block]], chance: random.Random, stop: int) -> None:
    blocks = interleaved(parts, chance)
    merger = Merger(SETTINGS, PLACES)
    fed(merger, blocks[:stop])
    other = Merger.restore(SETTINGS, merger.snapshot())
    assert Joined(fed(merger, blocks[stop:])) == Joined(fed(other, blocks[stop:]))


@given(logs(), st.randoms(use_true_random=False))
def test_blocks_heard_twice_change_nothing(parts: list[list[Block]], chance: random.Random) -> None:
    blocks = interleaved(parts, chance)
    expected = Joined(fed(Merger(SETTINGS, PLACES), blocks))
    assert Joined(fed(Merger(SETTINGS, PLACES), [each for block in blocks for each in (block, block)])) == expected
    assert Joined(fed(Merger(SETTINGS, PLACES), [*blocks, *blocks])) == expected


def test_of_a_block_that_reaches_back_only_the_new_buckets_count() -> None:
    key = ("a", "eu", "1")
    merger = Merger(SETTINGS, [("orders", 0)])
    merger.feed(block_of(("orders", 0), 0, 5, {(4, 3, key, 0): 1}))
    closed = merger.feed(block_of(("orders", 0), 3, 8, {(4, 3, key, 0): 9, (6, 3, key, 0): 2}, "silent"))
    assert closed is not None
    assert (closed.start, closed.end, closed.bucket.tolist(), closed.value.tolist()) == (5, 8, [6], [2])
    assert closed.silent["orders"].tolist() == [True] * 3


def test_a_gap_between_blocks_is_missing() -> None:
    merger = Merger(SETTINGS, [("orders", 0)])
    merger.feed(block_of(("orders", 0), 0, 2, {(0, 3, ("a", "eu", "1"), 0): 1}))
    closed = merger.feed(block_of(("orders", 0), 4, 6))
    assert closed is not None
    assert closed.missing["orders"].tolist() == [True, True, False, False]


def test_nothing_closes_before_every_partition_has_spoken() -> None:
    merger = Merger(SETTINGS, PLACES)
    assert merger.feed(block_of(PLACES[0], 0, 9, {(0, 3, ("a", "eu", "1"), 0): 1})) is None
    assert merger.feed(block_of(PLACES[1], 0, 9)) is None
    before = merger.frontier
    closed = merger.feed(block_of(PLACES[2], 3, 5))
    assert closed is not None
    assert (before, closed.start, closed.end, merger.frontier) == (None, 0, 5, 5)
    assert closed.missing["orders"].tolist() == [True, True, True, False, False]
    assert closed.missing["errors"].tolist() == [False] * 5


def test_a_partition_that_nobody_announced_is_refused() -> None:
    with pytest.raises(RollguardError, match=r"orders\[7\]") as caught:
        Merger(SETTINGS, PLACES).feed(block_of(("orders", 7), 0, 1))
    assert caught.value.code == "unknown_partition"
    with pytest.raises(RollguardError, match="no partition given"):
        Merger(SETTINGS, [])


def test_a_source_that_was_taken_out_of_the_settings_holds_nothing_back() -> None:
    merger = Merger(settings_of("sources: {deliveries: null}\nmetrics: {promised_minutes: null, actual_minutes: null}"))
    for source in ("orders", "errors", "deliveries"):
        merger.feed(Partitions(source=source, count=1))
    one: dict[Cell, int] = {(4, 0, ("a", "eu", "1"), 0): 1}
    closed = fed(merger, [block_of((source, 0), 0, 9, one if source == "orders" else None) for source in ("deliveries", "orders", "errors")])
    # From here on the log never hears of it again.
    closed += fed(merger, [block_of((source, 0), 9, 12) for source in ("orders", "errors")])
    assert [(each.start, each.end) for each in closed] == [(4, 9), (9, 12)]
    assert all(set(each.missing) == {"orders", "errors"} for each in closed)


def test_a_snapshot_of_other_settings_is_refused() -> None:
    data = Merger(SETTINGS, PLACES).snapshot()
    with pytest.raises(SnapshotError, match="settings"):
        Merger.restore(settings_of("bucket: 5s"), data)


# Events with the time at which they come: all within the lateness.
EVENTS = st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 20_000), st.sampled_from([f"s{n}" for n in range(8)]), st.integers(0, 2)), max_size=80)


def closed_by(events: Sequence[tuple[int, int, str, int]], settings: Settings, n_partitions: int) -> Joined:
    arrived = sorted((ts + delay, ts, service, at, part) for at, (ts, delay, service, part) in enumerate(events))
    merger, blocks = Merger(settings, [("orders", part) for part in range(n_partitions)] + [("errors", 0)]), []
    for number in range(n_partitions):
        mine = [
            msgspec.json.encode({"event_id": at, "ts": START + ts, "service": service, "region": "eu"})
            for _, ts, service, at, part in arrived
            if part % n_partitions == number
        ]
        stage = Ingest(settings, "orders", number, start_ms=START)
        found = [stage.feed(mine[at : at + 7], at).block for at in range(0, len(mine), 7)]
        blocks += [each for each in [*found, stage.silence(FIRST + 40)] if each is not None]
    silent = Ingest(settings, "errors", 0, start_ms=START).silence(FIRST + 40)
    assert silent is not None
    return Joined(fed(merger, [*blocks, silent]))


@given(EVENTS)
def test_how_a_source_is_cut_into_partitions_does_not_matter(events: list[tuple[int, int, str, int]]) -> None:
    settings = settings_of("labels: {max_values: 3}")
    one, three = closed_by(events, settings, 1), closed_by(events, settings, 3)
    assert one.columns == three.columns
    assert one.keys == three.keys


def test_the_cap_holds_over_all_partitions_together() -> None:
    settings = settings_of("labels: {max_values: 2}")
    merger = Merger(settings, [("orders", 0), ("orders", 1)])
    merger.feed(block_of(("orders", 0), 0, 1, {(0, 3, (name, "eu", "1"), 0): 1 for name in ("a", "b")}))
    closed = merger.feed(block_of(("orders", 1), 0, 1, {(0, 3, (name, "eu", "1"), 0): 1 for name in ("c", "d")}))
    assert closed is not None
    assert len(closed.keys) == 3
    assert dict(zip([key[0] for key in closed.keys], closed.value[np.argsort(closed.key)].tolist(), strict=True))[OTHER] == 2


def test_many_small_blocks_of_one_partition_wait_for_the_other_in_few_parts() -> None:
    key = ("a", "eu", "1")
    merger = Merger(SETTINGS, [("orders", 0), ("orders", 1)])
    for bucket in range(3000):
        merger.feed(block_of(("orders", 0), bucket, bucket + 1, {(bucket, 3, key, 0): bucket + 1}))
    assert len(merger._waiting) <= 13
    closed = merger.feed(block_of(("orders", 1), 0, 3000, {(5, 3, key, 0): 100}, "silent"))
    assert closed is not None
    assert closed.value.tolist() == [bucket + 1 + (100 if bucket == 5 else 0) for bucket in range(3000)]
    assert closed.silent["orders"].all()


def test_keys_that_nothing_waits_for_are_forgotten() -> None:
    merger = Merger(settings_of("labels: {max_values: 10000}"), [("orders", 0)])
    for bucket in range(20):
        merger.feed(block_of(("orders", 0), bucket, bucket + 1, {(bucket, 3, ("a", "eu", f"v{bucket}-{n}"), 0): 1 for n in range(1000)}))
    assert len(merger._waiting_keys) < 10_000


@given(logs(), st.integers(0, 13))
def test_a_block_cut_at_a_bucket_says_what_it_said_before_it(parts: list[list[Block]], end: int) -> None:
    for block in (each for part in parts for each in part):
        before = block.until(end)
        wanted = Counter({cell: value for cell, value in cells_of([block]).items() if cell[0] < end})
        assert cells_of([] if before is None else [before]) == wanted
        assert before is None or (before.since, before.frontier) == (block.since, min(block.frontier, end))
        assert (before is None) == (block.since >= end and block.frontier > end)
