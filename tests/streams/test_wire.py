"""The log of blocks as bytes: what was written comes back, and what is none is refused."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.streams import Block, BlockCodec, Ingest, Partitions, Vacant, WireError
from tests.streams.test_ingest import CUTS, SETTINGS, deliveries, feed

CODEC = BlockCodec(SETTINGS)


def settings_of(text: str) -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


def same(one: Block, other: Block) -> bool:
    columns = ("bucket", "measure", "key", "bin", "value")
    plain = ("source", "partition", "since", "frontier", "why", "keys", "offset", "lacks")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in columns)


def blocks_of(lines: Sequence[bytes], cuts: Sequence[int]) -> list[Block]:
    """What an ingest says of some lines, and at the end that nothing more came."""
    stage = Ingest(SETTINGS, "deliveries", 3)
    found = feed(stage, lines, cuts)
    last = stage.silence((stage.frontier or 0) + 7)
    return found if last is None else [*found, last]


@given(deliveries(), CUTS)
def test_a_block_comes_back_as_it_was_and_has_the_id_of_what_it_speaks_of(lines: list[bytes], cuts: list[int]) -> None:
    blocks = blocks_of(lines, cuts)
    for block in blocks:
        found = CODEC.decode(CODEC.encode(block))
        assert isinstance(found, Block)
        assert same(found, block)
        assert CODEC.id_of(found) == CODEC.id_of(block)
    assert len({CODEC.id_of(block) for block in blocks}) == len(blocks)


@given(st.text(max_size=9), st.integers(0, 99), st.booleans())
def test_marks_come_back_as_they_were(source: str, number: int, flag: bool) -> None:
    for mark in (Partitions(source=source, count=number, exact=flag), Vacant(source=source, partition=number, vacant=flag)):
        assert CODEC.decode(CODEC.encode(mark)) == mark


@given(deliveries(), st.data())
def test_of_damaged_bytes_nothing_is_read_but_what_could_be_a_record(lines: list[bytes], data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(data.draw(st.sampled_from(blocks_of(lines, [])))))
    if data.draw(st.booleans()):
        value = value[: data.draw(st.integers(0, len(value) - 1))]
    else:
        value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(WireError):
        found = CODEC.decode(bytes(value))
        # A flipped bit in a number is a number; it speaks of columns of one length, and of keys that there are.
        assert isinstance(found, Block | Partitions | Vacant)
        if isinstance(found, Block):
            assert len({len(column) for column in (found.bucket, found.measure, found.key, found.bin, found.value)}) == 1
            assert all(0 <= key < len(found.keys) for key in found.key.tolist())


@given(st.binary(max_size=60))
def test_bytes_of_something_else_are_refused(value: bytes) -> None:
    with pytest.raises(WireError):
        CODEC.decode(value)


@given(deliveries(), CUTS)
def test_under_other_settings_a_block_counts_as_far_as_its_metrics_mean_the_same(lines: list[bytes], cuts: list[int]) -> None:
    fewer = BlockCodec(settings_of("metrics: {promised_minutes: null}"))
    for block in blocks_of(lines, cuts):
        found = fewer.decode(CODEC.encode(block))
        assert isinstance(found, Block)
        back = CODEC.decode(fewer.encode(found))
        assert isinstance(back, Block)
        assert back.lacks == ("promised_minutes",)
        assert (back.since, back.frontier, back.offset) == (block.since, block.frontier, block.offset)


def test_blocks_of_buckets_of_another_length_close_whole_buckets_only() -> None:
    longer = BlockCodec(settings_of("bucket: 1m"))
    block = Ingest(SETTINGS, "orders", 0, start_ms=60_000 * 7).silence(6 * 9 + 5)
    assert block is not None
    found = longer.decode(CODEC.encode(block))
    assert isinstance(found, Block)
    assert (found.since, found.frontier) == (7, 10)
