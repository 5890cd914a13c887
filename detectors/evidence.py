"""Evidence: how much likelier a bucket is under "it changed" than under "it did not".

Every log likelihood ratio used here is linear in what a bucket counted: `weight * count - constant`, one pair for each
series and each size of change (tilt). The pairs change only when a baseline does, once an epoch; a bucket then costs one
multiplication, one subtraction and one `exp` a tilt. Columns are float32, tilts first: (n_tilts, n_series).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOUDEST_NATS",
    "Coefficients",
    "Floats",
    "Reals",
    "Singles",
    "bin_constants",
    "count_coefficients",
    "factors_for",
    "odds_coefficients",
    "overshoot",
    "quietened",
    "ratios_above",
    "ratios_below",
]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating[Any]]

#: A single bucket speaks no louder than so many nats, whatever it holds: one absurd value must not decide alone.
LOUDEST_NATS = 25.0
#: What hits and exposure say against each other is no more than so many nats each: single precision keeps a ten thousandth of one.
MOST_NATS = 1000.0
#: Counts of a smaller alpha are Poisson: it would matter from means of a thousand million on.
LEAST_DISPERSION = 1e-12
#: So many numbers of a column stay in the cache while they are worked on.
IN_CACHE = 1 << 14


@dataclass(slots=True)
class Coefficients:
    """Log likelihood ratios of one kind of metric: `weight * hits - constant * exposure`.

    Attributes
    ----------
    weight, constant : (n_tilts, n_series) float32
        Nats per hit, and nats per unit of exposure (a bucket, or a miss).
    loudest : (n_series,) float32
        Hits of one bucket from which its log ratio may be louder than `LOUDEST_NATS`.
    quietest, widest : (n_series,) float32
        The same of falls: hits down to which, or, where exposure varies, exposure up to which it is not.
    slack : (n_series,) float32
        See `overshoot`.
    """

    weight: Singles
    constant: Singles
    loudest: Singles
    quietest: Singles
    widest: Singles
    slack: Singles


def ratios_above(smallest: float, largest: float = 8.0, n: int = 8) -> Floats:
    """Grid of factors above one, from `1 + smallest` to `largest`, geometric in their logarithms, whose ratio says what a tilt beside the change loses."""
    return np.exp(np.geomspace(math.log1p(smallest), math.log(max(largest, 1.0 + 2.0 * smallest)), n))


def ratios_below(smallest: float, deepest: float = 0.03, n: int = 8) -> Floats:
    """Grid of factors below one, from `1 / (1 + smallest)` down to `deepest`, geometric in their logarithms."""
    return np.exp(-np.geomspace(math.log1p(smallest), -math.log(deepest), n))


def factors_for(worse: str, smallest: float) -> Floats:
    """Grid of factors in the direction that hurts: `higher`, `lower` or `both`."""
    below, above = ratios_below(smallest), ratios_above(smallest)
    return {"lower": below, "higher": above}.get(worse, np.concatenate([below, above]))


def _nulls(mean: Reals, band: Reals, surge: Singles | None = None) -> tuple[Singles, Singles]:
    """Means at the two edges of the dead band."""
    single, wide = mean.astype(np.float32), (1.0 + band).astype(np.float32)
    return single / (wide if surge is None else wide * surge), single * wide


def _log1p(u: Singles) -> Singles:
    # numpy has no vector instructions for log1p; log has, but loses the digits of a small u: this gives them back (W. Kahan).
    v = u + np.float32(1.0)
    log = np.log(v)
    v -= np.float32(1.0)
    none = v == 0.0
    v[none] = 1.0
    log *= u
    log /= v
    np.copyto(log, u, where=none)
    found: Singles = log
    return found


def count_coefficients(
    mean: Reals, band: Reals, dispersion: Reals, factors: Floats, *, power: Singles | None = None, surge: Singles | None = None
) -> Coefficients:
    """Negative binomial counts: a mean tilted by each factor against the baseline mean.

    Parameters
    ----------
    mean : (n_series,) float
        Baseline mean of one bucket, > 0.
    band : (n_series,) float
        Relative dead band, >= 0: a mean within it counts as unchanged, for it is the baseline's own error.
    dispersion : (n_series,) float
        Alpha of the negative binomial (variance = mean + alpha * mean**2), >= 0; 0 is Poisson.
    factors : (n_tilts,) float64
        Factors on the mean, > 0 and not 1.
    power : (n_series,) float32, optional
        Of the likelihood ratio, in (0, 1]: evidence is multiplied by it.
    surge : (n_series,) float32, optional
        Factor >= 1 by which the mean stands above what it was for days: a fall back to that counts as unchanged, too.

    Returns
    -------
    Coefficients
        Exposure is one a bucket.

    References
    ----------
    M. Hoehle, M. Paul, "Count data regression charts for the monitoring of surveillance time series", CSDA 52, 2008.
    """
    found = _Rows(len(factors), len(mean))
    nulls = _nulls(mean, band, surge)
    alpha = np.maximum(dispersion, 0.0).astype(np.float32)
    # What counts is alpha times the mean, so that alpha may be small and matter all the same.
    poisson = np.flatnonzero(alpha < LEAST_DISPERSION)
    size = np.float32(1.0) / np.maximum(alpha, np.float32(LEAST_DISPERSION))
    thinness = [np.float32(1.0) / (np.float32(1.0) + alpha * null) for null in nulls]
    saturation = [alpha * null * thin for null, thin in zip(nulls, thinness, strict=True)]
    for up, tilts in _groups(factors, len(mean)):
        factor = factors[tilts, None]
        null, apart = nulls[up], (factor - 1.0).astype(np.float32)
        # log((m1 + r) / (m0 + r)) with r = 1 / alpha; times r it tends to m1 - m0, the Poisson case.
        spread = _log1p(apart * saturation[up])
        constant = np.multiply(spread, size)
        constant[:, poisson] = apart * null[poisson]
        # log(factor) - spread, without losing the digits of a weight that is small beside both.
        weight = -_log1p((1.0 / factor - 1.0).astype(np.float32) * thinness[up])
        if power is not None:
            weight *= power
            constant *= power
        found.take(tilts, weight, constant, hits=null * factor.astype(np.float32), exposure=np.float32(1.0))
    return found.done()


def odds_coefficients(odds: Reals, band: Reals, temper: Reals, factors: Floats, exposure: Reals) -> Coefficients:
    """Tempered binomial: odds tilted by each factor against the baseline odds.

    Parameters
    ----------
    odds : (n_series,) float
        Baseline odds of a hit against a miss, > 0.
    band, factors
        As in `count_coefficients`.
    temper : (n_series,) float
        Variance of sums over several buckets relative to the binomial's, >= 1; evidence is divided by it.
    exposure : (n_series,) float
        Misses of a usual bucket; only `slack` depends on it.

    Returns
    -------
    Coefficients
        Exposure is the number of misses.
    """
    found = _Rows(len(factors), len(odds))
    nulls = _nulls(odds, band)
    lighter = np.float32(1.0) / temper.astype(np.float32)
    usual = exposure.astype(np.float32)
    rest = [np.float32(1.0) / (np.float32(1.0) + null) for null in nulls]
    chance = [null * each for null, each in zip(nulls, rest, strict=True)]
    for up, tilts in _groups(factors, len(odds)):
        factor = factors[tilts, None]
        miss = _log1p((factor - 1.0).astype(np.float32) * chance[up])
        miss *= lighter
        hits = nulls[up] * factor.astype(np.float32)
        hits *= usual
        weight = _log1p((1.0 / factor - 1.0).astype(np.float32) * rest[up])
        weight *= -lighter
        found.take(tilts, weight, miss, hits=hits, exposure=usual)
    return found.done()


def _groups(factors: Floats, n: int) -> Iterator[tuple[bool, slice]]:
    """Tilts that go the same way and stand together, so many at once that their rows stay in the cache."""
    most, start = max(1, IN_CACHE // max(n, 1)), 0
    ups = (factors > 1.0).tolist()
    for at in range(1, len(ups) + 1):
        if at == len(ups) or ups[at] != ups[start] or at - start == most:
            yield ups[start], slice(start, at)
            start = at


class _Rows:
    """Coefficients, some tilts at a time."""

    def __init__(self, n_tilts: int, n: int) -> None:
        self.weight: Singles = np.empty((n_tilts, n), dtype=np.float32)
        self.constant: Singles = np.empty((n_tilts, n), dtype=np.float32)
        self.loudest: Singles = np.full(n, np.inf, dtype=np.float32)
        self.quietest: Singles = np.zeros(n, dtype=np.float32)
        self.widest: Singles = np.full(n, np.inf, dtype=np.float32)
        self.slack: Singles = np.zeros(n, dtype=np.float32)

    def take(self, tilts: slice, weight: Singles, constant: Singles, *, hits: Singles, exposure: Singles | np.float32) -> None:
        """Take in tilts; one whose usual exposure alone speaks so loudly that digits are lost is scaled down."""
        taken = np.multiply(constant, exposure)
        loudest = np.abs(taken)
        if float(loudest.max(initial=0.0)) > MOST_NATS:
            # A power below one of a likelihood ratio keeps its mean below one (Jensen), so this costs speed alone.
            scale = np.minimum(np.float32(MOST_NATS) / np.maximum(loudest, np.float32(1e-12)), np.float32(1.0))
            weight *= scale
            constant *= scale
            taken *= scale
        self.weight[tilts], self.constant[tilts] = weight, constant
        hits *= weight
        hits -= taken
        rising = weight.max(axis=1, initial=0.0) > 0.0
        # All of them rise or fall, but where a weight is too small for a single.
        for up in (False, True):
            if (rows := rising == up).all():
                self._bound(weight, constant, taken, hits, rising=up, varies=isinstance(exposure, np.ndarray))
            elif rows.any():
                self._bound(weight[rows], constant[rows], taken[rows], hits[rows], rising=up, varies=isinstance(exposure, np.ndarray))

    def _bound(self, weight: Singles, constant: Singles, taken: Singles, gain: Singles, *, rising: bool, varies: bool) -> None:
        over = overshoot(gain, weight) if rising else overshoot(gain, None, -taken)
        # One tilt after another, so that the sum does not depend on how many are taken at once.
        self.slack = np.add.accumulate(np.concatenate([self.slack[None], over]), axis=0)[-1]
        # Only what speaks for a tilt is bounded: what speaks against it may do so as it is. Where exposure varies, so many hits, or so
        # much exposure, at least may speak; what they say is bounded where it is known.
        if rising:
            most = np.zeros_like(taken) if varies else taken
            most += np.float32(LOUDEST_NATS)
            most /= np.maximum(weight, np.float32(1e-30))
            np.minimum(self.loudest, most.min(axis=0), out=self.loudest)
        elif varies:
            np.minimum(self.widest, (np.float32(LOUDEST_NATS) / np.maximum(-constant, np.float32(1e-30))).min(axis=0), out=self.widest)
        else:
            least = taken + np.float32(LOUDEST_NATS)
            least /= np.minimum(weight, np.float32(-1e-30))
            np.maximum(self.quietest, least.max(axis=0), out=self.quietest)

    def done(self) -> Coefficients:
        """All tilts together."""
        self.slack /= np.float32(max(len(self.weight), 1))
        return Coefficients(self.weight, self.constant, self.loudest, self.quietest, self.widest, self.slack)


def bin_constants(shares: Reals, tilts: Reals, band: Reals) -> Singles:
    """Nats that each tilt of the shares of quantile bins takes per event.

    With the exponential tilt `exp(tilt_j)` of bin j the log ratio of a bucket is `sum_j tilt_j c_j - n * constant`.

    Parameters
    ----------
    shares : (n_bins, n_series) float
        Baseline share of each bin; they sum to one.
    tilts : (n_tilts, n_bins) float
        Log factor on each bin's share before normalising.
    band : (n_tilts, n_series) float
        Dead band: shares tilted by up to this fraction of a tilt, 1 at most, count as unchanged.

    Returns
    -------
    (n_tilts, n_series) float32

    References
    ----------
    The exponential family tilt of a multinomial: L. Brown, "Fundamentals of Statistical Exponential Families", 1986, ch. 1.
    """
    constants: Singles = np.empty((len(tilts), shares.shape[1]), dtype=np.float32)
    single = shares.astype(np.float32)
    for k, tilt in enumerate(tilts.tolist()):
        # The null may itself be tilted a little the same way (the baseline's own error), which makes it composite.
        lean = np.minimum(band[k], 1.0).astype(np.float32)
        null: Singles = np.zeros(len(lean), dtype=np.float32)
        for share, step in zip(single, tilt, strict=True):
            if not step:
                null += share
        mgf = null.copy()
        for share, step in zip(single, tilt, strict=True):
            if step:
                leaning = np.exp(lean * np.float32(step))
                leaning *= share
                null += leaning
                leaning *= np.float32(math.exp(step))
                mgf += leaning
        mgf /= null
        np.log(mgf, out=constants[k])
    return constants


def quietened(nats: Singles) -> Singles:
    """Bring log ratios down to `LOUDEST_NATS`, in place, so that a bucket's best tilt stays its best.

    Cutting all off at the same height would make the smallest tilt as likely as any after one absurd bucket, and that one
    takes hours to fall again.

    Parameters
    ----------
    nats : (n_tilts, n_series) float32

    Examples
    --------
    >>> quietened(np.array([[10.0, 50.0], [-90.0, 100.0]], dtype=np.float32))
    array([[ 10. ,  12.5],
           [-90. ,  25. ]], dtype=float32)
    """
    if len(nats) and float(nats.max(initial=0.0)) > LOUDEST_NATS:
        loudest = nats.max(axis=0)
        rows = np.flatnonzero(loudest > LOUDEST_NATS)
        some = nats[:, rows]
        nats[:, rows] = np.where(some > 0.0, some * (np.float32(LOUDEST_NATS) / loudest[rows]), some)
    return nats


def overshoot(gain: Singles, jump: Singles | None, most: Singles | None = None) -> Singles:
    """How far the statistic of a tilt jumps past a threshold: E[exp(-overshoot)].

    An e-detector stopped at A runs about A divided by the mean of this over its tilts to a false alarm, so a threshold
    may be lower by it.

    Parameters
    ----------
    gain : (n_series,) float32
        Mean nats of a bucket if the tilt is true.
    jump : (n_series,) float32 or None
        Nats of one hit, where hits speak for the tilt.
    most : (n_series,) float32 or None
        Most nats a bucket can give, where there is such a bound: those of one without hits, where hits speak against the tilt.

    Returns
    -------
    (n_series,) float32
        In (0, 1].

    Notes
    -----
    For normal increments exp(-0.583 * sqrt(2 * gain)); when hits are rare, a positive jump by one hit's nats w leaves
    (1 - exp(-w)) / w, and the smaller of both is taken. An overshoot is the stationary excess of ladder heights H, so it leaves
    (1 - E exp(-H)) / E H; where no bucket gives more than c, H <= c, and by convexity that is (1 - exp(-c)) / c at least.
    No gain, jump or bound is more than the `LOUDEST_NATS` of a bucket.
    `bench/run_length.py` measures what is left.

    References
    ----------
    D. Siegmund, "Sequential Analysis", 1985, ch. VIII and X.
    """
    left: Singles = np.clip(gain, np.float32(0.0), np.float32(LOUDEST_NATS))
    np.sqrt(left, out=left)
    left *= np.float32(-0.583 * 2.0**0.5)
    np.exp(left, out=left)
    if jump is not None:
        np.minimum(left, _uniform(jump), out=left)
    if most is not None:
        np.maximum(left, _uniform(most), out=left)
    return left


def _uniform(width: Singles) -> Singles:
    """Mean of exp(-x) for x between 0 and a width."""
    # Below a hundredth of a nat it is 1 - w / 2, and float32 would keep no digits of it.
    size = np.clip(width, np.float32(0.01), np.float32(LOUDEST_NATS))
    found: Singles = (np.float32(1.0) - np.exp(-size)) / size
    return found
