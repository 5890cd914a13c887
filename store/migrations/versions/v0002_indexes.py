"""Indexes for what is asked often: a timeline by time and incident, what is due, the newest incidents."""

from __future__ import annotations

from alembic import op

__all__ = ["branch_labels", "depends_on", "down_revision", "downgrade", "revision", "upgrade"]

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_INDEXES = (
    ("ix_timeline_at_ms", "timeline", ["at_ms"]),
    ("ix_timeline_incident_id", "timeline", ["incident_id"]),
    ("ix_incidents_opened_at_ms", "incidents", ["opened_at_ms"]),
    ("ix_outbox_state", "outbox", ["state", "kind"]),
)


def upgrade() -> None:
    """Make them."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drop them; no row changes."""
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table_name=table)
