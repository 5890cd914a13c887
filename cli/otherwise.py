"""What would have been different: the switches of `rollguard replay`, and what they found in a terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rollguard.cli.working import UsageError
from rollguard.config import Budget, Mode, Settings, parse_duration
from rollguard.replay import Switches

__all__ = ["checked_for", "switches_of", "tell_otherwise"]

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)(?:/(\d+[a-z]+))?")
TITLES = {"decided_anew": "decided so", "staged_regions": "in waves", "require_approvals": "at the gate"}


def switches_of(*, mode: Mode | None, approve_after: str | None, staged_regions: bool, require_approvals: int | None, budget: str | None) -> Switches:
    """Read the switches as they were typed.

    Raises
    ------
    UsageError
        If one of them cannot be read, or they do not go together.
    """
    if approve_after is not None and mode not in {None, Mode.APPROVE}:
        raise UsageError(f"--approve-after: nobody has to approve anything in mode {mode}. Expected: --mode approve, or no --mode.")
    return Switches(
        # Beside persons who approve stands what would be done without them.
        mode=None if approve_after is not None else mode,
        approve_after_ms=None if approve_after is None else _span_ms("--approve-after", approve_after),
        budget=None if budget is None else _budget_of(budget),
        staged_regions=staged_regions,
        approvals=require_approvals,
    )


def checked_for(switches: Switches, settings: Settings) -> None:
    """Make sure that persons have a say in a case.

    Raises
    ------
    UsageError
        If its config gives services a mode of their own, which no switch sets aside.
    """
    own = sorted(name for name, service in settings.services.items() if service.mode not in {None, Mode.APPROVE})
    if switches.approve_after_ms is not None and own:
        raise UsageError(
            f"--approve-after: the config gives {', '.join(own)} a mode of their own, in which nobody approves (`services`). Expected: approve, or none."
        )


def tell_otherwise(console: Console, summary: dict[str, Any]) -> None:
    """Tell what would have been different, where that was asked."""
    found = summary.get("otherwise", [])
    if not found:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), title="What would have been different", title_justify="left", title_style="bold")
    table.add_column("if", no_wrap=True)
    table.add_column("incident", no_wrap=True)
    table.add_column("then")
    for each in found:
        table.add_row(TITLES[each["switch"]], each["incident_id"] or "all", escape(each["text"]))
    console.print(table)


def _span_ms(option: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}. Expected: a whole number and a unit, as 5m.") from None


def _budget_of(text: str) -> Budget:
    found = _BUDGET.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"--budget {text}: no budget. Expected: false pages above 0, in the config's span or in one that is said, as 4 or 1/7d.")
    span_ms = None if found[2] is None else _span_ms("--budget", found[2])
    if span_ms == 0:
        raise UsageError(f"--budget {text}: no time at all. Expected: a span, as in 1/7d.")
    return Budget(false_pages=float(found[1]), **({} if found[2] is None else {"per": found[2]}))
