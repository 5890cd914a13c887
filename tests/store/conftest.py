"""Each test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rollguard.store import Store
from tests.servers.postgres import a_database, postgres, postgres_server

__all__ = ["address", "another", "postgres", "postgres_server", "store"]

Another = Callable[..., Store]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database that is empty."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'rollguard.db'}"
        else:
            yield stack.enter_context(a_database(request.getfixturevalue("postgres_server")))


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
