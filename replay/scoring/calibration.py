"""Whether probabilities mean what they say: of suspects called 80 %, 80 % are guilty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from rollguard.replay.scoring.intervals import Floats, bootstrap, wilson

__all__ = ["BINS", "Guess", "Reliability", "brier", "calibration_error", "chance_error", "guesses_of", "reliability"]

BINS = 10
#: What is less likely than this is shown to nobody as a suspect; thousands of such would only thin out the error.
SMALLEST = 0.05


class Guess(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A probability that was said, and what came of it.

    Attributes
    ----------
    probability : float
        Of a suspect, or of "no change".
    is_true : bool
        It did it; of "no change", no change did.
    """

    probability: float
    is_true: bool


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: all that was called about as likely.

    Attributes
    ----------
    low, high : float
        Probabilities from, and below (of the last row also at).
    n, hits : int
        Guesses, and how many of them were true.
    mean : float
        Mean probability of them.
    share, share_low, share_high : float
        Share that was true, with its interval.
    """

    low: float
    high: float
    n: int
    hits: int
    mean: float
    share: float
    share_low: float
    share_high: float


def guesses_of(suspects: Sequence[tuple[str, float]], no_change: float, causes: frozenset[str]) -> tuple[Guess, ...]:
    """All that was said of one incident, with what is true.

    Parameters
    ----------
    suspects : sequence of (str, float)
    no_change : float
    causes : frozenset of str
        Changes that did it; empty: none did.
    """
    said = [Guess(probability=share, is_true=deploy_id in causes) for deploy_id, share in suspects]
    return (*said, Guess(probability=no_change, is_true=not causes))


def brier(suspects: Sequence[tuple[str, float]], no_change: float, causes: frozenset[str]) -> float:
    """Brier score of one incident: squared distance between what was said and what is true, 0 (best) to 2.

    Several causes count as one answer, whose probabilities add up.

    Parameters
    ----------
    suspects : sequence of (str, float)
    no_change : float
    causes : frozenset of str
        Changes that did it; empty: none did.

    References
    ----------
    G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Examples
    --------
    >>> round(brier([("a", 0.7), ("b", 0.1)], 0.2, frozenset("a")), 2)
    0.14
    """
    right = sum(share for deploy_id, share in suspects if deploy_id in causes) if causes else no_change
    wrong = sum(share**2 for deploy_id, share in suspects if deploy_id not in causes) + (no_change**2 if causes else 0.0)
    return (1.0 - right) ** 2 + wrong


def reliability(guesses: Sequence[Guess]) -> tuple[Reliability, ...]:
    """The table: rows of equal width, those without a guess left out."""
    rows = []
    for row, (n, total, hits) in enumerate(_sums(guesses)):
        if n:
            low, high = wilson(int(hits), int(n))
            share = float(hits / n)
            mean = float(total / n)
            edges = (row / BINS, (row + 1) / BINS)
            rows.append(Reliability(low=edges[0], high=edges[1], n=int(n), hits=int(hits), mean=mean, share=share, share_low=low, share_high=high))
    return tuple(rows)


def calibration_error(by_case: Sequence[Sequence[Guess]]) -> tuple[float, float | None, float | None, int] | None:
    """Expected calibration error: how far the rows' shares lie from what was said, weighted by their guesses.

    Only what was called 5 % or more counts. With few guesses it is too large even where all is well: a row of twenty is off by a tenth from chance alone.

    Parameters
    ----------
    by_case : sequence of sequences of Guess
        The guesses of a case are drawn together, for they depend on each other.

    Returns
    -------
    tuple of (float, float or None, float or None, int), or None
        Error, its interval (None: one case alone has a guess), and how many guesses count; None: there is no guess.

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    sums = np.array([_sums(_counted(guesses)) for guesses in by_case], float).reshape(len(by_case), BINS, 3)
    n = int(sums[..., 0].sum())
    if not n:
        return None
    error = float(_error(sums.sum(0)))
    sums = sums[sums[..., 0].sum(1) > 0]
    if len(sums) < 2:
        return error, None, None, n
    low, high = bootstrap(len(sums), lambda drawn: np.array([_error(sums[each].sum(0)) for each in drawn]), error)
    return error, low, high, n


def chance_error(by_incident: Sequence[Sequence[Guess]]) -> float | None:
    """What the calibration error would be by chance alone, on average, were every probability right.

    Parameters
    ----------
    by_incident : sequence of sequences of Guess
        What was said of each incident, of which at most one is true; what came of it plays no part.

    Returns
    -------
    float or None
        None: there is no guess.

    Notes
    -----
    How many of a row's guesses are true has a Poisson binomial distribution, which is worked out incident by incident: those of one
    exclude each other. That of a row of a few guesses that are nearly sure is far from normal.

    References
    ----------
    Y. Hong, "On computing the distribution function for the Poisson binomial distribution", Computational Statistics & Data Analysis 59, 2013.

    Examples
    --------
    >>> round(chance_error([[Guess(probability=0.75, is_true=True)]] * 20), 3)
    0.076
    >>> round(chance_error([[Guess(probability=0.98, is_true=True)]]), 4)
    0.0392
    """
    counted = [_counted(guesses) for guesses in by_incident]
    n = sum(map(len, counted))
    rows = [[math.fsum(guess.probability for guess in guesses if _row(guess.probability) == row) for guesses in counted] for row in range(BINS)]
    return math.fsum(map(_mean_deviation, rows)) / n if n else None


def _mean_deviation(probabilities: Sequence[float]) -> float:
    """By how much the number of those that come true misses the sum of their probabilities, on average."""
    hits = np.ones(1)
    # Rounded when they were written, those of one incident may add up to a little more than 1.
    for each in np.minimum(probabilities, 1.0).tolist():
        hits = np.convolve(hits, (1.0 - each, each))
    return float(hits @ np.abs(np.arange(len(hits)) - math.fsum(probabilities)))


def _counted(guesses: Sequence[Guess]) -> list[Guess]:
    return [guess for guess in guesses if guess.probability >= SMALLEST]


def _error(sums: Floats) -> Floats:
    """Of sums by row, (BINS, 3): guesses, their probabilities, those that were true."""
    n = sums[:, 0].sum()
    return np.asarray(np.abs(sums[:, 1] - sums[:, 2]).sum() / n if n else np.nan)


def _sums(guesses: Sequence[Guess]) -> Floats:
    found = np.zeros((BINS, 3))
    for guess in guesses:
        found[_row(guess.probability)] += (1.0, guess.probability, float(guess.is_true))
    return found


def _row(probability: float) -> int:
    return min(int(probability * BINS), BINS - 1)
