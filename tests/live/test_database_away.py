"""A PostgreSQL that falls and comes back under a running worker: a person is told past it, nothing is lost, and no page comes twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rollguard.responders import Executor
from rollguard.service import open_store
from rollguard.store import OutboxRow
from rollguard.streams import Block, BlockCodec
from tests.live.servers import Broker, Names, until
from tests.live.workers import Process, Service, assert_same_lines, shop_topics
from tests.properties import shop as shops
from tests.servers.postgres import Server, a_server
from tests.servers.receivers import serving

CONFIG = """
mode: advise
blind: {{database: 5s}}
respond:
  pagers: {{oncall: {{kind: webhook, url: "{address}", secret: env:HOOK}}}}
  page: [oncall]
"""
#: So that no test has to be quick: by the clock on the wall nothing is ever silent.
PATIENT: dict[str, str | None] = dict.fromkeys(("orders", "errors", "deliveries"), ", idle: 1h")
SHOP = shops.a_shop()
#: The database falls while the incident is open, before somebody undoes what caused it.
FALLS_MS = SHOP.onset_ms + 8 * shops.MINUTE_MS
UNTIL_MS = SHOP.end_ms - 5 * shops.MINUTE_MS
#: Looks are five seconds apart, and tries up to fifteen.
PATIENCE_S = 180.0


class Delivery(NamedTuple):
    """A page as it arrived."""

    id: str
    event: str
    key: str


@contextmanager
def receiver() -> Iterator[tuple[str, list[Delivery]]]:
    """Takes every page; gives its address, and what came."""
    came: list[Delivery] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: Any = json.loads(self.rfile.read(int(self.headers["content-length"])))
            came.append(Delivery(self.headers["webhook-id"], body["type"].rpartition(".")[2], body["data"]["dedup_key"]))
            self.send_response(204)
            self.end_headers()

    with serving(Receiver) as address:
        yield address, came


@pytest.fixture
def server() -> Iterator[Server]:
    with a_server() as found:
        yield found


def pages(service: Service) -> list[OutboxRow]:
    """What people were to be told, by the outbox."""
    with closing(open_store(service.settings)) as store:
        return store.outbox(kinds=["page"])


def told(service: Service) -> bool:
    """Whether there were pages, and all of them have arrived."""
    rows = pages(service)
    return rows != [] and {row.state for row in rows} == {"sent"}


def blocks_until(service: Service) -> float:
    """Event time up to which blocks stand in our log."""
    codec = BlockCodec(service.settings)
    frontiers: dict[tuple[str, int], int] = {}
    for record in service.read(service.topic("blocks")):
        block = codec.decode(record.value)
        if isinstance(block, Block):
            frontiers[block.source, block.partition] = block.frontier
    return min(frontiers.values(), default=0) * float(service.settings.bucket_ms)


def recorded_ms(service: Service) -> int:
    """Event time up to which the desk has recorded what it made of it: what its worker shows may be ahead of that."""
    with closing(open_store(service.settings)) as store:
        flag = store.flag(Executor.FRONTIER)
    return 0 if flag is None else int(flag.value)


def started(service: Service) -> Process:
    """A worker of a service that has heard of all changes before the first event."""
    early = service.worker("--only", "changes")
    until(lambda: service.end_of(service.topic("signals")) >= 2 * len(SHOP.deploys), "all changes are known")
    assert early.end() == 0
    return service.ready()


def test_while_the_database_is_away_events_are_read_and_then_all_is_as_if_it_had_never_been(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("HOOK", "whsec_" + "YWFh" * 8)
    shop_topics(broker, names, partitions=1)
    parts = {source: sum(event.arrival_ms < FALLS_MS for event in events) for source, events in SHOP.events.items()}
    with receiver() as (address, came):
        config = shops.CONFIG + CONFIG.format(address=address)
        with Service(broker, tmp_path / "disturbed", names, config, server.address, sources=PATIENT) as service:
            key = f"rollguard/{service.names.group}/blind/database"
            service.send(names.topic("deploys"), SHOP.deploys)
            for source, events in SHOP.events.items():
                service.send(names.topic(source), [event.line for event in events[: parts[source]]])
            worker = started(service)
            service.await_frontier(FALLS_MS - shops.MINUTE_MS)
            until(lambda: told(service), "a page of the incident, before the database falls")
            before = [each for each in came if each.key != key]

            server.fall()
            for source, events in SHOP.events.items():
                service.send(names.topic(source), [event.line for event in events[parts[source] :]])
            until(lambda: any((each.event, each.key) == ("trigger", key) for each in came), "a page about the database", PATIENCE_S)
            # Ingest has no need of it: what customers feel stands in our log, up to the newest event.
            until(lambda: blocks_until(service) >= UNTIL_MS, "events that are read meanwhile", PATIENCE_S)
            assert worker.get("/healthz")[0] == 200
            code, answer = worker.get("/readyz")
            assert (code, "database" in json.loads(answer)["troubles"]) == (503, True)
            assert worker.metric("rollguard_blind", reason="database") == 1

            server.come_back()
            until(lambda: any((each.event, each.key) == ("resolve", key) for each in came), "it is told that it is back", PATIENCE_S)
            until(lambda: recorded_ms(service) >= UNTIL_MS, "a desk that has come to the end", PATIENCE_S)
            until(lambda: told(service), "all pages", PATIENCE_S)
            until(lambda: worker.ready, "a worker that is ready again")
            assert worker.end() == 0
            timeline, signals, rows = service.timeline(UNTIL_MS), service.signals(UNTIL_MS), pages(service)
            with closing(open_store(service.settings)) as store:
                assert store.verify() == []

        assert [each.event for each in came if each.key == key] == ["trigger", "resolve"]
        assert len(before) < sum(each.key != key for each in came)
        # Each page came once, and nobody was paged a second time about what they knew.
        assert max(Counter(each.id for each in came if each.key != key).values()) == 1
        with Service(broker, tmp_path / "calm", names, config, sources=PATIENT) as calm:
            started(calm)
            until(lambda: recorded_ms(calm) >= UNTIL_MS, "another desk that has come to the end", PATIENCE_S)
            expected = calm.timeline(UNTIL_MS)
            assert calm.signals(UNTIL_MS).keys() == signals.keys()
            assert_same_lines(timeline, expected)
            until(lambda: told(calm), "the pages of who was never disturbed")
            undisturbed = pages(calm)
        assert sorted(row.id for row in rows) == sorted(row.id for row in undisturbed)
