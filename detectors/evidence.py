"""Evidence: how much likelier a bucket is under "it changed" than under "it did not".

Every log likelihood ratio used here is linear in what a bucket counted, so one recursion serves all kinds of metric.
Coefficients change only when a baseline does; a bucket then costs one multiplication, one `exp` and one sum per tilt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["DetectorState", "Floats", "Tilts", "bin_tilts", "binomial_tilts", "count_tilts", "quietened", "ratios_above", "ratios_below"]

Floats = npt.NDArray[np.float64]

#: Beyond this a statistic carries no further meaning; the cap keeps the linear recursion finite.
CEILING = 1e120
#: A single bucket cannot speak louder than this in nats, whatever it holds: one absurd value must not decide alone for ever.
LOUDEST_NATS = 200.0


class Tilts:
    """Coefficients of the log likelihood ratios of one kind of metric.

    Attributes
    ----------
    weights : tuple of (n_series, n_tilts) float64
        One array for each statistic of a bucket; nats per unit of that statistic.
    constant : (n_series, n_tilts) float64
        Nats taken per unit of exposure (per bucket for counts, zero for ratios and bins).
    """

    __slots__ = ("constant", "weights")

    def __init__(self, weights: tuple[Floats, ...], constant: Floats) -> None:
        self.weights = weights
        self.constant = constant

    def log_ratios(self, statistics: tuple[Floats, ...]) -> Floats:
        """Log likelihood ratios of some buckets.

        Parameters
        ----------
        statistics : tuple of (n_buckets, n_series) float64
            What each bucket counted, in the order of `weights`.

        Returns
        -------
        (n_buckets, n_series, n_tilts) float64
            Nats.
        """
        # Terms are added one by one: a dot product may sum in another order for another batch size, and a replay
        # has to give the same bytes however many buckets are fed at once.
        total = statistics[0][:, :, None] * self.weights[0]
        for statistic, weight in zip(statistics[1:], self.weights[1:], strict=True):
            total += statistic[:, :, None] * weight
        total -= self.constant
        return quietened(total)


def quietened(log_ratio: Floats) -> Floats:
    """Bring log ratios down to `LOUDEST_NATS`, in place, so that a bucket's best tilt stays its best.

    Cutting all off at the same height would make the smallest tilt as likely as any after one absurd bucket, and that one
    takes hours to fall again.

    Parameters
    ----------
    log_ratio : (..., n_tilts) float64
        Nats.

    Examples
    --------
    >>> quietened(np.array([[10.0, -900.0], [400.0, 100.0]]))
    array([[  10., -200.],
           [ 200.,   50.]])
    """
    np.maximum(log_ratio, -LOUDEST_NATS, out=log_ratio)
    loudest = log_ratio.max(axis=-1, keepdims=True, initial=0.0)
    if (loudest > LOUDEST_NATS).any():
        scale = LOUDEST_NATS / np.maximum(loudest, LOUDEST_NATS)
        np.multiply(log_ratio, scale, out=log_ratio, where=log_ratio > 0.0)
    return log_ratio


def ratios_above(smallest: float, largest: float = 8.0, n: int = 8) -> Floats:
    """Geometric grid of factors above one, from `1 + smallest` to `largest`."""
    return np.geomspace(1.0 + smallest, max(largest, 1.0 + 2.0 * smallest), n)


def ratios_below(smallest: float, deepest: float = 0.03, n: int = 8) -> Floats:
    """Geometric grid of factors below one, from `1 / (1 + smallest)` down to `deepest`."""
    return np.geomspace(1.0 / (1.0 + smallest), deepest, n)


def count_tilts(expected: Floats, band: Floats, dispersion: Floats, temper: Floats, factors: Floats) -> Tilts:
    """Negative binomial counts: a mean tilted by each factor against the baseline mean.

    Parameters
    ----------
    expected : (n_series,) float64
        Baseline mean of one bucket, > 0.
    band : (n_series,) float64
        Relative dead band, >= 0: a mean within it counts as unchanged, for it is the baseline's own error.
    dispersion : (n_series,) float64
        Alpha of the negative binomial (variance = mean + alpha * mean**2), >= 0.
    temper : (n_series,) float64
        Variance of sums over several buckets relative to the model's, >= 1; evidence is divided by it.
    factors : (n_tilts,) float64
        Factors on the mean, > 0 and not 1.

    Returns
    -------
    Tilts
        Of one statistic, the count.

    References
    ----------
    M. Hoehle, M. Paul, "Count data regression charts for the monitoring of surveillance time series", CSDA 52, 2008.
    """
    null = expected[:, None] * np.where(factors > 1.0, 1.0 + band[:, None], 1.0 / (1.0 + band[:, None]))
    tilted = null * factors
    alpha = np.maximum(dispersion, 1e-9)[:, None]
    # log((m1 + r) / (m0 + r)) with r = 1 / alpha, written so that alpha -> 0 gives the Poisson case.
    spread = np.log1p(alpha * tilted) - np.log1p(alpha * null)
    return Tilts(((np.log(factors) - spread) / temper[:, None],), spread / alpha / temper[:, None])


def binomial_tilts(odds: Floats, band: Floats, temper: Floats, factors: Floats) -> Tilts:
    """Tempered binomial: odds tilted by each factor against the baseline odds.

    Parameters
    ----------
    odds : (n_series,) float64
        Baseline odds of a hit against a miss, > 0.
    band, temper, factors
        As in `count_tilts`.

    Returns
    -------
    Tilts
        Of two statistics: hits and misses.
    """
    null = odds[:, None] * np.where(factors > 1.0, 1.0 + band[:, None], 1.0 / (1.0 + band[:, None]))
    miss = (np.log1p(null) - np.log1p(null * factors)) / temper[:, None]
    return Tilts((np.log(factors) / temper[:, None] + miss, miss), np.zeros_like(miss))


def bin_tilts(shares: Floats, tilts: Floats, band: Floats, temper: Floats) -> Tilts:
    """Exponential tilts of the shares of quantile bins.

    Parameters
    ----------
    shares : (n_series, n_bins) float64
        Baseline share of each bin; rows sum to one.
    tilts : (n_tilts, n_bins) float64
        Log factor on each bin's share before normalising.
    band : (n_series, n_tilts) float64
        Dead band: shares tilted by up to this fraction of a tilt, 1 at most, count as unchanged.
    temper : (n_series,) float64
        As in `count_tilts`.

    Returns
    -------
    Tilts
        Of `n_bins` statistics: the count of each bin.

    References
    ----------
    The exponential family tilt of a multinomial: L. Brown, "Fundamentals of Statistical Exponential Families", 1986, ch. 1.
    """
    # The null may itself be tilted a little the same way (the baseline's own error), which makes it composite.
    leaning = np.exp(np.minimum(band, 1.0)[:, :, None] * tilts)
    null = np.zeros_like(leaning[:, :, 0])
    mgf = np.zeros_like(null)
    for j in range(shares.shape[1]):
        null += shares[:, j, None] * leaning[:, :, j]
        mgf += shares[:, j, None] * leaning[:, :, j] * np.exp(tilts[:, j])
    log_mgf = np.log(mgf) - np.log(null)
    scale = temper[:, None]
    weights = tuple((tilts[:, j] - log_mgf) / scale for j in range(shares.shape[1]))
    return Tilts(weights, np.zeros_like(log_mgf))


class DetectorState:
    """Mixture Shiryaev-Roberts statistics of many series, with the most likely onset of each tilt.

    `sr` follows R <- (1 + R) * L for each tilt; the mean over tilts is an e-detector: if no L has a mean above one
    before a change, then a stop at `mean(R) >= A` has a run length to a false alarm of at least A buckets.
    `cusum` follows Page's W <- max(W, 0) + log L, whose last restart is the maximum likelihood onset.

    References
    ----------
    J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2022 (arXiv 2203.03532); E. S. Page, Biometrika 41, 1954.
    """

    __slots__ = ("cusum", "onset", "sr")

    def __init__(self, n_series: int, n_tilts: int) -> None:
        self.sr: Floats = np.zeros((n_series, n_tilts))
        self.cusum: Floats = np.zeros((n_series, n_tilts))
        self.onset: npt.NDArray[np.int64] = np.zeros((n_series, n_tilts), dtype=np.int64)

    def step(self, bucket: int, log_ratio: Floats, ratio: Floats, missing: npt.NDArray[np.int64] | None = None) -> Floats:
        """Take one bucket and return the e-detector's value of every series.

        Parameters
        ----------
        bucket : int
            Index of the bucket.
        log_ratio, ratio : (n_series, n_tilts) float64
            Log likelihood ratios and their exponentials.
        missing : (n,) int64, optional
            Rows that keep their state. A ratio of one would not do: `1 + R` grows by one for each bucket in which nothing was seen.

        Returns
        -------
        (n_series,) float64
            Mean over tilts of the Shiryaev-Roberts statistics.
        """
        sr = self.sr
        rows = np.zeros(0, dtype=np.int64) if missing is None else missing
        held = (sr[rows], self.cusum[rows], self.onset[rows])
        sr += 1.0
        sr *= ratio
        np.minimum(sr, CEILING, out=sr)
        restart = self.cusum <= 0.0
        np.copyto(self.onset, bucket, where=restart)
        np.maximum(self.cusum, 0.0, out=self.cusum)
        self.cusum += log_ratio
        if len(rows):
            sr[rows], self.cusum[rows], self.onset[rows] = held
        # The tilts of one series lie side by side, so the order of adding depends on their number alone.
        value: Floats = sr.sum(axis=1)
        value /= sr.shape[1]
        return value

    def forget(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> None:
        """Start again for these series."""
        self.sr[rows] = 0.0
        self.cusum[rows] = 0.0
