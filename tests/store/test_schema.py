from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from rollguard.store import Store, StoreError
from rollguard.store.tables import METADATA, ledger_head
from tests.store.conftest import NEWEST, Another
from tests.store.rows import T0, a_batch, a_rollback, everything

PROCESSES = Path(__file__).with_name("processes.py")


def test_the_steps_lead_to_the_tables_that_the_code_knows(store: Store) -> None:
    with store._reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_an_empty_database_comes_to_the_newest_step_and_a_second_time_changes_nothing(another: Another) -> None:
    store = another()
    assert store.schema() is None
    store.migrate()
    assert store.schema() == NEWEST
    store.record("desk", store.claim("desk", "host-a", T0), a_batch(0, 3), T0)
    before = everything(store)
    store.migrate()
    assert (store.schema(), everything(store)) == (NEWEST, before)


def test_workers_that_start_at_once_all_find_the_newest_step(address: str) -> None:
    done = subprocess.run([sys.executable, "-P", PROCESSES, "migrate", address, "4"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines()[-1:], done.stderr) == (["[0, 0, 0, 0]"], "")
    assert done.stdout.splitlines()[:-1] == [NEWEST] * 4


def test_threads_bring_several_databases_up_to_date_at_once(tmp_path: Path) -> None:
    n = 4
    barrier = Barrier(n)

    def work(number: int) -> str | None:
        with closing(Store.open(f"sqlite:///{tmp_path / f'{number}.db'}")) as store:
            barrier.wait(30)
            store.migrate()
            return store.schema()

    with ThreadPoolExecutor(n) as pool:
        assert list(pool.map(work, range(n))) == [NEWEST] * n


def test_a_step_back_and_forth_keeps_every_row(store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    store.record("desk", epoch, a_batch(0, 4), T0)
    store.due(["page"], T0, 1, taken_by="responder", lease_ms=1_000)
    before = everything(store)
    store.downgrade("0001")
    assert store.schema() == "0001"
    store.migrate()
    assert (store.schema(), everything(store)) == (NEWEST, before)
    store.record("desk", epoch, a_batch(4, 6), T0)


def test_one_rollback_for_a_key_is_a_rule_at_the_earlier_step_too(store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    store.downgrade("0001")
    for offset, name in enumerate(("first", "second")):
        batch = a_batch(offset, offset, snapshot=False)
        store.record("desk", epoch, type(batch)(from_offset=offset, to_offset=offset + 1, outbox=(a_rollback(offset, name=name),)), T0)
    assert [row.id for row in store.outbox(kinds=["rollback"])] == ["first"]


@pytest.mark.parametrize("to", ["0004", NEWEST[:1], "", "head"])
def test_there_is_no_way_back_to_a_step_that_never_was(store: Store, to: str) -> None:
    with pytest.raises(StoreError, match="cannot go back"):
        store.downgrade(to)
    assert store.schema() == NEWEST


def test_the_last_that_was_said_under_a_name_holds(store: Store) -> None:
    assert store.flag("kill_switch") is None
    for now_ms, value in ((T0, "on"), (T0 + 1, "off")):
        store.raise_flag("kill_switch", value, now_ms)
        found = store.flag("kill_switch")
        assert found is not None
        assert (found.value, found.at_ms) == (value, now_ms)


def test_a_newer_database_is_refused_in_words_and_left_alone(store: Store) -> None:
    with store._writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    before = everything(store)
    for change in (store.migrate, lambda: store.downgrade("0001")):
        with pytest.raises(StoreError, match=r"schema is 0099, newer than any .* \(up to 0003\)\. Nothing was changed\. Run the newer version") as caught:
            change()
        assert not caught.value.recoverable
    assert (store.schema(), everything(store)) == ("0099", before)


def test_a_database_at_two_steps_at_once_is_damaged_and_says_so(another: Another, store: Store) -> None:
    with store._writing() as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    for look in (another, store.schema, store.migrate):
        with pytest.raises(StoreError, match="2 steps at once, so it is damaged") as caught:
            look()
        assert not caught.value.recoverable


def test_a_step_that_fails_half_way_leaves_nothing(another: Another) -> None:
    store = another()
    with store._writing() as connection:
        ledger_head.create(connection)
    with pytest.raises(StoreError, match="ledger_head"):
        store.migrate()
    with store._reading() as connection:
        assert connection.dialect.get_table_names(connection) == ["ledger_head"]


def test_a_database_that_is_not_set_up_says_so(another: Another) -> None:
    with closing(another()) as store, pytest.raises(StoreError, match=r"not set up .*Store\.migrate") as caught:
        store.claim("desk", "host-a", T0)
    assert not caught.value.recoverable
