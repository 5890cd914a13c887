"""What leaves the room: blocks, closed buckets, dead letters, counts, and what a broken snapshot is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import msgspec

from rollguard.config import RollguardError
from rollguard.streams.rows import Bools, Codes, Ints, Key, Rows, Shorts, renumbered
from rollguard.streams.watermark import NEVER

__all__ = ["Block", "Closed", "DeadLetter", "IngestCounts", "Ingested", "Partitions", "Resume", "SnapshotError", "Vacant", "Why", "rescaled"]

Why = Literal["advance", "clock", "silent", "unread"]


class SnapshotError(RollguardError):
    """A snapshot that this stage cannot go on from; read the log from its start instead."""

    code = "snapshot"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A line that was refused, and why.

    Attributes
    ----------
    source : str
    partition : int
    offset : int
        Of the record in its partition; in files the number of the line, from 1.
    reason : str
        Stable short code, one of `REASONS`.
    detail : str
        One sentence for a person.
    """

    source: str
    partition: int
    offset: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.source}[{self.partition}]@{self.offset}: event refused: {self.detail} Kept as dead letter."


class IngestCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines of one partition; read = kept + refused + late + doubled + filtered.

    Attributes
    ----------
    read, kept, late, doubled, filtered : int
        Lines; `doubled` are copies of an event that an open bucket has already seen, `filtered` do not belong to the source (`where`).
    refused : dict of str to int
        Lines by the reason of their dead letter.
    late_by : dict of label values to int
        Late events of each series, under the label cap.
    measured : dict of str to int
        Events kept that carry each measured field, by our name of it.
    """

    read: int = 0
    kept: int = 0
    late: int = 0
    doubled: int = 0
    filtered: int = 0
    refused: dict[str, int] = {}
    late_by: dict[Key, int] = {}
    measured: dict[str, int] = {}

    @classmethod
    def together(cls, parts: Iterable[IngestCounts]) -> IngestCounts:
        """Sum of the counts of several partitions."""
        found = list(parts)
        whole: dict[str, Any] = {name: sum(getattr(each, name) for each in found) for name in ("read", "kept", "late", "doubled", "filtered")}
        for name in ("refused", "late_by", "measured"):
            sums: dict[Any, int] = {}
            for each in found:
                for key, number in getattr(each, name).items():
                    sums[key] = sums.get(key, 0) + number
            whole[name] = sums
        return cls(**whole)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Partial sums of the buckets that one partition of one source has closed.

    Attributes
    ----------
    source, partition : str, int
        Where it comes from.
    since, frontier : int
        It closes the buckets from `since` up to, not with, `frontier`; of every earlier one the partition has spoken before.
    why : str
        Why the frontier moved: events came (`advance`), or so few that the log's own time says more (`clock`), the reader stands at the end
        of the log (`silent`: no event is a true zero), or the log could not be read (`unread`: no event says nothing).
    keys : tuple of keys
        Label values, ascending; `key` is a place in it.
    bucket, measure, key, bin, value : (n,) int64, int16, int32, int16, int64
        As in `Rows`: sorted by bucket, measure, key and bin, no cell twice. `value` in events or units of 1/scale.
    offset : int
        The next record to be read when it closed them; -1: not known.
    lacks : tuple of str
        Metrics of its source that it says nothing of: it was made under settings that did not have them, or meant something else by them.
    """

    source: str
    partition: int
    since: int
    frontier: int
    why: Why
    keys: tuple[Key, ...]
    bucket: Ints
    measure: Shorts
    key: Codes
    bin: Shorts
    value: Ints
    offset: int = -1
    lacks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.bucket)

    def rows(self) -> Rows:
        """Its columns."""
        return Rows(self.bucket, self.measure, self.key, self.bin, self.value)

    def until(self, end: int) -> Self | None:
        """The part of it before a bucket; None when there is none."""
        if self.frontier <= end:
            return self
        if self.since >= end:
            return None
        rows, keys = renumbered(self.rows().cut(end)[0], self.keys)
        return replace(self, frontier=end, keys=keys, bucket=rows.bucket, measure=rows.measure, key=rows.key, bin=rows.bin, value=rows.value)


class Partitions(msgspec.Struct, frozen=True, kw_only=True):
    """The set of a source's partitions, as a mark in the log of blocks.

    Attributes
    ----------
    source : str
    count : int
        They are numbered from 0 up to, not with, this.
    exact : bool
        False: there are so many at least, says one who reads only some of them.
    """

    source: str
    count: int
    exact: bool = True


class Vacant(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a partition has ever held a record, as a mark in the log of blocks: an empty one holds nothing back.

    Attributes
    ----------
    source, partition : str, int
    vacant : bool
        False: its first record is being read.
    """

    source: str
    partition: int
    vacant: bool


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Where a partition has to be read again, and how its ingest stood there: all that a crash would lose is made again from it.

    Attributes
    ----------
    offset : int
        The smallest that an open bucket holds anything of, else the next one.
    frontier, mark_ms, window : int, int, list of int
        As they stood at that offset.
    silences : list of (int, int)
        Offset and frontier of each time that it moved since without an event.
    sent : int
        Nothing of buckets before this is sent again.
    skew_ms : int or None
        Event time less the log's own time, median of the last records.
    last_ms : int or None
        The log's own time of the last record.
    """

    offset: int
    frontier: int = NEVER
    mark_ms: int = NEVER
    window: list[int] = []
    silences: list[tuple[int, int]] = []
    sent: int = NEVER
    skew_ms: int | None = None
    last_ms: int | None = None

    def restarted(self, offset: int) -> Self:
        """Read anew from an offset, as what lay before it is gone; what was sent is not sent again."""
        return msgspec.structs.replace(self, offset=offset, frontier=NEVER, mark_ms=NEVER, window=[], silences=[])

    def in_buckets(self, theirs_ms: int, ours_ms: int) -> Self:
        """Count frontiers in buckets of another length, so that nothing is told twice."""
        silences = [(offset, rescaled(frontier, theirs_ms, ours_ms)) for offset, frontier in self.silences]
        frontier, sent = rescaled(self.frontier, theirs_ms, ours_ms), rescaled(self.sent, theirs_ms, ours_ms)
        return msgspec.structs.replace(self, frontier=frontier, sent=sent, silences=silences)

    def heard(self, block: Block) -> Self:
        """Take in a block of the partition that was sent after this was kept."""
        moved = [] if block.why == "advance" or block.offset < self.offset else [(block.offset, block.frontier)]
        return msgspec.structs.replace(self, sent=max(self.sent, block.frontier), silences=[*self.silences, *moved])


def rescaled(frontier: int, theirs_ms: int, ours_ms: int) -> int:
    """Count a frontier in buckets of another length: the first that is wholly open.

    Examples
    --------
    >>> rescaled(7, 10_000, 60_000), rescaled(7, 10_000, 5_000)
    (2, 14)
    """
    return frontier if frontier == NEVER or theirs_ms == ours_ms else -(-frontier * theirs_ms // ours_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Ingested:
    """What feeding some lines gave: a block if the frontier moved, and the lines refused."""

    block: Block | None
    dead: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """Buckets that every partition of every source has closed, merged.

    Attributes
    ----------
    start, end : int
        The buckets from `start` up to, not with, `end`; they follow those of the `Closed` before.
    keys : tuple of keys
        Every key so far, numbered by first bucket, then by value; it only grows at its end.
    bucket, measure, key, bin, value : (n,) int64, int16, int32, int16, int64
        As in `Rows`: sorted by bucket, measure, key and bin, no cell twice. `value` in events or units of 1/scale.
    missing, silent, unsettled : dict of source to (end - start,) bool
        Whether any partition of the source could not be read in that bucket, or closed it without an event to tell the time; whether its
        partitions have grown or contradicted themselves lately.
    unknown : dict of metric to (end - start,) bool
        Whether the bucket was counted before the metric had its present meaning: nothing is known of it.
    """

    start: int
    end: int
    keys: tuple[Key, ...]
    bucket: Ints
    measure: Shorts
    key: Codes
    bin: Shorts
    value: Ints
    missing: dict[str, Bools]
    silent: dict[str, Bools]
    unsettled: dict[str, Bools] = field(default_factory=dict)
    unknown: dict[str, Bools] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.bucket)
