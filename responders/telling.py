"""From what stands in the outbox to what a person is told: first what is hurt, then the cost, who is suspected, and what was decided."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rollguard.config import ms_of
from rollguard.responders.records import Link, Page, PageEvent, Severity

__all__ = ["Notice", "page_of"]

#: Suspects told of.
TOLD = 3


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row of the outbox that tells somebody something.

    Attributes
    ----------
    pager : str
        Whom it is for, by name in the config.
    event : {"trigger", "acknowledge", "resolve"}
    late_ms : int
        How far what was decided on lay back; 0: it was fresh.
    incident : dict
        As in the timeline.
    decision, next : dict or None
        What was decided, and what was decided right after it, as in the timeline.
    owner, runbook, link, image : str or None
    because : str
        What comes first: why it is told to this pager and not to another, or what became of a rollback.
    changed : str
        A change that Rollguard has made; empty: none.
    """

    pager: str
    event: PageEvent
    late_ms: int = 0
    incident: dict[str, Any]
    decision: dict[str, Any] | None = None
    next: dict[str, Any] | None = None
    owner: str | None = None
    runbook: str | None = None
    link: str | None = None
    image: str | None = None
    because: str = ""
    changed: str = ""


def page_of(notice: Notice, at_ms: int) -> Page:
    """Say it for a person.

    Parameters
    ----------
    notice : Notice
    at_ms : int
        When it was decided.
    """
    incident = notice.incident
    incident_id = incident["incident_id"]
    symptoms = incident["symptoms"] or [f"{', '.join(incident['metrics'])} away from the usual"]
    title = symptoms[0]
    lines = [line for line in (notice.because, _late(notice.late_ms)) if line]
    if notice.event == "trigger":
        lines += [f"hurt: {'; '.join(symptoms)}", incident["cost"], _suspects(incident), *_steps(notice)]
    elif notice.event == "acknowledge":
        lines.append(f"{incident.get('acknowledged_by') or 'somebody'} looks after it")
    else:
        title = f"over: {title}"
        helped = [incident["helped"]] if incident.get("helped") else []
        lines += [*helped, f"{incident['orders_lost']:,.0f} orders were lost since {incident['onset']}", _suspects(incident)]
    lines += incident["data_quality"]
    return Page(
        event=notice.event,
        dedup_key=incident_id,
        title=title,
        lines=tuple(lines),
        severity=_severity(notice, incident),
        service=_service(incident),
        owner=notice.owner,
        runbook=notice.runbook,
        regions=tuple(incident["regions"]),
        at_ms=at_ms,
        onset_ms=ms_of(incident["onset"]),
        changed=notice.changed,
        ended_ms=ms_of(incident["closed_at"]) if notice.event == "resolve" and incident["closed_at"] else None,
        image=notice.image,
        links=() if notice.link is None else (Link(text="Look at it", href=notice.link),),
        details={
            name: incident[name]
            for name in ("state", "verdict", "metrics", "suspects", "no_change_probability", "orders_lost", "orders_lost_interval", "orders_lost_per_minute")
        },
    )


def _late(late_ms: int) -> str:
    return f"told late: this was decided on data {late_ms / 60_000:.0f} min old" if late_ms else ""


def _suspects(incident: dict[str, Any]) -> str:
    named = [f"{_change(each)} {100 * each['probability']:.0f} %" for each in incident["suspects"][:TOLD]]
    named.append(f"no change {100 * incident['no_change_probability']:.0f} %")
    return f"suspects: {', '.join(named)}; verdict: {incident['verdict'].replace('_', ' ')}"


def _change(suspect: dict[str, Any]) -> str:
    version = f" {suspect['version']}" if suspect["version"] else ""
    return f"{suspect['deploy_id']} ({suspect['service']}{version})"


def _steps(notice: Notice) -> list[str]:
    """What was decided, and what keeps it from being done."""
    decided = notice.next or notice.decision or {}
    action: Literal["rollback", "hold", "page"] | None = decided.get("action")
    if action == "rollback" and notice.late_ms:
        return [f"what would have been done, had it been in time: roll back {decided['target']}. It is left to you: look first, this is old"]
    if action == "rollback":
        return [f"rolled back now: {decided['target']}; what became of it is told next", "to stop all rollbacks: rollguard kill on -c FILE"]
    if action == "hold" and decided.get("plan") and decided.get("needs"):
        plan, needs = decided["plan"]["hash"], decided["needs"]
        waits = f"the plan {plan} waits for {needs} {'approval' if needs == 1 else 'approvals'}: {decided['target']}"
        how = f"rollguard incidents approve {notice.incident['incident_id']} --plan {plan} --as YOU -c FILE"
        return [waits, *_why_not(decided), f"look at it first; then, to approve: {how}; or reject in its place"]
    if action == "hold":
        return ["nothing is rolled back by itself", *_why_not(decided)]
    return [reason for reason in decided.get("reasons", ()) if reason not in {*notice.incident["symptoms"], notice.incident["cost"]}]


def _why_not(decided: dict[str, Any]) -> list[str]:
    return [f"why not: {'; '.join(decided['blocked_by'])}"] if decided.get("blocked_by") else []


def _severity(notice: Notice, incident: dict[str, Any]) -> Severity:
    if notice.event != "trigger":
        return "info"
    low: float = incident["orders_lost_interval"][0]
    return "critical" if low > 0 else "error"


def _service(incident: dict[str, Any]) -> str | None:
    if incident["verdict"] == "guilty" and incident["suspects"]:
        name: str = incident["suspects"][0]["service"]
        return name
    return incident["services"][0] if incident["services"] else None
