"""Workers that are killed, stopped, cut off and robbed of their partitions: what they find is what an undisturbed one finds."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from rollguard.streams import Block, BlockCodec
from tests.live.servers import Broker, Names, until
from tests.live.workers import Process, Service, assert_same_lines, shop_topics
from tests.properties import shop as shops
from tests.servers.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]

Figure = Callable[[str], None]
CONFIG = 'mode: auto\nrespond: {trust: granted, targets: {all: {kind: command, argv: ["false"], cas: native}}, target: all}\n' + shops.CONFIG
PARTITIONS = 4
#: Of the shop's last minutes not every partition speaks: they stay out of the comparison.
TAIL_MS = 5 * shops.MINUTE_MS
#: Seconds for which a stopped worker stands: longer than its session.
STANDS_S = 15.0
#: Nobody who takes over takes longer.
TAKEOVER_S = 60.0


class Trial:
    """A shop whose events come at a pace, a service that is disturbed meanwhile, and an undisturbed one to hold it against."""

    def __init__(self, broker: Broker, names: Names, folder: Path, *, hours: float = 3.0, speed: int, store: str = "") -> None:
        self.broker = broker
        self.names = names
        self.folder = folder
        shop = shops.a_shop(hours=hours)
        self.until_ms = shop.end_ms - TAIL_MS
        # Changes come first: at this pace a second in which nobody reads them is minutes, in which nothing was known of them.
        self.case = shops.write(folder / "shop", replace(shop, deploys=[]), end_ms=shop.end_ms)
        shop_topics(broker, names, PARTITIONS)
        self.service = Service(broker, folder / "disturbed", names, CONFIG, store)
        self.service.send(names.topic("deploys"), shop.deploys)
        self.service.worker("--only", "changes")
        until(lambda: self.service.end_of(self.service.topic("signals")) >= 2 * len(shop.deploys), "all changes are known")
        self.service.processes.pop().end()
        self.producing = self.service.produce(self.case, str(speed))
        self.service.await_records(PARTITIONS)

    def ended(self) -> None:
        """Wait until all events are written and the disturbed service has come to their end, then compare."""
        self.producing.done()
        self.service.await_frontier(self.until_ms, seconds=180.0)
        for process in self.service.processes:
            if process.runs:
                assert process.end() == 0
        with Service(self.broker, self.folder / "calm", self.names, CONFIG) as calm:
            calm.ready()
            calm.await_frontier(self.until_ms)
            self.compare(calm)

    def compare(self, calm: Service) -> None:
        """Aggregates, ids and words of signals, and incidents are the same."""
        bucket_ms = calm.settings.bucket_ms
        found, expected = (
            {cell: value for cell, value in service.sums().items() if (cell[0] + 1) * bucket_ms <= self.until_ms} for service in (self.service, calm)
        )
        assert len(expected) > 1000
        assert found == expected
        signals, calm_signals = self.service.signals(self.until_ms), calm.signals(self.until_ms)
        assert sum(not key.startswith(b"tick/") for key in calm_signals) > 3
        assert signals.keys() == calm_signals.keys()
        timeline, calm_timeline = self.service.timeline(self.until_ms), calm.timeline(self.until_ms)
        assert any(b'"rollback"' in line for line in calm_timeline)
        assert_same_lines(timeline, calm_timeline)


@contextmanager
def trial(broker: Broker, names: Names, folder: Path, *, hours: float = 3.0, speed: int, store: str = "") -> Iterator[Trial]:
    """A trial that leaves no process behind."""
    made = Trial(broker, names, folder, hours=hours, speed=speed, store=store)
    with made.service:
        yield made


def partitions_of(worker: Process) -> set[tuple[str, int]]:
    """The events' partitions that a worker was last given, by its own words."""
    given: set[tuple[str, int]] = set()
    for line in worker.said.splitlines():
        if '"partitions_assigned"' in line and (told := msgspec.json.decode(line[line.index("{") :]))["stage"] == "ingest":
            given = {(name.rpartition("[")[0], int(name.rpartition("[")[2][:-1])) for name in told["partitions"]}
    return given


def takeover_s(service: Service, killed_ms: float, partitions: set[tuple[str, int]]) -> float:
    """Seconds from a kill until the first frontier of one of its partitions moved again."""
    codec = BlockCodec(service.settings)
    sources: dict[str, str] = {source.topic: name for name, source in service.settings.sources.items()}
    wanted = {(sources[topic], number) for topic, number in partitions}
    for record in service.read(service.topic("blocks")):
        block = codec.decode(record.value) if record.timestamp > killed_ms else None
        if isinstance(block, Block) and (block.source, block.partition) in wanted:
            return float(record.timestamp - killed_ms) / 1000
    return float("inf")


def kill(service: Service, chance: random.Random) -> tuple[float, set[tuple[str, int]]]:
    """Kill one of two ready workers at some moment; when, and what it had."""
    workers = [each for each in service.processes if each.port and each.runs]
    assert len(workers) == 2
    for each in workers:
        until(lambda each=each: each.ready, "both workers are ready")  # type: ignore[misc]
    time.sleep(chance.uniform(0.5, 4.0))
    victim = chance.choice(workers)
    had = partitions_of(victim)
    killed_ms = time.time() * 1000
    victim.signal(SIGKILL)
    victim.process.wait()
    return killed_ms, had


def waited(met: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true in time."""
    try:
        until(met, "", seconds)
    except TimeoutError:
        return False
    return True


def test_a_kill_loses_and_doubles_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    kills(broker, names, tmp_path, figure, n=1, speed=700)


@pytest.mark.live_long
def test_twenty_kills_lose_and_double_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    kills(broker, names, tmp_path, figure, n=20, speed=60)


def kills(broker: Broker, names: Names, folder: Path, figure: Figure, *, n: int, speed: int) -> None:
    """Kill one of two workers again and again, and measure how long its partitions stand until the other has them; then a new one begins."""
    chance = random.Random(n)  # noqa: S311 - a story that can be told again
    with trial(broker, names, folder, speed=speed) as it:
        it.service.ready()
        took = []
        for _ in range(n):
            it.service.worker()
            when, had = kill(it.service, chance)
            # What the producer is through with, nobody has to take over.
            if had and it.producing.runs and waited(lambda when=when, had=had: takeover_s(it.service, when, had) < float("inf"), TAKEOVER_S):  # type: ignore[misc]
                took.append(takeover_s(it.service, when, had))
        it.ended()
        took.sort()
    figure(f"{n} kills; seconds until a frontier moved again, {len(took)} times: " + ", ".join(f"{each:.1f}" for each in took))


@pytest.mark.live_long
def test_a_rebalance_every_five_seconds_loses_and_doubles_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    with trial(broker, names, tmp_path, speed=120) as it:
        it.service.ready()
        it.service.ready()
        joins = rebalances(it.service, seconds=60.0, every_s=5.0)
        it.ended()
    figure(f"{joins} times somebody joined or left each group within a minute")


def rebalances(service: Service, *, seconds: float, every_s: float) -> int:
    """Let a stranger join each stage's group, take its share and do nothing with it, and leave again; how often."""
    topics = {
        "ingest": [source.topic for source in service.settings.sources.values()],
        "detect": [service.topic("blocks")],
        "desk": [service.topic("signals")],
    }
    turns = round(seconds / every_s)

    async def whole() -> None:
        for _ in range(turns // 2):
            async with AsyncExitStack() as stack:
                for stage, reads in topics.items():
                    consumer = AIOKafkaConsumer(
                        *reads, bootstrap_servers=service.broker.bootstrap, group_id=f"{service.names.group}.{stage}", enable_auto_commit=False
                    )
                    await stack.enter_async_context(consumer)
                await asyncio.sleep(every_s)
            await asyncio.sleep(every_s)

    thread = threading.Thread(target=lambda: asyncio.run(whole()))
    thread.start()
    thread.join()
    return turns


@pytest.mark.live_long
def test_a_broker_that_restarts_loses_and_doubles_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    with trial(broker, names, tmp_path, speed=150) as it:
        it.service.ready()
        it.service.ready()
        time.sleep(10.0)
        began = time.monotonic()
        broker.restart()
        away_s = time.monotonic() - began
        time.sleep(10.0)
        broker.kill()
        broker.start()
        it.ended()
    figure(f"away for {away_s:.0f} s, and once more by a kill")


@pytest.mark.live_long
def test_a_worker_that_wakes_after_it_lost_its_partitions_changes_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Figure) -> None:
    wakes(broker, names, tmp_path, figure)


@pytest.mark.live_long
def test_a_standby_desk_takes_over_on_postgresql_and_the_stale_one_is_fenced(
    broker: Broker, names: Names, tmp_path: Path, figure: Figure, postgres: str
) -> None:
    wakes(broker, names, tmp_path, figure, store=postgres)


def wakes(broker: Broker, names: Names, folder: Path, figure: Figure, *, store: str = "") -> None:
    """Stop the first worker, which has detect and desk, let the second take over, wake the first; then the other way round."""
    with trial(broker, names, folder, speed=120, store=store) as it:
        workers = [it.service.ready(), it.service.ready()]
        time.sleep(5.0)
        for sleeper in workers:
            sleeper.signal(SIGSTOP)
            time.sleep(STANDS_S)
            sleeper.signal(SIGCONT)
            time.sleep(10.0)
        it.ended()
        lost = sum('"partition_lost"' in each.said or "unkept" in each.said for each in workers)
    figure(f"two workers stood for {STANDS_S:.0f} s each; {lost} of them noticed by a refused write")
