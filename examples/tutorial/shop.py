"""A small shop of its own names, for docs/tutorial.md: two days of its past, then live, for as long as one likes.

python examples/tutorial/shop.py run                  # opens the shop
python examples/tutorial/shop.py release eta 2.0      # ships a version; of `eta`, 2.0 promises customers far too long a wait
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer.message_accumulator import BatchBuilder

GERMAN = 0.6
#: Each topic with its number of partitions.
TOPICS = {"shop.purchases": 2, "shop.failures": 2, "shop.eta": 2, "shop.releases": 1}
#: What is live when the shop opens.
LIVE = {"basket": "1.7", "eta": "1.4"}
#: A page that shows a customer when the order would come; so many in a hundred then buy.
VIEWS_A_SECOND = 2.0
BUYS = 0.5
FAILS = 0.01
HOUR_S = 3_600

Record = tuple[str, int, dict[str, Any]]


def stamp(at_s: float) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def release(service: str, version: str, before: str | None, at_s: float) -> Record:
    """Make the record of a release, in Rollguard's own form."""
    fields: dict[str, Any] = {
        "deploy_id": f"{service}-{version}",
        "service": service,
        "environment": "production",
        "change_kind": "code",
        "from_version": before,
        "version": version,
        "started_at": stamp(at_s),
        "finished_at": stamp(at_s),
        "author": "dana",
        "approvals": 1,
        "rollback": {"supported": before is not None, "to_version": before},
    }
    return "shop.releases", round(at_s * 1000), fields


class Shop:
    """What customers do, by what is live."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.live = dict(LIVE)

    def between(self, start_s: float, end_s: float) -> Iterator[Record]:
        """What happens in a stretch of time, in order."""
        number = self.chance.poisson((end_s - start_s) * VIEWS_A_SECOND)
        for at_s in np.sort(self.chance.uniform(start_s, end_s, number)):
            yield from self._visit(float(at_s))

    def _visit(self, at_s: float) -> Iterator[Record]:
        country = "de" if self.chance.random() < GERMAN else "fr"
        minutes = int(self.chance.poisson(28)) + 5
        bad = self.live["eta"] == "2.0"
        if bad:
            minutes = 4 * minutes
        yield self._record("shop.eta", at_s, "eta", country, {"promise": {"minutes": minutes}})
        if self.chance.random() >= BUYS * (0.3 if bad else 1.0):
            return
        if self.chance.random() < FAILS:
            yield self._record("shop.failures", at_s, "basket", country, {"status": 502})
            return
        yield self._record("shop.purchases", at_s, "basket", country, {"total_cents": int(self.chance.integers(900, 9_000)), "currency": "EUR"})

    def _record(self, topic: str, at_s: float, service: str, country: str, more: dict[str, Any]) -> Record:
        name = self.chance.bytes(8).hex()
        fields = {"eventId": name, "occurred_at": stamp(at_s), "app": {"name": service, "release": self.live[service]}, "country": country}
        return topic, round(at_s * 1000), fields | more


async def make_topics(bootstrap: str) -> None:
    """Create the shop's topics where they are missing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = await admin.list_topics()
        await admin.create_topics([NewTopic(name, partitions, 1) for name, partitions in TOPICS.items() if name not in there])
    finally:
        await admin.close()


async def run(asked: argparse.Namespace) -> None:
    """Write the past where there is none, then go on live; whatever is released goes live at once."""
    shop = Shop(asked.seed)
    await make_topics(asked.bootstrap)
    releases = AIOKafkaConsumer("shop.releases", bootstrap_servers=asked.bootstrap, auto_offset_reset="earliest")
    async with AIOKafkaProducer(bootstrap_servers=asked.bootstrap, linger_ms=20, max_batch_size=262_144) as producer, releases:
        if not any((await releases.end_offsets([TopicPartition("shop.releases", 0)])).values()):
            await write_past(shop, producer, asked.hours)
        past_s = time.time()
        say("open: writing live events; end it with Ctrl-C")
        while True:
            for records in (await releases.getmany(timeout_ms=500)).values():
                for each in records:
                    told = json.loads(each.value)
                    shop.live[told["service"]] = told["version"]
                    say(f"live: {told['service']} {told['version']}")
            now_s = time.time()
            await write(producer, list(shop.between(past_s, now_s)))
            past_s = now_s


async def write_past(shop: Shop, producer: AIOKafkaProducer, hours: float) -> None:
    """Write the hours before now, as a topic that keeps them would have them."""
    past_s = start_s = time.time() - hours * HOUR_S
    await write(producer, [release(service, version, None, start_s - HOUR_S) for service, version in LIVE.items()])
    while past_s < time.time() - 1.0:
        until_s = min(past_s + HOUR_S, time.time())
        await write(producer, list(shop.between(past_s, until_s)))
        past_s = until_s
        say(f"past: {100 * min(1.0, (past_s - start_s) / (hours * HOUR_S)):.0f} %")


async def write(producer: AIOKafkaProducer, records: list[Record]) -> None:
    """Write records with their own times, and wait until they are there: whole batches, five times as fast as one by one."""
    batches: dict[tuple[str, int], BatchBuilder] = {}
    sent = []
    for topic, at_ms, fields in records:
        key = fields.get("eventId", fields.get("service")).encode()
        place = topic, crc32(key) % TOPICS[topic]
        words = {"key": key, "value": json.dumps(fields).encode(), "timestamp": at_ms}
        if place not in batches:
            batches[place] = producer.create_batch()
        if batches[place].append(**words) is None:  # it is full
            sent.append(await send(producer, place, batches[place]))
            batches[place] = producer.create_batch()
            batches[place].append(**words)
    sent += [await send(producer, place, batch) for place, batch in batches.items()]
    await asyncio.gather(*sent)


async def send(producer: AIOKafkaProducer, place: tuple[str, int], batch: BatchBuilder) -> asyncio.Future[Any]:
    """Hand over a batch; what comes back waits until it is there."""
    sent: asyncio.Future[Any] = await producer.send_batch(batch, place[0], partition=place[1])
    return sent


async def ship(asked: argparse.Namespace) -> None:
    """Write the record of a release."""
    async with AIOKafkaProducer(bootstrap_servers=asked.bootstrap) as producer:
        await write(producer, [release(asked.service, asked.version, LIVE[asked.service], time.time())])
    say(f"released: {asked.service} {asked.version}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description="A small shop that writes to Kafka what its customers feel.")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="a broker of Kafka")
    commands = parser.add_subparsers(required=True, metavar="run | release")
    opened = commands.add_parser("run", help="open the shop: its past first")
    opened.add_argument("--hours", type=float, default=50.0, help="of its past; Rollguard learns for two days before it says anything")
    opened.add_argument("--seed", type=int, default=1)
    opened.set_defaults(work=run)
    shipped = commands.add_parser("release", help="ship a version of a service")
    shipped.add_argument("service", choices=sorted(LIVE))
    shipped.add_argument("version")
    shipped.set_defaults(work=ship)
    asked = parser.parse_args()
    try:
        asyncio.run(asked.work(asked))
    except KeyboardInterrupt:
        say("closed")


if __name__ == "__main__":
    main()
