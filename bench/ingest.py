"""Ingest from Kafka against the loop that nobody can avoid: getmany, msgspec, a dict. One process, one topic of 4 partitions, pair by pair.

    python -P bench/ingest.py [EVENTS] [ROUNDS]

Prints CPU seconds of the process per million events, so that a busy machine disturbs little. Needs Java and Maven, or ROLLGUARD_TEST_KAFKA=host:port.
"""

from __future__ import annotations

import asyncio
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import aiokafka
import msgspec
from aiokafka import TopicPartition

from rollguard.config import Kafka, Layer, Settings, default_text, load_layers
from rollguard.service import IngestWorks
from rollguard.streams.kafka import Access, KafkaLogs, Shell, group_of

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.live.servers import Names, fresh_names, running_broker

PARTITIONS = 4
REGIONS, SERVICES = ("eu-west", "us-east", "us-west", "ap-south"), ("checkout", "cart", "search", "payments")


class Order(msgspec.Struct):
    """An order, as the bare loop reads it."""

    event_id: str
    ts: int
    service: str
    region: str
    version: str


def settings_of(bootstrap: str, names: Names) -> Settings:
    """Settings with one source of orders."""
    text = f"""
kafka: {{bootstrap_servers: '{bootstrap}', group: {names.group}, prefix: {names.prefix}}}
sources: {{orders: {{topic: {names.topic("orders")}}}, errors: {{topic: {names.topic("errors")}}}, deliveries: null}}
metrics: {{promised_minutes: null, actual_minutes: null}}
"""
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "bench.yaml")])


async def fill(access: Access, topic: str, events: int) -> None:
    """Write orders at 5,000 a second of event time, two seconds out of order."""
    start_ms = time.time_ns() // 1_000_000 - events // 5
    async with access.started(access.producer()) as producer:
        sent: list[Awaitable[object]] = []
        for number in range(events):
            order = Order(f"o-{number:09d}", start_ms + number // 5 - number * 7919 % 2000, SERVICES[number % 4], REGIONS[number // 4 % 4], f"4.1.{number % 2}")
            sent.append(await producer.send(topic, value=msgspec.json.encode(order), partition=number % PARTITIONS))
            if len(sent) == 10_000:
                await asyncio.gather(*sent)
                sent = []
        await asyncio.gather(*sent)


async def bare(access: Access, topic: str, events: int) -> float:
    """CPU seconds of the bare loop."""
    decode = msgspec.json.Decoder(Order).decode
    counts: dict[tuple[int, str, str], int] = {}
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with access.started(access.consumer(auto_offset_reset="earliest")) as consumer:
        consumer.assign(places)
        read, began = 0, time.process_time()
        while read < events:
            for records in (await consumer.getmany(timeout_ms=200, max_records=20_000)).values():
                for record in records:
                    order = decode(record.value)
                    key = (order.ts // 10_000, order.service, order.region)
                    counts[key] = counts.get(key, 0) + 1
                read += len(records)
        return time.process_time() - began


async def ours(access: Access, settings: Settings, topic: str, events: int) -> float:
    """CPU seconds of ingest in its shell, blocks acknowledged and offsets committed."""
    group = group_of(settings.kafka, f"ingest-{time.monotonic_ns()}")
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    spent: list[float] = []
    async with (
        access.started(access.consumer(group=group, auto_offset_reset="earliest")) as consumer,
        access.started(access.producer()) as producer,
        access.started(access.admin()) as admin,
    ):
        consumer.assign(places)
        works = IngestWorks(settings, KafkaLogs(access, consumer, producer, admin, group))
        shell = Shell(consumer, works, now_ms=lambda: time.time_ns() // 1_000_000)
        shell.assigned(places)
        began = time.process_time()
        running = asyncio.create_task(shell.run())
        while sum(work.counts["orders"].read for work in shell.open.values()) < events:  # type: ignore[attr-defined]  # noqa: ASYNC110 - the shell tells nobody
            await asyncio.sleep(0.02)
        spent.append(time.process_time() - began)
        await shell.stop()
        await running
    return spent[0]


async def measure(access: Access, settings: Settings, topic: str, events: int, rounds: int) -> list[tuple[float, float]]:
    """Pairs of CPU seconds: bare, ours."""
    await fill(access, topic, events)
    return [(await bare(access, topic, events), await ours(access, settings, topic, events)) for _ in range(rounds)]


def main() -> None:
    """Print the table."""
    events, rounds = (int(word) for word in (*sys.argv[1:3], *("400000", "5")[len(sys.argv) - 1 :]))
    names = fresh_names()
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        broker.create_topic(names.topic("orders"), PARTITIONS)
        for topic in ("blocks", "signals", "deadletter"):
            broker.create_topic(f"{names.prefix}.{topic}")
        settings = settings_of(broker.bootstrap, names)
        access = Access(Kafka.model_validate({"bootstrap_servers": broker.bootstrap}).model_copy(update={"prefix": names.prefix, "group": names.group}))
        pairs = asyncio.run(measure(access, settings, names.topic("orders"), events, rounds))
    print(f"python -P bench/ingest.py {events} {rounds}")
    print(f"Python {platform.python_version()}, aiokafka {aiokafka.__version__}, {platform.machine()}; CPU seconds per 10^6 events, {PARTITIONS} partitions\n")
    print("| round | bare loop | ingest | bare / ingest |\n|---|---|---|---|")
    for number, (one, other) in enumerate(pairs, 1):
        print(f"| {number} | {one / events * 1e6:.2f} | {other / events * 1e6:.2f} | {one / other:.2f} |")
    print(f"\nmedian of bare / ingest: {statistics.median(one / other for one, other in pairs):.2f} (bar: 0.75)")


if __name__ == "__main__":
    main()
