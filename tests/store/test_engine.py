from __future__ import annotations

import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from rollguard.store import Store, StoreError
from rollguard.store.engine import _make_file
from tests.store.conftest import Another
from tests.store.rows import T0, a_batch, everything

PROCESSES = Path(__file__).with_name("processes.py")


def refused(address: str, **how: object) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store.open(address, wait_ms=2_000, **how)  # type: ignore[arg-type]
    return caught.value


def settings_of(store: Store, *names: str) -> list[object]:
    with store._reading() as connection:
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_every_connection_to_sqlite_is_safe_when_the_power_fails(another: Another) -> None:
    store = another(wait_ms=700)
    full, foreign_keys_on = 2, 1
    with store._reading():  # another connection of the pool
        for _ in range(2):
            names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            assert settings_of(store, *names) == ["wal", full, foreign_keys_on, 700]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
            "rollguard.db": 0o600,
            "rollguard.db-wal": 0o600,
            "rollguard.db-shm": 0o600,
        }


def test_workers_that_start_at_once_on_no_file_all_get_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-P", PROCESSES, "create", str(tmp_path), "5"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["[0, 0, 0, 0, 0]"] * 15, "")
    # Of two that close at the same moment each may leave `-wal` and `-shm` to the other: the next to open it takes them up.
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {f"{number}.db" for number in range(15)}


def test_nobody_sees_a_file_that_is_not_in_wal_mode_yet(tmp_path: Path) -> None:
    path = tmp_path / "rollguard.db"
    _make_file(path, "sqlite:///rollguard.db")
    # https://www.sqlite.org/fileformat.html: versions to write and to read, 2 is WAL.
    assert path.read_bytes()[18:20] == b"\x02\x02"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rollguard.db"
    path.touch(0o640)
    with closing(Store.open(f"sqlite:///{path}")) as store:
        store.migrate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_is_not_made_up(tmp_path: Path) -> None:
    error = refused(f"sqlite:///{tmp_path / 'nowhere' / 'rollguard.db'}")
    assert (error.recoverable, error.problem) == (False, f"no folder '{tmp_path / 'nowhere'}'")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("environment: production\n" * 100, encoding="utf-8")
    error = refused(f"sqlite:///{path}")
    assert not error.recoverable
    assert "damaged, or no database" in error.problem
    assert path.read_text(encoding="utf-8") == "environment: production\n" * 100


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert not refused(f"sqlite:///{tmp_path}").recoverable


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x.db?mode=ro"])
def test_a_database_in_memory_keeps_nothing_and_is_refused(address: str) -> None:
    assert "names no file alone" in str(refused(address))


@pytest.mark.parametrize("address", ["", "rollguard.db", "mysql://host/db", "postgresql"])
def test_an_address_of_no_database_that_is_known_is_refused(address: str) -> None:
    assert str(refused(address)).endswith("Expected sqlite:///FILE or postgresql://USER@HOST:PORT/NAME.")


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_database_that_is_locked_can_be_tried_again(another: Another, store: Store) -> None:
    waiting = another(wait_ms=50)
    before = everything(store)
    with store._writing():
        with pytest.raises(StoreError, match="locked") as caught:
            waiting.claim("desk", "host-b", T0)
        assert waiting.timeline() == [], "who reads does not wait"
    assert caught.value.recoverable
    assert everything(store) == before
    assert waiting.claim("desk", "host-b", T0) == 1


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_file_that_may_not_be_written_says_so(another: Another, store: Store) -> None:  # noqa: ARG001 - it is there, and holds a connection
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.rollback()
    with pytest.raises(StoreError, match="readonly") as caught:
        store.claim("desk", "host-a", T0)
    assert not caught.value.recoverable


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_server_that_cannot_be_reached_can_be_tried_again(address: str) -> None:
    with socket.socket() as taken:
        # Bound and not listening: whoever calls is turned away.
        taken.bind(("127.0.0.1", 0))
        there = make_url(address).set(port=taken.getsockname()[1])
        error = refused(there.render_as_string(), password="planted secret")
    assert error.recoverable
    assert "planted" not in str(error)
    assert "planted" not in repr(error.__cause__)


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_database_that_is_not_there_is_no_matter_of_waiting(address: str) -> None:
    error = refused(make_url(address).set(database="nowhere").render_as_string())
    assert not error.recoverable
    assert "nowhere" in error.problem
    assert "store.url" in error.advice


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ends_can_be_tried_again_and_half_writes_nothing(another: Another, store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    before = everything(store)
    other = another()
    with pytest.raises(StoreError) as caught, store._writing() as connection:  # noqa: PT012 - the whole is what must not pass
        connection.execute(text("UPDATE stages SET owner = 'half'"))
        with other._writing() as killer:
            ended = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            killer.execute(ended)
        connection.execute(text("UPDATE stages SET owner = 'half'"))
    assert caught.value.recoverable
    assert everything(other) == before
    assert store.record("desk", epoch, a_batch(0, 2), T0).applied == 2


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_server_that_would_lose_its_last_commits_is_told_not_to(address: str) -> None:
    lax = make_url(address).update_query_dict({"options": "-c synchronous_commit=off"}).render_as_string()
    strict = make_url(address).update_query_dict({"options": "-c synchronous_commit=remote_apply"}).render_as_string()
    for given, found in ((lax, "on"), (strict, "remote_apply")):
        with closing(Store.open(given)) as store, store._writing() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == found
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_without_its_driver_the_cure_is_named(address: str) -> None:
    blind = "import sys; sys.modules['psycopg'] = None\nfrom rollguard.store import Store, StoreError"
    program = f"{blind}\ntry: Store.open({address!r})\nexcept StoreError as error: print(error)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.rstrip().endswith("pip install 'rollguard[postgres]'.")


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_neither_payload_nor_statement_stands_in_an_error(store: Store, address: str) -> None:
    with closing(sqlite3.connect(make_url(address).database or "")) as raw:
        raw.execute("CREATE TRIGGER no BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'not here'); END")
    with pytest.raises(StoreError, match="not here") as caught:
        store.append([type(a_batch(0, 1).ledger[0])(at_ms=T0, kind="decision", body=b"planted payload")])
    assert not caught.value.recoverable
    assert "planted" not in f"{caught.value} {caught.value.__cause__}"
    assert store.ledger() == []
