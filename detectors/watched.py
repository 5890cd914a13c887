"""One metric under watch: its evidence against its thresholds, and what turns up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rollguard.config import Settings
from rollguard.detectors.alarms import SUSPICION, Alarms
from rollguard.detectors.bank import EPOCH_MS, Accounts
from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.chunk import Chunk
from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.past import PastPeaks
from rollguard.detectors.watch import Watch

__all__ = ["Turn", "Watched"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: What rises higher is a peak of the own past, as a part of the threshold that the run length alone demands.
PEAK = 0.45


@dataclass(frozen=True, slots=True)
class Turn:
    """A series left its baseline or came back, in buckets of its watch.

    Attributes
    ----------
    kind : {"left", "returned"}
    row : int
    onset, onset_error : float
        First bucket of it, and its standard error.
    direction : str
    evidence, threshold : float
        Nats.
    """

    kind: Literal["left", "returned"]
    row: int
    onset: float
    onset_error: float
    direction: str
    evidence: float
    threshold: float


class Watched:
    """A metric's watch with its thresholds and alarms.

    Parameters
    ----------
    watch : Watch
    settings : Settings
        With the bucket of this watch, and its part of the budget.
    n_metrics : int
        Metrics that share the budget.
    """

    _derived: ClassVar[tuple[str, ...]] = ("taken", "singly", "end")

    def __init__(self, watch: Watch, settings: Settings, n_metrics: int) -> None:
        self.watch = watch
        self.buckets_per_epoch = max(1, EPOCH_MS // settings.bucket_ms)
        self.n_metrics = n_metrics
        plain = math.log(settings.budget.per_ms / settings.bucket_ms / settings.budget.false_pages)
        self.past = PastPeaks(self.buckets_per_epoch * settings.bucket_ms, above=PEAK * max(plain, 4.0))
        self.alarms = Alarms()
        #: Nats; infinite for a series that may not speak yet.
        self.threshold: Floats = np.zeros(0)
        #: The same on the scale of the e-detector, so that a bucket costs a comparison.
        self.limit: Singles = np.zeros(0, dtype=np.float32)
        self.value: Singles = self.limit
        #: Buckets of the epoch under way that were known.
        self.known = 0
        self._rederive()

    def _rederive(self) -> None:
        #: Loaded buckets before this one have been taken; those before the other have to be taken one by one.
        self.taken = 0
        self.singly = 0
        self.end = 0

    def load(self, chunk: Chunk) -> Accounts:
        """Take in the buckets of a chunk; `step` then goes through them."""
        accounts = self.watch.load(chunk)
        self.known += int(np.count_nonzero(~chunk.missing))
        self.taken = self.singly = chunk.start
        self.end = chunk.start + chunk.n
        n = len(self.watch.tree.parents)
        self.alarms.grow(n)
        self.past.grow(n)
        if len(self.threshold) < n:
            # A series that has just been seen for the first time cannot speak before its warm-up.
            extra = np.full(n - len(self.threshold), np.inf)
            self.threshold = np.concatenate([self.threshold, extra])
            self.limit = np.concatenate([self.limit, extra.astype(np.float32)])
        return accounts

    def one_by_one(self) -> None:
        """Take the loaded buckets one by one, since something else may happen between them."""
        self.singly = self.end

    def step(self, bucket: int) -> list[Turn]:
        """Take the next loaded bucket."""
        if bucket < self.taken or self._quiet(bucket):
            return []
        value = self.watch.step(bucket)
        self.value = value
        self.past.see(value)
        if not len(self.alarms.rows) and not (value >= self.limit).any():
            return []
        left, returned, since = self.alarms.step(bucket, value, self.threshold, self.watch.mass, lambda rows: self.watch.nats(bucket, rows))
        turns = []
        for row in left.tolist():
            direction, onset = self.watch.best(row, bucket)
            turns.append(self._turn("left", row, onset.bucket, onset.error, direction))
        for row, back in zip(returned.tolist(), since.tolist(), strict=True):
            turns.append(self._turn("returned", row, float(back), 0.5, self.watch.best(row, bucket)[0]))
        if len(returned):
            self.watch.forget(returned)
        return turns

    def _quiet(self, bucket: int) -> bool:
        """Take as many buckets as follow without anything turning up: all at once, which is what nearly all of them cost. False: none."""
        if bucket < self.singly or len(self.alarms.rows):
            return False
        values = self.watch.ahead(bucket)
        if values is None:
            self.singly = self.end
            return False
        with np.errstate(divide="ignore"):
            loud = (np.log(values) >= self.threshold).any(axis=1)
        n = int(loud.argmax()) if loud.any() else len(values)
        if not n:
            # What comes after it is looked at anew.
            return False
        self.past.see(values[:n].max(axis=0))
        self.value = self.watch.settle(bucket + n - 1, values[n - 1])
        self.taken = bucket + n
        return True

    def accept(self, rows: Ints, bucket: int) -> list[Turn]:
        """Take the level that some series have now for their normal; those that were away are back by that."""
        mask = np.zeros(len(self.threshold), dtype=bool)
        mask[rows] = True
        self.watch.accept(mask)
        turns = [self._turn("returned", row, float(bucket), 0.5, self.watch.best(row, bucket)[0]) for row in self.alarms.release(rows).tolist()]
        self.watch.forget(rows)
        return turns

    def close_epoch(self, settings: Settings) -> None:
        """End an epoch: the baselines learn, thresholds and tempers follow the own past."""
        watch = self.watch
        ready = watch.ready
        with np.errstate(divide="ignore"):
            suspected = np.log(self.value) >= SUSPICION * self.threshold
        self.past.close_epoch(np.where(ready, self.known, 0), self.threshold, watch.honesty)
        slack = watch.slack
        nominal = log_thresholds(settings, self.n_metrics, watch.tree) + np.log(slack) + np.log(self.past.more_often(slack))
        watch.close_epoch(suspected | self.alarms.been_away)
        watch.temper(self.past.honesty())
        self.alarms.new_epoch()
        self.threshold = np.where(ready, nominal, np.inf)
        with np.errstate(over="ignore"):
            self.limit = np.exp(self.threshold).astype(np.float32)
        self.known = 0

    def _turn(self, kind: Literal["left", "returned"], row: int, onset: float, error: float, direction: str) -> Turn:
        evidence = math.log(max(float(self.value[row]), 1e-30))
        return Turn(kind=kind, row=row, onset=onset, onset_error=error, direction=direction, evidence=evidence, threshold=float(self.threshold[row]))
