"""From nothing: who holds a stage, snapshots, timeline, incidents, outbox, ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["branch_labels", "depends_on", "down_revision", "downgrade", "revision", "upgrade"]

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("claimed_ms", sa.BigInteger, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("applied", sa.BigInteger),
        sa.Column("kept", sa.BigInteger),
        sa.PrimaryKeyConstraint("stage", name="pk_stages"),
    )
    op.create_table(
        "snapshots",
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("saved_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("checksum", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stage", "next_offset", name="pk_snapshots"),
        sa.ForeignKeyConstraint(["stage"], ["stages.stage"], name="fk_snapshots_stage"),
    )
    op.create_table(
        "timeline",
        sa.Column("seq", _SERIAL, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_timeline"),
        sa.UniqueConstraint("id", name="uq_timeline_id"),
    )
    op.create_table(
        "incidents",
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("incident_id", name="pk_incidents"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", _SERIAL, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("dedup_key", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("not_after_ms", sa.BigInteger),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("log_offset", sa.BigInteger),
        sa.Column("ordinal", sa.BigInteger, nullable=False),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("taken_by", sa.Text),
        sa.Column("taken_ms", sa.BigInteger),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("settled_ms", sa.BigInteger),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
    )
    only = sa.text("kind = 'rollback'")
    op.create_index("uq_outbox_rollback", "outbox", ["dedup_key"], unique=True, sqlite_where=only, postgresql_where=only)
    op.create_table(
        "ledger",
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("log_offset", sa.BigInteger),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_ledger"),
    )
    head = op.create_table(
        "ledger_head",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": bytes(32)}])


def downgrade() -> None:
    """Back to nothing: all that was kept is gone."""
    for table in ("ledger_head", "ledger", "outbox", "incidents", "timeline", "snapshots", "stages"):
        op.drop_table(table)
