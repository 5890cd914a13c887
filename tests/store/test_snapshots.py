from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, update

from rollguard.store import DamagedError, Kept, OffsetError, StaleError, Store, StoreError
from rollguard.store.snapshots import newest
from rollguard.store.tables import snapshots, stages
from tests.servers.postgres import a_database
from tests.store.rows import T0

STAGE = "detect/0"
STATES = {10: b"state before 10" * 40, 20: b"state before 20" * 40}


@pytest.fixture
def epoch(store: Store) -> int:
    return store.claim(STAGE, "host-a", T0)


def keep(store: Store, epoch: int, *offsets: int) -> None:
    for offset in offsets:
        store.keep(STAGE, epoch, offset=offset, state=b"state before %d" % offset, now_ms=T0 + offset)


def spoil(store: Store, offset: int) -> None:
    with store._writing() as connection:
        connection.execute(update(snapshots).where(snapshots.c.next_offset == offset).values(state=b"another"))


def offsets(store: Store) -> list[int]:
    with store._reading() as connection:
        return list(connection.execute(select(snapshots.c.next_offset).order_by(snapshots.c.next_offset)).scalars())


def test_nothing_is_known_of_a_stage_that_kept_nothing(store: Store, epoch: int) -> None:  # noqa: ARG001 - claimed, so that it may be written
    assert store.newest(STAGE) is None
    assert store.newest("a stage that never was") is None


def test_the_newest_comes_back_as_it_was_kept(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    assert store.newest(STAGE) == Kept(offset=20, state=b"state before 20", saved_ms=T0 + 20, damaged=False)


def test_the_newest_and_the_one_before_are_kept_and_no_others(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20, 30)
    assert offsets(store) == [20, 30]


def test_one_that_is_damaged_gives_way_to_the_one_before_and_says_so(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    spoil(store, 20)
    assert store.newest(STAGE) == Kept(offset=10, state=b"state before 10", saved_ms=T0 + 10, damaged=True)


def test_one_that_is_gone_is_missed(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    with store._writing() as connection:
        connection.execute(delete(snapshots).where(snapshots.c.next_offset == 20))
    assert store.newest(STAGE) == Kept(offset=10, state=b"state before 10", saved_ms=T0 + 10, damaged=True)


def test_the_one_before_goes_only_when_the_next_was_proven(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    spoil(store, 20)
    keep(store, epoch, 30)
    assert offsets(store) == [10, 30]


def test_none_that_is_intact_is_not_the_same_as_none(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    for offset in (10, 20):
        spoil(store, offset)
    with pytest.raises(DamagedError, match=r"detect/0: no snapshot of it is intact. Read the log from its start") as caught:
        store.newest(STAGE)
    assert not caught.value.recoverable
    keep(store, epoch, 5)
    assert store.newest(STAGE) == Kept(offset=5, state=b"state before 5", saved_ms=T0 + 5, damaged=False)
    assert offsets(store) == [5]


def test_an_offset_never_goes_back(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    with pytest.raises(OffsetError) as caught:
        keep(store, epoch, 15)
    assert (caught.value.stage, caught.value.what, caught.value.offset, caught.value.expected) == (STAGE, "snapshot", 15, 20)
    assert offsets(store) == [10, 20]


def test_an_offset_may_go_back_behind_a_snapshot_that_cannot_be_read(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    spoil(store, 20)
    keep(store, epoch, 15)
    assert store.newest(STAGE) == Kept(offset=15, state=b"state before 15", saved_ms=T0 + 15, damaged=False)
    assert offsets(store) == [10, 15]


def test_a_stage_that_read_nothing_new_keeps_its_state_again(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    store.keep(STAGE, epoch, offset=20, state=b"again", now_ms=T0 + 21)
    assert store.newest(STAGE) == Kept(offset=20, state=b"again", saved_ms=T0 + 21, damaged=False)
    assert offsets(store) == [10, 20]


def test_stages_do_not_see_each_others(store: Store, epoch: int) -> None:
    other = store.claim("detect/1", "host-a", T0)
    keep(store, epoch, 10, 20)
    store.keep("detect/1", other, offset=5, state=b"other", now_ms=T0)
    assert store.newest("detect/1") == Kept(offset=5, state=b"other", saved_ms=T0, damaged=False)
    assert offsets(store) == [5, 10, 20]


def test_a_stale_owner_keeps_nothing(store: Store, epoch: int) -> None:
    keep(store, epoch, 10)
    store.claim(STAGE, "host-b", T0)
    with pytest.raises(StaleError):
        keep(store, epoch, 20)
    assert offsets(store) == [10]


@pytest.mark.parametrize("state", [b"", bytes(range(256)) * 4, b"\x80" * 3_000_000], ids=["empty", "every byte", "large"])
def test_a_state_of_any_bytes_comes_back(store: Store, epoch: int, state: bytes) -> None:
    store.keep(STAGE, epoch, offset=1, state=state, now_ms=T0)
    kept = store.newest(STAGE)
    assert kept is not None
    assert kept.state == state


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def two_kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One database for all examples of a property, with two snapshots in it."""
    if request.param == "sqlite":
        with closing(two_in(f"sqlite:///{tmp_path_factory.mktemp('flips') / 'rollguard.db'}")) as store:
            yield store
    else:
        with a_database(request.getfixturevalue("postgres_server")) as address, closing(two_in(address)) as store:
            yield store


def two_in(address: str) -> Store:
    store = Store.open(address)
    store.migrate()
    epoch = store.claim(STAGE, "host-a", T0)
    for offset, state in STATES.items():
        store.keep(STAGE, epoch, offset=offset, state=state, now_ms=T0)
    return store


class _Undo(Exception):  # noqa: N818 - it is no error: it ends a transaction
    """Ends a transaction so that nothing of it stays."""


def newest_after(store: Store, change: st.DataObject, connection: Connection) -> None:
    """Flip one bit of one column of one snapshot, and look."""
    offset = change.draw(st.sampled_from(sorted(STATES)))
    column = change.draw(st.sampled_from([snapshots.c.next_offset, snapshots.c.saved_ms, snapshots.c.state, snapshots.c.checksum]))
    value = connection.execute(select(column).where(snapshots.c.next_offset == offset)).scalar_one()
    data = bytearray(value if isinstance(value, bytes) else value.to_bytes(8, "big", signed=True))
    bit = change.draw(st.integers(0, len(data) * 8 - 1))
    data[bit // 8] ^= 1 << bit % 8
    flipped = bytes(data) if isinstance(value, bytes) else int.from_bytes(data, "big", signed=True)
    connection.execute(update(snapshots).where(snapshots.c.next_offset == offset).values({column: flipped}))
    kept = newest(connection, STAGE, store.where)
    left = next(iter(STATES.keys() - {offset}))
    assert kept is not None
    assert (kept.offset, kept.state) == (left, STATES[left])
    assert kept.damaged or offset < left, "the newest is the one that is damaged"


@given(change=st.data())
def test_a_flipped_bit_in_any_column_is_never_a_state(two_kept: Store, change: st.DataObject) -> None:
    with pytest.raises(_Undo), two_kept._writing() as connection:  # noqa: PT012 - the whole is what must not pass
        newest_after(two_kept, change, connection)
        raise _Undo


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file of SQLite as it lies on the disk when nobody has it open."""
    path = tmp_path_factory.mktemp("disk") / "rollguard.db"
    two_in(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, path.read_bytes()


@given(change=st.data())
def test_a_flipped_bit_anywhere_in_the_file_is_never_a_state(on_disk: tuple[Path, bytes], change: st.DataObject) -> None:
    path, whole = on_disk
    written = [at for at in range(len(whole)) if whole[at]]
    # Most of a fresh file is empty: half of the flips go where something stands.
    at = change.draw(st.one_of(st.sampled_from(written), st.integers(0, len(whole) - 1)))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << change.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    for leftover in ("-wal", "-shm"):
        path.with_name(path.name + leftover).unlink(missing_ok=True)
    try:
        with closing(Store.open(f"sqlite:///{path}")) as store:
            kept = store.newest(STAGE)
    except StoreError as error:
        assert not error.recoverable  # noqa: PT017 - only one of many ends so
        return
    assert kept is not None, "a snapshot that cannot be read is not the same as none"
    assert kept.state == STATES[kept.offset]
    assert kept.damaged or kept.offset == 20


def test_the_pointer_to_the_newest_is_doubted_too(store: Store, epoch: int) -> None:
    keep(store, epoch, 10, 20)
    with store._writing() as connection:
        connection.execute(update(stages).values(kept=21))
    assert store.newest(STAGE) == Kept(offset=20, state=b"state before 20", saved_ms=T0 + 20, damaged=True)
