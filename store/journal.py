"""The timeline, and incidents as last known."""

from __future__ import annotations

from msgspec.structs import asdict
from sqlalchemy import Connection, select

from rollguard.store.records import IncidentRow, TimelineRow
from rollguard.store.stages import insert_into
from rollguard.store.tables import incidents, timeline

__all__ = ["add_line", "put_incident", "read_incidents", "read_timeline"]


def add_line(connection: Connection, row: TimelineRow) -> bool:
    """Add a line unless its id is known; says whether it was added."""
    values = asdict(row)
    values["log_offset"] = values.pop("offset")
    added = insert_into(connection)(timeline).values(**values).on_conflict_do_nothing().returning(timeline.c.seq)
    return connection.execute(added).one_or_none() is not None


def put_incident(connection: Connection, row: IncidentRow) -> None:
    """Put what is known now in the place of what was known before."""
    values = asdict(row)
    values["log_offset"] = values.pop("offset")
    changed = {name: value for name, value in values.items() if name != "incident_id"}
    connection.execute(insert_into(connection)(incidents).values(**values).on_conflict_do_update(index_elements=["incident_id"], set_=changed))


def read_timeline(connection: Connection, *, until_ms: int | None, incident_id: str | None) -> list[TimelineRow]:
    """Lines in the order they were written."""
    query = select(timeline).order_by(timeline.c.seq)
    if until_ms is not None:
        query = query.where(timeline.c.at_ms <= until_ms)
    if incident_id is not None:
        query = query.where(timeline.c.incident_id == incident_id)
    return [
        TimelineRow(id=row.id, at_ms=row.at_ms, incident_id=row.incident_id, event=row.event, line=row.line, offset=row.log_offset, ordinal=row.ordinal)
        for row in connection.execute(query)
    ]


def read_incidents(connection: Connection, *, is_open: bool | None, limit: int | None) -> list[IncidentRow]:
    """Incidents in the order they opened; of more than `limit` the last ones."""
    query = select(incidents).order_by(incidents.c.opened_at_ms.desc(), incidents.c.incident_id.desc()).limit(limit)
    if is_open is not None:
        query = query.where(incidents.c.closed_at_ms.is_(None) if is_open else incidents.c.closed_at_ms.is_not(None))
    rows = [
        IncidentRow(
            incident_id=row.incident_id,
            opened_at_ms=row.opened_at_ms,
            closed_at_ms=row.closed_at_ms,
            state=row.state,
            verdict=row.verdict,
            body=row.body,
            offset=row.log_offset,
            ordinal=row.ordinal,
        )
        for row in connection.execute(query)
    ]
    return rows[::-1]
