"""The detect stage: closed buckets in, signals and ticks out, in bucket order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rollguard.config import Settings
from rollguard.detectors.alarms import Alarms
from rollguard.detectors.bank import EPOCH_MS, Accounts, RateBank
from rollguard.detectors.baseline import Epoch, RateBaseline
from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.calibration import Calibration, calibrated
from rollguard.detectors.chunk import Chunk, KeyRows
from rollguard.detectors.foreign import Bets, Cell, ForeignBank
from rollguard.detectors.model_watch import ModelWatch
from rollguard.detectors.onset import Recent
from rollguard.detectors.past import PastPeaks
from rollguard.detectors.profile import DayProfile, WeekProfile
from rollguard.detectors.recipe import Recipe
from rollguard.detectors.records import Account, SeriesName, Signal, Tick
from rollguard.detectors.recursion import Recursion
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import ShareBaseline, ShareEpoch, ShareTilts
from rollguard.detectors.siblings import Siblings
from rollguard.detectors.slow import SlowWatch, fast_settings, slow_settings
from rollguard.detectors.watch import CountWatch, RatioWatch, ShareWatch, watch_for
from rollguard.detectors.watched import Turn, Watched
from rollguard.streams import Closed, Key, Measure, StateCodec, measures

__all__ = ["Detect"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Metric:
    """A metric with its watches, and what the stage keeps about it."""

    name: str
    fast: Watched
    slow: SlowWatch | None
    parts: dict[str, int]
    doubts: tuple[int, ...]
    source: str
    against: str | None


class Detect:
    """Turns closed buckets into signals.

    Parameters
    ----------
    settings : Settings
        Metrics, labels, bucket, warm-up and budget.

    Notes
    -----
    The answer does not depend on how buckets are batched: thresholds and baselines change at epoch boundaries only.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.buckets_per_epoch = max(1, EPOCH_MS // settings.bucket_ms)
        numbers = {measure: number for number, measure in enumerate(measures(settings))}
        self._rederive()
        names = [name for name, metric in sorted(settings.metrics.items()) if metric.watch]
        self.metrics = [_metric(self, name, numbers, len(names)) for name in names]
        self.next_bucket: int | None = None
        #: Keys that have been counted; they are numbered in the order in which they came.
        self.n_keys = 0

    def feed(self, closed: Closed) -> list[Signal | Tick]:
        """Take some closed buckets.

        Parameters
        ----------
        closed : Closed
            The next buckets; they follow those fed before.

        Returns
        -------
        list of Signal or Tick
            In bucket order; a bucket's signals come before its tick.
        """
        out: list[Signal | Tick] = []
        start = closed.start
        while start < closed.end:
            end = min(closed.end, (start // self.buckets_per_epoch + 1) * self.buckets_per_epoch)
            self._chunk(closed, start, end, out)
            if end % self.buckets_per_epoch == 0:
                self._close_epoch()
            start = end
        self.next_bucket = closed.end
        return out

    def calibration(self) -> tuple[Calibration, ...]:
        """What each series promises, what its past says of that and what it can show, by the last epoch that was closed.

        Returns
        -------
        tuple of Calibration
            By metric; first all series of its fast watch, then all of its slow one, if it has one.
        """
        found: list[Calibration] = []
        for m in self.metrics:
            found += calibrated("fast", m.fast, self.fast)
            if m.slow is not None and self.slow is not None:
                found += calibrated("slow", m.slow.watched, self.slow)
        return tuple(found)

    def snapshot(self) -> bytes:
        """All that later answers depend on; see `restore`."""
        return _CODEC.dump((self.metrics, self.next_bucket, self.n_keys), self.settings)

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Detect:
        """A stage that goes on as if it had never stopped.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or was made under other settings.
        """
        stage = cls(settings)
        stage.metrics, stage.next_bucket, stage.n_keys = _CODEC.load(data, settings, tuple)
        return stage

    def _rederive(self) -> None:
        self.fast = fast_settings(self.settings)
        self.slow = slow_settings(self.settings)
        self.accepted: dict[int, list[SeriesName]] = {}
        for each in self.settings.accept:
            labels = tuple((label, each.labels[label]) for label in self.settings.labels.watched if label in each.labels)
            self.accepted.setdefault(each.at_ms // self.settings.bucket_ms, []).append(SeriesName(metric=each.metric, labels=labels))

    def _chunk(self, closed: Closed, start: int, end: int, out: list[Signal | Tick]) -> None:
        low, high = np.searchsorted(closed.bucket, [start, end]).tolist()
        loaded = [(m, *self._load(m, closed, start, end, slice(low, high))) for m in self.metrics]
        if any(start <= bucket < end for bucket in self.accepted):
            for m in self.metrics:
                m.fast.one_by_one()
        books = [_accounts(m, chunk, accounts) for m, chunk, accounts in loaded]
        ready = any(bool(m.fast.watch.ready.any()) for m in self.metrics)
        appeared = self._appeared(closed, slice(low, high))
        for bucket in range(start, end):
            signals: list[Signal] = []
            for m, chunk, _ in loaded:
                turns = [(turn, m.slow.watched if m.slow else None) for turn in m.fast.step(bucket)]
                if m.slow is not None and self.slow is not None:
                    turns += [(turn, m.fast) for turn in m.slow.close(bucket, chunk.keys, self.slow)]
                # What one watch has found already, or has not given up, the other does not tell again.
                signals += [_signal(m, bucket, turn) for turn, other in turns if other is None or not _away(other, turn.row)]
                if self.accepted:
                    signals += self._accepted(m, bucket)
            signals.sort(key=_id)
            out.extend(signals)
            out.append(Tick(bucket=bucket, ready=ready, accounts=tuple([book[bucket - start] for book in books]), appeared=appeared.get(bucket, ())))

    def _appeared(self, closed: Closed, rows: slice) -> dict[int, tuple[Key, ...]]:
        """Keys that no bucket before had, by the bucket."""
        key, bucket = closed.key[rows], closed.bucket[rows]
        new = np.flatnonzero(key >= self.n_keys)
        numbers, first = np.unique(key[new], return_index=True)
        found: dict[int, tuple[Key, ...]] = {}
        for number, at in zip(numbers.tolist(), bucket[new[first]].tolist(), strict=True):
            found[at] = (*found.get(at, ()), closed.keys[number])
            self.n_keys = number + 1
        return found

    def _accepted(self, m: _Metric, bucket: int) -> list[Signal]:
        """An operator takes the level of some series for their normal: they are back."""
        wanted = [m.fast.watch.tree.find(name) for name in self.accepted.get(bucket, ()) if name.metric == m.name]
        rows = np.array(sorted(row for row in wanted if row is not None), dtype=np.int64)
        if not len(rows):
            return []
        turns = {turn.row: turn for watched in (m.fast, m.slow.watched if m.slow else None) if watched is not None for turn in watched.accept(rows, bucket)}
        return [_signal(m, bucket, replace(turn, onset=float(bucket))) for turn in turns.values()]

    def _load(self, m: _Metric, closed: Closed, start: int, end: int, rows: slice) -> tuple[Chunk, Accounts]:
        measure = closed.measure[rows]
        parts: dict[str, tuple[Ints, Ints, Ints, Ints]] = {}
        doubtful = np.flatnonzero(np.isin(measure, m.doubts))
        for part, number in m.parts.items():
            mine = np.flatnonzero(measure == number)
            parts[part] = (
                closed.bucket[rows][mine],
                closed.key[rows][mine].astype(np.int64),
                closed.bin[rows][mine].astype(np.int64),
                closed.value[rows][mine],
            )
        span = slice(start - closed.start, end - closed.start)
        none = np.zeros(closed.end - closed.start, dtype=np.bool_)
        unknown = closed.unknown.get(m.name, none)[span]
        chunk = Chunk(
            start,
            end - start,
            closed.keys,
            parts,
            missing=closed.missing[m.source][span] | unknown,
            missing_other=closed.missing[m.against or m.source][span] | unknown,
            silent=closed.silent[m.source][span],
            unsettled=(closed.unsettled.get(m.source, none) | closed.unsettled.get(m.against or m.source, none))[span],
            doubtful=np.bincount(closed.bucket[rows][doubtful] - start, weights=closed.value[rows][doubtful], minlength=end - start).astype(np.float64),
        )
        if m.slow is not None:
            m.slow.add(chunk)
        return chunk, m.fast.load(chunk)

    def _close_epoch(self) -> None:
        for m in self.metrics:
            m.fast.close_epoch(self.fast)


_CODEC = StateCodec(
    "detect",
    (
        _Metric, Alarms, Bets, Cell, CountWatch, DayProfile, Epoch, ForeignBank, KeyRows, ModelWatch, PastPeaks, RateBank, RateBaseline, RatioWatch,
        Recent, Recipe, Recursion, SeriesClock, SeriesName, SeriesTree, ShareBank, ShareBaseline, ShareEpoch, ShareTilts, ShareWatch, Siblings, SlowWatch,
        Watched, WeekProfile,
    ),
)  # fmt: skip


def _away(watched: Watched, row: int) -> bool:
    return row < len(watched.alarms.away) and bool(watched.alarms.away[row])


def _signal(m: _Metric, bucket: int, turn: Turn) -> Signal:
    return Signal(
        kind=turn.kind,
        series=m.fast.watch.tree.name(turn.row),
        bucket=bucket,
        onset=round(turn.onset),
        onset_error=turn.onset_error,
        direction=turn.direction,
        evidence=turn.evidence,
        threshold=turn.threshold,
    )


def _id(signal: Signal) -> str:
    return signal.id


def _accounts(m: _Metric, chunk: Chunk, accounts: Accounts) -> list[Account]:
    """The accounts of a chunk's buckets."""
    watch, n = m.fast.watch, chunk.n
    width = accounts.observed.shape[1]
    # A series that the chunk meets only later has no place in a bucket yet; mostly there is none.
    known = [width] * n if watch.n_known(chunk.start) == width else [watch.n_known(chunk.start + at) for at in range(n)]
    # An idle partition beside a busy one, or the last buckets of a file, are closed by silence and still have events.
    silent = chunk.silent & (chunk.events == 0.0)
    columns = (accounts.observed, accounts.expected, accounts.variance)
    rows = zip(*columns, strict=True) if min(known) == width else ([each[at, : known[at]] for each in columns] for at in range(n))
    flags = zip(chunk.missing.tolist(), silent.tolist(), chunk.events.tolist(), chunk.doubtful.tolist(), chunk.unsettled.tolist(), strict=True)
    return [
        Account(
            metric=m.name,
            series=watch.tree.first_names(known[at]),
            observed=observed,
            expected=expected,
            variance=variance,
            error=accounts.error[: known[at]],
            missing=missing,
            silent=still,
            events=events,
            doubtful=doubtful,
            unsettled=unsettled,
            split=watch.split(at),
        )
        for at, ((observed, expected, variance), (missing, still, events, doubtful, unsettled)) in enumerate(zip(rows, flags, strict=True))
    ]


def _metric(stage: Detect, name: str, numbers: dict[Measure, int], n_metrics: int) -> _Metric:
    metric = stage.settings.metrics[name]
    watch = watch_for(name, stage.fast)
    slow = None if stage.slow is None or metric.model is not None else SlowWatch(name, stage.slow, stage.settings.bucket_ms, n_metrics)
    # A distribution has no model: the config's rule.
    if metric.model is not None and isinstance(watch, (CountWatch, RatioWatch)):
        model, settings = metric.model, stage.settings
        watch = ModelWatch(watch, ForeignBank(model.name, model.arguments, metric.worse, bucket_ms=settings.bucket_ms, warmup_ms=settings.warmup_ms))
    return _Metric(
        name=name,
        fast=Watched(watch, stage.fast, n_metrics),
        slow=slow,
        parts={measure.part: number for measure, number in numbers.items() if measure.metric == name},
        doubts=tuple(number for measure, number in numbers.items() if not measure.metric and measure.source == metric.source),
        source=metric.source,
        against=metric.against,
    )
