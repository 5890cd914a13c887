"""Run the shop: three hours of its past first, then its services, its deployer and its customers, for as long as one likes.

python examples/shop/main.py --bootstrap 127.0.0.1:9092 --secret whsec_…
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from deployer import Deployer
from storefront import services
from world import VISITS_PER_ORDER, History, World

HOST = "127.0.0.1"
#: The version that goes out when the shop is told to break by itself: wrong promises, while every page answers 200.
BAD = ("promises", "2.0", "eu-west")
#: Requests under way at once; more customers than that find the shop slow, and wait.
AT_ONCE = 64


class Shop:
    """The whole of it, in one loop.

    Parameters
    ----------
    asked : argparse.Namespace
    producer : AIOKafkaProducer
    """

    def __init__(self, asked: argparse.Namespace, producer: AIOKafkaProducer) -> None:
        self.asked = asked
        self.producer = producer
        self.world = World(np.random.default_rng(asked.seed))
        self.ports: dict[str, int] = {}
        self.over = asyncio.Event()
        self.deployer = Deployer(self.world, lambda record: self._write("deploys", record, record["deploy_id"]), asked.secret)

    def tell(self, event: tuple[str, int, dict[str, Any]]) -> None:
        """Write an event."""
        source, _, fields = event
        self._write(source, fields, fields["event_id"])

    def _write(self, topic: str, record: dict[str, Any], key: str) -> None:
        # Kept in order by the producer's one sender; what cannot be sent is told by its `stop`.
        value = json.dumps(record).encode()
        headers = self.deployer.signed(value) if topic == "deploys" else []
        sending = asyncio.ensure_future(self.producer.send(f"{self.asked.prefix}.{topic}", value, key=key.encode(), headers=headers))
        sending.add_done_callback(lambda done: done.exception())

    async def past(self) -> None:
        """Write the hours before now."""
        now_ms = time.time_ns() // 1_000_000
        start_ms = now_ms - round(self.asked.hours * 3_600_000)
        newest_ms = await self._newest_ms()
        if newest_ms is None:
            self.deployer.deployed_long_ago(start_ms - 3_600_000)
        else:
            # A shop that was started again goes on where its topics end: nothing happens twice.
            start_ms = max(start_ms, newest_ms // 1000 * 1000 + 1000)
        before = History(self.world, start_ms, now_ms, self.asked.orders)
        before.order_ahead()
        for second_ms in range(start_ms, before.end_ms, 1000):
            if self.over.is_set():
                return
            await self._write_all(before.second(second_ms))
            if (second_ms - start_ms) % 600_000 == 0:
                _say(f"past: {100 * (second_ms - start_ms) / max(1, now_ms - start_ms):.0f} %")
        # What happened while that was written.
        second_ms = before.end_ms
        while second_ms < time.time_ns() // 1_000_000 - 1000 and not self.over.is_set():
            await self._write_all(before.second(second_ms))
            second_ms += 1000
        await self.producer.flush()

    async def _newest_ms(self) -> int | None:
        """Find the time of the newest order that stands in its topic; None: there is none."""
        topic = f"{self.asked.prefix}.orders"
        async with AIOKafkaConsumer(bootstrap_servers=self.asked.bootstrap, enable_auto_commit=False) as consumer:
            places = [TopicPartition(topic, number) for number in sorted(await self.producer.partitions_for(topic))]
            consumer.assign(places)
            ends = {place: end for place, end in (await consumer.end_offsets(places)).items() if end}
            found = []
            for place, end in ends.items():
                consumer.seek(place, end - 1)
                found.append((await consumer.getone(place)).timestamp)
        return max(found, default=None)

    async def _write_all(self, events: Iterable[tuple[str, int, dict[str, Any]]]) -> None:
        for source, ts_ms, fields in events:
            # With the time that it happened, as a broker would have it.
            await self.producer.send(f"{self.asked.prefix}.{source}", json.dumps(fields).encode(), key=fields["event_id"].encode(), timestamp_ms=ts_ms)

    async def run(self) -> None:
        """Open the shop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.over.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.over.set)
        await self.past()
        async with ClientSession(timeout=ClientTimeout(10.0), connector=TCPConnector(limit=4 * AT_ONCE)) as session:
            runners = []
            for name, app in {**services(self.world, self.tell, session, self._url), "deployer": self.deployer.app}.items():
                runner = web.AppRunner(app, access_log=None)
                await runner.setup()
                host, port = (self.asked.host, self.asked.port) if name == "deployer" else (HOST, 0)
                site = web.TCPSite(runner, host, port)
                await site.start()
                self.ports[name] = runner.addresses[0][1]
                runners.append(runner)
            _say("open: " + json.dumps({name: self._url(name) for name in self.ports}))
            breaking = asyncio.ensure_future(self._break()) if self.asked.break_after is not None else None
            await self._customers(session)
            if breaking is not None:
                breaking.cancel()
            for runner in runners:
                await runner.cleanup()

    async def _break(self) -> None:
        """Let a bad version out after a while, as somebody might who does not know better."""
        await asyncio.sleep(self.asked.break_after)
        service, version, region = BAD
        self.deployer.deploy(service, version, [region], {"author": "mallory", "approvals": 1})
        _say(f"broken: {service} {version} is live in {region}")

    async def _customers(self, session: ClientSession) -> None:
        """Visitors, as many a second as it takes, one not caring for the other."""
        free, under_way = asyncio.Semaphore(AT_ONCE), set[asyncio.Task[None]]()
        next_s = time.monotonic()
        while not self.over.is_set():
            next_s += self.world.chance.exponential(1.0 / (self.asked.orders * VISITS_PER_ORDER))
            if (wait_s := next_s - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), wait_s)
            await free.acquire()
            visit = asyncio.ensure_future(self._visit(session))
            under_way.add(visit)
            visit.add_done_callback(under_way.discard)
            visit.add_done_callback(lambda _: free.release())
            for event in self.world.delivered(time.time_ns() // 1_000_000):
                self.tell(event)
        await asyncio.gather(*under_way)

    async def _visit(self, session: ClientSession) -> None:
        region = self.world.region()
        try:
            async with session.get(f"{self._url('storefront')}/{region}") as page:
                minutes = (await page.json())["minutes"] if page.status == 200 else math.inf
            if self.world.orders(minutes):
                async with session.post(f"{self._url('storefront')}/{region}/orders", json={"minutes": minutes}) as ordered:
                    await ordered.read()
        except (ClientError, TimeoutError) as error:
            _say(f"a customer left: {error!r}")

    def _url(self, service: str) -> str:
        return f"http://{HOST}:{self.ports[service]}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="A small shop that writes to Kafka what its customers feel.")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="brokers of Kafka")
    parser.add_argument("--prefix", default="shop", help="its topics begin with it")
    parser.add_argument("--host", default=HOST, help="address that the deployer listens on; the services stay on the loopback")
    parser.add_argument("--port", type=int, default=8090, help="of the deployer")
    parser.add_argument("--orders", type=float, default=50.0, help="orders a second while all is well")
    parser.add_argument("--hours", type=float, default=3.0, help="of its past")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--secret", default=os.environ.get("DEPLOYER_SECRET"), help="what Rollguard's calls are signed with (whsec_…); or DEPLOYER_SECRET")
    parser.add_argument("--secret-file", type=Path, help="a file in which it stands")
    parser.add_argument("--break-after", type=float, metavar="SECONDS", help="deploy promises 2.0, which promises too long, in eu-west so long after opening")
    asked = parser.parse_args()
    if asked.secret_file is not None:
        asked.secret = asked.secret_file.read_text(encoding="utf-8").strip()
    if not asked.secret:
        parser.error("a secret is needed: --secret, --secret-file, or DEPLOYER_SECRET")
    async with AIOKafkaProducer(bootstrap_servers=asked.bootstrap, linger_ms=5, max_batch_size=262_144) as producer:
        await Shop(asked, producer).run()


if __name__ == "__main__":
    asyncio.run(main())
