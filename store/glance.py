"""How things stand, in a few short queries: for whoever watches over Rollguard itself."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from rollguard.store.flags import read_all
from rollguard.store.records import Glance, Undelivered
from rollguard.store.tables import incidents, outbox, snapshots, stages

__all__ = ["glance"]

#: Undelivered rows that are looked at; more than these are a storm, of which the oldest say enough.
MOST = 200


def glance(connection: Connection, flag_names: Collection[str]) -> Glance:
    """See how things stand; see `Store.glance`."""
    waiting = (
        select(outbox.c.id, outbox.c.incident_id, outbox.c.at_ms, outbox.c.body)
        .where(outbox.c.state.in_(("waiting", "taken")), outbox.c.kind.in_(("advice", "page")))
        .order_by(outbox.c.seq)
        .limit(MOST)
    )
    by_state = select(outbox.c.state, func.count().label("number")).group_by(outbox.c.state)
    is_open = select(incidents.c.incident_id).where(incidents.c.closed_at_ms.is_(None)).order_by(incidents.c.incident_id)
    saved = select(snapshots.c.stage, func.max(snapshots.c.saved_ms).label("saved_ms")).group_by(snapshots.c.stage)
    return Glance(
        outbox={row.state: row.number for row in connection.execute(by_state)},
        undelivered=tuple(Undelivered(id=row.id, incident_id=row.incident_id, at_ms=row.at_ms, body=row.body) for row in connection.execute(waiting)),
        open_incidents=tuple(connection.execute(is_open).scalars()),
        epochs={row.stage: row.epoch for row in connection.execute(select(stages.c.stage, stages.c.epoch))},
        saved_ms={row.stage: row.saved_ms for row in connection.execute(saved)},
        flags=read_all(connection, flag_names),
    )
