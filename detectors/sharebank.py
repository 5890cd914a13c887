"""Thousands of distributions of one metric as columns of quantile bins: shares, evidence and onset."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors.bank import BAND_PER_ERROR, BANK_DERIVED, EPOCH_MS, Accounts, Bank, refuse_unknown
from rollguard.detectors.evidence import LOUDEST_NATS, Floats, Singles, bin_constants, overshoot, quietened
from rollguard.detectors.onset import Onset
from rollguard.detectors.recursion import CEILING, Recursion
from rollguard.detectors.shares import N_BINS, OUTER, TILT_NAMES, ShareBaseline, ShareEpoch, ShareTilts
from rollguard.detectors.sums import down

__all__ = ["ShareBank"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
#: Least dead band, as a fraction of each tilt.
LEAST_LEAN = 0.1
#: Shares move slowly: they are looked at anew every half an hour.
REFRESH_EPOCHS = 6
#: A bucket speaks no louder than so many nats against a tilt.
QUIETEST_NATS = -80.0


class ShareBank(Bank):
    """Distributions as counts in quantile bins.

    Parameters
    ----------
    worse : {"higher", "lower", "both"}
        Direction that hurts.
    bucket_ms, warmup_ms
        As in `RateBank`.
    """

    _derived: ClassVar[tuple[str, ...]] = (*BANK_DERIVED, "counts", "states", "ages")

    def __init__(self, worse: str, *, bucket_ms: int, warmup_ms: int) -> None:
        self.buckets_per_epoch = max(1, EPOCH_MS // bucket_ms)
        epoch_ms = self.buckets_per_epoch * bucket_ms
        self.baseline = ShareBaseline(DAY_MS // epoch_ms, worse)
        # The lag is part of the warm-up: a share enters the baseline only after it.
        self.warmup_epochs = max(1, -(-warmup_ms // epoch_ms) - (DAY_MS // epoch_ms) - self.baseline.lag_epochs)
        self.names = self.baseline.names
        self.recursion = Recursion(len(self.names))
        #: Sum of R times its age: where the mass of a mixture lies says when it began.
        self.age: Singles = np.zeros((len(self.names), 0), dtype=np.float32)
        self.epoch: int | None = None
        #: When the shares were looked at last.
        self.refreshed: int | None = None
        self.outer_share: Floats = np.zeros(0)
        self.scatter: Singles = np.zeros(0, dtype=np.float32)
        #: Per level of pooling what each tilt takes per event of each finest series.
        self.constants: list[Singles] = []
        self.tilts: ShareTilts | None = None
        self.ready: Bools = np.zeros(0, dtype=bool)
        self.slack: Singles = self.scatter
        self.honesty: Singles = self.scatter
        self.power: Singles = self.scatter
        self.value: Singles = self.scatter
        self.sums: Singles = np.zeros((N_BINS, 0), dtype=np.float32)
        self._rederive()

    def _rederive(self) -> None:
        super()._rederive()
        self.counts: Singles = np.zeros((0, N_BINS, 0), dtype=np.float32)
        self.states: Singles = np.zeros((0, 0, 0), dtype=np.float32)
        self.ages: Singles = self.states

    def grow(self, parents: Ints, paths: Ints) -> None:
        """Make room for more series; `parents` and `paths` as in `ShareBaseline.grow`."""
        extra = len(parents) - self.baseline.n_series
        if extra <= 0:
            return
        self.baseline.grow(parents, paths)
        self.recursion.grow(extra)
        self.age = np.concatenate([self.age, np.zeros((len(self.names), extra), dtype=np.float32)], axis=1)
        self.sums = np.concatenate([self.sums, np.zeros((N_BINS, len(paths) - self.sums.shape[1]), dtype=np.float32)], axis=1)
        # A new series is not ready; it has its place all the same, also where the shares are looked at anew only later.
        self.ready = np.concatenate([self.ready, np.zeros(extra, dtype=bool)])
        self.outer_share = np.concatenate([self.outer_share, np.zeros(extra)])
        one = np.ones(extra, dtype=np.float32)
        self.honesty, self.power = np.concatenate([self.honesty, one]), np.concatenate([self.power, one])
        self.scatter, self.slack = np.concatenate([self.scatter, one]), np.concatenate([self.slack, one])
        more = np.zeros((len(self.names), len(paths) - (self.constants[0].shape[1] if self.constants else 0)), dtype=np.float32)
        self.constants = [np.concatenate([each, more], axis=1) for each in self.constants]
        if self.epoch is not None and self.refreshed == self.epoch:
            # As if they had been there when the epoch began: that may depend on how buckets are batched.
            self._refresh()

    def load(self, start: int, counts: Singles, present: Bools) -> None:
        """Take in buckets that lie in one epoch; `step` then goes through them.

        Parameters
        ----------
        start : int
            Index of the first bucket.
        counts : (n_buckets, n_bins, n_parts) float32
            Events of each finest series in each quantile bin; zero in a missing bucket.
        present : (n_buckets,) bool
            False: the bucket is missing.
        """
        refuse_unknown(start, counts)
        epoch = start // self.buckets_per_epoch
        if epoch != self.epoch:
            self.sums = np.zeros((N_BINS, len(self.baseline.paths)), dtype=np.float32)
            self._prepare(epoch)
        self.loaded(start, present)
        self.counts = counts
        # One bucket after another, so that it does not matter how they are batched.
        self.sums = np.add.accumulate(np.concatenate([self.sums[None], counts]), axis=0)[-1]

    def accounts(self, counts: Singles) -> Accounts:
        """What the baseline expects of some buckets of the epoch under way; counts as for `load`."""
        outer = counts[:, OUTER[0]].astype(np.float64)
        for j in OUTER[1:]:
            outer += counts[:, j]
        # What to expect of a pooled series follows from which of its parts the events came: a mix that shifts is no change.
        share = self.outer_share[self.baseline.finest]
        trials = down(counts.transpose(1, 0, 2)).astype(np.float64) * share
        pool = self.baseline.pool
        return Accounts(pool(outer), pool(trials), pool(trials * (1.0 - share)) * self.scatter, np.zeros(self.baseline.n_series))

    def step(self, bucket: int) -> Singles:
        """See `Bank`."""
        at = bucket - self.start
        if not self.present[at]:
            return super().step(bucket)
        if len(self.value) != self.recursion.sr.shape[1]:
            self.value = self.recursion.value()
        ratio = self._ratios(at, 1)[0]
        # Before the recursion: each start that is already in the sum grows older by a bucket.
        self.age += self.recursion.sr
        self.value = self.recursion.step(ratio)
        with np.errstate(over="ignore", under="ignore"):
            self.age *= ratio
        if float(self.value.max(initial=0.0)) >= CEILING:
            np.minimum(self.age, np.float32(1e36), out=self.age)
        return self.value

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """See `Bank`."""
        at = bucket - self.start
        out = np.zeros(self.recursion.sr.shape, dtype=np.float32)
        if self.present[at]:
            self.nats_into(at, out[None])
        return np.asarray(out[:, rows].T, dtype=np.float64)

    def settle(self, bucket: int) -> Singles:
        """See `Bank`."""
        number = bucket - self.start - self.ahead_of
        np.copyto(self.recursion.sr, self.states[number])
        np.copyto(self.age, self.ages[number])
        self.value = self.foreseen[number].copy()
        return self.value

    def _through(self, ratios: Singles) -> Singles | None:
        if self.states.shape != ratios.shape:
            self.states, self.ages = np.empty_like(ratios), np.empty_like(ratios)
        found = self.recursion.through(ratios, self.states)
        if found is None:
            return None
        age, before = self.age, self.recursion.sr
        with np.errstate(over="ignore", under="ignore"):
            for ratio, state, after in zip(ratios, self.states, self.ages, strict=True):
                np.add(age, before, out=after)
                age, before = np.multiply(after, ratio, out=after), state
        return found

    def nats_into(self, at: int, out: Singles) -> None:
        """See `Bank`: of a pooled series the sum over its parts, so that its evidence never depends on their mix."""
        tilts, counts = self.tilts, self.counts[at : at + len(out)]
        out[:] = 0.0
        if tilts is None or not self.ready.any():
            return
        n, n_parts = len(out), counts.shape[2]
        finest = self.baseline.finest
        ready = self.ready[finest]
        if not ready.all():
            # A part that is too young to know its own shares has no say in the pooled series either.
            counts = np.where(ready, counts, np.float32(0.0))
        bins = counts.transpose(1, 0, 2)
        score = np.zeros((len(tilts.basis), n, n_parts), dtype=np.float32)
        for j in range(N_BINS):
            for way in np.flatnonzero(tilts.basis[:, j]).tolist():
                score[way] += tilts.basis[way, j] * bins[j]
        total = down(bins)
        part = np.empty((len(tilts.of), n, n_parts), dtype=np.float32)
        for level, constant in zip(self.baseline.levels, self.constants, strict=True):
            np.multiply(total, constant[:, None], out=part)
            for nats, of, step in zip(part, tilts.of.tolist(), tilts.step, strict=True):
                np.subtract(step * score[of], nats, out=nats)
            if level.span is not None:
                out[:, :, level.span] = part.transpose(1, 0, 2)
            else:
                out[:, :, level.rows] = level.sums(part.reshape(-1, n_parts)).reshape(len(part), n, -1).transpose(1, 0, 2)
        out /= self.scatter
        np.maximum(out, np.float32(QUIETEST_NATS), out=out)
        if float(out.max(initial=0.0)) > LOUDEST_NATS:
            for each in out:
                quietened(each)

    def best(self, row: int, bucket: int) -> tuple[int, Onset]:
        """Best tilt of a series, and when it began."""
        tilt = int(self.recursion.sr[:, row].argmax())
        mass = float(self.recursion.sr[tilt, row])
        age = float(self.age[tilt, row]) / mass if mass > 0.0 else 0.0
        nats = float(np.log(max(mass, 1e-30)))
        # A change point is known to about the number of buckets that give one nat or two.
        return tilt, Onset(bucket - age, max(0.5, 2.0 * (age + 1.0) / max(nats, 1.0)), nats)

    def forget(self, rows: Ints) -> None:
        """See `Bank`."""
        super().forget(rows)
        self.age[:, rows] = 0.0

    def close_epoch(self, suspected: Bools) -> None:
        """End the epoch, as in `RateBank`."""
        if self.epoch is not None:
            self.baseline.learn(ShareEpoch(self.baseline.pool(self.sums).astype(np.float32), suspected))
            self.epoch = None

    def describe(self, tilt: int) -> str:
        """Direction of a tilt in a word or two."""
        return TILT_NAMES[self.names[tilt]]

    def _prepare(self, epoch: int) -> None:
        self.epoch = epoch
        if self.tilts is None or not epoch % REFRESH_EPOCHS:
            self._refresh()

    def _refresh(self) -> None:
        self.refreshed = self.epoch
        n = self.baseline.n_series
        self.power = self.honesty
        self.scatter = np.divide(self.baseline.scatter(), self.power)
        self.slack = np.ones(n, dtype=np.float32)
        if self.baseline.cut is None or not n:
            self.ready, self.constants, self.tilts, self.outer_share = np.zeros(n, dtype=bool), [], None, np.zeros(n)
            return
        shares = self.baseline.shares()
        before = np.zeros(n, dtype=bool)
        before[: len(self.ready)] = self.ready
        self.ready = self.baseline.epochs >= self.warmup_epochs
        self.tilts = self.baseline.tilts()
        factors = self.tilts.factors
        band = np.maximum(np.float32(LEAST_LEAN), np.float32(BAND_PER_ERROR) * self.baseline.lean(shares))
        # For each way of pooling: the parts' constants, with the error that their pooled series has shown.
        parts = shares[:, self.baseline.finest]
        self.constants = [bin_constants(parts, factors, band[:, rows]) for rows in self.baseline.paths.T]
        self.outer_share = down(shares[list(OUTER)]).astype(np.float64)
        self.slack = self._slack(shares, factors, bin_constants(shares, factors, band))
        silent = ~(before & self.ready)
        if silent.any():
            # What was stepped without shares of its own means nothing.
            self.recursion.forget(silent)
            self.age[:, silent] = 0.0

    def _slack(self, shares: Singles, factors: Singles, constants: Singles) -> Singles:
        """Overshoot of the mixture, from what a usual bucket would gain under each tilt."""
        usual = self.baseline.volume() / np.float32(self.buckets_per_epoch)
        mean = np.zeros_like(constants)
        mass = np.zeros_like(constants)
        for j in range(N_BINS):
            weight = np.exp(factors[:, j, None]) * shares[j]
            mass += weight
            mean += weight * factors[:, j, None]
        each = np.divide(mean, mass) - constants
        loudest = factors.max(axis=1)[:, None] - constants
        slack = np.zeros(len(usual), dtype=np.float32)
        for gain, jump in zip(each * (usual / self.scatter), np.divide(loudest, self.scatter), strict=True):
            slack += overshoot(gain, jump)
        return slack / np.float32(len(each))
