"""A stretch of time of live topics, read as a replay reads files. Joins no group, commits nothing, writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiokafka.errors
import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from rollguard.config import Settings, rfc3339
from rollguard.replay.reader import LINES, Lines, Reader
from rollguard.streams.kafka import CLIENT_ERRORS, Access, Topics, explained

__all__ = ["Window", "open_window"]

T = TypeVar("T")
Run = Callable[[Awaitable[T]], T]

#: A read fails when nothing came for so long.
STILL_MS = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """What a replay reads of topics.

    Attributes
    ----------
    events : dict of str to list of Reader
        By source, one for each partition.
    changes : Reader
        All of the topic of changes: a change of hours ago may be to blame.
    start_ms : int
        Where it begins: as asked for, or later where older records are no longer there.
    notes : tuple of str
    """

    events: dict[str, list[Reader]]
    changes: Reader
    start_ms: int
    notes: tuple[str, ...]


class _Part:
    """Records of one partition between two offsets; see `Reader`."""

    lax = False
    damage: str | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, consumer: AIOKafkaConsumer, place: TopicPartition, first: int, end: int) -> None:
        self.name: str = place.topic
        self.partition: int | None = place.partition
        self.done = 0
        self.total = end - first
        self._loop = loop
        self._consumer = consumer
        self._place = place
        self._first = first
        self._end = end

    def __iter__(self) -> Iterator[Lines]:
        """Give batches of records, in order."""
        at = self._first
        while at < self._end:
            records, at = self._loop.run_until_complete(self._more())
            self.done = min(at, self._end) - self._first
            if records:
                yield Lines(
                    [record.value or b"" for record in records],
                    np.array([record.offset for record in records], dtype=np.int64),
                    np.array([record.timestamp for record in records], dtype=np.int64),
                    [record.headers for record in records],
                )

    async def _more(self) -> tuple[list[ConsumerRecord], int]:
        where = f"topic {self.name}"
        try:
            found = await self._consumer.getmany(self._place, timeout_ms=STILL_MS, max_records=LINES)
            at: int = await self._consumer.position(self._place)
        except CLIENT_ERRORS as error:
            raise explained(error, where) from error
        if not found and at < self._end:
            raise explained(aiokafka.errors.RequestTimedOutError(), where)
        return [record for record in found.get(self._place, ()) if record.offset < self._end], at


@contextmanager
def open_window(settings: Settings, access: Access, start_ms: int) -> Iterator[Window]:
    """Read topics from a time on, for as long as the block runs.

    Parameters
    ----------
    settings : Settings
        Of the live service: its topics.
    access : Access
    start_ms : int
        Event time. An event may be ahead of the topic's own time by the source's `ahead`, so that reading begins as much earlier. Every topic ends
        where it ends now.

    Yields
    ------
    Window

    Raises
    ------
    KafkaError
        If a topic is missing or may not be read, or the brokers are away; also while its readers are read.
    """
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()
    try:
        yield loop.run_until_complete(_opened(stack, loop, settings, access, start_ms))
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


async def _opened(stack: AsyncExitStack, loop: asyncio.AbstractEventLoop, settings: Settings, access: Access, start_ms: int) -> Window:
    topics = await stack.enter_async_context(Topics.of(access))
    seen = await topics.require(sorted({*(source.topic for source in settings.sources.values()), settings.changes.topic}))
    events: dict[str, list[Reader]] = {}
    notes: list[str] = []
    begins_ms = start_ms
    for name, source in sorted(settings.sources.items()):
        consumer = await _consumer(stack, access)
        places = [TopicPartition(source.topic, number) for number in range(seen[source.topic].partitions)]
        try:
            firsts = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
            found = await consumer.offsets_for_times(dict.fromkeys(places, max(start_ms - source.ahead_ms, 0)))
        except CLIENT_ERRORS as error:
            raise explained(error, f"topic {source.topic}") from error
        offsets = {place: ends[place] if found.get(place) is None else found[place].offset for place in places}
        oldest = [found[place].timestamp for place in places if firsts[place] and found.get(place) is not None and found[place].offset == firsts[place]]
        if oldest and max(oldest) > start_ms:
            begins_ms = max(begins_ms, *oldest)
            notes.append(f"{source.topic}: its oldest records are of {rfc3339(max(oldest))}; what was before has been deleted, so the replay begins there.")
        events[name] = _parts(loop, consumer, places, offsets, ends)
    consumer = await _consumer(stack, access)
    places = [TopicPartition(settings.changes.topic, number) for number in range(seen[settings.changes.topic].partitions)]
    try:
        firsts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    except CLIENT_ERRORS as error:
        raise explained(error, f"topic {settings.changes.topic}") from error
    return Window(events, _Chain(_parts(loop, consumer, places, firsts, ends)), begins_ms, tuple(notes))


async def _consumer(stack: AsyncExitStack, access: Access) -> AIOKafkaConsumer:
    return await stack.enter_async_context(access.started(access.consumer(auto_offset_reset="earliest")))


def _parts(
    loop: asyncio.AbstractEventLoop,
    consumer: AIOKafkaConsumer,
    places: Sequence[TopicPartition],
    firsts: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> list[Reader]:
    consumer.assign(places)
    for place in places:
        consumer.seek(place, firsts[place])
    return [_Part(loop, consumer, place, firsts[place], ends[place]) for place in places]


class _Chain:
    """Several partitions one after the other; see `Reader`. Their order is for those who do not care."""

    lax = False
    damage: str | None = None

    def __init__(self, parts: Sequence[Reader]) -> None:
        self.name = parts[0].name
        self.partition = parts[0].partition
        self.done = 0
        self.total = sum(part.total for part in parts)
        self._parts = parts

    def __iter__(self) -> Iterator[Lines]:
        for part in self._parts:
            yield from part
        self.done = self.total
