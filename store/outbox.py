"""What is to be carried to the world.

Pages and advice at least once: a lease that ran out makes them due again. Rollbacks at most once: taken means never due
again, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, get_args

from msgspec.structs import asdict, replace
from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from rollguard.store.records import OutboxKind, OutboxRow, OutboxState, Outcome
from rollguard.store.stages import insert_into
from rollguard.store.tables import outbox

__all__ = ["Settled", "add", "check", "due", "holds", "overdue", "read", "settle", "unknown"]

#: It is written now; it was written before; it is not theirs to say.
Settled = Literal["told", "known", "refused"]

#: What may be told of each kind. A rollback is never tried again: "retry" is not among them.
_OUTCOMES: dict[str, frozenset[str]] = {
    "page": frozenset({"sent", "retry", "parked"}),
    "advice": frozenset({"sent", "retry", "parked"}),
    "rollback": frozenset({"done", "failed", "expired", "unknown"}),
}


def check(row: OutboxRow) -> None:
    """Refuse a row that breaks its own rules.

    Raises
    ------
    ValueError
        If a rollback never expires, something else does, or the row was not made anew.
    """
    if row.kind not in get_args(OutboxKind):
        raise ValueError(f"{row.id}: no kind {row.kind!r} in the outbox")
    if (row.kind == "rollback") != (row.not_after_ms is not None):
        raise ValueError(f"{row.id}: a rollback has to expire (`not_after_ms`), and nothing else may")
    if row.state != "waiting" or row.attempts or row.taken_by is not None:
        raise ValueError(f"{row.id}: its state is the store's to set")


def add(connection: Connection, row: OutboxRow) -> bool:
    """Add a row unless its id, or of a rollback its key, is known; says whether it was added."""
    values = asdict(row)
    values["log_offset"] = values.pop("offset")
    added = insert_into(connection)(outbox).values(**values).on_conflict_do_nothing().returning(outbox.c.seq)
    return connection.execute(added).one_or_none() is not None


def due(connection: Connection, kinds: Collection[OutboxKind], now_ms: int, limit: int, *, taken_by: str, lease_ms: int) -> list[OutboxRow]:
    """Take rows; see `Store.due`."""
    earlier = outbox.alias("earlier")
    # One that opens an incident goes before one that closes it, also when it has to be sent again.
    first_of_its_key = ~(
        select(earlier.c.seq)
        .where(
            earlier.c.kind == outbox.c.kind,
            earlier.c.dedup_key == outbox.c.dedup_key,
            earlier.c.seq < outbox.c.seq,
            earlier.c.state.in_(("waiting", "taken")),
        )
        .exists()
    )
    query = (
        select(outbox)
        .where(
            outbox.c.kind.in_(sorted(kinds)),
            or_(
                and_(outbox.c.state == "waiting", or_(outbox.c.next_ms <= now_ms, now_ms < 2 * outbox.c.taken_ms - outbox.c.next_ms)),
                and_(outbox.c.state == "taken", outbox.c.kind != "rollback", _is_over(now_ms)),
            ),
            or_(outbox.c.kind != "rollback", outbox.c.not_after_ms >= now_ms),
            first_of_its_key,
        )
        .order_by(outbox.c.seq)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
    )
    rows = [_row(row) for row in connection.execute(query)]
    taken: dict[str, Any] = {"state": "taken", "taken_by": taken_by, "taken_ms": now_ms, "lease_until_ms": now_ms + lease_ms}
    connection.execute(update(outbox).where(outbox.c.id.in_([row.id for row in rows])).values(attempts=outbox.c.attempts + 1, **taken))
    return [replace(row, attempts=row.attempts + 1, **taken) for row in rows]


def holds(connection: Connection, row_id: str, taken_by: str, now_ms: int) -> bool:
    """Whether a row is still theirs; see `Store.holds`."""
    row = _one(connection, row_id)
    if row is None or row.state != "taken" or row.taken_by != taken_by:
        return False
    return _is_leased(row, now_ms) and (row.not_after_ms is None or now_ms <= row.not_after_ms)


def settle(connection: Connection, row_id: str, taken_by: str, outcome: Outcome, now_ms: int, *, next_ms: int | None, detail: str) -> Settled:
    """Tell what became of a row; see `Store.settle`."""
    row = _one(connection, row_id, lock=True)
    if row is None:
        return "refused"
    if outcome not in _OUTCOMES[row.kind]:
        raise ValueError(f"{row_id}: a {row.kind} is not settled as {outcome!r}")
    if (outcome == "retry") != (next_ms is not None):
        raise ValueError(f"{row_id}: 'retry', and nothing else, says when (`next_ms`)")
    if not _may_settle(row, taken_by, outcome, now_ms):
        # The answer to the first telling may have been lost: told again, it is as true as before.
        return "known" if row.state == outcome else "refused"
    state = "waiting" if outcome == "retry" else outcome
    values: dict[str, Any] = {"state": state, "settled_ms": now_ms, "detail": detail}
    if row.state == "waiting":
        values["taken_by"] = taken_by
    if next_ms is not None:
        # Back-off counts from when it was told, so that a clock that is set back does not stretch it.
        values |= {"next_ms": next_ms, "taken_ms": now_ms}
    connection.execute(update(outbox).where(outbox.c.id == row_id).values(**values))
    return "told"


def overdue(connection: Connection, now_ms: int) -> list[OutboxRow]:
    """Rollbacks that nobody took in time."""
    query = select(outbox).where(outbox.c.kind == "rollback", outbox.c.state == "waiting", outbox.c.not_after_ms < now_ms)
    return [_row(row) for row in connection.execute(query.order_by(outbox.c.seq))]


def unknown(connection: Connection, now_ms: int) -> list[OutboxRow]:
    """Rollbacks that somebody took and never spoke of again."""
    query = select(outbox).where(outbox.c.kind == "rollback", outbox.c.state == "taken", _is_over(now_ms))
    return [_row(row) for row in connection.execute(query.order_by(outbox.c.seq))]


def read(
    connection: Connection,
    *,
    kinds: Collection[OutboxKind] | None,
    states: Collection[OutboxState] | None,
    incident_id: str | None,
    settled_since_ms: int | None,
) -> list[OutboxRow]:
    """Rows in the order they were written."""
    query = select(outbox).order_by(outbox.c.seq)
    if kinds is not None:
        query = query.where(outbox.c.kind.in_(sorted(kinds)))
    if states is not None:
        query = query.where(outbox.c.state.in_(sorted(states)))
    if incident_id is not None:
        query = query.where(outbox.c.incident_id == incident_id)
    if settled_since_ms is not None:
        query = query.where(outbox.c.settled_ms >= settled_since_ms)
    return [_row(row) for row in connection.execute(query)]


def _is_over(now_ms: int) -> ColumnElement[bool]:
    """Whether a lease has run out; also when the clock was set back by more than the lease."""
    return or_(outbox.c.lease_until_ms <= now_ms, now_ms < 2 * outbox.c.taken_ms - outbox.c.lease_until_ms)


def _is_leased(row: OutboxRow, now_ms: int) -> bool:
    """Whether a lease is surely running: before it was taken is a clock that was set back."""
    return row.taken_ms is not None and row.lease_until_ms is not None and row.taken_ms <= now_ms < row.lease_until_ms


def _may_settle(row: OutboxRow, taken_by: str, outcome: Outcome, now_ms: int) -> bool:
    if row.state == "taken" and row.taken_by == taken_by:
        return True
    if row.kind != "rollback":
        return False
    if row.state == "waiting":
        return outcome == "expired" and row.not_after_ms is not None and row.not_after_ms < now_ms
    if row.state == "taken":
        # Whoever took it is gone; somebody else asked the target, or a person did.
        return not _is_leased(row, now_ms)
    return row.state == "unknown" and outcome in {"done", "failed"}


def _one(connection: Connection, row_id: str, *, lock: bool = False) -> OutboxRow | None:
    query = select(outbox).where(outbox.c.id == row_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _row(row)


def _row(row: Row[Any]) -> OutboxRow:
    return OutboxRow(
        id=row.id,
        kind=row.kind,
        incident_id=row.incident_id,
        dedup_key=row.dedup_key,
        at_ms=row.at_ms,
        body=row.body,
        not_after_ms=row.not_after_ms,
        offset=row.log_offset,
        ordinal=row.ordinal,
        next_ms=row.next_ms,
        state=row.state,
        attempts=row.attempts,
        taken_by=row.taken_by,
        taken_ms=row.taken_ms,
        lease_until_ms=row.lease_until_ms,
        settled_ms=row.settled_ms,
        detail=row.detail,
    )
