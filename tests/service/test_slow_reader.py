"""A partition that is read slowly holds the others back: unread is only one that was waited for in vain."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.service import IngestWorks
from rollguard.streams import Block, BlockCodec
from rollguard.streams.kafka import Outgoing
from tests.service.simulated import Cluster, SimulatedLogs, SimulatedReader, run
from tests.sums import Sums, sums_of

START_MS = 1_772_442_000_000
HOUR_MS = 3_600_000
SHOP = """
bucket: 10s
labels: {watched: [service], compare: [], max_values: 3}
sources:
  orders: {lateness: 5s, idle: 30s}
  errors: null
  deliveries: null
metrics: {errors: null, promised_minutes: null, actual_minutes: null}
"""
SETTINGS: Settings = load_layers([Layer(default_text(), "default.yaml"), Layer(SHOP, "shop.yaml")])
TOPICS = {"orders": 2, "rollguard.blocks": 1, "rollguard.signals": 1, "rollguard.deadletter": 1}
ONE, OTHER = TopicPartition("orders", 0), TopicPartition("orders", 1)
SECONDS = 900


class Greedy(SimulatedReader):
    """A consumer as aiokafka's: it gives out a partition's whole buffer before it looks at the next one's. The first fetch brought little of the other."""

    FIRST = 100
    #: Until then nothing more comes of the other partition, whatever its log holds.
    dead_until_ms = 0

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None) -> dict[TopicPartition, list[ConsumerRecord]]:
        assert max_records is not None
        before = dict(self.positions)
        held = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        for partition in (OTHER, ONE) if before[OTHER] < self.FIRST else (ONE, OTHER):
            at = before[partition]
            first, dead = partition == OTHER and at < self.FIRST, partition == OTHER and at >= self.FIRST and self.cluster.now_ms < self.dead_until_ms
            most = 0 if dead else min(self.FIRST - at, max_records) if first else max_records
            taken = held.get(partition, [])[:most]
            self.positions[partition] = at + len(taken)
            max_records -= len(taken)
            if taken:
                found[partition] = taken
        return found


class SlowLogs(SimulatedLogs):
    """Logs whose brokers take long to write what comes first."""

    slow_ms = 0

    async def append(self, records: Sequence[Outgoing]) -> dict[str, int]:
        behind = await super().append(records)
        self.cluster.now_ms += self.slow_ms
        self.slow_ms = 0
        return behind


def past() -> Cluster:
    """A cluster in which a quarter of an hour of orders waits, an hour old."""
    cluster = Cluster("rollguard", TOPICS, START_MS)
    for second in range(SECONDS):
        at_ms = START_MS - HOUR_MS + 1_000 * second
        for number in (0, 1):
            order = {"event_id": f"{number}-{second}", "ts": at_ms, "service": "a", "region": "eu", "version": "1"}
            cluster.write("orders", number, msgspec.json.encode(order), at_ms=at_ms)
    return cluster


def blocks(cluster: Cluster, reader: Greedy, logs: SimulatedLogs, most_records: int) -> list[Block]:
    """What an ingest says of the past until all is read."""
    assert run(cluster, reader, IngestWorks(SETTINGS, logs), most_records=most_records)
    codec = BlockCodec(SETTINGS)
    return [block for _, value in cluster.values("blocks") if isinstance(block := codec.decode(value), Block)]


def why(found: list[Block]) -> set[tuple[int, str]]:
    """Partitions whose frontiers moved though they had not been read, and why."""
    return {(block.partition, block.why) for block in found if block.why not in ("advance", "clock", "silent")}


def orders(cluster: Cluster) -> int:
    """Orders that count."""
    codec = BlockCodec(SETTINGS)
    found: Sums = sums_of(SETTINGS, (codec.decode(value) for _, value in cluster.values("blocks")))
    return sum(number for (_, measure, _, _), number in found.items() if measure == 0)


def reader_of(cluster: Cluster, patience: int = 60) -> Greedy:
    return Greedy(cluster, [ONE, OTHER], most=SECONDS, patience=patience)


def test_a_partition_that_waits_for_its_turn_longer_than_idle_is_not_unread() -> None:
    cluster = past()
    # Read one after another, the first would take three minutes, six times `idle`.
    found = blocks(cluster, reader_of(cluster), SimulatedLogs(cluster, "rollguard.ingest"), most_records=5)
    assert why(found) == set()
    assert orders(cluster) == 2 * SECONDS


def test_time_in_which_nobody_read_makes_no_partition_unread() -> None:
    cluster = past()
    logs, reader = SlowLogs(cluster, "rollguard.ingest"), reader_of(cluster)
    logs.slow_ms = 70_000
    reader.dead_until_ms = cluster.now_ms + logs.slow_ms + 8_000
    found = blocks(cluster, reader, logs, most_records=SECONDS)
    assert why(found) == set()
    assert orders(cluster) == 2 * SECONDS


def test_a_partition_from_which_nothing_comes_though_its_log_holds_more_is_unread_after_idle() -> None:
    cluster = past()
    reader = reader_of(cluster)
    reader.dead_until_ms = cluster.now_ms + 45_000
    found = blocks(cluster, reader, SimulatedLogs(cluster, "rollguard.ingest"), most_records=SECONDS)
    assert why(found) == {(1, "unread")}
    # What it held comes late then.
    assert orders(cluster) == SECONDS + Greedy.FIRST
