"""What is old and over goes, a few rows a transaction: nothing of an incident that is open, and nothing that an action may still depend on."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Table, and_, delete, exists, func, not_, or_, select
from sqlalchemy.sql.elements import ColumnElement

from rollguard.store import ledger as chain
from rollguard.store.records import Cutoffs, LedgerRow, Pruned
from rollguard.store.tables import flags, incidents, ledger, outbox, timeline

__all__ = ["count", "prune"]

#: What the flags are called that the gate keeps of versions.
RELEASES = "release "
#: Of the outbox these are over: nobody will take them again.
SETTLED = ("sent", "parked", "done", "failed", "expired")


def prune(connection: Connection, cutoffs: Cutoffs, most: int, now_ms: int, where: str) -> Pruned:
    """Delete at most so many rows of each kind, the oldest first; see `Store.prune`."""
    return Pruned(
        timeline=_delete(connection, timeline, timeline.c.seq, _old_lines(cutoffs), most),
        outbox=_delete(connection, outbox, outbox.c.seq, _old_rows(cutoffs), most),
        # Its lines go first, so that no line speaks of an incident that nobody knows.
        incidents=_delete(connection, incidents, incidents.c.incident_id, and_(_old_incidents(cutoffs), not_(_has_lines())), most),
        releases=_delete(connection, flags, flags.c.name, _old_releases(cutoffs), most),
        ledger=_cut(connection, cutoffs.ledger_ms, most, now_ms, where),
    )


def count(connection: Connection, cutoffs: Cutoffs) -> Pruned:
    """How many rows of each kind `prune` would come to delete."""

    def number(table: Table, condition: ColumnElement[bool]) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one())

    last = _last_of_ledger(connection, cutoffs.ledger_ms)
    return Pruned(
        timeline=number(timeline, _old_lines(cutoffs)),
        outbox=number(outbox, _old_rows(cutoffs)),
        incidents=number(incidents, _old_incidents(cutoffs)),
        releases=number(flags, _old_releases(cutoffs)),
        ledger=0 if last is None else number(ledger, ledger.c.seq <= last),
    )


def _old_incidents(cutoffs: Cutoffs) -> ColumnElement[bool]:
    # An incident that is open has no such time, whenever it opened.
    return _before(incidents.c.closed_at_ms, cutoffs.incidents_ms)


def _has_lines() -> ColumnElement[bool]:
    return exists().where(timeline.c.incident_id == incidents.c.incident_id)


def _old_lines(cutoffs: Cutoffs) -> ColumnElement[bool]:
    over = select(incidents.c.incident_id).where(_old_incidents(cutoffs))
    return and_(timeline.c.incident_id.in_(over), _before(timeline.c.at_ms, cutoffs.incidents_ms))


def _old_rows(cutoffs: Cutoffs) -> ColumnElement[bool]:
    over = exists().where(and_(incidents.c.incident_id == outbox.c.incident_id, incidents.c.closed_at_ms.is_(None)))
    settled = and_(outbox.c.state.in_(SETTLED), not_(over))
    # A rollback's row is what keeps it from being written a second time: it stays as long as its incident is remembered.
    return and_(
        settled,
        or_(
            and_(outbox.c.kind != "rollback", _before(outbox.c.settled_ms, cutoffs.outbox_ms)),
            and_(outbox.c.kind == "rollback", _before(outbox.c.settled_ms, cutoffs.incidents_ms)),
        ),
    )


def _old_releases(cutoffs: Cutoffs) -> ColumnElement[bool]:
    return and_(flags.c.name.startswith(RELEASES), _before(flags.c.at_ms, cutoffs.releases_ms))


def _before(column: ColumnElement[int], cutoff_ms: int | None) -> ColumnElement[bool]:
    """Whether it is older; without a cutoff, and without a time, nothing is."""
    return and_(column.is_not(None), column < (-(2**62) if cutoff_ms is None else cutoff_ms))


def _delete(connection: Connection, table: Table, key: ColumnElement[object], condition: ColumnElement[bool], most: int) -> int:
    chosen = list(connection.execute(select(key).where(condition).order_by(key).limit(most)).scalars())
    if chosen:
        connection.execute(delete(table).where(key.in_(chosen)))
    return len(chosen)


def _cut(connection: Connection, cutoff_ms: int | None, most: int, now_ms: int, where: str) -> int:
    """Take the beginning of the ledger off, and say so in an entry at its end: it holds the hash on which the rest rests."""
    last = _last_of_ledger(connection, cutoff_ms)
    if last is None:
        return 0
    first = int(connection.execute(select(func.min(ledger.c.seq))).scalar_one())
    last = min(last, first + most - 1)
    digest = connection.execute(select(ledger.c.hash).where(ledger.c.seq == last)).scalar_one()
    body = msgspec.json.encode(chain.Cut(seq=last, hash=digest.hex(), entries=last - first + 1))
    chain.append(connection, [LedgerRow(at_ms=now_ms, kind=chain.CUT, body=body)], where)
    connection.execute(delete(ledger).where(ledger.c.seq <= last))
    return last - first + 1


def _last_of_ledger(connection: Connection, cutoff_ms: int | None) -> int | None:
    """The last entry before which all are old; None: nothing is to be cut off."""
    if cutoff_ms is None:
        return None
    kept = select(func.min(ledger.c.seq)).where(ledger.c.at_ms >= cutoff_ms)
    # The entry that tells of the last cut stays until the next one is written.
    told = select(func.max(ledger.c.seq)).where(ledger.c.kind == chain.CUT)
    stays = [seq for seq in (connection.execute(kept).scalar(), connection.execute(told).scalar()) if seq is not None]
    end = connection.execute(select(func.max(ledger.c.seq))).scalar()
    if end is None:
        return None
    last = min(stays, default=int(end) + 1) - 1
    first = connection.execute(select(func.min(ledger.c.seq))).scalar_one()
    return last if last >= first else None
