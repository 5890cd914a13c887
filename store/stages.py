"""Who holds a stage: each claim begins an epoch, and whoever comes with an earlier one is turned away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from rollguard.store.errors import LogChangedError, StaleError
from rollguard.store.records import Owner
from rollguard.store.tables import snapshots, stages

__all__ = ["claim", "fence", "forget", "insert_into", "owner", "owners", "restart"]


def insert_into(connection: Connection) -> Callable[[Table], Any]:
    """The `INSERT` that knows what to do about a row that is there already; it has another home for each database."""
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def owner(connection: Connection, stage: str, *, lock: bool = False) -> Owner | None:
    """Who holds a stage; `lock` keeps others from claiming it until the transaction ends."""
    query = select(stages).where(stages.c.stage == stage)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    return Owner(stage=row.stage, owner=row.owner, epoch=row.epoch, claimed_ms=row.claimed_ms, log=row.log, applied=row.applied)


def owners(connection: Connection) -> list[Owner]:
    """Who holds which stage, by its name."""
    rows = connection.execute(select(stages).order_by(stages.c.stage))
    return [Owner(stage=row.stage, owner=row.owner, epoch=row.epoch, claimed_ms=row.claimed_ms, log=row.log, applied=row.applied) for row in rows]


def claim(connection: Connection, stage: str, name: str, now_ms: int, *, log: str) -> int:
    """Begin a new epoch.

    Raises
    ------
    LogChangedError
        If the stage's offsets are of another log.
    """
    insert = insert_into(connection)(stages).values(stage=stage, owner=name, epoch=1, claimed_ms=now_ms, log=log)
    taken = insert.on_conflict_do_update(index_elements=["stage"], set_={"owner": name, "epoch": stages.c.epoch + 1, "claimed_ms": now_ms})
    row = connection.execute(taken.returning(stages.c.epoch, stages.c.log)).one()
    if log and not row.log:
        connection.execute(update(stages).where(stages.c.stage == stage).values(log=log))
    elif log and row.log != log:
        raise LogChangedError(stage, row.log, log)
    return int(row.epoch)


def restart(connection: Connection, stage: str, name: str, now_ms: int, *, log: str) -> int:
    """Begin a new epoch, on a log that has nothing to do with what was kept."""
    epoch = claim(connection, stage, name, now_ms, log="")
    connection.execute(delete(snapshots).where(snapshots.c.stage == stage))
    connection.execute(update(stages).where(stages.c.stage == stage).values(log=log, applied=None, kept=None))
    return epoch


def forget(connection: Connection, stage: str) -> None:
    """Let go of a stage and its snapshots."""
    connection.execute(delete(snapshots).where(snapshots.c.stage == stage))
    connection.execute(delete(stages).where(stages.c.stage == stage))


def fence(connection: Connection, stage: str, epoch: int) -> Owner:
    """Let the holder pass, and keep the stage from being claimed until the transaction ends.

    Raises
    ------
    StaleError
        If `epoch` is not the stage's last one.
    """
    found = owner(connection, stage, lock=True)
    if found is None or found.epoch != epoch:
        raise StaleError(stage, epoch, found.epoch if found else 0, found.owner if found else "")
    return found
