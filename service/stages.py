"""A stage as a service of the worker: its clients, its shell, and what happens to it when Kafka or the database is away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from mode import Service

from rollguard.config import RollguardError
from rollguard.streams.kafka import CLIENT_ERRORS, Access, KafkaLogs, Logs, Shell, Topics, Work, Works, group_of, pauses

__all__ = ["StageService", "now_ms"]

log = structlog.get_logger()

#: Brokers that are away are told good-bye no longer than this.
LEAVE_S = 10.0
#: Between two looks at where the logs end, in seconds.
MEASURE_S = 5.0


def now_ms() -> int:
    """Read the clock on the wall, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, shell: Shell[Any]) -> None:
        self._shell = shell

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._shell.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        log.info("partitions_assigned", partitions=[f"{each.topic}[{each.partition}]" for each in sorted(assigned)])
        self._shell.assigned(assigned)


class StageService(Service):
    """Runs one stage for as long as the worker lives.

    Parameters
    ----------
    name : str
        Of the stage; its consumer group ends with it.
    access : Access
    topics : sequence of str
        What it reads.
    works : callable
        Makes the works from the logs.
    most_records : int
        Records taken at once.
    on_cycle : callable, optional
        Called after each cycle, with the works by partition.
    """

    mundane_level = "debug"

    def __init__(
        self,
        name: str,
        access: Access,
        topics: Sequence[str],
        works: Callable[[Logs], Works[Any]],
        *,
        most_records: int,
        on_cycle: Callable[[str, Mapping[TopicPartition, Work[Any]]], None] | None = None,
    ) -> None:
        self.name = name
        self.access = access
        self.topics = tuple(topics)
        self.works = works
        self.most_records = most_records
        self.on_cycle = on_cycle
        self.shell: Shell[Any] | None = None
        #: What keeps it from running now.
        self.trouble: str | None = None
        #: Where each partition ends, as the brokers last said.
        self.ends: Mapping[TopicPartition, int] = {}
        #: When it last came round.
        self.cycled_ms: int | None = None
        self._consumer: Any = None
        self._away = asyncio.Event()
        super().__init__()

    @property
    def ready(self) -> bool:
        """Whether it is a member of its group and nothing is wrong."""
        return self.shell is not None and self.trouble is None

    @property
    def open(self) -> Mapping[TopicPartition, Work[Any]]:
        """The works that this worker has now, by partition."""
        return {} if self.shell is None else dict(self.shell.open)

    @property
    def holds(self) -> bool:
        """Whether a partition of it is ours."""
        return self.shell is not None and bool(self.shell.mine)

    @Service.task
    async def _measure(self) -> None:
        """Ask now and then where the logs end."""
        while not self.should_stop:
            self.ends = await self._asked_ends()
            await self.sleep(MEASURE_S)

    async def _asked_ends(self) -> Mapping[TopicPartition, int]:
        """Ask where the logs end that are read here; empty: nobody says."""
        if self._consumer is None or not (partitions := list(self.open)):
            return {}
        try:
            found: Mapping[TopicPartition, int] = await asyncio.wait_for(self._consumer.end_offsets(partitions), MEASURE_S)
        except CLIENT_ERRORS:
            return {}
        return found

    @Service.task
    async def _run(self) -> None:
        # Of every line that is logged in its course.
        structlog.contextvars.bind_contextvars(stage=self.name)
        waits = pauses()
        while not self.should_stop:
            try:
                await self._once()
                waits = pauses()
            except RollguardError as error:
                if str(error) != self.trouble:
                    log.error("stage_stands_still", error=str(error))  # noqa: TRY400 - the text says it all
                self.trouble = str(error)
                # What waiting does not mend, a person may: a topic, a permission, a password.
                await self.sleep(next(waits))

    async def on_stop(self) -> None:
        """End after the cycle under way, and leave the group, so that the others need not wait until we are missed."""
        if self.shell is not None:
            await self.shell.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._away.wait(), LEAVE_S)

    async def _once(self) -> None:
        """Connect and go on until the shell ends."""
        access, group = self.access, group_of(self.access.kafka, self.name)
        self._away.clear()
        async with AsyncExitStack() as stack:
            stack.callback(self._away.set)
            topics = await stack.enter_async_context(Topics.of(access))
            await topics.require(self.topics)
            if (refused := await topics.may_join(group)) is not None:
                raise refused
            producer = await stack.enter_async_context(access.started(access.producer()))
            admin = await stack.enter_async_context(access.started(access.admin()))
            # The last, so that it is the first to be closed: it leaves the group, for which others wait.
            consumer = await stack.enter_async_context(access.started(access.consumer(group=group, auto_offset_reset="earliest")))
            if self.should_stop:
                # The signal came while it connected: nobody will stop a shell that begins now.
                return
            logs = KafkaLogs(access, consumer, producer, admin, group)
            self.shell = Shell(consumer, self.works(logs), now_ms=now_ms, most_records=self.most_records, on_cycle=self._cycle)
            stack.callback(self._gone)
            self._consumer = consumer
            consumer.subscribe(self.topics, listener=_Rebalances(self.shell))
            await self.shell.run()

    def _gone(self) -> None:
        self.shell, self._consumer, self.ends = None, None, {}

    def _cycle(self, works: Mapping[TopicPartition, Work[Any]]) -> None:
        self.cycled_ms = now_ms()
        if self.trouble is not None:
            log.info("stage_goes_on")
            self.trouble = None
        if self.on_cycle is not None:
            self.on_cycle(self.name, works)
