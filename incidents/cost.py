"""The money clock: orders lost against the counterfactual, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollguard.incidents.books import Floats, Sums

__all__ = ["ROLLBACK_TAKES_MIN", "Bill", "Clock", "bill_of"]

#: Minutes until a rollback takes effect, and the span of which is said what one now would save: both are assumptions, and said.
ROLLBACK_TAKES_MIN, HORIZON_MIN = 2, 60
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


@dataclass(frozen=True, slots=True)
class Clock:
    """The money clock of an incident.

    Attributes
    ----------
    so_far : Bill
        Since the onset.
    per_minute : Bill
        Of the last minutes; what each further one costs if it goes on like this.
    hurts : bool
        Something is still away, so that there is something to save.
    known : bool
        The metric's last minutes are there.
    """

    so_far: Bill
    per_minute: Bill
    hurts: bool
    known: bool

    @property
    def saved(self) -> Bill:
        """What a rollback now would save of the next hour, with the uncertainty of the rate; never less than nothing."""
        minutes = (HORIZON_MIN - ROLLBACK_TAKES_MIN) * float(self.hurts and self.known)
        return Bill(*(max(each, 0.0) * minutes for each in (self.per_minute.lost, self.per_minute.low, self.per_minute.high)))

    def sentence(self, metric: str) -> str:
        """What waiting costs, in words."""
        if not self.known:
            return f"cost: not known, for nothing is known of {metric} lately"
        rate, saved = self.per_minute, self.saved
        if not self.hurts or rate.lost <= 0.0 or saved.lost < 1.0:
            return f"cost: {max(self.so_far.lost, 0.0):.0f} {metric} lost so far, none are being lost now"
        return (
            f"cost: {max(self.so_far.lost, 0.0):.0f} {metric} lost so far, "
            f"each further minute costs {rate.lost:.1f} ({max(rate.low, 0.0):.1f} to {rate.high:.1f}); "
            f"a rollback now, effective in {ROLLBACK_TAKES_MIN} min, saves {saved.lost:.0f} ({saved.low:.0f} to {saved.high:.0f}) "
            f"within {HORIZON_MIN} min if it goes on like this"
        )


def bill_of(sums: Sums, rows: tuple[int, ...], without: Sequence[tuple[Sums, int]] = ()) -> Bill:
    """Bill of some series over a span.

    Parameters
    ----------
    sums : Sums
        Of the money clock's metric.
    rows : tuple of int
        Series to add up; they must not overlap. Of one that is not in the sums nothing was lost.
    without : sequence of (Sums, int)
        Parts of the span in which nothing is known of a series: they are taken out of it.

    Returns
    -------
    Bill
    """
    parts = [*((sums, row, 1.0) for row in rows), *((part, row, -1.0) for part, row in without)]

    def total(of: Callable[[Sums], Floats]) -> float:
        return math.fsum(sign * float(of(part)[row]) for part, row, sign in parts if row < len(of(part)))

    lost = total(lambda part: part.expected - part.observed)
    variance = max(total(lambda part: part.variance), 0.0)
    # Baselines of places err together (a weekday, a holiday), so their errors add up rather than cancel.
    slack = total(lambda part: part.slack)
    reach = Z_95 * math.sqrt(variance + slack**2)
    return Bill(lost, lost - reach, lost + reach)
