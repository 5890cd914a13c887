"""What is so now, by name; what was said last holds, in whatever order it arrives."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from rollguard.store.records import Flag
from rollguard.store.stages import insert_into
from rollguard.store.tables import flags

__all__ = ["exchange", "raise_flag", "read", "read_all"]


def raise_flag(connection: Connection, flag: Flag) -> None:
    """Say what was so at a moment; it changes nothing if something later is known."""
    values = {"value": flag.value, "at_ms": flag.at_ms}
    statement = insert_into(connection)(flags).values(name=flag.name, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values, where=flags.c.at_ms <= flag.at_ms))


def read(connection: Connection, name: str) -> Flag | None:
    """What was said last; None: nothing ever was."""
    row = connection.execute(select(flags).where(flags.c.name == name)).one_or_none()
    return None if row is None else Flag(name=row.name, value=row.value, at_ms=row.at_ms)


def exchange(connection: Connection, flag: Flag, before: str | None) -> bool:
    """Say it if what was said last is still `before` (None: nothing ever was); says whether it was said. Of several who try, one succeeds."""
    if before is None:
        new = insert_into(connection)(flags).values(name=flag.name, value=flag.value, at_ms=flag.at_ms)
        return connection.execute(new.on_conflict_do_nothing().returning(flags.c.name)).one_or_none() is not None
    changed = update(flags).where(flags.c.name == flag.name, flags.c.value == before).values(value=flag.value, at_ms=flag.at_ms)
    return connection.execute(changed.returning(flags.c.name)).one_or_none() is not None


def read_all(connection: Connection, names: Collection[str]) -> dict[str, Flag]:
    """What was said last under some names, of those that something was said under."""
    rows = connection.execute(select(flags).where(flags.c.name.in_(sorted(names))))
    return {row.name: Flag(name=row.name, value=row.value, at_ms=row.at_ms) for row in rows}
