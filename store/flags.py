"""What is so now, by name; what was said last holds, in whatever order it arrives."""

from __future__ import annotations

from sqlalchemy import Connection, select

from rollguard.store.records import Flag
from rollguard.store.stages import insert_into
from rollguard.store.tables import flags

__all__ = ["raise_flag", "read"]


def raise_flag(connection: Connection, flag: Flag) -> None:
    """Say what was so at a moment; it changes nothing if something later is known."""
    values = {"value": flag.value, "at_ms": flag.at_ms}
    statement = insert_into(connection)(flags).values(name=flag.name, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values, where=flags.c.at_ms <= flag.at_ms))


def read(connection: Connection, name: str) -> Flag | None:
    """What was said last; None: nothing ever was."""
    row = connection.execute(select(flags).where(flags.c.name == name)).one_or_none()
    return None if row is None else Flag(name=row.name, value=row.value, at_ms=row.at_ms)
