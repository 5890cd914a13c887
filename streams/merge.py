"""The merger: blocks of all partitions in, in any order between them; buckets that all have closed out, in their own order."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
import numpy as np

from rollguard.config import RollguardError, Settings
from rollguard.streams.cap import CapState, LabelCap
from rollguard.streams.records import Block, Closed, Partitions, Vacant, Why
from rollguard.streams.rows import Bools, Codes, Key, Rows, renumbered
from rollguard.streams.snapshot import PackedRows, packed, packed_rows, unpacked, unpacked_rows
from rollguard.streams.watermark import NEVER

__all__ = ["Merger"]

_STAGE = "merger"
#: Keys that may be remembered for waiting rows before those that none of them uses are dropped.
MANY_KEYS = 8192
#: After partitions have come, or contradicted themselves, for so long beyond the lateness nothing is done on their numbers.
UNSETTLED_MS = 5 * 60_000
#: For so long a bucket's digest is kept, to know a later copy that differs.
REMEMBER_MS = 30 * 60_000


class _Lane(msgspec.Struct, kw_only=True):
    """What one partition has said: its frontier, the spans of buckets it did not close by advancing, and digests of the last buckets."""

    frontier: int = NEVER
    since: int = NEVER
    vacant: bool = False
    spans: list[tuple[int, int, Why]] = []
    digests: dict[int, bytes] = {}

    def say(self, since: int, end: int, why: Why) -> None:
        if why in {"advance", "clock"} or since >= end:
            return
        if self.spans and self.spans[-1][1:] == (since, why):
            since = self.spans.pop()[0]
        self.spans.append((since, end, why))


class _State(msgspec.Struct, frozen=True, kw_only=True):
    start: int
    sources: list[str]
    whole: list[str]
    lanes: list[tuple[str, int, _Lane]]
    unsettled: dict[str, int]
    unknown: dict[str, int]
    conflicts: dict[str, int]
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
    partitions : iterable of (str, int), optional
        Source and number of every partition that will speak. Left out: marks in the log say it, and nothing closes before
        every source of the settings has said how many it has.
    """

    def __init__(self, settings: Settings, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        self._settings = settings
        self._lanes = {place: _Lane() for place in sorted(set(partitions or ()))}
        if partitions is not None and not self._lanes:
            raise RollguardError("merger: no partition given. Expected at least one of one source.", code="no_partition")
        self._sources = sorted({source for source, _ in self._lanes}) if partitions is not None else sorted(settings.sources)
        #: Sources whose partitions are all known.
        self._whole = set(self._sources if partitions is not None else ())
        self._unsettled: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._conflicts: dict[str, int] = {}
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

    @property
    def conflicts(self) -> dict[str, int]:
        """By source, buckets that came again with other numbers; the first copy counts."""
        return dict(self._conflicts)

    def feed(self, record: Block | Partitions | Vacant) -> Closed | None:
        """Take a block; one heard before changes nothing, a gap before it counts as unread. Or take a mark about partitions.

        Parameters
        ----------
        record : Block, Partitions or Vacant
            Of a partition that is known, those of one in their own order.

        Returns
        -------
        Closed or None
            None: no bucket was closed by it.

        Raises
        ------
        RollguardError
            If the partition is not one that is known (`unknown_partition`).
        """
        if record.source not in self._sources and record.source not in self._settings.sources:
            # The log holds what a source said that has been taken out of the settings: it holds nothing back any more.
            return None
        if isinstance(record, Partitions):
            return self._grow(record)
        lane = self._lanes.get((record.source, record.partition))
        if lane is None:
            text = f"{record.source}[{record.partition}]: a block of a partition that the merger was not told of. Expected one of {list(self._lanes)}."
            raise RollguardError(text, code="unknown_partition")
        if isinstance(record, Vacant):
            return self._occupy(lane, vacant=record.vacant)
        self._compare(lane, record)
        if record.frontier <= lane.frontier:
            return None
        self._wait(record, lane.frontier, copied=lane.since != NEVER)
        for metric in record.lacks:
            self._unknown[metric] = max(self._unknown.get(metric, NEVER), record.frontier)
        if lane.since == NEVER:
            # What it has not spoken of before its first record is zero.
            lane.since = record.since
        else:
            lane.say(lane.frontier, record.since, "unread")
        lane.say(max(record.since, lane.frontier), record.frontier, record.why)
        lane.frontier, lane.vacant = record.frontier, False
        return self._close()

    def snapshot(self) -> bytes:
        """Give the state, in one form for one state."""
        rows, keys = renumbered(Rows.together(self._waiting), self._waiting_keys)
        state = _State(
            start=self._start,
            sources=self._sources,
            whole=sorted(self._whole),
            lanes=[(source, partition, lane) for (source, partition), lane in self._lanes.items()],
            unsettled=dict(sorted(self._unsettled.items())),
            unknown=dict(sorted(self._unknown.items())),
            conflicts=dict(sorted(self._conflicts.items())),
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
        merger = cls(settings)
        merger._lanes = {(source, partition): lane for source, partition, lane in state.lanes}
        merger._sources, merger._whole = state.sources, set(state.whole)
        merger._unsettled, merger._unknown, merger._conflicts = state.unsettled, state.unknown, state.conflicts
        merger._start = state.start
        merger._keys = tuple(state.keys)
        merger._numbers = {key: at for at, key in enumerate(state.keys)}
        merger._waiting_keys = list(state.waiting_keys)
        merger._codes = {key: at for at, key in enumerate(state.waiting_keys)}
        rows = unpacked_rows(state.waiting, len(state.waiting_keys))
        merger._waiting = [rows] if len(rows) else []
        merger._cap.resume(state.cap)
        return merger

    def _wait(self, block: Block, heard: int, *, copied: bool) -> None:
        """Put the block's rows from bucket `heard` on among those that wait."""
        rows = block.rows()
        if block.since < heard:
            missed, rows = rows.cut(heard)
            if len(missed) and not copied:
                # The first records of a new partition: their buckets were closed without them.
                self._unsettle(block.source)
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
        holding = [lane for lane in self._lanes.values() if not lane.vacant]
        end = min((lane.frontier for lane in holding), default=NEVER)
        if end == NEVER or not self._whole.issuperset(self._sources):
            return None
        if self._start == NEVER:
            # Nobody knows whether what lies before the first row of all was empty or not watched yet.
            first = min((int(rows.bucket.min()) for rows in self._waiting), default=end)
            if first >= end:
                return None
            self._start = first
            for lane in holding:
                if lane.since > self._start:
                    lane.spans.insert(0, (self._start, lane.since, "unread"))
        start = self._start
        if end <= start:
            return None
        cuts = [part.cut(end) for part in self._waiting]
        self._waiting = [after for _, after in cuts if len(after)]
        rows = Rows.together([before for before, _ in cuts if len(before)]).summed()
        rows = self._numbered(*self._cap.fold(rows, self._waiting_keys))
        flags = self._flags(start, end, "unread"), self._flags(start, end, "silent")
        buckets = np.arange(start, end)
        unsettled = {source: buckets < until for source, until in self._unsettled.items() if until > start}
        unknown = {metric: buckets < until for metric, until in self._unknown.items() if until > start}
        for lane in self._lanes.values():
            lane.spans = [(max(since, end), until, why) for since, until, why in lane.spans if until > end]
        self._start = end
        self._prune()
        return Closed(start, end, self._keys, rows.bucket, rows.measure, rows.key, rows.bin, rows.value, *flags, unsettled, unknown)

    def _grow(self, mark: Partitions) -> Closed | None:
        """Take the set of a source's partitions. New ones hold everything back until they speak; those that are gone hold nothing."""
        known = {number for source, number in self._lanes if source == mark.source}
        wanted = set(range(mark.count)) if mark.exact else known.union(range(mark.count))
        if known != wanted and mark.source in self._whole:
            self._unsettle(mark.source)
        if mark.exact:
            self._whole.add(mark.source)
        lanes = {place: lane for place, lane in self._lanes.items() if place[0] != mark.source or place[1] in wanted}
        lanes |= {(mark.source, number): _Lane(frontier=self._start) for number in wanted - known}
        self._lanes = dict(sorted(lanes.items()))
        return self._close()

    def _occupy(self, lane: _Lane, *, vacant: bool) -> Closed | None:
        """Take that a partition has never held a record, or holds its first; one that has spoken has."""
        if lane.since != NEVER or lane.vacant == vacant:
            return None
        lane.vacant, lane.frontier = vacant, self._start
        return self._close()

    def _unsettle(self, source: str) -> None:
        if self._start != NEVER:
            span_ms = self._settings.sources[source].lateness_ms + UNSETTLED_MS
            self._unsettled[source] = self._start + -(-span_ms // self._settings.bucket_ms)

    def _compare(self, lane: _Lane, block: Block) -> None:
        """Hold a block's buckets that were heard before against what was said then, and remember the others."""
        oldest = max(block.frontier, lane.frontier) - REMEMBER_MS // self._settings.bucket_ms
        digests = _digests(block)
        if lane.since != NEVER:
            again = range(max(block.since, oldest, lane.since), min(block.frontier, lane.frontier))
            differ = sum(lane.digests.get(bucket, b"") != digests.get(bucket, b"") for bucket in again)
            if differ:
                self._conflicts[block.source] = self._conflicts.get(block.source, 0) + differ
                self._unsettle(block.source)
        kept = {bucket: digest for bucket, digest in lane.digests.items() if bucket >= oldest}
        lane.digests = kept | {bucket: digest for bucket, digest in digests.items() if bucket >= max(oldest, lane.frontier)}

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
            flags[source] |= lane.vacant and why == "silent"
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


def _digests(block: Block) -> dict[int, bytes]:
    """By bucket with something in it, a digest of its sums over all labels: folding labels at another time is no contradiction."""
    rows = block.rows().with_keys(np.zeros(len(block), dtype=np.int32)).summed()
    buckets, first = np.unique(rows.bucket, return_index=True)
    found = {}
    for bucket, start, end in zip(buckets.tolist(), first.tolist(), [*first[1:].tolist(), len(rows)][: len(first)], strict=True):
        columns = (rows.measure[start:end].astype("<i2"), rows.bin[start:end].astype("<i2"), rows.value[start:end].astype("<i8"))
        found[bucket] = hashlib.blake2b(b"".join(column.tobytes() for column in columns), digest_size=8).digest()
    return found
