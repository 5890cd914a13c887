"""The ingest stage: events of one partition in, blocks of its closed buckets out."""

from collections.abc import Sequence
from itertools import compress
from typing import Self

import msgspec
import numpy as np

from rollguard.config import Settings
from rollguard.streams.bins import bin_of
from rollguard.streams.cap import OTHER, CapState, LabelCap
from rollguard.streams.decode import Decoded, Decoder
from rollguard.streams.fixed import units
from rollguard.streams.layout import LATEST_MS
from rollguard.streams.measure import Measure
from rollguard.streams.records import Block, DeadLetter, IngestCounts, Ingested, Resume, Why
from rollguard.streams.rows import Bools, Codes, Ints, Key, Rows, renumbered
from rollguard.streams.seen import Seen
from rollguard.streams.snapshot import PackedRows, packed, packed_rows, unpacked, unpacked_rows
from rollguard.streams.watermark import NEVER, WINDOW, Watermark

__all__ = ["Ingest"]

#: Label values that may wait in open buckets before they are folded ahead of time.
MANY_KEYS = 8192
#: Before every bucket that can be.
FIRST = 0
#: From so many records on the median tells how old events are on arrival.
FEW = 3


class _Point(msgspec.Struct, frozen=True):
    """An offset, and how the stage stood before it."""

    offset: int
    frontier: int
    mark_ms: int
    window: list[int]


class _State(msgspec.Struct, frozen=True, kw_only=True):
    end_ms: int | None
    lax: bool
    whole: bool
    sent: int
    next_offset: int
    last_ms: int | None
    points: list[tuple[int, _Point]]
    silences: list[tuple[int, int]]
    skews: list[int]
    frontier: int
    mark_ms: int
    window: list[int]
    counts: IngestCounts
    seen: list[tuple[str, int, int]]
    keys: list[Key]
    rows: PackedRows
    cap: CapState


class Ingest:
    """Counts one partition's events into buckets, and closes buckets as event time goes on.

    What it gives depends on the lines and their order, never on how they were batched.

    Parameters
    ----------
    settings : Settings
    source : str
    partition : int
    start_ms : int or None
        Events of buckets before this time are late. None: the first frontier is where the first 21 records put it.
    end_ms : int or None
        In files, the case's end: an event beyond it by more than the source's `ahead` is refused, unless its neighbours are there too.
    lax : bool
        As for `Decoder`.
    whole : bool
        The log begins with its first record, so that before it there was nothing; else what was before is not known.

    Raises
    ------
    RollguardError
        If the settings do not know the source.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        partition: int,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        lax: bool = False,
        whole: bool = False,
    ) -> None:
        self.settings = settings
        self.source = source
        self.partition = partition
        self._end_ms = end_ms
        self._whole = whole
        self._decoder = Decoder(settings, source, lax=lax)
        self._bucket_ms = settings.bucket_ms
        self._n_labels = len(settings.labels.watched) + len(settings.labels.compare)
        self._ahead_ms = settings.sources[source].ahead_ms
        self._watermark = Watermark(settings.sources[source].lateness_ms)
        self._frontier = NEVER if start_ms is None else start_ms // self._bucket_ms
        self._sent = NEVER
        self._next_offset = 0
        #: By open bucket: the first record that it holds anything of.
        self._points: dict[int, _Point] = {}
        #: Offset and frontier of each move without an event since the smallest of those records; `_again` are still to be made again.
        self._silences: list[tuple[int, int]] = []
        self._again: list[tuple[int, int]] = []
        self._skews: Ints = np.zeros(0, dtype=np.int64)
        self._last_ms: int | None = None
        self._seen = Seen()
        self._cap = LabelCap(settings)
        self._open = Rows.none()
        self._keys: list[Key] = []
        self._codes: dict[Key, int] = {}
        self._many = MANY_KEYS
        self._counts = IngestCounts()
        self._plans = [(number, each, _wanted(settings, each)) for number, each in self._decoder.plan.mine]
        self._bits = {name: 2 << at for at, name in enumerate(self._decoder.plan.numbers)}

    @property
    def frontier(self) -> int | None:
        """First bucket still open; None while it is not known."""
        return None if self._frontier == NEVER else self._frontier

    @property
    def counts(self) -> IngestCounts:
        """What became of the lines so far."""
        return self._counts

    @property
    def watermark_ms(self) -> int | None:
        """How far event time has come here, by events or by the clock, less the lateness; epoch ms, None while it is not known."""
        known = [mark for mark in (self._watermark.mark_ms, self._frontier * self._bucket_ms if self._frontier != NEVER else NEVER) if mark != NEVER]
        return max(known, default=None)

    @property
    def last_ms(self) -> int | None:
        """The log's own time of the last record; None where it has none, or none came yet."""
        return self._last_ms

    def clock(self, now_ms: int) -> int | None:
        """Event time that a new event would have, were it as old on arrival as the last 21 were.

        Parameters
        ----------
        now_ms : int
            The log's own time, as that of its records, epoch ms.

        Returns
        -------
        int or None
            Epoch ms; None while no record has told.
        """
        skews = np.sort(self._skews)
        if not len(skews):
            return None
        # Of one or two nobody can say which clock is wrong: time goes no further than the one that is behind.
        return now_ms + int(skews[0 if len(skews) < FEW else len(skews) // 2])

    def feed(self, lines: Sequence[bytes], first_offset: int | Ints, timestamps_ms: Ints | None = None) -> Ingested:
        """Take the next lines.

        Parameters
        ----------
        lines : sequence of bytes
            One event each, without its line end.
        first_offset : int or (n,) int64
            Offset of the first line, the others follow without a gap; or that of each.
        timestamps_ms : (n,) int64 or None
            The log's own time of each record, where it has one.

        Returns
        -------
        Ingested
            A block if the frontier moved, and a dead letter for each line refused.
        """
        if not len(lines):
            return Ingested(block=None, dead=())
        offsets = np.arange(first_offset, first_offset + len(lines)) if isinstance(first_offset, int) else first_offset
        if self._again and int(offsets[-1]) >= self._again[0][0]:
            return self._feed_again(lines, offsets, timestamps_ms)
        decoded = self._decoder.decode(lines)
        refused = {each.index: (each.reason, each.detail) for each in decoded.refusals}
        present = self._not_ahead(decoded, timestamps_ms, refused)
        ts_ms, key = decoded.ts_ms[present], decoded.key[present]
        bucket = ts_ms // self._bucket_ms
        before = self._watermark.window
        marks = self._watermark.take(ts_ms)
        frontier = np.maximum(np.where(marks == NEVER, NEVER, marks // self._bucket_ms), self._frontier)
        if timestamps_ms is not None:
            self._keep_time(ts_ms, np.asarray(timestamps_ms, dtype=np.int64), decoded.index[present])

        late = bucket < frontier[:-1]
        self._count_late(decoded.keys, key[late])
        refused_at = np.searchsorted(decoded.index[present], sorted(refused))
        self._note(decoded.keys, key[late], frontier[:-1][late], refused_at, frontier)
        self._keep_points(
            np.concatenate([np.where(late, frontier[:-1], bucket), frontier[refused_at]]),
            np.concatenate([offsets[decoded.index[present]], offsets[sorted(refused)]]),
            np.concatenate([np.arange(len(ts_ms)), refused_at]),
            (np.concatenate([before, ts_ms]), len(before), marks, frontier),
        )
        self._next_offset = int(offsets[-1]) + 1
        kept = np.flatnonzero(~late)
        kinds = self._fresh(decoded, present[kept], bucket[kept])
        copies = int(np.count_nonzero(kinds == 0))
        self._add(decoded, present[kept], bucket[kept], kinds)

        self._count(len(lines), refused, late=len(ts_ms) - len(kept), doubled=copies, filtered=decoded.filtered, kinds=kinds)
        dead = tuple(
            DeadLetter(source=self.source, partition=self.partition, offset=int(offsets[at]), reason=reason, detail=detail)
            for at, (reason, detail) in sorted(refused.items())
        )
        # The very first block begins where the frontier became known, not where this batch happens to leave it.
        known = frontier[frontier != NEVER]
        first = int(known[0]) if len(known) else None
        return Ingested(block=self._close(int(frontier[-1]), "advance", first), dead=dead)

    def silence(self, frontier: int) -> Block | None:
        """Close the buckets before a frontier: the reader stands at the end of the log, what did not come is zero.

        Parameters
        ----------
        frontier : int
            A bucket.

        Returns
        -------
        Block or None
            None: the frontier stands there or further already.
        """
        return self._still(frontier, "silent")

    def clocked(self, frontier: int) -> Block | None:
        """Close the buckets before a frontier that the log's own time tells, at the end of a log that goes on. Else as `silence`."""
        return self._still(frontier, "clock")

    def unread(self, frontier: int) -> Block | None:
        """Close the buckets before a frontier: the log could not be read, what did not come is unknown. Else as `silence`."""
        return self._still(frontier, "unread")

    def resume(self) -> Resume:
        """Say from where on a crash would need the log again, and how the stage stood there.

        Returns
        -------
        Resume
            It grows with the moves of the frontier without an event since that offset, not with events.
        """
        point = min(self._points.values(), key=_offset, default=None)
        if point is None:
            point = _Point(self._next_offset, self._frontier, self._watermark.mark_ms, self._watermark.window.tolist())
        return Resume(
            offset=point.offset,
            frontier=point.frontier,
            mark_ms=point.mark_ms,
            window=point.window,
            silences=[each for each in [*self._silences, *self._again] if each[0] > point.offset],
            sent=max(self._sent, self._frontier),
            skew_ms=self.clock(0),
            last_ms=self._last_ms,
        )

    @classmethod
    def resumed(cls, settings: Settings, source: str, partition: int, point: Resume, *, whole: bool = False) -> Self:
        """Begin where another left off; fed from `point.offset` on it decides as that one did, and sends nothing again.

        Parameters
        ----------
        settings : Settings
        source, partition : str, int
        point : Resume
        whole : bool
            See the class.
        """
        stage = cls(settings, source, partition, whole=whole)
        stage._frontier, stage._sent, stage._next_offset = point.frontier, point.sent, point.offset
        stage._watermark.mark_ms = point.mark_ms
        stage._watermark.window = np.array(point.window, dtype=np.int64)
        stage._skews = np.array([] if point.skew_ms is None else [point.skew_ms], dtype=np.int64)
        stage._last_ms = point.last_ms
        stage._again = sorted(point.silences)
        stage._make_again()
        return stage

    def snapshot(self) -> bytes:
        """Give the state, in one form for one state: its bytes do not depend on batches either."""
        rows, keys = renumbered(*self._cap.copy().fold(self._open, self._keys))
        counts = self._counts
        return packed(
            self._stage(self.source, self.partition),
            self.settings,
            _State(
                end_ms=self._end_ms,
                lax=self._decoder.lax,
                whole=self._whole,
                sent=self._sent,
                next_offset=self._next_offset,
                last_ms=self._last_ms,
                points=sorted(self._points.items()),
                silences=[*self._silences, *self._again],
                skews=self._skews.tolist(),
                frontier=self._frontier,
                mark_ms=self._watermark.mark_ms,
                window=self._watermark.window.tolist(),
                counts=msgspec.structs.replace(counts, refused=dict(sorted(counts.refused.items())), late_by=dict(sorted(counts.late_by.items()))),
                seen=self._seen.known(),
                keys=list(keys),
                rows=packed_rows(rows),
                cap=self._cap.state(),
            ),
        )

    @classmethod
    def restore(cls, settings: Settings, source: str, partition: int, data: bytes) -> Self:
        """Go on from a snapshot as if never stopped.

        Raises
        ------
        SnapshotError
            If it is damaged, or of another partition, version or settings.
        """
        state = unpacked(cls._stage(source, partition), settings, data, _State)
        stage = cls(settings, source, partition, end_ms=state.end_ms, lax=state.lax, whole=state.whole)
        stage._frontier, stage._sent, stage._next_offset = state.frontier, state.sent, state.next_offset
        stage._last_ms = state.last_ms
        stage._points = dict(state.points)
        stage._silences = [each for each in state.silences if each[0] <= state.next_offset]
        stage._again = [each for each in state.silences if each[0] > state.next_offset]
        stage._skews = np.array(state.skews, dtype=np.int64)
        stage._watermark.mark_ms = state.mark_ms
        stage._watermark.window = np.array(state.window, dtype=np.int64)
        stage._counts = state.counts
        stage._seen = Seen(state.seen)
        stage._keys = list(state.keys)
        stage._codes = {key: at for at, key in enumerate(stage._keys)}
        stage._open = unpacked_rows(state.rows, len(stage._keys))
        stage._cap.resume(state.cap)
        return stage

    @staticmethod
    def _stage(source: str, partition: int) -> str:
        return f"ingest {source}[{partition}]"

    def _not_ahead(self, decoded: Decoded, timestamps_ms: Ints | None, refused: dict[int, tuple[str, str]]) -> Ints:
        """Places of the events that are not refused as `future`; without a log's own time there is nothing to compare with."""
        if timestamps_ms is not None:
            stamps_ms = np.asarray(timestamps_ms, dtype=np.int64)[decoded.index]
            # A record may have no time of the log's; then nothing is known against its event's.
            limits_ms = np.where(stamps_ms < 0, LATEST_MS, stamps_ms + self._ahead_ms)
        elif self._end_ms is not None:
            limits_ms = np.full(len(decoded.index), self._end_ms + self._ahead_ms, dtype=np.int64)
        else:
            return np.arange(len(decoded.index))
        beyond = self._watermark.beyond(decoded.ts_ms, limits_ms, self._ahead_ms)
        against = "its record" if timestamps_ms is not None else "the end of the case"
        for at in np.flatnonzero(beyond).tolist():
            seconds = (int(decoded.ts_ms[at]) - int(limits_ms[at]) + self._ahead_ms) / 1000
            detail = f"its time is {seconds:.0f} s ahead of {against}, at most {self._ahead_ms / 1000:.0f} s allowed (`ahead`); check the producer's clock."
            refused[int(decoded.index[at])] = ("future", detail)
        return np.flatnonzero(~beyond)

    def _feed_again(self, lines: Sequence[bytes], offsets: Ints, timestamps_ms: Ints | None) -> Ingested:
        """Take lines among which the frontier once moved by itself; such moves have all been sent, so only the last part can give a block."""
        cut = int(np.searchsorted(offsets, self._again[0][0]))
        dead: tuple[DeadLetter, ...] = ()
        if cut:
            dead = self.feed(lines[:cut], offsets[:cut], None if timestamps_ms is None else timestamps_ms[:cut]).dead
            self._next_offset = self._again[0][0]
        self._make_again()
        rest = self.feed(lines[cut:], offsets[cut:], None if timestamps_ms is None else timestamps_ms[cut:])
        return Ingested(block=rest.block, dead=(*dead, *rest.dead))

    def _make_again(self) -> None:
        """Move the frontier where it once moved without an event, as far as was read."""
        while self._again and self._again[0][0] <= self._next_offset:
            self._still(self._again.pop(0)[1], "silent")

    def _still(self, frontier: int, why: Why) -> Block | None:
        """Move the frontier without an event."""
        if frontier > self._frontier:
            self._silences = [*(each for each in self._silences if each[0] < self._next_offset), (self._next_offset, frontier)]
        return self._close(frontier, why)

    def _keep_time(self, ts_ms: Ints, stamps_ms: Ints, index: Ints) -> None:
        """Keep how old the last events were on arrival."""
        known = stamps_ms[index]
        self._skews = np.concatenate([self._skews, (ts_ms - known)[known >= 0][-WINDOW:]])[-WINDOW:]
        newest = int(stamps_ms.max())
        if newest >= 0:
            self._last_ms = max(newest, self._last_ms or newest)

    def _keep_points(self, bucket: Ints, offset: Ints, at: Ints, stood: tuple[Ints, int, Ints, Ints]) -> None:
        """Keep, of each bucket that something is added to for the first time, where that stands in the log."""
        times, held, marks, frontier = stood
        order = np.argsort(offset, kind="stable")
        new, first = np.unique(bucket[order], return_index=True)
        for each, place in zip(new.tolist(), order[first].tolist(), strict=True):
            if each in self._points or each == NEVER:
                continue
            since = int(at[place])
            window = times[max(0, held + since - WINDOW) : held + since].tolist()
            self._points[each] = _Point(int(offset[place]), int(frontier[since]), int(marks[since]), window)

    def _fresh(self, decoded: Decoded, at: Ints, bucket: Ints) -> Ints:
        """Bits of what each event measures for the first time: 1 that it happened, 2, 4 … its measured fields."""
        kinds = np.ones(len(at), dtype=np.int64)
        for name, bit in self._bits.items():
            kinds |= np.where(np.isnan(decoded.numbers[name][at]), 0, bit)
        if decoded.ids is None:
            return kinds
        ids = decoded.ids
        if len(at) < len(ids):
            taken = np.zeros(len(ids), dtype=np.bool_)
            taken[at] = True
            ids = list(compress(ids, taken.tolist()))
        return self._seen.take(ids, bucket, kinds)

    def _add(self, decoded: Decoded, at: Ints, bucket: Ints, kinds: Ints) -> None:
        """Add events to the open buckets."""
        codes = self._codes_of(decoded.keys)
        key = codes[decoded.key[at]]
        parts = [self._open]
        weight = None if decoded.weight is None else decoded.weight[at]
        counted: dict[Wanted, Rows] = {}
        for number, measure, wanted in self._plans:
            field = self.settings.metrics[measure.metric].field
            bit = self._bits[field] if field is not None else 1
            if bit == 1 and wanted in counted:
                parts.append(_of_measure(counted[wanted], number))
                continue
            fits = (kinds & bit != 0) & _passes(decoded, at, wanted)
            # A point of nothing says that its series is there, and that there was none; of a histogram's bin it says nothing.
            chosen = np.flatnonzero(fits & (weight > 0) if weight is not None and measure.part == "bins" else fits)
            rows = Rows(
                bucket[chosen],
                np.full(len(chosen), number, dtype=np.int16),
                key[chosen],
                np.zeros(len(chosen), dtype=np.int16),
                np.ones(len(chosen), dtype=np.int64) if weight is None else weight[chosen],
            )
            if measure.part == "sum" and field is not None:
                rows.value = units(decoded.numbers[field][at[chosen]], self.settings.metrics[measure.metric].scale)
            elif measure.part == "bins" and field is not None:
                rows.bin = bin_of(decoded.numbers[field][at[chosen]])
            rows = rows.summed()
            if bit == 1:
                counted[wanted] = rows
            parts.append(rows)
        self._open = Rows.together(parts).summed()

    def _note(self, keys: Sequence[Key], late: Codes, late_at: Ints, refused: Ints, frontier: Ints) -> None:
        """Add what is doubtful to the buckets that were the frontier when it came."""
        refused_at = frontier[refused]
        refused_at = refused_at[refused_at != NEVER]
        if len(late) + len(refused_at) == 0:
            return
        codes = self._codes_of([*keys, (OTHER,) * self._n_labels])
        noted = Rows(
            np.concatenate([late_at, refused_at]),
            np.repeat(np.array([self._decoder.plan.late, self._decoder.plan.refused], dtype=np.int16), [len(late), len(refused_at)]),
            np.concatenate([codes[late], np.repeat(codes[-1:], len(refused_at))]),
            np.zeros(len(late) + len(refused_at), dtype=np.int16),
            np.ones(len(late) + len(refused_at), dtype=np.int64),
        )
        self._open = Rows.together([self._open, noted]).summed()

    def _codes_of(self, keys: Sequence[Key]) -> Codes:
        codes = self._codes
        self._keys.extend(key for key in keys if key not in codes)
        return np.fromiter((codes.setdefault(key, len(codes)) for key in keys), dtype=np.int32, count=len(keys))

    def _close(self, frontier: int, why: Why, first: int | None = None) -> Block | None:
        """Move the frontier; the buckets it passes become a block. `first`: where it stood when it became known."""
        if frontier <= self._frontier:
            self._prune()
            return None
        since = self._frontier
        if since == NEVER:
            since = FIRST if self._whole else min([frontier if first is None else first, *self._open.bucket[:1].tolist()])
        closed, self._open = self._open.cut(frontier)
        self._frontier = frontier
        self._points = {bucket: point for bucket, point in self._points.items() if bucket >= frontier}
        self._seen.forget(frontier)
        if since < self._sent:
            closed, since = closed.cut(self._sent)[1], self._sent
        rows, keys = renumbered(*self._cap.fold(closed, self._keys))
        self._prune()
        if frontier <= self._sent:
            return None
        columns = (rows.bucket, rows.measure, rows.key, rows.bin, rows.value)
        return Block(self.source, self.partition, since, frontier, why, keys, *columns, offset=self._next_offset)

    def _prune(self) -> None:
        """Fold open rows ahead of time when their labels grow many: what the cap refuses now it refuses for ever."""
        if len(self._keys) <= self._many:
            return
        rows, keys = renumbered(*self._cap.copy().fold(self._open, self._keys))
        self._open, self._keys = rows, list(keys)
        self._codes = {key: at for at, key in enumerate(keys)}
        self._many = max(MANY_KEYS, 2 * len(keys))

    def _count_late(self, keys: Sequence[Key], codes: Codes) -> None:
        if len(codes) == 0:
            return
        late_by = dict(self._counts.late_by)
        for code, count in enumerate(np.bincount(codes).tolist()):
            if count:
                late_by[keys[code]] = late_by.get(keys[code], 0) + count
        self._counts = msgspec.structs.replace(self._counts, late_by=self._cap.fold_counts(late_by))

    def _count(self, read: int, refused: dict[int, tuple[str, str]], *, late: int, doubled: int, filtered: int, kinds: Ints) -> None:
        reasons = dict(self._counts.refused)
        for reason, _ in refused.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        self._counts = msgspec.structs.replace(
            self._counts,
            read=self._counts.read + read,
            kept=self._counts.kept + read - len(refused) - late - doubled - filtered,
            late=self._counts.late + late,
            doubled=self._counts.doubled + doubled,
            filtered=self._counts.filtered + filtered,
            refused=reasons,
            measured={name: self._counts.measured.get(name, 0) + int(np.count_nonzero(kinds & bit)) for name, bit in self._bits.items()},
        )


def _offset(point: _Point) -> int:
    return point.offset


#: What a metric's `where` lets pass: fields with the texts they may have.
Wanted = tuple[tuple[str, frozenset[str]], ...]


def _wanted(settings: Settings, measure: Measure) -> Wanted:
    """Read a metric's `where`. The other trials of a ratio are all events of their source: it speaks of the metric's own."""
    if measure.part == "n":
        return ()
    return tuple((name, frozenset(map(str, values))) for name, values in sorted(settings.metrics[measure.metric].where.items()))


def _passes(decoded: Decoded, at: Ints, wanted: Wanted) -> Bools:
    passes = np.ones(len(at), dtype=np.bool_)
    for name, texts in wanted:
        column = decoded.filters[name]
        passes &= np.fromiter((column[each] in texts for each in at.tolist()), dtype=np.bool_, count=len(at))
    return passes


def _of_measure(rows: Rows, number: int) -> Rows:
    return Rows(rows.bucket, np.full(len(rows), number, dtype=np.int16), rows.key, rows.bin, rows.value)
