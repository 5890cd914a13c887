"""What leaves the room: blocks, closed buckets, dead letters, counts, and what a broken snapshot is called."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from rollguard.config import RollguardError
from rollguard.streams.rows import Bools, Codes, Ints, Key, Rows, Shorts

__all__ = ["Block", "Closed", "DeadLetter", "IngestCounts", "Ingested", "SnapshotError", "Why"]

Why = Literal["advance", "silent", "unread"]


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
        Why the frontier moved: events came (`advance`), the reader stands at the end of the log (`silent`: no event is a true
        zero), or the log could not be read (`unread`: no event says nothing).
    keys : tuple of keys
        Label values, ascending; `key` is a place in it.
    bucket, measure, key, bin, value : (n,) int64, int16, int32, int16, int64
        As in `Rows`: sorted by bucket, measure, key and bin, no cell twice. `value` in events or units of 1/scale.
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

    def __len__(self) -> int:
        return len(self.bucket)

    def rows(self) -> Rows:
        """Its columns."""
        return Rows(self.bucket, self.measure, self.key, self.bin, self.value)


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
    missing, silent : dict of source to (end - start,) bool
        Whether any partition of the source could not be read in that bucket, or closed it without an event to tell the time.
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

    def __len__(self) -> int:
        return len(self.bucket)
