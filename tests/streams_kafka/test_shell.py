"""The shell around a stage: nothing is read before what came out is durable, and a partition is given away acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import RollguardError
from rollguard.streams.kafka import LostError, Shell

ONE, OTHER = TopicPartition("orders", 0), TopicPartition("orders", 1)


class AwayError(RollguardError):
    """Something that may succeed later."""

    code = "away"
    recoverable = True


def records(partition: TopicPartition, first: int, n: int) -> list[ConsumerRecord]:
    return [ConsumerRecord(partition.topic, partition.partition, at, 0, 0, None, b"", None, 0, 0, ()) for at in range(first, first + n)]


class World:
    """A consumer of two partitions without end, works that note what is asked of them, and a clock of their waiting."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.positions = {ONE: 0, OTHER: 0}
        self.waited: list[float] = []
        self.on_write: Callable[[TopicPartition], Awaitable[None]] | None = None
        self.refuse: dict[str, list[Exception]] = {}
        self.closed = False

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        del partitions, timeout_ms, max_records
        await asyncio.sleep(0)
        self.did.append(("read",))
        found = {place: records(place, at, 3) for place, at in self.positions.items()}
        self.positions = {place: at + 3 for place, at in self.positions.items()}
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def assignment(self) -> Collection[TopicPartition]:
        return self.positions

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Work]:
        for partition in partitions:
            self.done("open", partition)
        return {partition: Work(self, partition) for partition in partitions}

    def done(self, what: str, partition: TopicPartition, *more: Any) -> None:
        assert not self.closed, what
        self.did.append((what, partition.partition, *more))
        if self.refuse.get(what):
            raise self.refuse[what].pop(0)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


class Work:
    """One partition's stage."""

    def __init__(self, world: World, partition: TopicPartition) -> None:
        self.world = world
        self.partition = partition
        self.offset = 10

    def feed(self, records: Sequence[ConsumerRecord], now_ms: int) -> int:
        del now_ms
        assert records[0].offset >= self.offset
        self.offset = records[-1].offset + 1
        return self.offset

    async def write(self, out: int) -> None:
        self.world.done("write", self.partition, out)
        if self.world.on_write is not None:
            await self.world.on_write(self.partition)

    async def rest(self, now_ms: int) -> int | None:
        del now_ms
        return None

    async def acknowledge(self, now_ms: int, *, last: bool) -> None:
        del now_ms
        self.world.done("acknowledge", self.partition, self.offset, last)


async def _here(what: Callable[..., Any], *given: Any) -> Any:
    return what(*given)


async def comes_true(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the shell tells nobody
        await asyncio.sleep(0)


def shell_of(world: World) -> Shell[int]:
    shell: Shell[int] = Shell(world, world, now_ms=lambda: 0, sleep=world.sleep, aside=_here)
    shell.assigned([ONE, OTHER])
    return shell


def run(world: World, until: Callable[[], bool]) -> None:
    """Let a shell run until something is true, then stop it, and close what it used."""

    async def whole() -> None:
        shell = shell_of(world)
        running = asyncio.create_task(shell.run())
        await comes_true(until)
        await shell.stop()
        world.closed = True
        await running

    asyncio.run(whole())


def writes(world: World) -> list[tuple[Any, ...]]:
    return [each for each in world.did if each[0] == "write"]


def test_nothing_is_read_while_what_came_out_is_not_durable() -> None:
    world = World()
    let_go = asyncio.Event()

    async def slow(partition: TopicPartition) -> None:
        del partition
        for _ in range(50):
            await asyncio.sleep(0)
        let_go.set()

    world.on_write = slow
    run(world, lambda: len(writes(world)) >= 4)
    reads = [at for at, each in enumerate(world.did) if each == ("read",)]
    for begin, end in pairwise(reads):
        between = [each[0] for each in world.did[begin:end]]
        assert between in (["read"], ["read", "write", "write", "acknowledge", "acknowledge"])


def test_what_fails_for_a_while_is_tried_again_with_longer_pauses_and_written_once() -> None:
    world = World()
    world.refuse["write"] = [AwayError("no broker")] * 4
    run(world, lambda: len(writes(world)) >= 7)
    assert world.waited == [0.5, 1.0, 2.0, 4.0]
    assert writes(world)[:5] == [("write", 0, 13)] * 5


def test_what_does_not_mend_itself_ends_the_shell() -> None:
    world = World()
    world.refuse["write"] = [RollguardError("not allowed", code="denied")]
    with pytest.raises(RollguardError, match="not allowed"):
        asyncio.run(shell_of(world).run())


def test_a_partition_that_was_lost_is_let_go_and_the_others_go_on() -> None:
    world = World()
    world.refuse["write"] = [LostError("given to another")]
    run(world, lambda: len(writes(world)) >= 4)
    assert [each[1] for each in writes(world)][:4] == [0, 1, 1, 1]
    assert {each[1] for each in world.did if each[0] == "acknowledge"} == {1}


def test_a_partition_is_given_away_after_the_cycle_and_acknowledged() -> None:
    world = World()

    async def whole() -> None:
        shell = shell_of(world)
        running = asyncio.create_task(shell.run())
        await comes_true(lambda: len(writes(world)) >= 2)
        await shell.revoked([ONE])
        told = len(world.did)
        await comes_true(lambda: len(writes(world)) >= 4)
        await shell.stop()
        await running
        assert {each[1] for each in world.did[told:] if each[0] != "read"} == {1}

    asyncio.run(whole())
    assert ("acknowledge", 0, 13, True) in world.did


def test_a_shell_that_is_stopped_has_acknowledged_before_its_clients_may_be_closed() -> None:
    world = World()
    run(world, lambda: len(writes(world)) >= 2)
    assert [each for each in world.did if each[-1] is True] == [("acknowledge", n, world.did[-1][2], True) for n in (0, 1)]


def test_what_was_fetched_before_the_seek_is_not_fed_again() -> None:
    world = World()
    run(world, lambda: len(writes(world)) >= 2)
    assert world.did[:3] == [("open", 0), ("open", 1), ("read",)]
    assert writes(world)[0] == ("write", 0, 13)


class Full(World):
    """A consumer that gives out all it has of one partition before it looks at the other one's, as aiokafka's does."""

    def __init__(self) -> None:
        super().__init__()
        self.rested: list[int] = []

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        await asyncio.sleep(0)
        self.did.append(("read",))
        # A look at who had no turn waits for nothing: there may be nothing of theirs.
        assert timeout_ms == 0 or not partitions
        place, n = (partitions or (ONE,))[0], max_records or 0
        at = self.positions[place]
        self.positions[place] = at + n
        return {place: records(place, at, n)}

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Work]:
        return {partition: Noting(self, partition) for partition in partitions}


class Noting(Work):
    """A work that notes when it rests."""

    async def rest(self, now_ms: int) -> int | None:
        assert isinstance(self.world, Full)
        self.world.rested.append(self.partition.partition)
        return await super().rest(now_ms)


def test_a_partition_whose_turn_did_not_come_has_the_next_one_and_does_not_rest_before() -> None:
    world = Full()
    run(world, lambda: len(writes(world)) >= 6)
    assert [each[1] for each in writes(world)][:6] == [0, 1, 0, 1, 0, 1]
    assert world.rested[:6] == [0, 1, 0, 1, 0, 1]


class Quiet(World):
    """A consumer to which nothing comes: a read waits for ever."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        del partitions, timeout_ms, max_records
        self.did.append(("read",))
        await asyncio.Event().wait()
        return {}


def test_partitions_that_come_while_a_read_waits_are_restored_at_once() -> None:
    world = Quiet()

    async def whole() -> None:
        shell: Shell[int] = Shell(world, world, now_ms=lambda: 0, sleep=world.sleep, aside=_here)
        running = asyncio.create_task(shell.run())
        await comes_true(lambda: ("read",) in world.did)
        shell.assigned([ONE, OTHER])
        await comes_true(lambda: shell.open.keys() == {ONE, OTHER})
        await shell.stop()
        await running

    asyncio.run(whole())
    assert world.did[:3] == [("read",), ("open", 0), ("open", 1)]
