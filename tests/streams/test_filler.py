"""What a block lacks is filled from the events it was made of: it then says what ingest would have said under the settings of now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Settings
from rollguard.streams import Block, BlockCodec, Filler, Ingest, Origin
from tests.streams.test_ingest import CUTS, LATENESS, START, Row, deliveries, orders_of, rows, settings_of

NOW = settings_of()
#: What was counted before: a metric less, other labels, other buckets, another field.
BEFORE = {
    "a metric is new": settings_of("metrics: {promised_minutes: null}"),
    "a label is new": settings_of("labels: {watched: [service]}\nmetrics: {errors: {on: [service]}}"),
    "buckets were shorter": settings_of("bucket: 5s"),
    "a field was another": settings_of("metrics: {promised_minutes: {field: actual_minutes}}"),
}
#: Moves of the frontier by the clock, in buckets, after so many lines.
MOVES = st.dictionaries(st.integers(0, 90), st.integers(1, 40), max_size=3)


def lived(settings: Settings, lines: Sequence[bytes], cuts: Sequence[int], moves: dict[int, int]) -> list[Block]:
    """What ingest sent, whose frontier the clock moved now and then."""
    stage = Ingest(settings, "deliveries", 0, whole=True)
    found: list[Block | None] = []
    at = 0
    for end in [*sorted({*cuts, *moves}), len(lines)]:
        found.append(stage.feed(lines[at:end], at).block)
        at = max(at, min(end, len(lines)))
        if end in moves:
            frontier = (stage.frontier or START // settings.bucket_ms) + moves[end]
            # The clock moves all alike, whatever their buckets.
            found.append(stage.silence(-(-frontier * settings.bucket_ms // NOW.bucket_ms) * NOW.bucket_ms // settings.bucket_ms))
    return [each for each in found if each is not None]


def filled(filler: Filler, blocks: Sequence[Block], lines: Sequence[bytes], before: Settings) -> list[Block]:
    """The blocks of a log, read under the settings of now."""
    written, read = BlockCodec(before), BlockCodec(NOW)
    found: list[Block] = []
    for each in blocks:
        block = read.decode(written.encode(each))
        assert isinstance(block, Block)
        wanted = filler.wants(block)
        if wanted is not None:
            chosen = list(lines[wanted.first : wanted.end])
            filler.take(wanted.source, wanted.partition, chosen, np.arange(wanted.first, wanted.end), np.full(len(chosen), -1))
        found += filler.filled(block)
    return found


def measured(blocks: Sequence[Block], until: int) -> list[Row]:
    return sorted(row for row in rows(blocks) if row[0] < until)


@pytest.mark.parametrize("what", BEFORE)
@given(deliveries(), CUTS, MOVES)
def test_a_filled_log_says_what_ingest_would_have_said(what: str, lines: list[bytes], cuts: list[int], moves: dict[int, int]) -> None:
    before = BEFORE[what]
    blocks = lived(before, lines, cuts, moves)
    origins = {("deliveries", 0): Origin(offset=0, whole=True)}
    found = filled(Filler(NOW, origins, NOW.metrics), blocks, lines, before)
    assert not any(block.lacks for block in found)
    # The same moves of the frontier, as the log tells them.
    stage, expected, at = Ingest(NOW, "deliveries", 0, whole=True), [], 0
    for block in found:
        expected.append(stage.feed(lines[at : block.offset], at).block)
        at = max(at, block.offset)
        expected.append(stage.silence(block.frontier))
    until = found[-1].frontier if found else 0
    assert measured(found, until) == measured([each for each in expected if each is not None], until)


def test_a_metric_that_is_not_asked_for_goes_on_lacking_its_past() -> None:
    lines = orders_of(range(START, START + 600_000, 5_000), promised_minutes=30)
    before = settings_of("metrics: {promised_minutes: null}")
    blocks = lived(before, lines, [20, 60], {})
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=0, whole=True)}, ["orders"])
    assert [block.lacks for block in filled(filler, blocks, lines, before)] == [("promised_minutes",)] * len(blocks)


def test_of_a_log_whose_beginning_is_gone_the_first_buckets_go_on_lacking() -> None:
    lines = orders_of(range(START, START + 600_000, 1_000), promised_minutes=30)
    before = settings_of("metrics: {promised_minutes: null}")
    blocks = lived(before, lines, [400], {})
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=200, whole=False)}, NOW.metrics)
    found = filled(filler, blocks, lines, before)
    assert [bool(block.lacks) for block in found] == [True, False, False]
    first = found[1].since
    assert found[0].frontier == first
    # No bucket that is told has lost an event to what is gone.
    assert first * NOW.bucket_ms >= START + 200_000
    assert first * NOW.bucket_ms <= START + 200_000 + 2 * LATENESS
    assert all(row[5] == 10 for row in rows(found[1:]) if row[1] == "promised_minutes")
    assert {row[0] for row in rows(found[1:]) if row[1] == "promised_minutes"} == set(range(first, found[-1].frontier))


def test_events_before_the_moment_asked_for_are_left_out() -> None:
    lines = orders_of(range(START, START + 600_000, 1_000), promised_minutes=30)
    before = settings_of("metrics: {promised_minutes: null}")
    since_ms = START + 300_000
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=250, whole=False, since_ms=since_ms)}, NOW.metrics)
    found = filled(filler, lived(before, lines, [], {}), lines, before)
    assert [bool(block.lacks) for block in found] == [True, False]
    assert found[1].since == since_ms // NOW.bucket_ms
    assert all(row[5] == 10 for row in rows(found[1:]) if row[1] == "promised_minutes")


def test_a_block_that_comes_again_is_filled_with_the_same() -> None:
    lines = orders_of(range(START, START + 600_000, 1_000), promised_minutes=30)
    before = settings_of("metrics: {promised_minutes: null}")
    blocks = lived(before, lines, [200, 300, 400, 500], {})
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=0, whole=True)}, NOW.metrics)
    found = filled(filler, [*blocks, *blocks[-2:]], lines, before)
    assert rows(found[-2:]) == rows(found[-4:-2])


@pytest.mark.parametrize("at", range(1, 6))
def test_a_filler_restored_at_any_block_goes_on_as_if_never_stopped(at: int) -> None:
    lines = orders_of(range(START, START + 600_000, 1_000), promised_minutes=30)
    before = settings_of("metrics: {promised_minutes: null}")
    blocks = lived(before, lines, [100, 200, 300, 400, 500], {250: 4})
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=0, whole=True)}, NOW.metrics)
    found = filled(filler, blocks[:at], lines, before)
    filler = Filler.restore(NOW, filler.snapshot())
    found += filled(filler, blocks[at:], lines, before)
    whole = filled(Filler(NOW, {("deliveries", 0): Origin(offset=0, whole=True)}, NOW.metrics), blocks, lines, before)
    assert rows(found) == rows(whole)


def test_a_partition_is_let_go_once_its_blocks_lack_nothing() -> None:
    lines = orders_of(range(START, START + 600_000, 1_000), promised_minutes=30)
    filler = Filler(NOW, {("deliveries", 0): Origin(offset=0, whole=True)}, NOW.metrics)
    assert filler
    blocks = lived(NOW, lines, [], {})
    assert rows(filled(filler, blocks, lines, NOW)) == rows(blocks)
    assert not filler
