"""Each test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from rollguard.store import Store
from tests.servers.postgres import a_database, postgres, postgres_server

__all__ = ["address", "another", "postgres", "postgres_ready", "postgres_server", "store"]

Another = Callable[..., Store]
#: The newest step of the schema.
NEWEST = "0003"


@pytest.fixture(scope="session")
def postgres_ready(postgres_server: str) -> Iterator[str]:
    """Address of a database whose schema is up to date, for one test after the other: making one takes longer than most of them."""
    with a_database(postgres_server) as address:
        empty(address)
        yield address


def empty(address: str) -> None:
    """Leave nothing of what a test wrote, and the newest schema, whatever it did to that."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    with closing(Store.open(address)) as store:
        store.migrate()


def emptied(address: str) -> None:
    """As `empty`, and faster while the schema is the newest."""
    try:
        with psycopg.connect(address) as connection:
            if connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST,)]:
                for table in ("snapshots", "stages", "timeline", "incidents", "outbox", "ledger", "ledger_head", "flags"):
                    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                connection.execute("INSERT INTO ledger_head (id, seq, hash) VALUES (1, 0, %s)", [bytes(32)])
                return
    except psycopg.errors.UndefinedTable:
        pass
    empty(address)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database that is empty; the schema of PostgreSQL is up to date where the test asks for a `store`."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rollguard.db'}"
    elif "store" in request.fixturenames:
        ready: str = request.getfixturevalue("postgres_ready")
        yield ready
        emptied(ready)
    else:
        with a_database(request.getfixturevalue("postgres_server")) as fresh:
            yield fresh


@pytest.fixture
def another(address: str) -> Iterator[Another]:
    """Opens the database as another process would: with an engine of its own."""
    with ExitStack() as stack:

        def open_it(*, wait_ms: int = 5_000) -> Store:
            opened = Store.open(address, wait_ms=wait_ms)
            stack.callback(opened.close)
            return opened

        yield open_it


@pytest.fixture
def store(another: Another) -> Store:
    """A database whose schema is up to date."""
    opened = another()
    opened.migrate()
    return opened
