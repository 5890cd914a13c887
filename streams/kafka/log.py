"""The logs of a real cluster, as a stage's work asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiokafka.errors as theirs
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from rollguard.streams.kafka.clients import Access
from rollguard.streams.kafka.errors import CLIENT_ERRORS, explained
from rollguard.streams.kafka.records import Bounds, Outgoing
from rollguard.streams.kafka.shell import LostError

__all__ = ["KafkaLogs"]

#: What a group answers to one that is no longer its member.
NO_MEMBER = (theirs.CommitFailedError, theirs.IllegalGenerationError, theirs.UnknownMemberIdError, theirs.RebalanceInProgressError, theirs.IllegalStateError)
#: A read of a log's tail ends when nothing came for so long.
STILL_MS = 10_000
#: A partition whose leader is away keeps nobody waiting longer, in seconds: the other partitions are not read meanwhile.
END_S = 2.0


class KafkaLogs:
    """Logs of a cluster, over clients that are started.

    Parameters
    ----------
    access : Access
    consumer : AIOKafkaConsumer
        Of the stage.
    producer : AIOKafkaProducer
    admin : AIOKafkaAdminClient
    group : str
        Of the consumer.
    """

    def __init__(self, access: Access, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient, group: str) -> None:
        self._access = access
        self._consumer = consumer
        self._producer = producer
        self._admin = admin
        self._group = group

    async def append(self, records: Sequence[Outgoing]) -> dict[str, int]:
        """Append records in order and wait until all brokers in sync have them; see `Logs`."""
        async with _told(f"topics {self._access.kafka.prefix}.*"):
            sent = [
                await self._producer.send(f"{self._access.kafka.prefix}.{each.topic}", value=each.value, key=each.key, headers=list(each.headers))
                for each in records
            ]
            behind: dict[str, int] = {}
            for each, done in zip(records, await asyncio.gather(*sent), strict=True):
                behind[each.topic] = max(behind.get(each.topic, 0), done.offset + 1)
            return behind

    async def write(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append records to a topic that is not our own, whatever they say of theirs, and wait until all brokers in sync have them."""
        async with _told(f"topic {topic}"):
            sent = [await self._producer.send(topic, value=each.value, key=each.key, headers=list(each.headers)) for each in records]
            await asyncio.gather(*sent)

    async def tail(self, topic: str, since: int) -> list[ConsumerRecord]:
        """Read one of our topics from an offset to its present end; see `Logs`."""
        partition = TopicPartition(f"{self._access.kafka.prefix}.{topic}", 0)
        found: list[ConsumerRecord] = []
        async with self._access.started(self._access.consumer(auto_offset_reset="earliest")) as consumer:
            consumer.assign([partition])
            first, end = (await consumer.beginning_offsets([partition]))[partition], (await consumer.end_offsets([partition]))[partition]
            consumer.seek(partition, max(since, first))
            while await consumer.position(partition) < end:
                batches = await consumer.getmany(timeout_ms=STILL_MS)
                if not batches:
                    raise explained(theirs.RequestTimedOutError(), f"topic {partition.topic}")
                found += [record for record in batches[partition] if record.value is not None and record.offset < end]
        return found

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Ask where partitions begin and end now; see `Logs`."""
        async with _told(f"topics {', '.join(sorted({each.topic for each in partitions}))}"):
            first = await self._consumer.beginning_offsets(partitions)
            end = await self._consumer.end_offsets(partitions)
            return {each: Bounds(first[each], end[each]) for each in partitions}

    async def at_end(self, partition: TopicPartition, offset: int) -> bool:
        """Ask whether nothing more is to be read; see `Logs`."""
        try:
            end: int = (await asyncio.wait_for(self._consumer.end_offsets([partition]), END_S))[partition]
            # Marks of transactions are passed over without a record.
            position: int = await self._consumer.position(partition)
            return max(offset, position) >= end
        except CLIENT_ERRORS:
            return False

    async def count(self, topic: str) -> int:
        """Ask how many partitions a topic has now; see `Logs`."""
        async with _told(f"topic {topic}"):
            # The consumer asks the brokers again every few seconds (`metadata_max_age_ms`), since it has to see new partitions itself.
            return len(self._consumer.partitions_for_topic(topic) or ())

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        """Ask what was committed of partitions, with its metadata, which the consumer's own `committed` drops; see `Logs`."""
        async with _told(f"group {self._group}"):
            found: dict[TopicPartition, Any] = await self._admin.list_consumer_group_offsets(self._group, partitions=list(partitions))
            return {each: (known.offset, known.metadata) for each, known in found.items() if known.offset >= 0}

    async def commit(self, partition: TopicPartition, offset: int, metadata: str) -> None:
        """Commit as a member of the group; see `Logs`."""
        try:
            async with _told(f"group {self._group}"):
                await self._consumer.commit({partition: OffsetAndMetadata(offset, metadata)})
        except NO_MEMBER as error:
            raise LostError(f"{partition.topic}[{partition.partition}]: the group {self._group} has given it to another ({type(error).__name__}).") from error


@asynccontextmanager
async def _told(where: str) -> AsyncIterator[None]:
    """Turn what a client raises into one line, but for a lost membership."""
    try:
        yield
    except NO_MEMBER:
        raise
    except CLIENT_ERRORS as error:
        raise explained(error, where) from error
