"""Thousands of rates of one metric as columns: baseline, evidence and onset, fed many buckets at a time.

A bank gives the same numbers however its buckets are batched: coefficients change at epoch boundaries only, and an
epoch is a fixed span of event time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.config import RollguardError
from rollguard.detectors.baseline import FAST, ORDINARY_BILL, SURELY_BILL, Epoch, Memory, RateBaseline
from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.evidence import Coefficients, Floats, Singles, count_coefficients, odds_coefficients, quietened
from rollguard.detectors.onset import Onset, Recent, onset_of
from rollguard.detectors.recursion import Recursion

__all__ = ["BAND_PER_ERROR", "BANK_DERIVED", "EPOCH_MS", "Accounts", "Bank", "DomainError", "RateBank", "refuse_unknown"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

EPOCH_MS = 300_000
#: The dead band is so many times the root mean square error the baseline has shown.
BAND_PER_ERROR = 2.0
#: Likelihood ratios worked out ahead of time: so many at once stay in the cache.
AT_ONCE = 1 << 16
#: Fewer buckets than that are not looked at together: it would cost more than it saves.
LEAST_AHEAD = 4


#: What a bank makes anew when it is restored.
BANK_DERIVED = ("room", "ahead_of", "n_ahead", "start", "present", "foreseen")


@dataclass(frozen=True, slots=True)
class Accounts:
    """What was counted in some buckets, against what the baseline expected.

    Attributes
    ----------
    observed, expected, variance : (n_buckets, n_series) float64
        Zero in a missing bucket. `variance` is that of (observed - expected).
    error : (n_series,) float64
        Relative error of `expected`, the same in all these buckets.
    """

    observed: Floats
    expected: Floats
    variance: Floats
    error: Floats


class DomainError(RollguardError):
    """A bank was given a number that no bucket can have.

    Parameters
    ----------
    bucket : int
        First bucket of what was given.
    series : int
        First series with such a number.
    """

    code = "domain"

    def __init__(self, bucket: int, series: int) -> None:
        self.bucket, self.series = bucket, series
        super().__init__(
            f"bank: bucket {bucket}, series {series}: not a finite number. "
            "Expected counts, or `present` False for a bucket that is missing. Nothing was taken in."
        )


def refuse_unknown(start: int, *columns: Singles) -> None:
    """Refuse what is not finite: one NaN would make every later number of its series one.

    Raises
    ------
    DomainError
        Names the first series.
    """
    for each in columns:
        # The sum of finite counts is finite, and cheap.
        if not math.isfinite(float(each.sum(dtype=np.float32))) and not np.isfinite(each).all():
            raise DomainError(start, int(np.flatnonzero(~np.isfinite(each).all(axis=tuple(range(each.ndim - 1))))[0]))


class Bank:
    """What banks of all kinds share: the recursion, stepped through the likelihood ratios of loaded buckets.

    Attributes
    ----------
    ready : (n_series,) bool
        Seen for long enough to speak.
    slack : (n_series,) float32
        Factor on thresholds, for evidence jumps past them; see `overshoot`.
    honesty, power : (n_series,) float32
        Power of the likelihood ratios from the next epoch on (see `PastPeaks`), and in the one under way.
    value : (n_series,) float32
        Value of each series' e-detector after the last step.
    """

    _derived: ClassVar[tuple[str, ...]] = BANK_DERIVED
    recursion: Recursion
    ready: Bools
    slack: Singles
    honesty: Singles
    power: Singles
    value: Singles

    def _rederive(self) -> None:
        self.room: Singles = np.zeros((0, 0, 0), dtype=np.float32)
        self.ahead_of = 0
        self.n_ahead = 0
        self.start = 0
        self.present: Bools = np.zeros(0, dtype=bool)
        self.foreseen: Singles = np.zeros((0, 0), dtype=np.float32)

    def loaded(self, start: int, present: Bools) -> None:
        """Note which buckets are loaded and which of them are known; for banks alone."""
        self.start, self.present, self.n_ahead = start, present, 0

    def step(self, bucket: int) -> Singles:
        """Take the next loaded bucket.

        Returns
        -------
        (n_series,) float32
            Value of each series' e-detector (not its logarithm). One that is not ready has a value, too: its threshold is infinite.
        """
        at = bucket - self.start
        if len(self.value) != self.recursion.sr.shape[1]:
            self.value = self.recursion.value()
        if not self.present[at]:
            return self.value
        if not self.ahead_of <= at < self.ahead_of + self.n_ahead:
            self._look_ahead(at)
        self.value = self.recursion.step(self.room[at - self.ahead_of])
        return self.value

    def ahead(self, bucket: int) -> Singles | None:
        """Look at some of the next loaded buckets at once, without taking them; `settle` takes them.

        Returns
        -------
        (n_buckets, n_series) float32 or None
            What `step` would give, for one bucket after another. None: they have to be stepped.
        """
        at = bucket - self.start
        self.ahead_of, self.n_ahead = at, 0
        n = min(self._most(), len(self.present) - at)
        if n < LEAST_AHEAD or not self.present[at : at + n].all():
            return None
        ratios = self._ratios(at, n)
        found = self._through(ratios)
        if found is not None:
            self.foreseen = found
        return found

    def settle(self, bucket: int) -> Singles:
        """Take the buckets up to one that was looked at with `ahead`; the value then."""
        number = bucket - self.start - self.ahead_of
        np.copyto(self.recursion.sr, self.room[number])
        self.value = self.foreseen[number].copy()
        return self.value

    def _through(self, ratios: Singles) -> Singles | None:
        """Values after each bucket; the room holds the statistics then."""
        return self.recursion.through(ratios, ratios)

    def _most(self) -> int:
        """How many buckets are worked out at once."""
        return max(1, AT_ONCE // max(self.recursion.sr.size, 1))

    def _look_ahead(self, at: int) -> None:
        self.ahead_of, self.n_ahead = at, min(self._most(), len(self.present) - at)
        self._ratios(at, self.n_ahead)

    def _ratios(self, at: int, n: int) -> Singles:
        """Likelihood ratios of some loaded buckets, in the room."""
        shape, most = self.recursion.sr.shape, self._most()
        if self.room.shape[1:] != shape or len(self.room) != most:
            self.room = np.empty((most, *shape), dtype=np.float32)
        nats = self.room[:n]
        self.nats_into(at, nats)
        np.exp(nats, out=nats)
        return nats

    def nats_into(self, at: int, out: Singles) -> None:
        """Log likelihood ratios of loaded buckets.

        Parameters
        ----------
        at : int
            The first, counted from the first loaded one.
        out : (n_buckets, n_tilts, n_series) float32
            Where to.
        """
        raise NotImplementedError

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """Log likelihood ratios of one loaded bucket; 0 where it is missing.

        Returns
        -------
        (n_rows, n_tilts) float64
        """
        raise NotImplementedError

    def mass(self, rows: Ints) -> Floats:
        """(n_rows, n_tilts) float64: log of each tilt's statistic."""
        return np.log(np.maximum(self.recursion.sr[:, rows].T.astype(np.float64), 1e-30))

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""
        self.recursion.forget(rows)
        if len(self.value) == self.recursion.sr.shape[1]:
            self.value[rows] = 0.0


class RateBank(Bank):
    """Counts per bucket, or hits against the misses of the same buckets.

    Parameters
    ----------
    factors : (n_tilts,) float64
        Factors to test for.
    bucket_ms : int
        Length of a bucket; divides an epoch.
    odds : bool
        True: the exposure is itself random (misses), and evidence is binomial. False: negative binomial counts.
    warmup_ms : int
        How long a series must have been seen before it gives evidence.
    memory : Memory
        Of the baseline.
    clock : SeriesClock, optional
        Local times of the series; its own for each bank.
    band_per_error : float
        The dead band is so many times the root mean square error the baseline has shown.
    """

    _derived: ClassVar[tuple[str, ...]] = (*BANK_DERIVED, "x", "w", "spare", "coefficients")

    def __init__(
        self,
        factors: Floats,
        *,
        bucket_ms: int,
        odds: bool,
        warmup_ms: int,
        memory: Memory = FAST,
        clock: SeriesClock | None = None,
        band_per_error: float = BAND_PER_ERROR,
    ) -> None:
        self.band_per_error = band_per_error
        #: Whether its baseline learns from it; not where it is another bank's.
        self.learns = True
        self.factors = factors
        self.odds = odds
        self.buckets_per_epoch = max(1, EPOCH_MS // bucket_ms)
        epoch_ms = self.buckets_per_epoch * bucket_ms
        self.warmup_epochs = -(-warmup_ms // epoch_ms)
        self.baseline = RateBaseline(epoch_ms, memory, random_exposure=odds, clock=clock)
        self.recursion = Recursion(len(factors))
        self.recent = Recent(self.buckets_per_epoch, exposure=odds)
        self.epoch: int | None = None
        self.rate: Singles = np.zeros(0, dtype=np.float32)
        self.scatter: Singles = self.rate
        self.error: Singles = self.rate
        self.power: Singles = self.rate
        self.ready: Bools = np.zeros(0, dtype=bool)
        self.slack: Singles = self.rate
        self.honesty: Singles = self.rate
        self.value: Singles = self.rate
        self.hits: Singles = self.rate
        self.width: Singles = self.rate
        self._rederive()

    def _rederive(self) -> None:
        super()._rederive()
        self.x: Singles = np.zeros((0, 0), dtype=np.float32)
        self.w: Singles = self.x
        self.spare: Singles = np.zeros((0, 0, 0), dtype=np.float32)
        self.coefficients: Coefficients | None = None
        if self.epoch is not None:
            self.coefficients = self._coefficients()

    def grow(self, parents: Ints, regions: Sequence[str | None] = ()) -> None:
        """Make room for more series; see `RateBaseline.grow`."""
        extra = len(parents) - self.recursion.sr.shape[1]
        if extra <= 0:
            return
        self.baseline.grow(parents, regions)
        self.recursion.grow(extra)
        self.recent.grow(extra)
        more = np.zeros(extra, dtype=np.float32)
        self.hits, self.width = np.concatenate([self.hits, more]), np.concatenate([self.width, more])
        self.honesty, self.power = np.concatenate([self.honesty, more + np.float32(1.0)]), np.concatenate([self.power, more + np.float32(1.0)])
        if self.epoch is not None:
            self._prepare(self.epoch)

    def load(self, start: int, observed: Floats, exposure: Floats, present: Bools) -> None:
        """Take in buckets that lie in one epoch; `step` then goes through them.

        Parameters
        ----------
        start : int
            Index of the first bucket.
        observed : (n_buckets, n_series) float64
            Events.
        exposure : (n_buckets, n_series) or (n_buckets, 1) float64
            For counts 1, or 0 in a bucket that says nothing of a series; misses for odds.
        present : (n_buckets,) bool
            False: the bucket is missing.
        """
        if not present.all():
            observed, exposure = np.where(present[:, None], observed, 0.0), np.where(present[:, None], exposure, 0.0)
        hits, width = observed.astype(np.float32), exposure.astype(np.float32)
        refuse_unknown(start, hits, width)
        epoch = start // self.buckets_per_epoch
        if epoch != self.epoch:
            self.hits, self.width = (np.zeros(self.baseline.n_series, dtype=np.float32) for _ in range(2))
            self._prepare(epoch)
        self.loaded(start, present)
        self.x, self.w = hits, width
        # One bucket after another, so that it does not matter how they are batched.
        self.hits = np.add.accumulate(np.concatenate([self.hits[None], self.x]), axis=0)[-1]
        self.width = np.add.accumulate(np.concatenate([self.width[None], np.broadcast_to(self.w, self.x.shape)]), axis=0)[-1]
        if self.coefficients is not None and not self.odds:
            np.clip(self.x, self.coefficients.quietest, self.coefficients.loudest, out=self.x)
        self.recent.take(start, self.x, self.w, present)

    def accounts(self, observed: Floats, exposure: Floats) -> Accounts:
        """What the baseline expects of some buckets of the epoch under way; arguments as for `load`, zero where they are missing."""
        rate, scatter = self.rate.astype(np.float64), self.scatter.astype(np.float64)
        if not self.odds and (self.factors < 1.0).all():
            # Where only a fall hurts, what a surge brought on top is not missed when it is gone.
            rate /= self.baseline.surge(ORDINARY_BILL, SURELY_BILL)
        expected = exposure * rate
        noise = scatter * (1.0 + rate) if self.odds else scatter
        return Accounts(observed, expected, expected * noise, self.error.astype(np.float64))

    def nats_into(self, at: int, out: Singles) -> None:
        """See `Bank`."""
        c = self.coefficients
        if c is None:
            out[:] = 0.0
            return
        x, w = self.x[at : at + len(out)], self.w[at : at + len(out)]
        np.multiply(x[:, None], c.weight, out=out)
        if not self.odds:
            np.subtract(out, c.constant, out=out)
            return
        if self.spare.shape[1:] != out.shape[1:] or len(self.spare) < len(out):
            self.spare = np.empty_like(out)
        spare = self.spare[: len(out)]
        np.subtract(out, np.multiply(w[:, None], c.constant, out=spare), out=out)
        loud = (x > c.loudest) | (w > c.widest)
        for number in np.flatnonzero(loud.any(axis=1)).tolist() if loud.any() else ():
            rows = np.flatnonzero(loud[number])
            out[number][:, rows] = quietened(out[number][:, rows])

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """See `Bank`."""
        at, c = bucket - self.start, self.coefficients
        if c is None or not self.present[at]:
            return np.zeros((len(rows), len(self.factors)))
        total = self.x[at, rows] * c.weight[:, rows]
        total -= self.w[at, rows] * c.constant[:, rows] if self.odds else c.constant[:, rows]
        quietened(total)
        return np.asarray(total.T, dtype=np.float64)

    def best(self, row: int, bucket: int) -> tuple[int, Onset]:
        """Best tilt of a series, and when it began."""
        c = self.coefficients
        if c is None:
            return 0, Onset(float(bucket), 1.0, 0.0)
        weight, constant = c.weight[:, row].astype(np.float64), c.constant[:, row].astype(np.float64)
        waited = self.baseline.waited(row, self.buckets_per_epoch, float(self.rate[row]))
        return onset_of(self.recent.of(row, bucket), waited, weight, constant)

    def close_epoch(self, suspected: Bools) -> None:
        """End the epoch: the baseline learns from it, except for the series under suspicion."""
        if self.epoch is not None and self.learns:
            self.baseline.learn(Epoch(self.epoch, self.hits, self.width, self.width * self.rate, suspected))
        self.epoch = None

    def companion(self, band_per_error: float) -> RateBank:
        """Another bank on the same baseline, with a dead band of its own; it has to be closed before this one."""
        bank = RateBank(self.factors, bucket_ms=EPOCH_MS, odds=self.odds, warmup_ms=0, band_per_error=band_per_error)
        bank.buckets_per_epoch, bank.warmup_epochs = self.buckets_per_epoch, self.warmup_epochs
        bank.baseline, bank.learns, bank.recent = self.baseline, False, Recent(self.buckets_per_epoch, exposure=self.odds)
        return bank

    def describe(self, tilt: int) -> str:
        """Direction of a tilt in one word."""
        return "higher" if self.factors[tilt] > 1.0 else "lower"

    def _prepare(self, epoch: int) -> None:
        self.epoch = epoch
        self.rate = self.baseline.rate(epoch)
        # What has learnt nothing expects nothing.
        self.rate[np.isnan(self.rate)] = 0.0
        error = self.baseline.error(epoch)
        self.scatter, self.error, self.power = error.scatter, error.relative, self.honesty
        before = np.zeros(len(self.rate), dtype=bool)
        before[: len(self.ready)] = self.ready
        self.ready = (self.baseline.columns["epochs"] >= self.warmup_epochs) & (self.rate > 0.0)
        spoke = before & self.ready
        if not spoke.all():
            # What was stepped without a baseline of its own means nothing.
            self.recursion.forget(~spoke)
        self.coefficients = self._coefficients()
        self.slack = np.ones(len(self.ready), dtype=np.float32) if self.coefficients is None else self.coefficients.slack

    def _coefficients(self) -> Coefficients | None:
        if not self.ready.any():
            return None
        # What is learnt of a weekend comes within hours, so only who searches for a start may not take it for one: an account's error knows nothing of it.
        band = np.float32(self.band_per_error) * np.hypot(self.error, self.baseline.weekend(self.epoch))
        rate = np.where(self.ready, self.rate, np.float32(1.0))
        if self.odds:
            usual = self.baseline.exposure() / np.float32(self.buckets_per_epoch)
            return odds_coefficients(rate, band, self.scatter / self.power, self.factors, np.where(self.ready, usual, np.float32(1.0)))
        # What scatters more than Poisson is negative binomial, with the dispersion that gives its sums the variance seen.
        return count_coefficients(rate, band, (self.scatter - np.float32(1.0)) / rate, self.factors, power=self.power, surge=self.baseline.surge())
