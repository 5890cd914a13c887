"""How far a figure from so few cases can be trusted: 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "bootstrap", "poisson", "wilson"]

Floats = NDArray[np.float64]

#: Two-sided 95 % of the normal distribution.
Z_95 = 1.959963984540054
RESAMPLES = 2_000
SEED = 20_260_302


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Interval of a share.

    Parameters
    ----------
    hits, n : int
        0 <= hits <= n, n > 0.

    Returns
    -------
    tuple of float
        Lower and upper bound, 0..1.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(9, 10)]
    [0.596, 0.982]
    """
    share, z2 = hits / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is the share itself, but for the last digit of a float.
    return (0.0 if hits == 0 else middle - reach), (1.0 if hits == n else middle + reach)


def bootstrap(n: int, statistic: Callable[[NDArray[np.int64]], Floats], estimate: float) -> tuple[float, float]:
    """Interval of anything, by drawing its cases again with replacement.

    Parameters
    ----------
    n : int
        Cases, > 0.
    statistic : callable
        From drawn cases, (n_resamples, n) int64, to its values, (n_resamples,) float64; NaN: those cases say nothing.
    estimate : float
        Of the cases as they are; the interval always contains it, even where drawing again shifts the statistic to one side.

    Returns
    -------
    tuple of float
        2.5 % and 97.5 % of the values. The seed is fixed, so that the same cases always give the same.

    References
    ----------
    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979; the percentile interval.
    """
    drawn = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    values = statistic(drawn)
    values = values[~np.isnan(values)]
    if not len(values):
        return estimate, estimate
    low, high = (float(bound) for bound in np.quantile(values, [0.025, 0.975]))
    return min(low, estimate), max(high, estimate)


def poisson(count: int) -> tuple[float, float]:
    """Interval of what is expected where so many were counted.

    Parameters
    ----------
    count : int
        >= 0.

    Returns
    -------
    tuple of float
        Bounds that a mean outside of them would give so few, or so many, in one of 40 cases each.

    References
    ----------
    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28, 1936.

    Examples
    --------
    >>> [round(bound, 2) for bound in poisson(0)], [round(bound, 2) for bound in poisson(3)]
    ([0.0, 3.69], [0.62, 8.77])
    """
    low = 0.0 if count == 0 else _mean_with(count - 1, 0.975)
    return low, _mean_with(count, 0.025)


def _mean_with(count: int, chance: float) -> float:
    """Mean of the Poisson distribution that gives at most `count` with a given chance; it falls as the mean grows."""
    low, high = 0.0, count + 10.0 * math.sqrt(count + 1.0) + 10.0
    for _ in range(100):
        mean = (low + high) / 2
        at_most = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (mean, high) if at_most > chance else (low, mean)
    return (low + high) / 2
