"""The tables as the newest step of `migrations` leaves them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

__all__ = ["METADATA", "flags", "incidents", "ledger", "ledger_head", "outbox", "snapshots", "stages", "timeline"]

METADATA = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"},
)
#: SQLite numbers rows by itself only where the column is called INTEGER; it holds 64 bits all the same.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")

stages = Table(
    "stages",
    METADATA,
    Column("stage", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("claimed_ms", BigInteger, nullable=False),
    Column("log", Text, nullable=False),
    Column("applied", BigInteger),
    # Offset of the newest snapshot: without it one that is gone would not be missed.
    Column("kept", BigInteger),
)

snapshots = Table(
    "snapshots",
    METADATA,
    Column("stage", Text, ForeignKey("stages.stage"), primary_key=True),
    Column("next_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("saved_ms", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)

timeline = Table(
    "timeline",
    METADATA,
    Column("seq", _SERIAL, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    Index("ix_timeline_at_ms", "at_ms"),
    Index("ix_timeline_incident_id", "incident_id"),
)

incidents = Table(
    "incidents",
    METADATA,
    Column("incident_id", Text, primary_key=True),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    Column("state", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    Index("ix_incidents_opened_at_ms", "opened_at_ms"),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("seq", _SERIAL, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("not_after_ms", BigInteger),
    Column("body", LargeBinary, nullable=False),
    Column("log_offset", BigInteger),
    Column("ordinal", BigInteger, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("taken_by", Text),
    Column("taken_ms", BigInteger),
    Column("lease_until_ms", BigInteger),
    Column("settled_ms", BigInteger),
    Column("detail", Text, nullable=False),
    # One rollback of (service, change, scope), whoever decides it again under another id.
    Index("uq_outbox_rollback", "dedup_key", unique=True, sqlite_where=text("kind = 'rollback'"), postgresql_where=text("kind = 'rollback'")),
    Index("ix_outbox_state", "state", "kind"),
    Index("ix_outbox_incident_id", "incident_id"),
)

ledger = Table(
    "ledger",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("log_offset", BigInteger),
    Column("hash", LargeBinary, nullable=False),
)

# One row: who appends locks it, so that two never take the same number.
ledger_head = Table(
    "ledger_head",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# What is so now; the last that was said of a name holds.
flags = Table(
    "flags",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
