"""The detect stage: closed buckets in, signals and ticks out, in bucket order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.config import Settings
from rollguard.detectors.alarms import SUSPICION_NATS, Alarms
from rollguard.detectors.bank import EPOCH_MS, Accounts, RateBank
from rollguard.detectors.baseline import Epoch, RateBaseline
from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.chunk import Chunk, KeyRows
from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.foreign import Bets, Cell, ForeignBank
from rollguard.detectors.model_watch import ModelWatch
from rollguard.detectors.onset import Recent
from rollguard.detectors.profile import DayProfile, WeekProfile
from rollguard.detectors.recipe import Recipe
from rollguard.detectors.records import Account, SeriesName, Signal, Tick
from rollguard.detectors.recursion import Recursion
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import ShareBaseline, ShareEpoch, ShareTilts
from rollguard.detectors.watch import CountWatch, RatioWatch, ShareWatch, Watch, watch_for
from rollguard.streams import Closed, Measure, StateCodec, measures

__all__ = ["Detect"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Watched:
    """A metric under watch, with what the stage keeps about it."""

    name: str
    watch: Watch
    alarms: Alarms
    parts: dict[str, int]
    doubts: tuple[int, ...]
    source: str
    against: str | None
    log_threshold: Floats
    threshold: Floats
    value: Singles


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
        self.watched = [_watched(settings, name, numbers) for name, metric in sorted(settings.metrics.items()) if metric.watch]
        self.next_bucket: int | None = None

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

    def snapshot(self) -> bytes:
        """All that later answers depend on; see `restore`."""
        return _CODEC.dump((self.watched, self.next_bucket), self.settings)

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Detect:
        """A stage that goes on as if it had never stopped.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or was made under other settings.
        """
        stage = cls(settings)
        stage.watched, stage.next_bucket = _CODEC.load(data, settings, tuple)
        return stage

    def _chunk(self, closed: Closed, start: int, end: int, out: list[Signal | Tick]) -> None:
        low, high = np.searchsorted(closed.bucket, [start, end]).tolist()
        loaded = [(w, self._load(w, closed, start, end, slice(low, high))) for w in self.watched]
        for bucket in range(start, end):
            signals: list[Signal] = []
            for w, _ in loaded:
                self._step(w, bucket, signals)
            signals.sort(key=_id)
            out.extend(signals)
            out.append(self._tick(loaded, bucket, start))

    def _load(self, w: _Watched, closed: Closed, start: int, end: int, rows: slice) -> tuple[Chunk, Accounts]:
        measure = closed.measure[rows]
        parts: dict[str, tuple[Ints, Ints, Ints, Ints]] = {}
        doubtful = np.flatnonzero(np.isin(measure, w.doubts))
        for part, number in w.parts.items():
            mine = np.flatnonzero(measure == number)
            parts[part] = (
                closed.bucket[rows][mine],
                closed.key[rows][mine].astype(np.int64),
                closed.bin[rows][mine].astype(np.int64),
                closed.value[rows][mine],
            )
        span = slice(start - closed.start, end - closed.start)
        chunk = Chunk(
            start,
            end - start,
            closed.keys,
            parts,
            missing=closed.missing[w.source][span],
            missing_other=closed.missing[w.against or w.source][span],
            silent=closed.silent[w.source][span],
            doubtful=np.bincount(closed.bucket[rows][doubtful] - start, weights=closed.value[rows][doubtful], minlength=end - start).astype(np.float64),
        )
        accounts = w.watch.load(chunk)
        n = len(w.watch.tree.parents)
        w.alarms.grow(n)
        if len(w.threshold) < n:
            # A series that has just been seen for the first time cannot speak before its warm-up.
            extra = np.full(n - len(w.threshold), np.inf)
            w.threshold = np.concatenate([w.threshold, extra])
            w.log_threshold = np.concatenate([w.log_threshold, extra])
        return chunk, accounts

    def _step(self, w: _Watched, bucket: int, signals: list[Signal]) -> None:
        value = w.watch.step(bucket)
        w.value = value
        if not len(w.alarms.rows) and not (value >= w.threshold).any():
            return
        left, returned, since = w.alarms.step(bucket, value, w.threshold, w.watch.mass, lambda rows: w.watch.nats(bucket, rows))
        name = w.watch.tree.name
        for row in left.tolist():
            direction, onset = w.watch.best(row, bucket)
            signals.append(
                Signal(
                    kind="left",
                    series=name(row),
                    bucket=bucket,
                    onset=round(onset.bucket),
                    onset_error=onset.error,
                    direction=direction,
                    evidence=math.log(float(value[row])),
                    threshold=float(w.log_threshold[row]),
                )
            )
        for row, back in zip(returned.tolist(), since.tolist(), strict=True):
            signals.append(
                Signal(
                    kind="returned",
                    series=name(row),
                    bucket=bucket,
                    onset=back,
                    onset_error=0.5,
                    direction=w.watch.best(row, bucket)[0],
                    evidence=math.log(max(float(value[row]), 1e-300)),
                    threshold=float(w.log_threshold[row]),
                )
            )
        if len(returned):
            w.watch.forget(returned)

    def _tick(self, loaded: list[tuple[_Watched, tuple[Chunk, Accounts]]], bucket: int, start: int) -> Tick:
        return Tick(
            bucket=bucket,
            ready=any(bool(w.watch.ready.any()) for w in self.watched),
            accounts=tuple(_account(w, chunk, accounts, bucket, bucket - start) for w, (chunk, accounts) in loaded),
        )

    def _close_epoch(self) -> None:
        for w in self.watched:
            w.log_threshold = log_thresholds(self.settings, len(self.watched), w.watch.tree) + np.log(w.watch.slack)
            w.watch.close_epoch((w.value >= SUSPICION) | w.alarms.been_away)
            w.alarms.new_epoch()
            w.threshold = np.where(w.watch.ready, np.exp(w.log_threshold), np.inf)


#: On the scale of an e-detector's value.
SUSPICION = np.float32(math.exp(SUSPICION_NATS))

_CODEC = StateCodec(
    "detect",
    (
        Bets, Cell, ForeignBank, ModelWatch, Recipe,
        _Watched, Alarms, CountWatch, DayProfile, Epoch, KeyRows, RateBank, RateBaseline, RatioWatch, Recent, Recursion,
        SeriesClock, SeriesName, SeriesTree, ShareBank, ShareBaseline, ShareEpoch, ShareTilts, ShareWatch, WeekProfile,
    ),
)  # fmt: skip


def _id(signal: Signal) -> str:
    return signal.id


def _account(w: _Watched, chunk: Chunk, accounts: Accounts, bucket: int, at: int) -> Account:
    # A series that the chunk meets only later has no place in this bucket yet.
    n = w.watch.n_known(bucket)
    return Account(
        metric=w.name,
        series=w.watch.tree.first_names(n),
        observed=accounts.observed[at, :n],
        expected=accounts.expected[at, :n],
        variance=accounts.variance[at, :n],
        error=accounts.error[:n],
        missing=bool(chunk.missing[at]),
        # An idle partition beside a busy one, or the last buckets of a file, are closed by silence and still have events.
        silent=bool(chunk.silent[at]) and not chunk.events[at],
        events=float(chunk.events[at]),
        doubtful=float(chunk.doubtful[at]),
        split=w.watch.split(at),
    )


def _watched(settings: Settings, name: str, numbers: dict[Measure, int]) -> _Watched:
    metric = settings.metrics[name]
    watch = watch_for(name, settings)
    # A distribution has no model: the config's rule.
    if metric.model is not None and isinstance(watch, (CountWatch, RatioWatch)):
        bank = ForeignBank(metric.model.name, metric.model.arguments, metric.worse, bucket_ms=settings.bucket_ms, warmup_ms=settings.warmup_ms)
        watch = ModelWatch(watch, bank)
    return _Watched(
        name=name,
        watch=watch,
        alarms=Alarms(),
        parts={measure.part: number for measure, number in numbers.items() if measure.metric == name},
        doubts=tuple(number for measure, number in numbers.items() if not measure.metric and measure.source == metric.source),
        source=metric.source,
        against=metric.against,
        log_threshold=np.zeros(0),
        threshold=np.zeros(0),
        value=np.zeros(0, dtype=np.float32),
    )
