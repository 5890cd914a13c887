"""The money clock: orders lost against the counterfactual, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollguard.incidents.books import Sums

__all__ = ["Bill", "bill_of"]

#: Two-sided 95 % of a normal distribution.
Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Bill:
    """Orders lost over a span.

    Attributes
    ----------
    lost : float
        Expected less observed; negative when more came than expected.
    low, high : float
        95 % interval: counting noise, scatter, and the baseline's own error.
    """

    lost: float
    low: float
    high: float


def bill_of(sums: Sums, rows: tuple[int, ...]) -> Bill:
    """Bill of some series over a span.

    Parameters
    ----------
    sums : Sums
        Of the money clock's metric.
    rows : tuple of int
        Series to add up; they must not overlap. Of one that is not in the sums nothing was lost.

    Returns
    -------
    Bill
    """
    rows = tuple(row for row in rows if row < len(sums.expected))
    lost = math.fsum(float(sums.expected[r] - sums.observed[r]) for r in rows)
    variance = math.fsum(float(sums.variance[r]) for r in rows)
    # Baselines of places err together (a weekday, a holiday), so their errors add up rather than cancel.
    slack = math.fsum(float(sums.slack[r]) for r in rows)
    reach = Z_95 * math.sqrt(variance + slack**2)
    return Bill(lost, lost - reach, lost + reach)
