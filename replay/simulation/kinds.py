"""The table of kinds: what there is in the library. A new kind is a function in `guilty.py` or `innocent.py` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollguard.replay.simulation import guilty, innocent
from rollguard.replay.simulation.casting import Casting
from rollguard.replay.simulation.plan import Plan

__all__ = ["KINDS", "Kind", "case_kinds", "kinds_table"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of case.

    Attributes
    ----------
    plan : callable
        Draws what happens.
    sentence : str
        What it is.
    culprit : str
        Who is to be blamed.
    page : bool
        Whether somebody has to be told.
    """

    plan: Callable[[Casting], Plan]
    sentence: str
    culprit: str
    page: bool = True

    @property
    def name(self) -> str:
        """What it is called."""
        return self.plan.__name__


_A_CHANGE, _NOBODY = "a change", "nobody"

#: By name.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(guilty.promise_gross, "absurd delivery promises behind HTTP 200; orders fall within minutes, errors follow", _A_CHANGE),
        Kind(guilty.promise_subtle, "delivery promises that are too short or too long by a quarter to a half; a few orders in a hundred are lost", _A_CHANGE),
        Kind(guilty.one_region, "a change that reaches and hurts one region alone", _A_CHANGE),
        Kind(guilty.waves, "a roll-out in waves: region after region begins to hurt", _A_CHANGE),
        Kind(guilty.slow_decline, "orders fall for hours, a little more each minute", _A_CHANGE),
        Kind(guilty.error_burst, "minutes of errors after a change, which end by themselves", _A_CHANGE),
        Kind(guilty.errors_only, "many times the usual errors, and not an order is lost", _A_CHANGE),
        Kind(guilty.conversion_drop, "fewer orders, and not one error more than usual", _A_CHANGE),
        Kind(guilty.operator_config, "a setting changed by one operator everywhere at once: 99 % of orders are gone", _A_CHANGE),
        Kind(guilty.flag, "a feature flag; no version changes", _A_CHANGE),
        Kind(guilty.dormant_trigger, "a deploy carries the fault, a flag or a setting wakes it up later", "the trigger"),
        Kind(guilty.decoys, "one guilty change among eight to twenty more within the hour", _A_CHANGE),
        Kind(guilty.two_culprits, "two changes of two services go wrong within the hour: one brings errors, the other costs orders", "two changes"),
        Kind(guilty.dependent_service, "a change of one service makes another one fail", _A_CHANGE),
        Kind(guilty.migration, "a migration that cannot be rolled back", _A_CHANGE),
        Kind(guilty.complete_stop, "no order comes any more, in any region", _A_CHANGE),
        Kind(guilty.unrecorded_change, "a change of which there is no record", "nobody recorded"),
        Kind(innocent.provider, "payments fail at a provider's", _NOBODY),
        Kind(innocent.older_symptom, "it hurt before a change of the same service went to the same places", _NOBODY),
        Kind(innocent.pipe_region, "no data of one region arrive, while its orders go on", _NOBODY),
        Kind(innocent.pipe_source, "no data of one source arrive, while orders go on", _NOBODY),
        Kind(innocent.pipe_all, "no data arrive at all, while orders go on", _NOBODY),
        Kind(innocent.late_telemetry, "data of one region or source arrive minutes late", _NOBODY, page=False),
        Kind(innocent.doubled_events, "events arrive twice, with the same ids", _NOBODY, page=False),
        Kind(innocent.skewed_clocks, "the clock of one host is off by minutes or hours", _NOBODY, page=False),
        Kind(innocent.sale, "a sale: up to three times the orders", _NOBODY, page=False),
        Kind(innocent.odd_day, "weather or a holiday: some regions are busier or quieter all day", _NOBODY, page=False),
        Kind(innocent.quiet, "an ordinary day", _NOBODY, page=False),
    )
}


def case_kinds() -> dict[str, Kind]:
    """All kinds, by name."""
    return dict(KINDS)


def kinds_table() -> str:
    """Table of all kinds, in Markdown that can also be read in a terminal."""
    rows = [("kind", "what happens", "who did it", "page")]
    rows += [(name, kind.sentence, kind.culprit, "yes" if kind.page else "no") for name, kind in KINDS.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
