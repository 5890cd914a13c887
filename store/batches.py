"""What a stretch of the log came to, written behind the stage's epoch and its applied offset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy import Connection, update

from rollguard.store import journal, ledger, outbox, snapshots
from rollguard.store.errors import OffsetError
from rollguard.store.records import Batch, IncidentRow, LedgerRow, OutboxRow, Recorded, TimelineRow
from rollguard.store.stages import fence
from rollguard.store.tables import stages

__all__ = ["check", "write"]

_Row = TypeVar("_Row", TimelineRow, IncidentRow, OutboxRow, LedgerRow)


def check(batch: Batch) -> None:
    """Refuse a batch that contradicts itself.

    Raises
    ------
    ValueError
        If a row does not belong to the stretch, or breaks its own rules.
    """
    if batch.from_offset > batch.to_offset:
        raise ValueError(f"a batch of {batch.from_offset} up to {batch.to_offset}")
    rows: tuple[TimelineRow | IncidentRow | OutboxRow | LedgerRow, ...] = (*batch.timeline, *batch.incidents, *batch.outbox, *batch.ledger)
    for row in rows:
        if row.offset is None or not batch.from_offset <= row.offset < batch.to_offset:
            raise ValueError(f"a row of offset {row.offset} in a batch of {batch.from_offset} up to {batch.to_offset}")
    for sent in batch.outbox:
        outbox.check(sent)


def write(connection: Connection, stage: str, epoch: int, batch: Batch, *, now_ms: int, where: str) -> Recorded:
    """Write what is new of it; see `Store.record`."""
    applied = fence(connection, stage, epoch).applied
    start = batch.from_offset if applied is None else applied
    gap = (start, batch.from_offset) if batch.from_offset > start else None
    if gap is not None and not batch.gap:
        raise OffsetError(stage, "batch", batch.from_offset, start)
    lines = [journal.add_line(connection, row) for row in _fresh(batch.timeline, start)]
    known = _fresh(batch.incidents, start)
    for row in known:
        journal.put_incident(connection, row)
    sent = [outbox.add(connection, row) for row in _fresh(batch.outbox, start)]
    noted = _fresh(batch.ledger, start)
    # Last, since others who append wait for the end of this transaction.
    ledger.append(connection, noted, where)
    reached = max(start, batch.to_offset)
    connection.execute(update(stages).where(stages.c.stage == stage).values(applied=reached))
    if batch.snapshot is not None:
        snapshots.keep(connection, stage, offset=batch.to_offset, state=batch.snapshot, now_ms=now_ms)
    written = sum(lines) + len(known) + sum(sent) + len(noted)
    return Recorded(
        applied=reached,
        gap=gap,
        timeline=sum(lines),
        incidents=len(known),
        outbox=sum(sent),
        ledger=len(noted),
        skipped=len(batch.timeline) + len(batch.incidents) + len(batch.outbox) + len(batch.ledger) - written,
    )


def _fresh(rows: Iterable[_Row], start: int) -> list[_Row]:
    """Rows that records from `start` on caused, in the order they were caused."""
    return sorted((row for row in rows if (row.offset or 0) >= start), key=_place)


def _place(row: TimelineRow | IncidentRow | OutboxRow | LedgerRow) -> tuple[int, int]:
    return (row.offset or 0, row.ordinal)
