"""The merger: blocks of all partitions in, in any order between them; buckets that all have closed out, in their own order."""

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
import numpy as np

from rollguard.config import RollguardError, Settings
from rollguard.streams.cap import CapState, LabelCap
from rollguard.streams.records import Block, Closed, Why
from rollguard.streams.rows import Bools, Codes, Key, Rows, renumbered
from rollguard.streams.snapshot import PackedRows, packed, packed_rows, unpacked, unpacked_rows
from rollguard.streams.watermark import NEVER

__all__ = ["Merger"]

_STAGE = "merger"
#: Keys that may be remembered for waiting rows before those that none of them uses are dropped.
MANY_KEYS = 8192


class _Lane(msgspec.Struct, kw_only=True):
    """What one partition has said: its frontier, and the spans of buckets it did not close by advancing."""

    frontier: int = NEVER
    since: int = NEVER
    spans: list[tuple[int, int, Why]] = []

    def say(self, since: int, end: int, why: Why) -> None:
        if why == "advance" or since >= end:
            return
        if self.spans and self.spans[-1][1:] == (since, why):
            since = self.spans.pop()[0]
        self.spans.append((since, end, why))


class _State(msgspec.Struct, frozen=True, kw_only=True):
    start: int
    lanes: list[tuple[str, int, _Lane]]
    keys: list[Key]
    waiting_keys: list[Key]
    waiting: PackedRows
    cap: CapState


class Merger:
    """Merges blocks by adding integers, and closes a bucket once every partition has.

    What comes out, cut apart differently at most, depends on each partition's blocks and never on how they were interleaved.

    Parameters
    ----------
    settings : Settings
    partitions : iterable of (str, int)
        Source and number of every partition that will speak.
    """

    def __init__(self, settings: Settings, partitions: Iterable[tuple[str, int]]) -> None:
        self._settings = settings
        self._lanes = {place: _Lane() for place in sorted(set(partitions))}
        if not self._lanes:
            raise RollguardError("merger: no partition given. Expected at least one of one source.", code="no_partition")
        self._sources = sorted({source for source, _ in self._lanes})
        self._cap = LabelCap(settings)
        self._start = NEVER
        self._waiting: list[Rows] = []
        self._waiting_keys: list[Key] = []
        self._codes: dict[Key, int] = {}
        self._keys: tuple[Key, ...] = ()
        self._numbers: dict[Key, int] = {}

    @property
    def frontier(self) -> int | None:
        """First bucket that is not closed; None while a partition has not spoken."""
        return None if self._start == NEVER else self._start

    def feed(self, block: Block) -> Closed | None:
        """Take a block; one heard before changes nothing, a gap before it counts as unread.

        Parameters
        ----------
        block : Block
            Of one of the partitions given, in their own order.

        Returns
        -------
        Closed or None
            None: no bucket was closed by it.

        Raises
        ------
        RollguardError
            If the partition is not one of those given (`unknown_partition`).
        """
        lane = self._lanes.get((block.source, block.partition))
        if lane is None:
            text = f"{block.source}[{block.partition}]: a block of a partition that the merger was not told of. Expected one of {list(self._lanes)}."
            raise RollguardError(text, code="unknown_partition")
        if block.frontier <= lane.frontier:
            return None
        self._wait(block, lane.frontier)
        if lane.frontier == NEVER:
            lane.since = block.since
        else:
            lane.say(lane.frontier, block.since, "unread")
        lane.say(max(block.since, lane.frontier), block.frontier, block.why)
        lane.frontier = block.frontier
        return self._close()

    def snapshot(self) -> bytes:
        """Give the state, in one form for one state."""
        rows, keys = renumbered(Rows.together(self._waiting), self._waiting_keys)
        state = _State(
            start=self._start,
            lanes=[(source, partition, lane) for (source, partition), lane in self._lanes.items()],
            keys=list(self._keys),
            waiting_keys=list(keys),
            waiting=packed_rows(rows),
            cap=self._cap.state(),
        )
        return packed(_STAGE, self._settings, state)

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Self:
        """Go on from a snapshot as if never stopped.

        Raises
        ------
        SnapshotError
            If it is damaged, or of another version or settings.
        """
        state = unpacked(_STAGE, settings, data, _State)
        merger = cls(settings, [(source, partition) for source, partition, _ in state.lanes])
        merger._lanes = {(source, partition): lane for source, partition, lane in state.lanes}
        merger._start = state.start
        merger._keys = tuple(state.keys)
        merger._numbers = {key: at for at, key in enumerate(state.keys)}
        merger._waiting_keys = list(state.waiting_keys)
        merger._codes = {key: at for at, key in enumerate(state.waiting_keys)}
        rows = unpacked_rows(state.waiting, len(state.waiting_keys))
        merger._waiting = [rows] if len(rows) else []
        merger._cap.resume(state.cap)
        return merger

    def _wait(self, block: Block, heard: int) -> None:
        """Put the block's rows from bucket `heard` on among those that wait."""
        rows = block.rows()
        if block.since < heard:
            rows = rows.cut(heard)[1]
        if len(rows) == 0:
            return
        codes = self._codes
        self._waiting_keys.extend(key for key in block.keys if key not in codes)
        table: Codes = np.fromiter((codes.setdefault(key, len(codes)) for key in block.keys), dtype=np.int32, count=len(block.keys))
        # Copies: what was fed is the caller's, and a small part of a block should not keep all of it alive.
        self._waiting.append(Rows(rows.bucket.copy(), rows.measure.copy(), table[rows.key], rows.bin.copy(), rows.value.copy()))
        # Like a binary counter: few parts, and each row is merged a logarithmic number of times.
        while len(self._waiting) > 1 and len(self._waiting[-2]) <= 2 * len(self._waiting[-1]):
            last = self._waiting.pop()
            self._waiting[-1] = Rows.together([self._waiting[-1], last]).summed()

    def _close(self) -> Closed | None:
        end = min(lane.frontier for lane in self._lanes.values())
        if end == NEVER:
            return None
        if self._start == NEVER:
            self._start = min(lane.since for lane in self._lanes.values())
            for lane in self._lanes.values():
                if lane.since > self._start:
                    lane.spans.insert(0, (self._start, lane.since, "unread"))
        start = self._start
        if end <= start:
            return None
        cuts = [part.cut(end) for part in self._waiting]
        self._waiting = [after for _, after in cuts if len(after)]
        rows = Rows.together([before for before, _ in cuts if len(before)]).summed()
        rows = self._numbered(*self._cap.fold(rows, self._waiting_keys))
        missing, silent = self._flags(start, end, "unread"), self._flags(start, end, "silent")
        for lane in self._lanes.values():
            lane.spans = [(max(since, end), until, why) for since, until, why in lane.spans if until > end]
        self._start = end
        self._prune()
        return Closed(start, end, self._keys, rows.bucket, rows.measure, rows.key, rows.bin, rows.value, missing, silent)

    def _numbered(self, rows: Rows, keys: Sequence[Key]) -> Rows:
        """Give keys numbers by first bucket, then by value, behind those numbered before."""
        if len(rows) == 0:
            return rows
        first = np.full(len(keys), -NEVER, dtype=np.int64)
        np.minimum.at(first, rows.key, rows.bucket)
        used = np.flatnonzero(first != -NEVER).tolist()
        firsts: dict[Key, int] = {}
        for code in used:
            if keys[code] not in self._numbers:
                firsts[keys[code]] = min(int(first[code]), firsts.get(keys[code], -NEVER))
        new = sorted(firsts, key=lambda key: (firsts[key], key))
        if new:
            self._numbers.update((key, len(self._keys) + at) for at, key in enumerate(new))
            self._keys = (*self._keys, *new)
        table = np.zeros(len(keys), dtype=np.int32)
        table[used] = [self._numbers[keys[code]] for code in used]
        return rows.with_keys(table[rows.key]).summed()

    def _flags(self, start: int, end: int, why: Why) -> dict[str, Bools]:
        flags = {source: np.zeros(end - start, dtype=np.bool_) for source in self._sources}
        for (source, _), lane in self._lanes.items():
            for since, until, each in lane.spans:
                if each == why:
                    flags[source][max(since - start, 0) : max(until - start, 0)] = True
        return flags

    def _prune(self) -> None:
        if len(self._waiting_keys) <= MANY_KEYS:
            return
        rows, keys = renumbered(Rows.together(self._waiting), self._waiting_keys)
        if len(keys) <= len(self._waiting_keys) // 2:
            self._waiting, self._waiting_keys = ([rows] if len(rows) else []), list(keys)
            self._codes = {key: at for at, key in enumerate(keys)}
