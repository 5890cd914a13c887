"""What is old and over goes from the database of a running worker, by itself."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from rollguard.service import open_store
from rollguard.store import Batch, LedgerRow
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics
from tests.store.rows import a_line, a_page, an_incident

pytestmark = pytest.mark.live_long
DAY_MS = 86_400_000
#: The first sweep is a minute after the start.
SWEPT_S = 180.0


def test_a_worker_lets_closed_incidents_go_and_keeps_open_ones_and_the_ledgers_chain(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, partitions=1)
    now_ms = round(1000 * time.time())
    old_ms, young_ms = now_ms - 500 * DAY_MS, now_ms - 100 * DAY_MS
    with Service(broker, tmp_path, names, "retention: {ledger: 400d}") as service:
        kept = (
            an_incident(0, name="closed long ago", state="closed", opened_at_ms=old_ms, closed_at_ms=old_ms),
            an_incident(1, name="open for long", opened_at_ms=old_ms),
            an_incident(2, name="closed lately", state="closed", opened_at_ms=old_ms, closed_at_ms=young_ms),
        )
        lines = tuple(a_line(each.offset, at_ms=old_ms, incident=each.incident_id) for each in kept)
        pages = tuple(msgspec.structs.replace(a_page(each.offset, incident=each.incident_id), at_ms=old_ms) for each in kept)
        ledger = tuple(LedgerRow(at_ms=at_ms, kind="decided.page", body=b"{}", offset=0, ordinal=n) for n, at_ms in enumerate((old_ms, old_ms, young_ms)))
        with closing(open_store(service.settings)) as store:
            epoch = store.claim("desk", "before", old_ms)
            store.record("desk", epoch, Batch(from_offset=0, to_offset=3, timeline=lines, incidents=kept, outbox=pages, ledger=ledger), old_ms)
            for row in store.due(["page"], old_ms, 9, taken_by="before", lease_ms=1000):
                store.settle(row.id, "before", "sent", old_ms)

        worker = service.ready()
        until(lambda: '"swept"' in worker.said, "a sweep", SWEPT_S)
        with closing(open_store(service.settings)) as store:
            # The worker goes on meanwhile, and nothing of what it does is in the way.
            assert sorted(each.incident_id for each in store.incidents()) == ["closed lately", "open for long"]
            assert sorted(each.incident_id for each in store.timeline()) == ["closed lately", "open for long"]
            # A page that was sent is kept as long as its incident is open.
            assert [each.incident_id for each in store.outbox()] == ["open for long"]
            assert store.verify() == []
            assert [each.kind for each in store.ledger()] == ["decided.page", "ledger.cut"]
        assert worker.ready
        assert worker.end() == 0
