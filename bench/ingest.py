"""Ingest from Kafka against the loop that nobody can avoid: getmany, msgspec, a dict. Each in a process of its own, on one topic of 4 partitions.

    python -P bench/ingest.py [EVENTS] [ROUNDS]

Prints CPU seconds of the process per million events, so that a busy machine disturbs little: of the bare loop, of ingest with all its guarantees,
of a plain Faust agent, and of two ingests that share the partitions. Needs Java and Maven, or ROLLGUARD_TEST_KAFKA=host:port.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import aiokafka
import faust
import msgspec
from aiokafka import TopicPartition

from rollguard.config import Kafka, Layer, Settings, default_text, load_layers
from rollguard.service import IngestWorks, tune_memory
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


def access_of(bootstrap: str, names: Names) -> Access:
    """How to reach the broker."""
    return Access(Kafka.model_validate({"bootstrap_servers": bootstrap}).model_copy(update={"prefix": names.prefix, "group": names.group}))


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
    async with access.started(access.consumer(auto_offset_reset="earliest")) as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
        read, began = 0, time.process_time()
        while read < events:
            for records in (await consumer.getmany(timeout_ms=200, max_records=20_000)).values():
                for record in records:
                    order = decode(record.value)
                    key = (order.ts // 10_000, order.service, order.region)
                    counts[key] = counts.get(key, 0) + 1
                read += len(records)
        return time.process_time() - began


async def ours(access: Access, settings: Settings, topic: str, events: int, partitions: Sequence[int]) -> float:
    """CPU seconds of ingest in its shell, blocks acknowledged and offsets committed."""
    group = group_of(settings.kafka, f"ingest-{time.monotonic_ns()}")
    places = [TopicPartition(topic, number) for number in partitions]
    async with (
        access.started(access.consumer(group=group, auto_offset_reset="earliest")) as consumer,
        access.started(access.producer()) as producer,
        access.started(access.admin()) as admin,
    ):
        consumer.assign(places)
        works = IngestWorks(settings, KafkaLogs(access, consumer, producer, admin, group))
        shell = Shell(consumer, works, now_ms=lambda: time.time_ns() // 1_000_000, most_records=IngestWorks.MOST_RECORDS)
        shell.assigned(places)
        tune_memory()
        began = time.process_time()
        running = asyncio.create_task(shell.run())
        while sum(work.counts["orders"].read for work in shell.open.values()) < events:  # type: ignore[attr-defined]  # noqa: ASYNC110 - the shell tells nobody
            await asyncio.sleep(0.02)
        spent = time.process_time() - began
        await shell.stop()
        await running
    return spent


def agent(bootstrap: str, topic: str, events: int) -> None:
    """Print CPU seconds of a plain Faust agent that counts the same, and end."""
    app = faust.App(f"agent-{time.monotonic_ns()}", broker=f"kafka://{bootstrap}", store="memory://", web_enabled=False, topic_disable_leader=True)
    app.conf.consumer_auto_offset_reset = "earliest"
    counts: dict[tuple[int, str, str], int] = {}

    @app.agent(app.topic(topic, value_serializer="json", partitions=PARTITIONS))
    async def count(stream: Any) -> None:
        read, began = 0, 0.0
        async for order in stream:
            began = began or time.process_time()
            key = (order["ts"] // 10_000, order["service"], order["region"])
            counts[key] = counts.get(key, 0) + 1
            read += 1
            if read == events:
                print(f"\n{time.process_time() - began}", flush=True)
                os._exit(0)

    faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False).execute_from_commandline()


def alone(*words: object) -> subprocess.Popen[str]:
    """Start one measurement in a process of its own."""
    return subprocess.Popen([sys.executable, "-P", __file__, "--one", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - words of our own


def seconds(*processes: subprocess.Popen[str]) -> float:
    """CPU seconds that measurements say, together."""
    return sum(float(process.communicate()[0].split()[-1]) for process in processes)


def one(way: str, bootstrap: str, names: Names, events: int, partitions: str) -> None:
    """Measure, as a process of its own, and print."""
    settings, access, topic = settings_of(bootstrap, names), access_of(bootstrap, names), names.topic("orders")
    if way == "agent":
        agent(bootstrap, topic, events)
    mine = [int(each) for each in partitions.split(",")]
    # The first time is for memory to be had.
    spent = [asyncio.run(bare(access, topic, events) if way == "bare" else ours(access, settings, topic, events, mine)) for _ in range(2)]
    print(spent[-1])


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--one"]:
        way, bootstrap, prefix, group, events_told, partitions = sys.argv[2:8]
        one(way, bootstrap, Names(prefix, group), int(events_told), partitions)
        return
    events, rounds = (int(word) for word in (*sys.argv[1:3], *("800000", "5")[len(sys.argv) - 1 :]))
    names = fresh_names()
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        broker.create_topic(names.topic("orders"), PARTITIONS)
        for topic in ("blocks", "signals", "deadletter"):
            broker.create_topic(f"{names.prefix}.{topic}")
        asyncio.run(fill(access_of(broker.bootstrap, names), names.topic("orders"), events))
        told = (broker.bootstrap, names.prefix, names.group)
        print(f"python -P bench/ingest.py {events} {rounds}")
        print(
            f"Python {platform.python_version()}, aiokafka {aiokafka.__version__}, {platform.machine()}; CPU seconds per 10^6 events, {PARTITIONS} partitions\n"
        )
        print("| round | bare loop | ingest | two ingests together | plain Faust agent | bare / ingest | two / one |\n|---|---|---|---|---|---|---|")
        rows = []
        for number in range(1, rounds + 1):
            plain = seconds(alone("bare", *told, events, "0,1,2,3"))
            single = seconds(alone("ours", *told, events, "0,1,2,3"))
            shared = seconds(alone("ours", *told, events // 2, "0,1"), alone("ours", *told, events // 2, "2,3"))
            by_faust = seconds(alone("agent", *told, events // 4, "0,1,2,3")) * 4
            rows.append((plain / single, shared / single))
            each = (f"{value / events * 1e6:.2f}" for value in (plain, single, shared, by_faust))
            print(f"| {number} | {' | '.join(each)} | {plain / single:.2f} | {shared / single:.2f} |", flush=True)
    print(f"\nmedian of bare / ingest: {statistics.median(row[0] for row in rows):.2f} (bar: 0.75)")
    print(f"median of two / one: {statistics.median(row[1] for row in rows):.2f} (bar: 1.15)")


if __name__ == "__main__":
    main()
