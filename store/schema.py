"""From one schema to the next, by Alembic, in one transaction; and what a database is that this version does not know."""

from __future__ import annotations

import threading

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from rollguard.store.errors import StoreError

__all__ = ["downgrade", "migrate", "refuse_newer", "schema_of", "steps"]


#: A number that means "Rollguard changes its schema" to PostgreSQL; any other would do.
_LOCK = 0x726F6C6C67756172
#: Alembic keeps what it is doing in a global, so two threads would step on each other's.
_ONE_AT_A_TIME = threading.Lock()


def schema_of(connection: Connection, where: str) -> str | None:
    """The step that the database stands at; None: it is empty.

    Raises
    ------
    StoreError
        If it stands at several, as only a damaged one does.
    """
    steps = MigrationContext.configure(connection).get_current_heads()
    if len(steps) > 1:
        # Ours is one line of steps: two at once is a table in which a bit is flipped.
        raise StoreError(where, f"its schema stands at {len(steps)} steps at once, so it is damaged", "Restore it from a backup")
    return steps[0] if steps else None


def refuse_newer(connection: Connection, where: str) -> str | None:
    """Give the step that the database stands at, unless it is one that this version does not know; None: it is empty. Changes nothing.

    Raises
    ------
    StoreError
        If it is newer.
    """
    return _known_step(_config(), connection, where)[0]


def _known_step(config: Config, connection: Connection, where: str) -> tuple[str | None, list[str]]:
    """The step that the database stands at, and all that are known, the newest first."""
    known = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    current = schema_of(connection, where)
    if current is not None and current not in known:
        raise StoreError(
            where,
            f"its schema is {current}, newer than any that this version knows (up to {known[0]})",
            "Nothing was changed. Run the newer version, or let that one go back first (`rollguard database downgrade`)",
        )
    return current, known


def steps() -> list[str]:
    """Steps that this version knows, from the first to the newest."""
    return [step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "rollguard.store:migrations")
    return config


def migrate(connection: Connection, where: str) -> None:
    """Take the steps that are missing, in the connection's transaction.

    Raises
    ------
    StoreError
        If the database stands at a step that this version does not know.
    """
    _step(connection, where, to=None)


def downgrade(connection: Connection, where: str, to: str) -> None:
    """Go back to an earlier step, so that the version before this one can go on.

    Raises
    ------
    StoreError
        If `to` is no step before the one where the database stands, or that one is not known.
    """
    _step(connection, where, to=to)


def _step(connection: Connection, where: str, *, to: str | None) -> None:
    with _ONE_AT_A_TIME:
        if connection.dialect.name == "postgresql":
            # Several workers may start at once; a step may take longer than any statement usually may.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        current, known = _known_step(config, connection, where)
        if to is None:
            command.upgrade(config, "head")
        elif current is not None and to in known and known.index(to) >= known.index(current):
            command.downgrade(config, to)
        else:
            raise StoreError(where, f"it cannot go back from schema {current} to {to}", f"Nothing was changed. Expected one of {', '.join(reversed(known))}")
