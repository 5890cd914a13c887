"""How much likelier counts are if a change hurt them, bucket by bucket: against their baseline, or against counts it left alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["N_FACTORS", "Counted", "against_baseline", "against_control", "factors_of"]

Floats = npt.NDArray[np.float64]

#: Sizes of effect that are tried for each count.
N_FACTORS = 6
#: The largest rise, and the two deepest falls among them.
HIGHEST, DEEP, DEEPEST = 8.0, 0.25, 0.03
#: One bucket says no more than so many nats for a change: one absurd burst must not be enough.
LOUDEST_NATS = 4.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted in some buckets, against what a baseline expected.

    Attributes
    ----------
    observed, expected : (n_buckets, n) float64
        Events; where none are expected nothing is said.
    scatter : (n_buckets, n) float64
        Variance over mean, >= 1.
    error : (n_buckets, n) float64
        The baseline's own relative error.
    """

    observed: Floats
    expected: Floats
    scatter: Floats
    error: Floats


def factors_of(worse: str, smallest: float) -> Floats:
    """Factors on the mean that hurt, from the smallest change worth a page on.

    Parameters
    ----------
    worse : {"higher", "lower", "both"}
        Direction that hurts.
    smallest : float
        Relative, > 0.

    Returns
    -------
    (N_FACTORS,) float64
        None of them is 1.

    Examples
    --------
    >>> factors_of("lower", 0.25).round(2)
    array([0.8 , 0.6 , 0.45, 0.33, 0.25, 0.03])
    >>> factors_of("higher", 0.25).round(2)
    array([1.25, 1.81, 2.63, 3.81, 5.52, 8.  ])
    """
    low, high = 1.0 / (1.0 + smallest), 1.0 + smallest
    half = N_FACTORS // 2

    def falls(n: int) -> Floats:
        return np.append(np.geomspace(low, min(DEEP, low / 2.0), n - 1), min(DEEPEST, low / 4.0))

    def rises(n: int) -> Floats:
        return np.geomspace(high, max(HIGHEST, 2.0 * high), n)

    if worse == "both":
        return np.concatenate([falls(half), rises(N_FACTORS - half)])
    return falls(N_FACTORS) if worse == "lower" else rises(N_FACTORS)


def against_baseline(counted: Counted, leeway: Floats, factors: Floats) -> Floats:
    """Log likelihood ratios of negative binomial counts: a mean moved by each factor against the baseline mean.

    Parameters
    ----------
    counted : Counted
    leeway : (n_buckets, n) float64
        A mean that is off by up to this factor, >= 1, in the direction that hurts counts as unchanged.
    factors : (n, n_factors) float64
        > 0 and not 1.

    Returns
    -------
    (n_buckets, n, n_factors) float64
        Nats, at most `LOUDEST_NATS`.
    """
    known = counted.expected > 0.0
    mean = np.where(known, counted.expected, 1.0)[:, :, None]
    null = mean * _moved(leeway, factors)
    alpha = np.maximum(counted.scatter[:, :, None] - 1.0, 1e-9) / mean
    spread = np.log1p(alpha * null * factors) - np.log1p(alpha * null)
    nats = counted.observed[:, :, None] * (np.log(factors) - spread) - spread / alpha
    return np.where(known[:, :, None], np.minimum(nats, LOUDEST_NATS), 0.0)


def against_control(counted: Counted, control: Counted, leeway: Floats, factors: Floats) -> Floats:
    """Log likelihood ratios of counts given their sum with a control: its share moved by each factor on the odds.

    Whatever lifts or lowers both alike (a sale, a storm, an error of both baselines) is cancelled.

    Parameters
    ----------
    counted, control : Counted
        Of the places that were reached, and of those that were not.
    leeway, factors
        As in `against_baseline`, of the odds.

    Returns
    -------
    (n_buckets, n, n_factors) float64
        Nats, at most `LOUDEST_NATS`; 0 where one of the two expects nothing.

    References
    ----------
    M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
    """
    known = (counted.expected > 0.0) & (control.expected > 0.0)
    odds = np.where(known, counted.expected, 1.0) / np.where(known, control.expected, 1.0)
    share = odds / (1.0 + odds)
    # Given the sum, the reached count varies with the control's scatter as far as its own share is large, and the other way round.
    temper = (1.0 - share) * counted.scatter + share * control.scatter
    null = odds[:, :, None] * _moved(leeway, factors)
    miss = np.log1p(null) - np.log1p(null * factors)
    nats = (counted.observed[:, :, None] * np.log(factors) + (counted.observed + control.observed)[:, :, None] * miss) / temper[:, :, None]
    return np.where(known[:, :, None], np.minimum(nats, LOUDEST_NATS), 0.0)


def _moved(leeway: Floats, factors: Floats) -> Floats:
    """(n_buckets, n, n_factors) what the null mean is moved by: as far as the leeway goes in the direction of each factor."""
    return np.where(factors > 1.0, leeway[:, :, None], 1.0 / leeway[:, :, None])
