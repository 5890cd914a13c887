"""Rows to write: what a log record at some offset might have come to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from rollguard.store import Batch, IncidentRow, LedgerRow, OutboxRow, Store, TimelineRow
from rollguard.store.tables import METADATA

T0 = 1_772_442_000_000


def a_line(offset: int, *, ordinal: int = 0, at_ms: int = T0, incident: str = "inc-1") -> TimelineRow:
    return TimelineRow(
        id=f"{incident}/{offset}/{ordinal}",
        at_ms=at_ms,
        incident_id=incident,
        event="updated",
        line=b'{"at": %d}' % offset,
        offset=offset,
        ordinal=ordinal,
    )


def an_incident(offset: int, *, name: str = "inc-1", state: str = "open", opened_at_ms: int = T0, closed_at_ms: int | None = None) -> IncidentRow:
    return IncidentRow(
        incident_id=name, opened_at_ms=opened_at_ms, closed_at_ms=closed_at_ms, state=state, verdict="guilty", body=b"as of %d" % offset, offset=offset
    )


def a_page(offset: int | None = 0, *, name: str | None = None, incident: str = "inc-1") -> OutboxRow:
    return OutboxRow(
        id=name or f"page/{incident}/{offset}", kind="page", incident_id=incident, dedup_key=incident, at_ms=T0, body=b"orders fall", offset=offset
    )


def a_rollback(offset: int | None = 0, *, name: str | None = None, key: str = "checkout/4.11.0/eu", not_after_ms: int = T0 + 120_000) -> OutboxRow:
    return OutboxRow(
        id=name or f"rollback/{key}",
        kind="rollback",
        incident_id="inc-1",
        dedup_key=key,
        at_ms=T0,
        body=b"to 4.10.2",
        not_after_ms=not_after_ms,
        offset=offset,
    )


def a_note(offset: int | None = None, *, body: bytes = b"held: one suspect") -> LedgerRow:
    return LedgerRow(at_ms=T0, kind="decision", body=body, offset=offset)


def a_batch(from_offset: int, to_offset: int, *, snapshot: bool = True) -> Batch:
    """Of each offset a line, a page and an entry in the ledger; of the last one the incident."""
    offsets = range(from_offset, to_offset)
    return Batch(
        from_offset=from_offset,
        to_offset=to_offset,
        timeline=tuple(a_line(offset) for offset in offsets),
        incidents=tuple(an_incident(offset) for offset in offsets),
        outbox=tuple(a_page(offset) for offset in offsets),
        ledger=tuple(a_note(offset, body=b"note %d" % offset) for offset in offsets),
        snapshot=b"state before %d" % to_offset if snapshot else None,
    )


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    with store._reading() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in sorted(METADATA.tables.values(), key=lambda each: each.name)
        }
