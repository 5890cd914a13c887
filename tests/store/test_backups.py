from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from rollguard.store import Store, StoreError
from tests.servers.postgres import pg_ctl
from tests.store.rows import T0, a_batch, a_note, everything


def test_a_copy_holds_all_that_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        store.record("desk", store.claim("desk", "host-a", T0), a_batch(0, 9), T0)
        store.backup(copy)
        kept = everything(store)
        store.record("desk", store.claim("desk", "host-a", T0), a_batch(9, 12), T0)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    with closing(Store.open(f"sqlite:///{copy}")) as restored:
        assert everything(restored) == kept
        assert restored.verify() == []


def test_a_copy_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as writer:
            while not over.is_set():
                writer.append([a_note(body=b"x" * 20_000) for _ in range(3)])

    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(5):
                store.backup(tmp_path / f"{number}.db")
        finally:
            over.set()
            thread.join()
    for number in range(5):
        with closing(Store.open(f"sqlite:///{tmp_path / f'{number}.db'}")) as restored:
            assert restored.verify() == []
            assert restored.anchor().seq % 3 == 0


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"mine")
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        with pytest.raises(StoreError, match="is there already"):
            store.backup(taken)
        with pytest.raises(StoreError, match="in a folder that is there"):
            store.backup(tmp_path / "nowhere" / "copy.db")
    assert taken.read_bytes() == b"mine"


def test_a_damaged_database_gives_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "rollguard.db"
    with closing(Store.open(f"sqlite:///{path}")) as store:
        store.migrate()
        store.append([a_note(body=b"x" * 50_000) for _ in range(40)])
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = bytearray(path.read_bytes())
    # Inside of the tree of a table, not its first page.
    for at in range(40 * 4096, len(whole) - 4096, 8 * 4096):
        whole[at : at + 64] = b"\xff" * 64
    path.write_bytes(whole)
    with closing(Store.open(f"sqlite:///{path}")) as store, pytest.raises(StoreError, match="damaged"):
        store.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_of_postgresql_the_command_is_named(postgres_ready: str) -> None:
    with closing(Store.open(postgres_ready)) as store, pytest.raises(StoreError, match="pg_dump --format=custom") as caught:
        store.backup(Path("copy.dump"))
    assert "copy.dump" in str(caught.value)
    assert pg_ctl() is not None
