"""Stretches of partitions by offset, one after the other, for whoever has no loop of its own. Joins no group, commits nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import aiokafka.errors
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from rollguard.streams.kafka.clients import Access
from rollguard.streams.kafka.errors import CLIENT_ERRORS, explained
from rollguard.streams.kafka.records import Bounds
from rollguard.streams.kafka.topics import Topics

__all__ = ["Stretches"]

T = TypeVar("T")

#: A read fails when nothing came for so long.
STILL_MS = 10_000
#: Records given at once.
MOST = 2_000


class Stretches:
    """A consumer for any partition; each goes on where it was last read, without a seek. Not for two threads at once.

    Parameters
    ----------
    access : Access
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._consumers: dict[TopicPartition, AIOKafkaConsumer] = {}
        #: Fetched already, but beyond what was asked for.
        self._ahead: dict[TopicPartition, list[ConsumerRecord]] = {}
        self._at: dict[TopicPartition, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; a later read makes new ones."""
        if self._loop is None:
            return
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()
        self._loop, self._stack = None, AsyncExitStack()
        self._consumers, self._ahead, self._at = {}, {}, {}

    def read(self, place: TopicPartition, first: int, end: int) -> Iterator[Sequence[ConsumerRecord]]:
        """Records of a partition from offset `first` up to, not with, `end`, in batches.

        Raises
        ------
        KafkaError
            If they cannot be read. Some may be gone: those are left out.
        """
        at = first
        if self._at.get(place) != first:
            self._run(self._seek(place, first))
        while at < end:
            records = self._ahead.pop(place, None) or self._run(self._more(place, at))
            taken = [record for record in records if record.offset < end]
            if len(taken) < len(records):
                self._ahead[place] = records[len(taken) :]
                at = end
            else:
                at = max(at, self._run(self._position(place)))
            self._at[place] = at
            if taken:
                yield taken

    def bounds(self, topic: str) -> list[Bounds]:
        """Offsets of each partition's first record, and of the next that will be written.

        Raises
        ------
        KafkaError
            If there is no such topic, or it may not be read.
        """
        return self._run(self._bounds(topic))

    def since(self, topic: str, ms: int) -> list[int | None]:
        """Offset of each partition's first record at or after a time of the log's own; None: there is none."""
        return self._run(self._since(topic, ms))

    async def _bounds(self, topic: str) -> list[Bounds]:
        async with Topics.of(self._access) as topics:
            seen = await topics.require([topic])
        places = [TopicPartition(topic, number) for number in range(seen[topic].partitions)]
        consumer = await self._consumer(places[0])
        try:
            firsts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        except CLIENT_ERRORS as error:
            raise explained(error, f"topic {topic}") from error
        return [Bounds(firsts[place], ends[place]) for place in places]

    async def _since(self, topic: str, ms: int) -> list[int | None]:
        places = [TopicPartition(topic, number) for number in range(len(await self._bounds(topic)))]
        consumer = await self._consumer(places[0])
        try:
            found = await consumer.offsets_for_times(dict.fromkeys(places, max(ms, 0)))
        except CLIENT_ERRORS as error:
            raise explained(error, f"topic {topic}") from error
        return [None if found.get(place) is None else found[place].offset for place in places]

    async def _consumer(self, place: TopicPartition) -> AIOKafkaConsumer:
        if place not in self._consumers:
            consumer = await self._stack.enter_async_context(self._access.started(self._access.consumer(auto_offset_reset="earliest")))
            consumer.assign([place])
            self._consumers[place] = consumer
        return self._consumers[place]

    async def _seek(self, place: TopicPartition, offset: int) -> None:
        consumer = await self._consumer(place)
        consumer.seek(place, offset)
        self._ahead.pop(place, None)
        self._at[place] = offset

    async def _more(self, place: TopicPartition, at: int) -> list[ConsumerRecord]:
        consumer, where = await self._consumer(place), f"topic {place.topic}"
        try:
            found: dict[Any, list[ConsumerRecord]] = await consumer.getmany(place, timeout_ms=STILL_MS, max_records=MOST)
            position = await consumer.position(place)
        except CLIENT_ERRORS as error:
            raise explained(error, where) from error
        if not found.get(place) and position <= at:
            raise explained(aiokafka.errors.RequestTimedOutError(), where)
        return found.get(place, [])

    async def _position(self, place: TopicPartition) -> int:
        # Marks of transactions, and what was compacted away, are passed over without a record.
        position: int = await (await self._consumer(place)).position(place)
        ahead = self._ahead.get(place)
        return ahead[0].offset if ahead else position

    def _run(self, work: Awaitable[T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)
