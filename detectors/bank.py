"""Thousands of series of one metric as columns: baseline, evidence and onset, fed many buckets at a time.

A bank gives the same numbers however its buckets are batched: coefficients change at epoch boundaries only, and an
epoch is a fixed span of event time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.detectors.baseline import Epoch, RateBaseline
from rollguard.detectors.evidence import DetectorState, Floats, Tilts, bin_tilts, binomial_tilts, count_tilts, quietened
from rollguard.detectors.shares import N_BINS, OUTER, TILT_NAMES, ShareBaseline, ShareEpoch
from rollguard.detectors.sums import row_sums, sums_by_row

__all__ = ["EPOCH_MS", "Accounts", "RateBank", "Recursion", "ShareBank"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

EPOCH_MS = 300_000
#: The dead band is so many times the root mean square error the baseline has shown.
BAND_PER_ERROR = 2.0
#: Least dead band of bins, as a fraction of each tilt.
LEAST_LEAN = 0.1


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


class Recursion:
    """The statistics of one bank, stepped through the log ratios of a batch of buckets."""

    _derived = ("log_ratio", "missing", "ratio", "start", "young")

    def __init__(self, n_tilts: int) -> None:
        self.n_tilts = n_tilts
        self.state = DetectorState(0, n_tilts)
        self._rederive()

    def _rederive(self) -> None:
        self.log_ratio: Floats = np.zeros((0, 0, self.n_tilts))
        self.ratio: Floats = self.log_ratio
        self.missing: Bools = np.zeros((0, 0), dtype=bool)
        self.young: Ints = np.zeros(0, dtype=np.int64)
        self.start = 0

    def grow(self, extra: int) -> None:
        """Make room for more series."""
        for name in ("sr", "cusum", "onset"):
            column = getattr(self.state, name)
            setattr(self.state, name, np.concatenate([column, np.zeros((extra, self.n_tilts), dtype=column.dtype)]))

    def load(self, start: int, log_ratio: Floats, present: Bools, ready: Bools) -> None:
        """Take in the (n_buckets, n_series, n_tilts) log ratios of some buckets, which of them are known, and which series may speak."""
        self.start = start
        log_ratio[~(present & ready)] = 0.0
        self.log_ratio = log_ratio
        self.missing = ~present
        self.young = np.flatnonzero(~ready)
        if ready.any():
            self.ratio = np.exp(log_ratio)

    def step(self, bucket: int) -> Floats:
        """Value of every series' e-detector after the bucket; a series that is not ready stays at the beginning."""
        if len(self.young) == len(self.state.sr):
            return np.zeros(len(self.state.sr))
        at = bucket - self.start
        value = self.state.step(bucket, self.log_ratio[at], self.ratio[at], np.flatnonzero(self.missing[at]))
        if len(self.young):
            self.state.forget(self.young)
            value[self.young] = 0.0
        return value


class _Bank:
    """What banks of all kinds share: the recursion and how it is read."""

    recursion: Recursion

    def step(self, bucket: int) -> Floats:
        """Take the next loaded bucket.

        Returns
        -------
        (n_series,) float64
            Value of each series' e-detector (not its logarithm).
        """
        return self.recursion.step(bucket)

    @property
    def lead(self) -> Floats:
        """(n_series, n_tilts) float64: nats gathered by each tilt since its own onset."""
        return self.recursion.state.cusum

    def best(self, row: int) -> tuple[int, int, float]:
        """Best tilt of a series, its onset (a bucket) and its nats since then."""
        state = self.recursion.state
        tilt = int(state.cusum[row].argmax())
        return tilt, int(state.onset[row, tilt]), float(state.cusum[row, tilt])

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""
        self.recursion.state.forget(rows)


class RateBank(_Bank):
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
    """

    def __init__(self, factors: Floats, *, bucket_ms: int, odds: bool, warmup_ms: int) -> None:
        self.factors = factors
        self.odds = odds
        self.buckets_per_epoch = max(1, EPOCH_MS // bucket_ms)
        epoch_ms = self.buckets_per_epoch * bucket_ms
        self.warmup_epochs = -(-warmup_ms // epoch_ms)
        self.baseline = RateBaseline(epoch_ms, random_exposure=odds)
        self.recursion = Recursion(len(factors))
        self.epoch: int | None = None
        self.rate: Floats = np.zeros(0)
        self.scatter: Floats = np.zeros(0)
        self.error: Floats = np.zeros(0)
        self.tilts: Tilts | None = None
        self.ready: Bools = np.zeros(0, dtype=bool)
        self.sums: list[Floats] = []

    def grow(self, parents: Ints) -> None:
        """Make room for more series; `parents` as in `RateBaseline.grow`."""
        extra = len(parents) - self.baseline.n_series
        if extra <= 0:
            return
        self.baseline.grow(parents)
        self.recursion.grow(extra)
        self.sums = [np.concatenate([s, np.zeros(extra)]) for s in self.sums]
        if self.epoch is not None:
            self._prepare(self.epoch)

    def load(self, start: int, observed: Floats, exposure: Floats) -> Accounts:
        """Take in buckets that lie in one epoch; `step` then goes through them.

        Parameters
        ----------
        start : int
            Index of the first bucket.
        observed, exposure : (n_buckets, n_series) float64
            Events, and exposure: 1 a bucket for counts, misses for odds. An observed NaN: the bucket is missing.
        """
        epoch = start // self.buckets_per_epoch
        if epoch != self.epoch:
            self.sums = [np.zeros(self.baseline.n_series) for _ in range(3)]
            self._prepare(epoch)
        present = ~np.isnan(observed)
        x = np.where(present, observed, 0.0)
        w = np.where(present, exposure, 0.0)
        expected = w * np.where(np.isnan(self.rate), 0.0, self.rate)
        noise = self.scatter * (1.0 + np.where(np.isnan(self.rate), 0.0, self.rate)) if self.odds else self.scatter
        log_ratio = np.zeros((*x.shape, len(self.factors)))
        if self.tilts is not None and self.ready.any():
            log_ratio = self.tilts.log_ratios((x, w) if self.odds else (x,))
        self.recursion.load(start, log_ratio, present, self.ready)
        for t in range(len(x)):
            self.sums = [total + part[t] for total, part in zip(self.sums, (x, w, expected), strict=True)]
        return Accounts(x, expected, expected * noise, self.error)

    def close_epoch(self, suspected: Bools) -> None:
        """End the epoch: the baseline learns from it, except for the series under suspicion."""
        if self.epoch is not None:
            observed, exposure, expected = self.sums
            self.baseline.learn(Epoch(self.epoch, observed, exposure, expected, suspected))
            self.epoch = None

    def describe(self, tilt: int) -> str:
        """Direction of a tilt in one word."""
        return "higher" if self.factors[tilt] > 1.0 else "lower"

    def _prepare(self, epoch: int) -> None:
        self.epoch = epoch
        self.rate = self.baseline.rate(epoch)
        error = self.baseline.error()
        self.scatter = error.scatter
        self.error = error.relative
        self.ready = (self.baseline.columns["epochs"] >= self.warmup_epochs) & (self.rate > 0.0)
        band = BAND_PER_ERROR * error.relative
        rate = np.where(self.ready, self.rate, 1.0)
        if self.odds:
            self.tilts = binomial_tilts(rate, band, error.scatter, self.factors)
        else:
            # What scatters more than Poisson is negative binomial, with the dispersion that gives its sums the variance seen.
            dispersion = (error.scatter - 1.0) / rate
            self.tilts = count_tilts(rate, band, dispersion, np.ones_like(rate), self.factors)


class ShareBank(_Bank):
    """Distributions as counts in quantile bins.

    Parameters
    ----------
    worse : {"higher", "lower", "both"}
        Direction that hurts.
    bucket_ms, warmup_ms
        As in `RateBank`.
    """

    def __init__(self, worse: str, *, bucket_ms: int, warmup_ms: int) -> None:
        self.buckets_per_epoch = max(1, EPOCH_MS // bucket_ms)
        epoch_ms = self.buckets_per_epoch * bucket_ms
        # The lag is part of the warm-up: a share enters the baseline only after it.
        self.warmup_epochs = max(1, -(-warmup_ms // epoch_ms) - (86_400_000 // epoch_ms) - 9)
        self.baseline = ShareBaseline(86_400_000 // epoch_ms, worse)
        self.names = self.baseline.names
        self.recursion = Recursion(len(self.names))
        self.epoch: int | None = None
        self.outer_share: Floats = np.zeros(0)
        self.scatter: Floats = np.zeros(0)
        self.tilts: list[Tilts] = []
        self.ready: Bools = np.zeros(0, dtype=bool)
        self.sums: Floats = np.zeros((0, N_BINS))

    def grow(self, parents: Ints, paths: Ints) -> None:
        """Make room for more series; `parents` and `paths` as in `ShareBaseline.grow`."""
        extra = len(parents) - self.baseline.n_series
        if extra <= 0:
            return
        self.baseline.grow(parents, paths)
        self.recursion.grow(extra)
        self.sums = np.concatenate([self.sums, np.zeros((extra, N_BINS))])
        if self.epoch is not None:
            self._prepare(self.epoch)

    def load(self, start: int, counts: Floats, present: Bools) -> Accounts:
        """Take in buckets that lie in one epoch; `step` then goes through them.

        Parameters
        ----------
        start : int
            Index of the first bucket.
        counts : (n_buckets, n_series, n_bins) float64
            Events in each quantile bin.
        present : (n_buckets, n_series) bool
            False: the bucket is missing.
        """
        epoch = start // self.buckets_per_epoch
        if epoch != self.epoch:
            self.sums = np.zeros((self.baseline.n_series, N_BINS))
            self._prepare(epoch)
        used = np.where(present[:, :, None], counts, 0.0)
        self.recursion.load(start, self._log_ratios(used), present, self.ready)
        for t in range(len(used)):
            self.sums += used[t]
        outer = used[:, :, OUTER[0]].copy()
        for j in OUTER[1:]:
            outer += used[:, :, j]
        # What to expect of a pooled series follows from which of its parts the events came: a mix that shifts is no change.
        trials = row_sums(used) * self.outer_share
        expected = self.baseline.pool(trials)
        variance = self.baseline.pool(trials * (1.0 - self.outer_share)) * self.scatter
        return Accounts(outer, expected, variance, np.zeros(self.baseline.n_series))

    def close_epoch(self, suspected: Bools) -> None:
        """End the epoch, as in `RateBank`."""
        if self.epoch is not None:
            self.baseline.learn(ShareEpoch(self.sums.copy(), suspected))
            self.epoch = None

    def describe(self, tilt: int) -> str:
        """Direction of a tilt in a word or two."""
        return TILT_NAMES[self.names[tilt]]

    def _prepare(self, epoch: int) -> None:
        self.epoch = epoch
        n = self.baseline.n_series
        self.scatter = self.baseline.scatter()
        if self.baseline.cut is None or not n:
            self.ready, self.tilts, self.outer_share = np.zeros(n, dtype=bool), [], np.zeros(n)
            return
        shares = self.baseline.shares()
        self.ready = self.baseline.epochs >= self.warmup_epochs
        tilts = self.baseline.tilts()
        band = np.maximum(LEAST_LEAN, BAND_PER_ERROR * self.baseline.lean())
        # For each way of pooling: the parts' coefficients, with the error that their pooled series has shown.
        self.tilts = [bin_tilts(shares[self.baseline.finest], tilts, band[rows], self.scatter[rows]) for rows in self.baseline.paths.T]
        self.outer_share = row_sums(np.ascontiguousarray(shares[:, OUTER]))

    def _log_ratios(self, counts: Floats) -> Floats:
        """(n_buckets, n_series, n_tilts) nats: of a pooled series the sum over its parts, so that its evidence never depends on their mix."""
        shape = (*counts.shape[:2], len(self.names))
        if not self.tilts or not self.ready.any():
            return np.zeros(shape)
        finest = self.baseline.finest
        # A part that is too young to know its own shares has no say in the pooled series either.
        spoken = np.where(self.ready[finest, None], counts[:, finest], 0.0)
        statistics = tuple(spoken[:, :, j] for j in range(N_BINS))
        total = np.zeros(shape)
        for tilts, rows in zip(self.tilts, self.baseline.paths.T, strict=True):
            total += sums_by_row(tilts.log_ratios(statistics), rows, shape[1])
        return quietened(total)
