"""Up from an older schema and down again with an incident open: it goes on under its id, is paged once and rolled back once."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, func, select, text

from rollguard.store import Batch, Store, StoreError
from tests.store.conftest import NEWEST, Another
from tests.store.rows import T0, a_line, a_page, a_rollback, an_incident, everything

#: Rows as version 0.1.0 left them at the first schema: an open incident that was paged and rolled back, and one that waits to be paged.
DUMP = Path(__file__).parent / "older" / "schema-0001.json"


def reflected(connection: Connection, table: str) -> Table:
    """A table as it is in the database, whatever this version knows of it."""
    return Table(table, MetaData(), autoload_with=connection)


def rows_of(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables that the dump has."""
    with store._reading() as connection:
        return {
            table: sorted((tuple(row) for row in connection.execute(select(reflected(connection, table)))), key=repr)
            for table in json.loads(DUMP.read_text(encoding="utf-8"))
        }


def restore(store: Store) -> None:
    """Put the rows of the dump into a database that stands at its schema."""
    tables: dict[str, list[dict[str, Any]]] = json.loads(DUMP.read_text(encoding="utf-8"))
    with store._writing() as connection:
        connection.execute(text("DELETE FROM ledger_head"))
        for table, rows in tables.items():
            for row in rows:
                values = {name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in row.items()}
                connection.execute(reflected(connection, table).insert().values(**values))
        if connection.dialect.name == "postgresql":
            for table in ("timeline", "outbox"):
                last = connection.execute(select(func.max(reflected(connection, table).c.seq))).scalar_one()
                connection.execute(select(func.setval(func.pg_get_serial_sequence(table, "seq"), last)))


@pytest.fixture
def older(another: Another) -> Store:
    """A database as an older version left it."""
    store = another()
    store.migrate()
    store.downgrade("0001")
    restore(store)
    return store


def test_an_incident_that_was_open_goes_on_under_the_newest_schema(older: Store) -> None:
    older.migrate()
    assert older.schema() == NEWEST
    (open_one,) = older.incidents(is_open=True)
    assert open_one.incident_id == "inc-1"
    assert older.verify() == []
    kept = older.newest("desk")
    assert kept is not None
    assert (kept.offset, kept.state) == (3, b"state before 3")
    # The desk of the new version reads again from its snapshot, and goes on.
    again = Batch(
        from_offset=1,
        to_offset=6,
        timeline=tuple(a_line(offset) for offset in range(1, 6)),
        incidents=(an_incident(5),),
        outbox=(a_page(2), a_rollback(2, name="decided again"), a_rollback(4, name="decided once more"), a_page(5)),
    )
    told = older.record("desk", older.claim("desk", "new", T0), again, T0)
    assert (told.timeline, told.outbox) == (3, 1)
    assert [row.incident_id for row in older.incidents()] == ["inc-1"]
    # One rollback, and it is done: whoever asks gets none.
    (rollback,) = older.outbox(kinds=["rollback"])
    assert rollback.state == "done"
    assert older.due(["rollback"], T0 + 1, 9, taken_by="new", lease_ms=60_000) == []
    # The page that was sent is not sent again; the one that waited is, and the new one.
    sent = older.due(["page"], T0 + 1, 9, taken_by="new", lease_ms=60_000)
    assert "page/inc-1/0" not in {row.id for row in sent}


def test_back_at_the_older_schema_every_row_is_as_it_was(older: Store) -> None:
    before = rows_of(older)
    older.migrate()
    older.raise_flag("kill", "on", T0)
    older.downgrade("0001")
    assert rows_of(older) == before
    assert older.schema() == "0001"
    older.migrate()
    assert older.incidents(is_open=True)[0].incident_id == "inc-1"
    assert everything(older)["flags"] == []


def test_an_older_version_refuses_a_newer_schema_and_says_what_to_do(store: Store) -> None:
    with store._writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"Nothing was changed\. Run the newer version, or let that one go back first"):
        store.migrate()
    assert store.schema() == "9999"
