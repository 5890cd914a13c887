"""Where a person or an order is named in what is kept, and out of it."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import Connection, select, update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.schema import Column, Table

from rollguard.store.records import Mention
from rollguard.store.tables import incidents, ledger, outbox, timeline

__all__ = ["FORGOTTEN", "mentions", "redact"]

FORGOTTEN = b"[forgotten]"
#: Rows read at a time.
_PAGE = 500

_HELD: tuple[tuple[str, Table, Column[str], tuple[Column[bytes], ...]], ...] = (
    ("timeline", timeline, timeline.c.id, (timeline.c.line,)),
    ("incidents", incidents, incidents.c.incident_id, (incidents.c.body,)),
    ("outbox", outbox, outbox.c.id, (outbox.c.body,)),
    ("ledger", ledger, ledger.c.seq, (ledger.c.body,)),
)


def mentions(connection: Connection, names: Collection[str]) -> list[Mention]:
    """Rows in which one of the names stands; see `Store.mentions`."""
    return _through(connection, names, write=False)


def redact(connection: Connection, names: Collection[str]) -> list[Mention]:
    """Take the names out, but of the ledger; see `Store.redact`."""
    return _through(connection, names, write=True)


def _through(connection: Connection, names: Collection[str], *, write: bool) -> list[Mention]:
    # As they stand in a text of JSON, between any quotes; the longest first, should one be a part of another.
    needles = sorted({json.dumps(name, ensure_ascii=ascii_)[1:-1].encode() for name in names for ascii_ in (False, True)}, key=len, reverse=True)
    found: list[Mention] = []
    for name, table, key, columns in _HELD:
        last: object = None
        while True:
            query = select(key, *columns).order_by(key).limit(_PAGE)
            rows = connection.execute(query if last is None else query.where(_after(key, last))).all()
            for row in rows:
                changed: dict[str, bytes] = {}
                for column, value in zip(columns, row[1:], strict=True):
                    text = value
                    for needle in needles:
                        text = text.replace(needle, FORGOTTEN)
                    if text != value:
                        changed[column.name] = text
                if changed:
                    found.append(Mention(table=name, row=str(row[0])))  # type: ignore[arg-type]
                    if write and name != "ledger":
                        connection.execute(update(table).where(key == row[0]).values(**changed))
            if len(rows) < _PAGE:
                break
            last = rows[-1][0]
    return found


def _after(key: Column[str], last: object) -> ColumnElement[bool]:
    return key > last
