"""What share of a distribution should lie in each of a few quantile bins, learnt only from what is past.

The bins are cut once, at quantiles of the first day of all series together; from then on every series has its own
shares, shrunk to the pooled ones.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.sums import Grouping, column_sum, down

__all__ = ["QUANTILES", "TILT_NAMES", "ShareBaseline", "ShareTilts", "bin_scores", "tilts_for"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

QUANTILES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
N_BINS = len(QUANTILES) + 1
#: Bins outside the middle nine tenths: what a person would call unusual.
OUTER = (0, 1, 2, N_BINS - 3, N_BINS - 2, N_BINS - 1)
EPOCHS_PER_HOUR = 12
#: As of rates: epochs between a bucket and the shares that may learn from it, and those after which a freeze ends.
LAG_EPOCHS = 9
FREEZE_EPOCHS = 144
SHARE_HALF_LIFE_EPOCHS = 288
SHARE_DECAY = 0.5 ** (1.0 / SHARE_HALF_LIFE_EPOCHS)
SCATTER_DECAY = 0.5 ** (1.0 / 24)
SCATTER_PRIOR_HOURS = 6.0
#: The record of leans starts as if this one had been seen for so many hours.
PRIOR_LEAN = 0.1
LEAN_PRIOR_HOURS = 6.0
LEAN_DECAY = 0.5 ** (1.0 / 36)
#: An hour whose lean is known to a tenth of a tilt weighs a half.
LEAN_NOISE = 100.0
#: An hour that leans further than this is an event, not an error.
WILDEST_LEAN = 0.5
#: Events of its own a series needs before its own shares weigh as much as the pooled ones.
SHARE_PRIOR_EVENTS = 200.0
#: An epoch of more than so many times the usual number of events weighs no more.
HEAVIEST_EPOCH = 3.0
#: Least share of a bin: half of what the outermost are cut at.
LEAST_SHARE = 0.0005
#: Events of the first day needed before bins are cut; a day with fewer waits for the next.
CUT_EVENTS = 500

TILT_NAMES = ("higher", "lower", "both tails", "low tail", "high tail")


def bin_scores(shares: Floats) -> Floats:
    """Normal scores of the bins' middles.

    Parameters
    ----------
    shares : (n_bins,) float64
        Pooled shares, each > 0.

    Returns
    -------
    (n_bins,) float64
    """
    middles = np.cumsum(shares) - shares / 2.0
    normal = NormalDist()
    return np.array([normal.inv_cdf(min(max(float(m), 1e-4), 1.0 - 1e-4)) for m in middles])


@dataclass(frozen=True, slots=True)
class ShareTilts:
    """Log factors on bins that are tested for: a few directions, each taken several steps far.

    Attributes
    ----------
    basis : (n_directions, n_bins) float32
        Directions.
    of : (n_tilts,) int64
        Direction of each tilt.
    step : (n_tilts,) float32
        How far along it: the log factor on bin j is `step * basis[of, j]`.
    names : (n_tilts,) int64
        Which of `TILT_NAMES` each tilt carries.
    """

    basis: Singles
    of: Ints
    step: Singles
    names: Ints

    @property
    def factors(self) -> Singles:
        """(n_tilts, n_bins) float32: the log factors themselves."""
        return self.step[:, None] * self.basis[self.of]


def tilts_for(shares: Floats, worse: str) -> ShareTilts:
    """Tilts that look where it hurts.

    Location alone would miss promises that turn absurd in both directions, the tails alone a general slow-down:
    running all three in one mixture costs about one nat (see docs/detection.md).

    Parameters
    ----------
    shares : (n_bins,) float64
        Pooled shares.
    worse : {"higher", "lower", "both"}
        Direction that hurts.
    """
    scores = bin_scores(shares)
    low, high, lowest, highest = (np.zeros(N_BINS) for _ in range(4))
    low[:2], high[-2:] = 1.0, 1.0
    lowest[0], highest[-1] = 1.0, 1.0
    wanted: list[tuple[int, Floats, tuple[float, ...]]] = []
    if worse in ("higher", "both"):
        wanted += [(0, scores, (0.25, 0.6, 1.2)), (4, high, (math.log(4.0), math.log(15.0)))]
    if worse in ("lower", "both"):
        wanted += [(1, -scores, (0.25, 0.6, 1.2)), (3, low, (math.log(4.0), math.log(15.0)))]
    if worse == "both":
        wanted += [(2, low + high, (math.log(3.0), math.log(15.0)))]
    # Values hardly ever seen before: each speaks for several nats, so a few absurd promises are enough.
    name, rare = {"higher": (4, highest), "lower": (3, lowest), "both": (2, lowest + highest)}[worse]
    wanted += [(name, rare, (math.log(20.0), math.log(100.0)))]
    return ShareTilts(
        basis=np.stack([basis for _, basis, _ in wanted]).astype(np.float32),
        of=np.repeat(np.arange(len(wanted)), [len(steps) for _, _, steps in wanted]),
        step=np.array([step for _, _, steps in wanted for step in steps], dtype=np.float32),
        names=np.array([name for name, _, steps in wanted for _ in steps], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class ShareEpoch:
    """Sums of one epoch of buckets, for every series.

    Attributes
    ----------
    counts : (n_bins, n_series) float32
        Events in each quantile bin; all zero before the bins are cut.
    suspected : (n_series,) bool
        Series under suspicion at its end.
    """

    counts: Singles
    suspected: Bools


class ShareBaseline:
    """Causal shares of quantile bins for many series, as columns. Row 0 is the pooled series of the metric.

    Parameters
    ----------
    epochs_per_day : int
        Epochs after which the bins may be cut.
    worse : {"higher", "lower", "both"}
        Direction that hurts.
    """

    lag_epochs = LAG_EPOCHS
    _derived = ("levels",)

    def __init__(self, epochs_per_day: int, worse: str) -> None:
        self.epochs_per_day = epochs_per_day
        self.worse = worse
        self.names = tilts_for(np.full(N_BINS, 1.0 / N_BINS), worse).names
        self.n_series = 0
        self.seen_epochs = 0
        self.fine: dict[int, int] = {}
        self.cut: Ints | None = None
        empty = np.zeros(0, dtype=np.float32)
        self.epochs: Singles = empty
        self.frozen: Singles = empty
        self.scatter_sum: Singles = empty
        self.scatter_weight: Singles = empty
        self.counts: Singles = np.zeros((N_BINS, 0), dtype=np.float32)
        self.hour: Singles = self.counts
        self.hour_expected: Singles = self.counts
        self.lean_sum: Singles = np.zeros((len(self.names), 0), dtype=np.float32)
        self.lean_weight: Singles = self.lean_sum
        self.epochs_in_hour = 0
        self.waiting: deque[ShareEpoch] = deque()
        self.paths: Ints = np.zeros((0, 1), dtype=np.int64)
        self._rederive()
        self.parents: Ints = np.zeros(0, dtype=np.int64)

    def _rederive(self) -> None:
        self.levels = [Grouping(rows) for rows in self.paths.T]

    @property
    def finest(self) -> Ints:
        """(n_parts,) int64: rows of the finest series, of which all others are made."""
        return self.paths[:, -1]

    def grow(self, parents: Ints, paths: Ints) -> None:
        """Make room for more series; a new one starts without a past.

        Parameters
        ----------
        parents : (n_series,) int64
            For every series the row whose shares it borrows from; the pooled row 0 is its own parent.
        paths : (n_parts, n_levels) int64
            For each finest series the rows that its events count in; its own is the last.
        """
        n_series = len(parents)
        extra = n_series - self.n_series
        if extra <= 0:
            return
        self.paths = paths
        self._rederive()
        self.parents = parents
        for name in ("epochs", "frozen", "scatter_sum", "scatter_weight", "counts", "hour", "hour_expected", "lean_sum", "lean_weight"):
            setattr(self, name, _wider(getattr(self, name), extra))
        self.waiting = deque(ShareEpoch(_wider(w.counts, extra), np.concatenate([w.suspected, np.zeros(extra, dtype=bool)])) for w in self.waiting)
        self.n_series = n_series

    def learn_fine(self, bins: Ints, counts: Ints) -> None:
        """Histogram bins of all series together, until the quantile bins are cut."""
        found, first, place = np.unique(bins, return_index=True, return_inverse=True)
        # Exact below 2**53; in the order in which they came, however they are batched.
        total = np.bincount(place, weights=counts, minlength=len(found))
        for at in np.argsort(first).tolist():
            fine = int(found[at])
            self.fine[fine] = self.fine.get(fine, 0) + int(total[at])

    def coarse(self, bins: Ints) -> Ints:
        """Quantile bin of each histogram bin. Only once the bins are cut."""
        if self.cut is None:
            msg = "quantile bins are not cut yet"
            raise ValueError(msg)
        return np.searchsorted(self.cut, bins, side="left")

    def pool(self, parts: Floats | Singles) -> Floats:
        """What each series holds, from what its finest series hold.

        Parameters
        ----------
        parts : (k, n_parts) float

        Returns
        -------
        (k, n_series) float64
        """
        total = np.zeros((len(parts), self.n_series))
        for level in self.levels:
            total[:, level.rows] = level.sums(parts)
        return total

    def volume(self) -> Singles:
        """(n_series,) events of a usual epoch, by the epochs that wait to be learnt; 0 where none does."""
        total = np.zeros(self.n_series, dtype=np.float32)
        for epoch in self.waiting:
            total += down(epoch.counts)
        return total / np.float32(max(len(self.waiting), 1))

    def shares(self) -> Singles:
        """(n_bins, n_series) shares that sum to one: a finest series borrows from its place, and the place from all together."""
        pooled = self.counts[:, :1] + np.float32(0.5)
        shares: Singles = np.repeat(pooled / down(pooled), self.n_series, axis=1)
        prior = np.float32(SHARE_PRIOR_EVENTS)
        n = down(self.counts) + prior
        for turn in range(2):
            borrowed = shares if turn == 0 else shares[:, self.parents]
            shares = (self.counts + prior * borrowed) / n
        # Where a bin were all but empty, its absence could never speak against a tilt that one absurd bucket had set up.
        shares = np.maximum(shares, np.float32(LEAST_SHARE))
        whole: Singles = np.divide(shares, down(shares))
        return whole

    def scatter(self) -> Singles:
        """(n_series,) variance of hourly bin counts relative to the multinomial's, >= 1: the baseline's own error."""
        prior = np.float32(SCATTER_PRIOR_HOURS)
        return np.maximum((prior + self.scatter_sum) / (prior + self.scatter_weight), np.float32(1.0))

    def tilts(self) -> ShareTilts:
        """Log factors on the shares that are tested for."""
        pooled = (self.counts[:, 0] + np.float32(0.5)).astype(np.float64)
        return tilts_for(pooled / column_sum(pooled), self.worse)

    def lean(self, shares: Singles) -> Singles:
        """(n_tilts, n_series) root mean square lean of past hours along each tilt, 1 a whole tilt: the baseline's own error."""
        # A series of less than a day errs for want of shares of its own; that says nothing of the others.
        grown = self.epochs >= self.epochs_per_day
        total, weight = (
            np.add.accumulate(np.where(grown, each, np.float32(0.0)), axis=1, dtype=np.float64)[:, -1:] for each in (self.lean_sum, self.lean_weight)
        )
        hours = np.float32(LEAN_PRIOR_HOURS)
        pooled = ((PRIOR_LEAN**2 * LEAN_PRIOR_HOURS + total) / (LEAN_PRIOR_HOURS + weight)).astype(np.float32)
        squared = (pooled * hours + self.lean_sum) / (hours + self.lean_weight)
        # The least error there can be: that of shares learnt from so many events (weights that fall by halves are worth twice their sum).
        _, variance = _moments(shares, self.tilts().factors)
        events = np.float32(2.0) * down(self.counts) + np.float32(SHARE_PRIOR_EVENTS)
        lean: Singles = np.sqrt(np.maximum(squared, np.float32(1.0) / (np.maximum(variance, np.float32(1e-9)) * events)))
        return lean

    def learn(self, epoch: ShareEpoch) -> None:
        """Take a finished epoch, as in `RateBaseline.learn`."""
        self.seen_epochs += 1
        if self.cut is None:
            if self.seen_epochs >= self.epochs_per_day and sum(self.fine.values()) >= CUT_EVENTS:
                self._cut()
            return
        self.waiting.append(epoch)
        if len(self.waiting) <= LAG_EPOCHS:
            return
        old = self.waiting.popleft()
        suspected = old.suspected | epoch.suspected
        self.frozen = np.where(suspected, self.frozen + np.float32(1.0), np.float32(0.0))
        learning = ~(suspected & (self.frozen <= FREEZE_EPOCHS))
        # One wild epoch weighs no more than a few ordinary ones, and a new series may have as many events as its prior at once.
        n = down(old.counts)
        most = np.float32(SHARE_PRIOR_EVENTS) + np.float32(HEAVIEST_EPOCH * (1.0 - SHARE_DECAY)) * down(self.counts)
        weight = np.where(learning, np.minimum(most / np.maximum(n, np.float32(1.0)), np.float32(1.0)), np.float32(0.0))
        self._record(old.counts, weight)
        decay = np.where(learning, np.float32(SHARE_DECAY), np.float32(1.0))
        self.counts = np.multiply(self.counts, decay) + weight * old.counts
        self.epochs += n > 0.0

    def accept(self, rows: Bools) -> None:
        """Take the shares of the epochs that wait to be learnt for the normal of these series, at once."""
        counts = np.zeros_like(self.counts)
        for epoch in self.waiting:
            counts += epoch.counts
            epoch.suspected[rows] = False
        known = rows & (down(counts) > 0.0)
        self.counts = np.where(known, counts, self.counts)
        self.frozen[rows] = 0.0

    def _record(self, counts: Singles, weight: Singles) -> None:
        self.hour += weight * counts
        # What a pooled series should have follows from its parts.
        self.hour_expected += weight * self.pool((down(counts) * self.shares())[:, self.finest]).astype(np.float32)
        self.epochs_in_hour += 1
        if self.epochs_in_hour < EPOCHS_PER_HOUR:
            return
        self.epochs_in_hour = 0
        n = down(self.hour)
        apart = self.hour - self.hour_expected
        safe = np.maximum(self.hour_expected, np.float32(1e-12))
        chi = down(np.where(self.hour_expected > 0.0, apart * apart / safe, np.float32(0.0))) / np.float32(N_BINS - 1)
        weight = np.where(self.epochs > EPOCHS_PER_HOUR, np.minimum(n / np.float32(50.0), np.float32(1.0)), np.float32(0.0))
        self.scatter_sum = self.scatter_sum * np.float32(SCATTER_DECAY) + weight * np.minimum(chi, np.float32(50.0))
        self.scatter_weight = self.scatter_weight * np.float32(SCATTER_DECAY) + weight
        self._record_lean(apart)
        self.hour = np.zeros_like(self.hour)
        self.hour_expected = np.zeros_like(self.hour_expected)

    def _record_lean(self, apart: Singles) -> None:
        tilts = self.tilts().factors
        score = np.zeros_like(self.lean_sum)
        for j in range(N_BINS):
            score += tilts[:, j, None] * apart[j]
        # score / variance is the first step of Newton's way to the likeliest lean; 1 / variance is its counting noise.
        n = np.maximum(down(self.hour_expected), np.float32(1e-9))
        shares: Singles = np.divide(self.hour_expected, n)
        variance = _moments(shares, tilts)[1] * n
        known = variance > 1e-6
        divisor = np.where(known, variance, np.float32(1.0))
        beyond = np.where(known, (score * score - variance) / (divisor * divisor), np.float32(0.0))
        weight = np.where(known, variance / (variance + np.float32(LEAN_NOISE)), np.float32(0.0))
        self.lean_sum = self.lean_sum * np.float32(LEAN_DECAY) + weight * np.minimum(beyond, np.float32(WILDEST_LEAN**2))
        self.lean_weight = self.lean_weight * np.float32(LEAN_DECAY) + weight

    def _cut(self) -> None:
        fine = np.array(sorted(self.fine), dtype=np.int64)
        counts = np.array([self.fine[int(b)] for b in fine], dtype=np.float64)
        below = np.cumsum(counts) / counts.sum()
        # A histogram bin belongs to the first quantile bin whose cut it does not pass.
        self.cut = fine[np.minimum(np.searchsorted(below, QUANTILES), len(fine) - 1)]
        coarse = np.searchsorted(self.cut, fine, side="left")
        # A day of everything seeds the pooled shares; the series start from it and soon have their own.
        self.counts[:, 0] += np.bincount(coarse, weights=counts, minlength=N_BINS).astype(np.float32)
        self.fine = {}


def _moments(shares: Singles, tilts: Singles) -> tuple[Singles, Singles]:
    """(n_tilts, n_series) mean and variance of each tilt's log factor under some shares."""
    mean = np.zeros((len(tilts), shares.shape[1]), dtype=np.float32)
    square = np.zeros_like(mean)
    for j in range(N_BINS):
        part = tilts[:, j, None] * shares[j]
        mean += part
        part *= tilts[:, j, None]
        square += part
    return mean, square - mean * mean


def _wider(column: Singles, extra: int) -> Singles:
    return np.concatenate([column, np.zeros((*column.shape[:-1], extra), dtype=np.float32)], axis=-1)
