"""How the database is reached: its address, each connection's settings, transactions that begin, and its failures in our words."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rollguard.store.errors import StoreError

__all__ = ["WRITES", "open_engine", "translated"]

#: The execution option of a connection whose transactions write.
WRITES = "rollguard_writes"

#: Primary result codes of SQLite after which the same call may succeed later: busy, locked, interrupted, full, lock protocol.
_SQLITE_PASSES = frozenset({5, 6, 9, 13, 15})
_SQLITE_DAMAGED = frozenset({11, 26})
#: SQLSTATE classes and codes of PostgreSQL of the same kind: connection, rollback of one of two, no room, intervention, lost standby.
_POSTGRES_PASSES = ("08", "40", "53", "57", "55P03", "25P03", "25006")
#: What a server says to who comes to the wrong door; a connection that fails has no SQLSTATE.
_WRONG_DOOR = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "not permitted to log in")


def open_engine(url: str, *, password: str | None, wait_ms: int) -> tuple[Engine, str]:
    """An engine for the database at `url`, and how to name it to a person.

    Parameters
    ----------
    url : str
        `sqlite:///FILE` or `postgresql://USER@HOST:PORT/NAME`.
    password : str or None
        Of the user.
    wait_ms : int
        How long to wait for somebody else's lock.

    Raises
    ------
    StoreError
        If it is no such address, its folder is not there, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("store.url", "no address of a database", "Expected sqlite:///FILE or postgresql://USER@HOST:PORT/NAME") from error
    if password is not None:
        parsed = parsed.set(password=password)
    where = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, where, wait_ms), where
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed, where, wait_ms), where
    raise StoreError(where, "no database that is known", "Expected sqlite:///FILE or postgresql://USER@HOST:PORT/NAME")


def _sqlite(url: URL, where: str, wait_ms: int) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise StoreError(where, "names no file alone", "Expected sqlite:///FILE, from where Rollguard runs, or sqlite:////PATH/TO/FILE")
    if sqlite3.sqlite_version_info < (3, 35):
        raise StoreError(where, f"this Python comes with SQLite {sqlite3.sqlite_version}", "3.35 or newer is needed (RETURNING, DROP COLUMN)")
    _make_file(Path(url.database), where)
    engine = create_engine(url, connect_args={"timeout": wait_ms / 1000}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _settings(raw: sqlite3.Connection, _record: object) -> None:
        # Python's sqlite3 begins a transaction when it thinks fit: not for SELECT, and never IMMEDIATE. `_begin` does instead.
        raw.isolation_level = None
        # WAL alone would lose the last commits when the power fails: a rollback taken could be taken again.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once when another wrote in between, whatever the time-out.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")

    return engine


def _make_file(path: Path, where: str) -> None:
    """Create the file unless it is there: for its owner alone, and in WAL mode before anybody else sees it.

    Two who switch to WAL at once lock each other out, and the time-out does not count. An existing file is not even
    opened here: closing it again would drop the locks that this process holds on it.
    """
    if path.exists():
        return
    if not path.parent.is_dir():
        raise StoreError(where, f"no folder {str(path.parent)!r}", "Create it, for the user that Rollguard runs as alone, and start again")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StoreError(where, f"cannot be created ({error.strerror})", "Give the user that Rollguard runs as the right to write there") from error
    fresh = Path(name)
    os.close(handle)
    try:
        with suppress(FileExistsError):
            with closing(sqlite3.connect(fresh)) as raw:
                raw.execute("PRAGMA journal_mode = WAL")
            path.hardlink_to(fresh)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(where, f"cannot be created ({error})", "SQLite needs a local file system with room; or use PostgreSQL") from error
    finally:
        for end in ("", "-wal", "-shm"):
            fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def _postgresql(url: URL, where: str, wait_ms: int) -> Engine:
    # A worker that was stopped in mid-transaction holds its stage's row: the server ends its session, so that a standby can take over.
    limits = f"-c lock_timeout={wait_ms} -c idle_in_transaction_session_timeout={2 * wait_ms} -c statement_timeout={6 * wait_ms}"
    given = url.query.get("options", "")
    arguments: dict[str, Any] = {
        "connect_timeout": max(wait_ms // 1000, 2),
        "application_name": "rollguard",
        "options": f"{given if isinstance(given, str) else ' '.join(given)} {limits}".strip(),
    }
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args=arguments, isolation_level="READ COMMITTED", pool_pre_ping=True, hide_parameters=True
        )
    except ModuleNotFoundError as error:
        raise StoreError(where, f"the driver is not installed ({error.name})", "Install it: pip install 'rollguard[postgres]'") from error

    @event.listens_for(engine, "connect")
    def _durable(raw: Any, _record: object) -> None:
        # A server may be set up to lose the last commits when it falls: a rollback taken could be taken again.
        with raw.cursor() as cursor:
            cursor.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
        raw.commit()

    return engine


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Say what the database says as a `StoreError`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _told(where, error) from error
    except UnicodeDecodeError as error:
        # What sqlite3 raises when SQLite complains of a name in which a bit is flipped.
        raise _damaged(where, "its own words are no text") from error


def _told(where: str, error: SQLAlchemyError) -> StoreError:
    origin = error.orig if isinstance(error, DBAPIError) else None
    said = (str(origin if origin is not None else error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, PoolTimeoutError):
        return StoreError(where, "all connections are in use", "Try again; if it stays so, the database is too slow", recoverable=True)
    if isinstance(origin, sqlite3.Error):
        # The low byte is the primary code; sqlite3's own complaints have none.
        return _told_by_sqlite(where, said, getattr(origin, "sqlite_errorcode", 0) & 0xFF)
    if isinstance(error, DBAPIError):
        return _told_by_postgresql(where, said, getattr(origin, "sqlstate", None), lost=error.connection_invalidated)
    return StoreError(where, said, "This is a mistake in Rollguard; please report it")


def _told_by_sqlite(where: str, said: str, code: int) -> StoreError:
    if code in _SQLITE_PASSES:
        advice = "Make room on its disk" if code == 13 else "Try again; if it stays so, find who holds it"
        return StoreError(where, said, advice, recoverable=True)
    if code in _SQLITE_DAMAGED:
        return _damaged(where, said)
    if "no such table" in said:
        return _not_set_up(where, said)
    return StoreError(where, said, "See to the file, its folder and its disk, and start again")


def _told_by_postgresql(where: str, said: str, state: str | None, *, lost: bool) -> StoreError:
    if state is None:
        # Which of a server's sentences this is depends on its language; what is not recognised is tried again.
        if any(words in said for words in _WRONG_DOOR):
            return StoreError(where, said, "See to store.url, store.password and the rights of that user")
        return StoreError(where, said or "connection lost", "Try again; see that the server runs and can be reached", recoverable=True)
    if lost or state.startswith(_POSTGRES_PASSES):
        return StoreError(where, f"{said} ({state})", "Try again; if it stays so, see to the server", recoverable=True)
    if state == "42P01":
        return _not_set_up(where, said)
    return StoreError(where, f"{said} ({state})", "See to the rights of that user, and to the server's log")


def _damaged(where: str, said: str) -> StoreError:
    return StoreError(
        where, f"the file is damaged, or no database ({said})", "Restore it from a backup, or move it away: the logs are read again from their start"
    )


def _not_set_up(where: str, said: str) -> StoreError:
    return StoreError(where, f"it is not set up ({said})", "Bring its schema up to date first (`Store.migrate`; a worker does when it starts)")
