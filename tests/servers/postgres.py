"""A PostgreSQL of the tests' own: started once, on loopback, gone afterwards. `ROLLGUARD_TEST_POSTGRES=postgresql://…` names another.

Without either a test that wants one skips at home, with the reason, and fails in CI.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event

import psycopg
import pytest
from mirakuru.exceptions import ProcessFinishedWithError
from port_for import get_port
from psycopg import sql
from pytest_postgresql.executors import PostgreSQLExecutor
from sqlalchemy import make_url

_USER = "rollguard"
#: A server that does not answer after so many seconds is not going to.
START_S = 60.0
_NAMES = count()


def pg_ctl() -> Path | None:
    """The newest server's `pg_ctl` that is installed; Debian keeps it off the PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("pg_ctl")
    return Path(on_path) if on_path else packaged[-1] if packaged else None


def pg_tool(name: str) -> Path:
    """A tool of the newest PostgreSQL that is installed, as `pg_dump`."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which(name)
    if on_path is None and not packaged:
        raise FileNotFoundError(f"no {name}: `apt-get install postgresql-client`")
    return Path(on_path) if on_path else packaged[-1]


def _other_user() -> str | None:
    """Whom the server runs as, since it refuses to run as root; None: as ourselves."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


class Server:
    """A server of the tests' own, which may fall and come back.

    Attributes
    ----------
    address : str
        Of its first database, whose user may create others.
    """

    def __init__(self, where: Path) -> None:
        program, user = pg_ctl(), _other_user()
        assert program is not None
        command = where / "pg_ctl"
        as_user = f"runuser -u {user} -- " if user else ""
        command.write_text(f'#!/bin/sh\ncd / && exec {as_user}{shlex.quote(str(program))} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        if user:
            shutil.chown(where, user)
        port = get_port(None)
        assert port is not None
        self.address = f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
        self._program = command
        self._data = where / "data"
        self.process = PostgreSQLExecutor(
            executable=str(command),
            host="127.0.0.1",
            port=port,
            user=_USER,
            dbname="postgres",
            datadir=str(self._data),
            unixsocketdir=str(where),
            logfile=str(where / "log"),
            startparams="-w",
            postgres_options=" -c listen_addresses=127.0.0.1 -c shared_buffers=16MB -c max_connections=50",
        )

    def fall(self) -> None:
        """End at once, as when its host falls: no good-byes, and what it had not written it has to find in its own log."""
        subprocess.run([str(self._program), "stop", "-D", str(self._data), "-m", "immediate"], check=True, capture_output=True)

    def come_back(self) -> None:
        """Start again, with what it kept; returns when it answers."""
        with suppress(ProcessFinishedWithError):
            # It has ended behind the back of whoever started it.
            super(PostgreSQLExecutor, self.process).stop()
        self.process.start()
        _wait_until_it_answers(self.address)


@contextmanager
def serving(where: Path) -> Iterator[Server]:
    """A server whose files are in `where`."""
    server = Server(where)
    with server.process:
        _wait_until_it_answers(server.address)
        yield server


@contextmanager
def running(where: Path) -> Iterator[str]:
    """The same, by the address of its first database."""
    with serving(where) as server:
        yield server.address


def _wait_until_it_answers(address: str) -> None:
    """Its port is open before it lets anybody in."""
    until, pause = time.monotonic() + START_S, Event()
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            pause.wait(0.02)
        else:
            return


@contextmanager
def a_server() -> Iterator[Server]:
    """A server of one's own, gone afterwards; where there is none to be had, the test skips at home and fails in CI."""
    if pg_ctl() is None:
        reason = "no PostgreSQL: `apt-get install postgresql`, or name one in ROLLGUARD_TEST_POSTGRES"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in pytest's own folder, into which no other user may look.
    folder = Path(tempfile.mkdtemp(prefix="rollguard-postgres-"))
    folder.chmod(0o755)
    try:
        with serving(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a database of a running server, whose user may create others."""
    given = os.environ.get("ROLLGUARD_TEST_POSTGRES")
    if given:
        yield given
        return
    with a_server() as server:
        yield server.address


@contextmanager
def a_database(server: str) -> Iterator[str]:
    """An empty database on a server, by its address; dropped afterwards, whoever is still connected."""
    name = f"test_{os.getpid()}_{next(_NAMES)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """Address of an empty database."""
    with a_database(postgres_server) as address:
        yield address
