"""What the figures have to be: one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from rollguard.replay.scoring.measures import Measured, measure
from rollguard.replay.scoring.records import CaseOutcome

__all__ = ["BARS", "ENOUGH_CASES", "Bar", "Checked", "check_bars"]

#: Real issues of another system: they have a bar of their own, and do not count in the others.
REAL = "petshop"
#: Cases of both halves from which on the figures are held to say something.
ENOUGH_CASES = 200


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to be reached.

    Attributes
    ----------
    measure : str
        Its name.
    at_least, at_most : float or None
    by : {"value", "high"}
        What is held against it: the figure itself, or the upper bound of its interval.
    kind : str or None
        Of cases of this kind alone; None: of all but the real ones.
    needs : float
        Judged only if it was measured on so much.
    """

    measure: str
    at_least: float | None = None
    at_most: float | None = None
    by: Literal["value", "high"] = "value"
    kind: str | None = None
    needs: float = 0.0

    def __str__(self) -> str:
        """The bar in words."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


#: Duplicates are per ten incidents, delay is in oracle's delays, false pages are per month at a budget of one.
BARS: tuple[Bar, ...] = (
    Bar("recall", at_least=0.97),
    Bar("precision", at_least=0.95),
    Bar("repeats", at_most=1.0),
    Bar("top1", at_least=0.85),
    Bar("top3", at_least=0.95),
    Bar("false_blame", at_most=0.05),
    Bar("wrong_rollbacks", at_most=0.0),
    Bar("delay_oracle", at_most=2.5),
    Bar("bill_size", at_most=0.15),
    # A row of a few guesses is off by more than that from chance alone.
    Bar("calibration", at_most=0.05, needs=100.0),
    Bar("false_pages_month", at_most=2.0, by="high", needs=20.0),
    Bar("top3", at_least=0.60, kind=REAL),
)


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A bar with what was reached.

    Attributes
    ----------
    bar : str
        In words.
    kind : str or None
    measured : Measured
    state : {"held", "broken", "not judged"}
        not judged: there was nothing, or not enough, to measure it on.
    """

    bar: str
    kind: str | None
    measured: Measured
    state: Literal["held", "broken", "not judged"]


def check_bars(outcomes: Sequence[CaseOutcome]) -> tuple[Checked, ...]:
    """Hold the figures of some cases against the bars.

    Parameters
    ----------
    outcomes : sequence of CaseOutcome
        Of the half that was not looked at, if it is to mean something.
    """
    by_kind = {None: measure([each for each in outcomes if each.kind != REAL]), REAL: measure([each for each in outcomes if each.kind == REAL])}
    found = []
    for bar in BARS:
        measured = next(each for each in by_kind[bar.kind] if each.name == bar.measure)
        found.append(Checked(bar=str(bar), kind=bar.kind, measured=measured, state=_state(bar, measured)))
    return tuple(found)


def _state(bar: Bar, measured: Measured) -> Literal["held", "broken", "not judged"]:
    reached = measured.high if bar.by == "high" else measured.value
    if reached is None or not measured.n or measured.n < bar.needs:
        return "not judged"
    broken = (bar.at_least is not None and reached < bar.at_least) or (bar.at_most is not None and reached > bar.at_most)
    return "broken" if broken else "held"
