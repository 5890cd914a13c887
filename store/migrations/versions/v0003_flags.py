"""What is so now, by name: the kill switch, how far the desk has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["branch_labels", "depends_on", "down_revision", "downgrade", "revision", "upgrade"]

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the table, and an index for what was sent of an incident."""
    op.create_table(
        "flags",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_flags"),
    )
    op.create_index("ix_outbox_incident_id", "outbox", ["incident_id"])


def downgrade() -> None:
    """Drop them: a kill switch that was turned on in the database is off then."""
    op.drop_index("ix_outbox_incident_id", table_name="outbox")
    op.drop_table("flags")
