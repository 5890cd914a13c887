"""From decisions to rows of the outbox: who is told what, and what a target is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from rollguard.config import ServiceRules, Settings
from rollguard.incidents import Command, Entry, IncidentState, LogRecord
from rollguard.replay import line_of
from rollguard.responders import Intent, Notice
from rollguard.service.present import TOO_LATE_MS, lateness_of
from rollguard.store import OutboxRow

__all__ = ["LOG", "rows_of"]

#: Who is told where the config names nobody: the worker's log.
LOG = "log"
_Event = Literal["trigger", "acknowledge", "resolve"]


def rows_of(
    record: LogRecord,
    entries: Sequence[Entry],
    state_of: Callable[[str], IncidentState | None],
    settings: Settings,
    *,
    offset: int,
    late_ms: int,
    now_ms: int,
) -> Iterator[OutboxRow]:
    """What the world has to be told of what the desk made of one record.

    Parameters
    ----------
    record : LogRecord
    entries : sequence of Entry
        What it came to.
    state_of : callable
        What was last told of an incident, for a decision beside which nothing is told of it.
    settings : Settings
    offset : int
        Of the record.
    late_ms : int
        How far decisions lie behind the end of their bucket.
    now_ms : int
        The clock on the wall.

    Yields
    ------
    OutboxRow
        Of a page one for each pager. What comes too late to be acted on is advice for a person, and a late page says so.
    """
    states: dict[str, IncidentState] = {}
    for ordinal, entry in enumerate(entries):
        if entry.incident is not None:
            states[entry.incident_id] = entry.incident
        known = states.get(entry.incident_id) or state_of(entry.incident_id)
        event = None if known is None else _event_of(record, entry, known)
        if known is None or event is None:
            continue
        decision = entry.decision
        stale_ms = lateness_of(entry.at_ms - late_ms, now_ms)
        following = next((each for each in entries[ordinal + 1 :] if each.decision is not None and each.incident_id == entry.incident_id), None)
        kind: Literal["page", "advice"] = "page"
        if decision is not None and decision.action == "rollback":
            if stale_ms:
                kind = "advice"
            else:
                yield _rollback(entry, offset, ordinal)
        name = "page" if decision is None else decision.action
        own = _own(known, settings)
        told = own.escalate if decision is not None and decision.escalates else own.page or (LOG,)
        for pager in told:
            notice = Notice(
                pager=pager,
                event=event,
                late_ms=stale_ms,
                incident=_plain(Entry(at_ms=entry.at_ms, event="updated", incident_id=entry.incident_id, incident=known), "incident"),
                decision=None if decision is None else _plain(entry, "decision"),
                next=None if following is None or name != "page" else _plain(following, "decision"),
                owner=own.owner,
                runbook=own.runbook,
                link=_of_incident(settings.respond.link, entry.incident_id),
                image=_of_incident(settings.respond.image, entry.incident_id),
            )
            yield OutboxRow(
                id=f"{entry.incident_id}/{event if decision is None else name}/{entry.at_ms}/{pager}" + ("/told" if name == "rollback" else ""),
                offset=offset,
                ordinal=ordinal,
                kind=kind,
                incident_id=entry.incident_id,
                dedup_key=f"{entry.incident_id}/{pager}",
                at_ms=entry.at_ms,
                body=msgspec.json.encode(notice),
            )


def _event_of(record: LogRecord, entry: Entry, known: IncidentState) -> _Event | None:
    """What a pager is told of a line of the timeline; None: nothing."""
    decision = entry.decision
    if decision is not None:
        waits = decision.action == "hold" and decision.plan is not None and decision.needs > 0
        helped = decision.action == "observe" and known.paged and known.helped is not None
        return "trigger" if decision.action in {"page", "rollback"} or waits or helped else None
    if entry.incident is None or not entry.incident.paged:
        return None
    if entry.event == "closed":
        return "resolve"
    return "acknowledge" if isinstance(record, Command) and record.verb == "ack" else None


def _rollback(entry: Entry, offset: int, ordinal: int) -> OutboxRow:
    decision = entry.decision
    if decision is None or decision.plan is None:
        raise AssertionError("a rollback without a plan")
    plan = decision.plan
    return OutboxRow(
        id=f"{entry.incident_id}/rollback/{entry.at_ms}",
        offset=offset,
        ordinal=ordinal,
        kind="rollback",
        incident_id=entry.incident_id,
        # Once for a change in a scope, whichever incident asks for it.
        dedup_key=f"{plan.service}/{plan.deploy_id}/{','.join(plan.places) or '*'}",
        at_ms=entry.at_ms,
        not_after_ms=entry.at_ms + TOO_LATE_MS,
        body=msgspec.json.encode(Intent(plan=plan, approved_by=decision.approved_by, reasons=decision.reasons)),
    )


def _own(state: IncidentState, settings: Settings) -> ServiceRules:
    """What holds for the service that an incident is about: the guilty change's, else the first that hurts, of those that the config names."""
    guilty = [state.suspects[0].service] if state.verdict == "guilty" and state.suspects else []
    return settings.service(next((name for name in (*guilty, *state.services) if name in settings.services), None))


def _of_incident(url: str | None, incident_id: str) -> str | None:
    return None if url is None else url.replace("{incident}", incident_id)


def _plain(entry: Entry, part: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(line_of(entry))[part]
    return found
