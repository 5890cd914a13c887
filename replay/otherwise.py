"""What would have been different: a replay under other rules, beside the one under those that hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from rollguard.config import Budget, Mode, Settings, format_duration
from rollguard.replay.case import Case
from rollguard.replay.gated import gated
from rollguard.replay.persons import Persons, with_persons
from rollguard.replay.pipeline import Progress
from rollguard.replay.run import Run, run_case
from rollguard.replay.staging import staged

__all__ = ["Switches", "made_with", "run_otherwise"]

GONE = "The plan was gone before they came: it had expired, or nothing hurt any more."
NEVER = "There was no plan that persons may approve"


@dataclass(frozen=True, slots=True)
class Switches:
    """What is to be different.

    Attributes
    ----------
    mode : Mode or None
        What may be done; None: as the case and its config say, or auto.
    approve_after_ms : int or None
        Plans wait for persons, who approve so long after the page.
    budget : Budget or None
        Other false pages are borne.
    staged_regions : bool
        The culprit goes out region by region.
    approvals : int or None
        Every version needs so many before it goes out.
    """

    mode: Mode | None = None
    approve_after_ms: int | None = None
    budget: Budget | None = None
    staged_regions: bool = False
    approvals: int | None = None

    def usual(self, settings: Settings) -> Settings:
        """What it is compared with: as the config has it, in the mode that was asked for."""
        return settings if self.mode is None else settings.model_copy(update={"mode": self.mode})

    def applied(self, settings: Settings) -> Settings:
        """Settings under which it is decided anew."""
        mine = self.usual(settings)
        if self.budget is not None:
            # What was not said of it is the config's.
            said = {name: getattr(self.budget, name) for name in self.budget.model_fields_set}
            mine = mine.model_copy(update={"budget": settings.budget.model_copy(update=said)})
        return mine if self.approve_after_ms is None else with_persons(mine)

    @property
    def decides_anew(self) -> bool:
        """Whether another replay is needed to compare with."""
        return self.approve_after_ms is not None or self.budget is not None


def run_otherwise(case: Case, switches: Switches, on_progress: Callable[[Progress], None] | None = None, *, report: bool = False) -> Run:
    """Replay a case under other rules; `otherwise` in its summary says what is different, a sentence and figures for each.

    Parameters
    ----------
    case : Case
    switches : Switches
    on_progress : callable, optional
        Called after each batch of lines.
    report : bool
        Whether a page is wanted.
    """
    settings = switches.applied(case.settings)
    persons = None if switches.approve_after_ms is None else Persons(settings, switches.approve_after_ms)
    # What each place lost is counted for a page, and for nothing else.
    counted = report or switches.staged_regions
    found: list[dict[str, Any]] = []
    if switches.decides_anew:
        usual = run_case(replace(case, settings=switches.usual(case.settings)), _half(on_progress, 0))
        run = run_case(replace(case, settings=settings), _half(on_progress, 1), persons=persons, report=counted)
        found.append(_compared(usual, run, switches, case.settings))
    else:
        run = run_case(replace(case, settings=settings), on_progress, report=counted)
    if switches.staged_regions and run.minutes is not None:
        found += [staged(incident, run.minutes, run.known, settings.money_clock.metric) for incident in run.incidents]
    if switches.approvals is not None:
        found += [gated(incident, run.timeline, run.known, settings, switches.approvals) for incident in run.incidents]
    if not found:
        return run
    return replace(run, summary=run.summary | {"otherwise": found})


def _half(on_progress: Callable[[Progress], None] | None, half: int) -> Callable[[Progress], None] | None:
    """Progress of one of two replays as that of both."""
    if on_progress is None:
        return None
    return lambda reached: on_progress(Progress(done=reached.done + half * reached.total, total=2 * reached.total, event_ms=reached.event_ms))


def _compared(usual: Run, run: Run, switches: Switches, settings: Settings) -> dict[str, Any]:
    asked = []
    if switches.approve_after_ms is not None:
        asked.append(f"persons approve {format_duration(switches.approve_after_ms)} after the page")
    if switches.budget is not None:
        asked.append(f"a budget of {_budget(switches.applied(settings).budget)} instead of {_budget(settings.budget)}")
    was, now = _figures(usual), _figures(run)
    text = f"{' and '.join(asked)}: {_told(now)}. As it is: {_told(was)}."
    if switches.approve_after_ms is not None and run.incidents and (not now["rollbacks"] or now["rollbacks"] < was["rollbacks"]):
        text += f" {_why_not(run)}"
    return {"switch": "decided_anew", "incident_id": None, "text": text, "usual": was, "otherwise": now}


def _why_not(run: Run) -> str:
    """Why who would have approved did not."""
    decisions = [each for incident in run.incidents for each in incident["decisions"]]
    if any(each.get("needs") for each in decisions):
        return GONE
    blocked: list[str] = next((each["blocked_by"] for each in reversed(decisions) if each["action"] == "hold"), [])
    return f"{NEVER}: {'; '.join(blocked)}." if blocked else f"{NEVER}."


def _figures(run: Run) -> dict[str, Any]:
    pages = [each["at"] for incident in run.incidents for each in incident["decisions"] if each["action"] == "page"]
    return {
        "incidents": len(run.incidents),
        "pages": run.summary["pages"],
        "first_page_at": min(pages, default=None),
        "rollbacks": run.summary["rollbacks"],
        "first_rollback_at": min((each["rollback_at"] for each in run.summary["savings"] if each["rollback_at"]), default=None),
        "orders_lost": run.summary["orders_lost"],
        "saved": round(sum(each["saved"] for each in run.summary["savings"]), 1),
    }


def _told(figures: dict[str, Any]) -> str:
    page = f", the first at {figures['first_page_at']}" if figures["first_page_at"] else ""
    undone = f" (decided at {figures['first_rollback_at']})" if figures["first_rollback_at"] else ""
    lost, saved = figures["orders_lost"], figures["saved"]
    return f"{figures['pages']} page(s){page}; {figures['rollbacks']} rollback(s){undone}; about {saved:,.0f} of {lost:,.0f} lost orders saved"


def _budget(budget: Budget) -> str:
    return f"{budget.false_pages:g} in {format_duration(budget.per_ms)}"


def made_with(settings: Settings, switches: Switches) -> str:
    """Hash of all that a result depends on besides the case's data and the code, in 16 hexadecimal digits."""
    plain = {"settings": settings.model_dump(mode="json"), "switches": repr(switches)}
    return blake2b(msgspec.json.encode(plain, order="deterministic"), digest_size=8).hexdigest()
