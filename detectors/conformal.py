"""Scores of any kind to evidence: where a score ranks among a series' own past scores, and a bet on that rank."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence

import numpy as np

__all__ = ["KAPPAS", "Calibration", "correlation_time"]

#: Bets on small p-values: the density kappa * p ** (kappa - 1). The smallest waits for one wild score, the largest for a slight lean of many.
KAPPAS = (0.1, 0.25, 0.5, 0.75, 0.9)


class Calibration:
    """The last scores of one series, and what they make of the next.

    If scores are exchangeable, the rank of the next among them is uniform, whatever the model is: its p-value lies below `p`
    with probability `p` at most, and the mean of each bet is one. Scores that follow each other closely are not exchangeable:
    see `correlation_time`.

    Parameters
    ----------
    size : int
        How many scores are kept.

    References
    ----------
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2nd ed. 2022, ch. 8: conformal test martingales
    and the bets kappa * p ** (kappa - 1).

    Examples
    --------
    >>> calibration = Calibration(1000)
    >>> for score in range(99):
    ...     calibration.add(float(score))
    >>> calibration.p_value(94.5), calibration.p_value(-1.0)
    (0.05, 1.0)
    >>> [round(nats, 2) for nats in calibration.bets(1e9)]
    [4.14, 3.45, 2.3, 1.15, 0.46]
    """

    def __init__(self, size: int) -> None:
        self.scores: deque[float] = deque(maxlen=size)
        self._ordered: list[float] = []

    def __len__(self) -> int:
        return len(self.scores)

    def add(self, score: float) -> None:
        """Take a score in; the oldest falls out."""
        if len(self.scores) == self.scores.maxlen:
            del self._ordered[bisect_left(self._ordered, self.scores[0])]
        self.scores.append(score)
        insort(self._ordered, score)

    def p_value(self, score: float) -> float:
        """Share of past scores, and this one, that are at least as high: ties count against it."""
        return (len(self.scores) - bisect_left(self._ordered, score) + 1) / (len(self.scores) + 1)

    def bets(self, score: float) -> tuple[float, ...]:
        """What each bet of `KAPPAS` wins or loses on a score, in nats.

        The score shares its rank with itself and its ties, so each bet pays its mean over that span of p-values. This is the
        expectation of the usual randomised bet over its random numbers: exact, and no chance enters. (Paying at the span's
        upper end would lose for ever on scores that are nearly always the same, as those of drift detectors are.)
        """
        n = len(self.scores) + 1
        low = (len(self.scores) - bisect_right(self._ordered, score)) / n
        high = self.p_value(score)
        return tuple(math.log((high**kappa - low**kappa) / (high - low)) for kappa in KAPPAS)


def correlation_time(scores: Sequence[float]) -> float:
    """How many scores in a row say as much as one would alone, at least 1.

    Evidence divided by it is what the banks' temper is: a sum of n correlated scores varies like one of n / time. A bet to the power
    of 1 / time still has a mean of at most one, so the promise that holds for exchangeable scores is not weakened by it.

    Parameters
    ----------
    scores : sequence of float
        In their order; only their ranks matter.

    Returns
    -------
    float
        1 + 2 * sum of the ranks' autocorrelations, up to the first that is no more than noise, a quarter of the scores at most.

    Examples
    --------
    >>> correlation_time([0.0, 1.0] * 50)
    1.0
    >>> round(correlation_time([float(i // 10 % 2) for i in range(400)]), 1)
    5.0
    """
    n = len(scores)
    ordered = sorted(scores)
    # Whole numbers, so their sums are exact in any order.
    ranks = np.array([bisect_left(ordered, score) + bisect_right(ordered, score) - n for score in scores], dtype=np.int64)
    power = int(ranks @ ranks)
    total = 1.0
    for lag in range(1, n // 4):
        shared = int(ranks[:-lag] @ ranks[lag:])
        if shared * n <= 2.0 * math.sqrt(n) * power:
            break
        total += 2.0 * shared / power
    return total
