"""What a live service says while it happens: events come as time goes on, on the clock of the wall."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from rollguard.service import open_store
from rollguard.store import OutboxRow
from rollguard.streams import measures
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics
from tests.properties import shop as shops

pytestmark = pytest.mark.live_long
Figure = Callable[[str], None]
CONFIG = "mode: auto\n" + shops.CONFIG
#: A page is asked for within this time after all orders stop; the rest is for what has to be started.
PAGED_MS, PATIENCE_S = 2 * shops.MINUTE_MS, 300.0


class Shop:
    """A shop whose past hours stand in the topics, and which goes on as long as the block runs."""

    def __init__(self, broker: Broker, names: Names) -> None:
        self.names = names
        self.bootstrap = broker.bootstrap
        self.open = {"orders", "errors", "deliveries"}
        self.sent: dict[str, list[int]] = {source: [] for source in self.open}
        self.over = threading.Event()
        shop = shops.a_shop()
        self.shift_ms = time.time_ns() // 1_000_000 - shop.onset_ms
        # The morning until its onset, and once more as what comes from now on: nothing is wrong in it.
        self.past = [(event, 0) for source in sorted(self.open) for event in self._named(source, shop)]
        self.coming = [(event, shop.onset_ms - shops.START_MS) for source in sorted(self.open) for event in self._named(source, shop)]
        self.past.sort(key=lambda each: each[0][1].arrival_ms)
        self.coming.sort(key=lambda each: each[0][1].arrival_ms)

    @staticmethod
    def _named(source: str, shop: shops.Shop) -> Iterator[tuple[str, shops.Event]]:
        return ((source, event) for event in shop.events[source] if event.arrival_ms < shop.onset_ms)

    @property
    def now_ms(self) -> int:
        """The clock on the wall."""
        return time.time_ns() // 1_000_000

    def write_past(self) -> None:
        """Write the past hours."""
        asyncio.run(self._write(iter(self.past), wait=False))

    def go_on(self) -> None:
        """Write what comes, each event when it comes, until it is over."""
        asyncio.run(self._write(iter(self.coming), wait=True))

    async def _write(self, events: Iterator[tuple[tuple[str, shops.Event], int]], *, wait: bool) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, metadata_max_age_ms=1000) as producer:
            for number, ((source, event), later_ms) in enumerate(events):
                shift_ms = self.shift_ms + later_ms
                if wait and (ahead_ms := event.arrival_ms + shift_ms - self.now_ms) > 0:
                    await asyncio.to_thread(self.over.wait, ahead_ms / 1000)
                if self.over.is_set():
                    break
                if source not in self.open:
                    continue
                name = f"{source}-{later_ms}-{number}"
                value = event.fields | {"ts": event.ts_ms + shift_ms, "event_id": name}
                stamp_ms = min(event.arrival_ms + shift_ms, self.now_ms)
                # Keyed, as producers do: which partition that is they find out themselves.
                await producer.send(self.names.topic(source), msgspec.json.encode(value), key=name.encode(), timestamp_ms=stamp_ms)
                self.sent[source].append(event.ts_ms + shift_ms)
            await producer.flush()


@contextmanager
def open_shop(broker: Broker, names: Names, folder: Path) -> Iterator[tuple[Shop, Service]]:
    """A shop that goes on, and a worker that has come up to the present."""
    shop_topics(broker, names, partitions=4)
    shop = Shop(broker, names)
    shop.write_past()
    going = threading.Thread(target=shop.go_on)
    with Service(broker, folder, names, CONFIG) as service:
        going.start()
        try:
            service.ready()
            service.await_frontier(shop.now_ms - shops.MINUTE_MS)
            assert told(service) == []
            yield shop, service
        finally:
            shop.over.set()
            going.join()


def told(service: Service) -> list[OutboxRow]:
    """What a person has to be told, or a target."""
    store = open_store(service.settings)
    try:
        return store.outbox()
    finally:
        store.close()


def test_a_complete_stop_of_orders_is_paged_within_two_minutes(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    with open_shop(broker, names, tmp_path) as (shop, service):
        shop.open.discard("orders")
        stopped_ms = shop.now_ms
        until(lambda: told(service) != [], "a page", PATIENCE_S)
        paged_ms = shop.now_ms
        (row,) = told(service)
        (incident,) = service.incidents(shop.now_ms)
    assert row.kind == "page"
    assert "orders" in incident["metrics"]
    assert row.at_ms - stopped_ms <= PAGED_MS
    figure(f"paged {(paged_ms - stopped_ms) / 1000:.0f} s after the last order")
    assert paged_ms - stopped_ms <= PAGED_MS


def test_a_pipe_that_breaks_is_told_once_and_nothing_is_rolled_back(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    with open_shop(broker, names, tmp_path) as (shop, service):
        shop.open.clear()
        stopped_ms = shop.now_ms
        until(lambda: told(service) != [], "a page", PATIENCE_S)
        paged_ms = shop.now_ms
        # Long enough for every metric to find out by itself.
        service.await_frontier(stopped_ms + 4 * shops.MINUTE_MS, seconds=PATIENCE_S)
        rows = told(service)
        incidents = service.incidents(shop.now_ms)
    assert [row.kind for row in rows] == ["page"]
    assert len(incidents) == 1
    (note,) = [each for each in incidents[0]["data_quality"] if "pipe" in each]
    figure(f"told once, {(paged_ms - stopped_ms) / 1000:.0f} s after the last event: {note}")


def test_partitions_that_are_added_while_it_runs_are_no_drop(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    with open_shop(broker, names, tmp_path) as (shop, service):
        for source in sorted(shop.open):
            broker.add_partitions(names.topic(source), 8)
        grown_ms = shop.now_ms
        service.await_frontier(grown_ms + 3 * shops.MINUTE_MS, seconds=PATIENCE_S)
        assert service.timeline(shop.now_ms) == []
        end = int(service.frontier_ms()) // (bucket_ms := service.settings.bucket_ms)
        sums, known = service.sums(), measures(service.settings)
    orders = next(number for number, measure in enumerate(known) if measure.metric == "orders" and measure.part == "count")
    found = sum(value for (bucket, measure, _, _), value in sums.items() if measure == orders and bucket < end)
    assert found == sum(ts // bucket_ms < end for ts in shop.sent["orders"])
    figure(f"{found:,} orders, each counted once; nothing was told in three minutes after the growth")
