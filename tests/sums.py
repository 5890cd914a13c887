"""What a log of blocks adds up to, in a form that tests compare."""

from __future__ import annotations

from collections.abc import Iterable

from rollguard.config import Settings
from rollguard.streams import BlockRecord, Merger

#: By bucket, measure, label values and bin.
Sums = dict[tuple[int, int, tuple[str, ...], int], int]


def sums_of(settings: Settings, records: Iterable[BlockRecord]) -> Sums:
    """Every bucket that has closed, the first copy of each block; no two copies may differ."""
    merger = Merger(settings)
    found: Sums = {}
    for record in records:
        closed = merger.feed(record)
        if closed is not None:
            for bucket, measure, key, bin_, number in zip(
                *(column.tolist() for column in (closed.bucket, closed.measure, closed.key, closed.bin, closed.value)), strict=True
            ):
                found[bucket, measure, closed.keys[key], bin_] = number
    assert merger.conflicts == {}
    return found
