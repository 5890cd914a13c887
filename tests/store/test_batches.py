from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollguard.store import Batch, Kept, OffsetError, Recorded, StaleError, Store, StoreError
from rollguard.store.tables import METADATA
from tests.store.conftest import Another
from tests.store.rows import T0, a_batch, a_line, a_note, a_page, a_rollback, an_incident, everything

PROCESSES = Path(__file__).with_name("processes.py")


@pytest.fixture
def epoch(store: Store) -> int:
    return store.claim("desk", "host-a", T0)


def test_a_batch_is_written_whole(store: Store, epoch: int) -> None:
    assert store.record("desk", epoch, a_batch(0, 3), T0) == Recorded(applied=3, gap=None, timeline=3, incidents=3, outbox=3, ledger=3, skipped=0)
    assert [row.offset for row in store.timeline()] == [0, 1, 2]
    assert store.incidents() == [an_incident(2)]
    assert store.outbox() == [a_page(0), a_page(1), a_page(2)]
    assert [entry.body for entry in store.ledger()] == [b"note 0", b"note 1", b"note 2"]
    assert store.newest("desk") == Kept(offset=3, state=b"state before 3", saved_ms=T0, damaged=False)
    owner = store.owner("desk")
    assert owner is not None
    assert owner.applied == 3


def test_reading_again_after_a_crash_adds_nothing(store: Store, epoch: int) -> None:
    for batch in (a_batch(0, 3), a_batch(3, 6)):
        store.record("desk", epoch, batch, T0)
    before = everything(store)
    again = store.claim("desk", "host-b", T0)
    assert store.record("desk", again, a_batch(0, 6), T0) == Recorded(applied=6, gap=None, timeline=0, incidents=0, outbox=0, ledger=0, skipped=24)
    after = everything(store)
    assert after.pop("stages") != before.pop("stages"), "it has another owner"
    assert after == before


def test_of_a_batch_that_was_applied_in_part_the_rest_is_written(store: Store, epoch: int) -> None:
    store.record("desk", epoch, a_batch(0, 3), T0)
    assert store.record("desk", epoch, a_batch(1, 5), T0) == Recorded(applied=5, gap=None, timeline=2, incidents=2, outbox=2, ledger=2, skipped=8)
    assert [row.offset for row in store.timeline()] == [0, 1, 2, 3, 4]
    assert [entry.body for entry in store.ledger()] == [b"note %d" % offset for offset in range(5)]


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 12), max_size=6), restarts=st.lists(st.integers(0, 12), max_size=4))
def test_how_the_log_was_cut_into_batches_and_read_again_cannot_be_seen(cut_anyhow: Store, cuts: list[int], restarts: list[int]) -> None:
    store = cut_anyhow
    with store._writing() as connection:
        for table in reversed(METADATA.sorted_tables):
            if table.name not in {"alembic_version", "ledger_head"}:
                connection.execute(table.delete())
        connection.execute(METADATA.tables["ledger_head"].update().values(seq=0, hash=bytes(32)))
    epoch = store.claim("desk", "host-a", T0)
    at = 0
    for to in [*cuts, *restarts, 12]:
        # A cut that lies before is a stage that was restored and reads from there.
        at = min(at, to)
        store.record("desk", epoch, a_batch(at, to, snapshot=False), T0)
        store.record("desk", epoch, a_batch(to, min(to + 2, 12), snapshot=False), T0)
        at = min(to + 2, 12)
    assert [row.offset for row in store.timeline()] == list(range(12))
    assert [row.offset for row in store.outbox()] == list(range(12))
    assert [(entry.seq, entry.body) for entry in store.ledger()] == [(offset + 1, b"note %d" % offset) for offset in range(12)]
    assert store.incidents() == [an_incident(11)]


@pytest.fixture(scope="module")
def cut_anyhow(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('cut') / 'rollguard.db'}")
    store.migrate()
    return store


def test_rows_are_written_in_the_order_of_offset_and_ordinal(store: Store, epoch: int) -> None:
    lines = (a_line(1, ordinal=1), a_line(1, ordinal=0), a_line(0, ordinal=7))
    last, first = an_incident(1, state="acting"), an_incident(0)
    store.record("desk", epoch, Batch(from_offset=0, to_offset=2, timeline=lines, incidents=(last, first)), T0)
    assert [(row.offset, row.ordinal) for row in store.timeline()] == [(0, 7), (1, 0), (1, 1)]
    assert store.incidents() == [last]


def test_a_second_row_of_an_id_is_let_go_and_counted(store: Store, epoch: int) -> None:
    store.record("desk", epoch, Batch(from_offset=0, to_offset=1, timeline=(a_line(0),), outbox=(a_page(0, name="page"),)), T0)
    again = Batch(from_offset=1, to_offset=2, timeline=(replace(a_line(0), offset=1),), outbox=(a_page(1, name="page"),))
    assert store.record("desk", epoch, again, T0) == Recorded(applied=2, gap=None, timeline=0, incidents=0, outbox=0, ledger=0, skipped=2)
    assert (len(store.timeline()), len(store.outbox())) == (1, 1)


def test_a_second_rollback_of_the_same_key_is_let_go_whatever_its_id(store: Store, epoch: int) -> None:
    for offset, name in enumerate(("first", "second")):
        store.record("desk", epoch, Batch(from_offset=offset, to_offset=offset + 1, outbox=(a_rollback(offset, name=name),)), T0)
    assert [row.id for row in store.outbox()] == ["first"]


def test_records_that_were_left_out_are_not_passed_over_in_silence(store: Store, epoch: int) -> None:
    store.record("desk", epoch, a_batch(0, 3), T0)
    before = everything(store)
    with pytest.raises(OffsetError, match="begins at 5, and records from 3 on were never applied") as caught:
        store.record("desk", epoch, a_batch(5, 7), T0)
    assert (caught.value.what, caught.value.offset, caught.value.expected) == ("batch", 5, 3)
    assert everything(store) == before


def test_records_that_are_known_to_be_lost_are_told(store: Store, epoch: int) -> None:
    store.record("desk", epoch, a_batch(0, 3), T0)
    assert store.record("desk", epoch, replace(a_batch(5, 7), gap=True), T0).gap == (3, 5)
    assert store.record("desk", epoch, replace(a_batch(7, 8), gap=True), T0).gap is None
    owner = store.owner("desk")
    assert owner is not None
    assert owner.applied == 8


def test_a_log_may_begin_anywhere(store: Store, epoch: int) -> None:
    assert store.record("desk", epoch, a_batch(88_000, 88_002), T0).gap is None


def test_offsets_that_the_log_leaves_out_are_no_gap(store: Store, epoch: int) -> None:
    store.record("desk", epoch, Batch(from_offset=0, to_offset=9, timeline=(a_line(2),)), T0)
    assert store.record("desk", epoch, a_batch(9, 10), T0).gap is None


def test_a_batch_without_a_row_moves_the_offset(store: Store, epoch: int) -> None:
    store.record("desk", epoch, Batch(from_offset=0, to_offset=400), T0)
    assert store.record("desk", epoch, Batch(from_offset=400, to_offset=400), T0).applied == 400


def test_a_snapshot_that_is_refused_takes_the_whole_batch_with_it(store: Store, epoch: int) -> None:
    store.keep("desk", epoch, offset=10, state=b"ahead", now_ms=T0)
    before = everything(store)
    with pytest.raises(OffsetError):
        store.record("desk", epoch, a_batch(0, 3), T0)
    assert everything(store) == before


def test_a_stale_owner_records_nothing(store: Store, epoch: int) -> None:
    store.claim("desk", "host-b", T0)
    before = everything(store)
    with pytest.raises(StaleError) as caught:
        store.record("desk", epoch, a_batch(0, 3), T0)
    assert (caught.value.stage, caught.value.epoch, caught.value.current, caught.value.owner) == ("desk", 1, 2, "host-b")
    assert everything(store) == before


@pytest.mark.parametrize(
    "batch",
    [
        Batch(from_offset=3, to_offset=2),
        Batch(from_offset=0, to_offset=2, timeline=(a_line(2),)),
        Batch(from_offset=1, to_offset=2, incidents=(an_incident(0),)),
        Batch(from_offset=0, to_offset=2, ledger=(a_note(None),)),
        Batch(from_offset=0, to_offset=2, outbox=(a_page(None),)),
        Batch(from_offset=0, to_offset=2, outbox=(replace(a_rollback(0), not_after_ms=None),)),
        Batch(from_offset=0, to_offset=2, outbox=(replace(a_page(0), not_after_ms=T0),)),
        Batch(from_offset=0, to_offset=2, outbox=(replace(a_page(0), state="sent"),)),
        Batch(from_offset=0, to_offset=2, outbox=(replace(a_page(0), kind="fax"),)),
    ],
    ids=["backwards", "after", "before", "note of nothing", "page of nothing", "for ever", "page expires", "sent already", "fax"],
)
def test_a_batch_that_contradicts_itself_is_a_mistake_of_its_writer(store: Store, epoch: int, batch: Batch) -> None:
    before = everything(store)
    with pytest.raises(ValueError, match=r"batch of|has to expire|store's to set|no kind"):
        store.record("desk", epoch, batch, T0)
    assert everything(store) == before


def test_a_desk_that_is_killed_anywhere_leaves_all_of_a_batch_or_nothing(address: str) -> None:
    done = subprocess.run([sys.executable, "-P", PROCESSES, "crash", address], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    told = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert len(told) > 15, "each table, the fence and the commit are crash points of their own"
    assert [code for code, _, _ in told] == ["-9"] * (len(told) - 1) + ["0"]
    for code, at, stands in told:
        after = int(at) if code == "-9" else int(at) + 2
        assert stands == f"[{after}] [] -> [{int(at) + 2}] []"


def test_the_timeline_is_told_as_of_a_moment_and_of_one_incident(store: Store, epoch: int) -> None:
    lines = (a_line(0, at_ms=T0), a_line(1, at_ms=T0 + 10), a_line(2, at_ms=T0 + 20, incident="inc-2"))
    store.record("desk", epoch, Batch(from_offset=0, to_offset=3, timeline=lines), T0)
    assert store.timeline() == list(lines)
    assert store.timeline(T0 + 10) == list(lines[:2])
    assert store.timeline(incident_id="inc-2") == [lines[2]]


def test_incidents_are_told_in_the_order_they_opened(store: Store, epoch: int) -> None:
    later, first = an_incident(0, name="inc-1", opened_at_ms=T0 + 5), an_incident(1, name="inc-2", opened_at_ms=T0, closed_at_ms=T0 + 9, state="closed")
    store.record("desk", epoch, Batch(from_offset=0, to_offset=2, incidents=(later, first)), T0)
    assert store.incidents() == [first, later]
    assert store.incidents(is_open=True) == [later]
    assert store.incidents(is_open=False) == [first]
    assert store.incidents(limit=1) == [later]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_disk_that_is_full_half_writes_nothing_and_can_be_tried_again(another: Another, store: Store, epoch: int) -> None:
    small = another()
    before = everything(store)
    with small._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    huge = replace(a_batch(0, 3), snapshot=b"x" * 100_000)
    with pytest.raises(StoreError, match=r"full.*Make room") as caught:
        small.record("desk", epoch, huge, T0)
    assert caught.value.recoverable
    assert everything(store) == before
    assert store.record("desk", epoch, huge, T0).applied == 3
