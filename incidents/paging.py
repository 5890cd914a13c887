"""When a person is told of an incident, and when somebody else because nobody answered."""

from __future__ import annotations

from rollguard.config import Mode, Settings, format_duration
from rollguard.incidents.assess import Assessment
from rollguard.incidents.incident import Incident
from rollguard.incidents.permission import Permission
from rollguard.incidents.records import Action, Decision

__all__ = ["pages_of"]


def pages_of(incident: Incident, seen: Assessment, may: Permission, settings: Settings, at_ms: int) -> list[Decision]:
    """Decide whom to tell of an incident now, and note it there.

    Parameters
    ----------
    incident : Incident
    seen : Assessment
        Of this moment.
    may : Permission
    settings : Settings
    at_ms : int

    Returns
    -------
    list of Decision
        None, one, or two: it is told, and what nobody answers is told to others.
    """
    quiet = may.mode is Mode.OBSERVE or bool(may.quiet)
    found: list[Decision] = []
    # Where the service turns out to be another than was thought, or a mute ends, what was only observed may still have to page.
    if not incident.paged and (not quiet or not incident.noted):
        incident.paged = not quiet
        incident.noted = True
        incident.paged_ms = at_ms if incident.paged else None
        action: Action = "page" if incident.paged else "observe"
        reasons = (*seen.state.symptoms, seen.state.cost, *seen.state.data_quality, *((may.quiet,) if may.quiet else ()))
        found.append(Decision(at_ms=at_ms, action=action, target=seen.service, reasons=reasons))
    told = settings.service(seen.service).escalate
    waits = incident.acknowledged_by is None or incident.proposed is not None
    late_ms = at_ms - incident.paged_ms if incident.paged_ms is not None else 0
    if told and waits and not incident.escalated and late_ms >= settings.respond.escalate_after_ms:
        incident.escalated = True
        plan = incident.proposed
        why = f"the plan {plan.hash} still waits" if plan is not None else "nobody has acknowledged it"
        reasons = (f"{why} after {format_duration(late_ms)}", *seen.state.symptoms, seen.state.cost)
        found.append(Decision(at_ms=at_ms, action="page", target=seen.service, reasons=reasons, escalates=True))
    return found
