"""The newest records of topics, looked at without a group: nothing is joined, committed or created."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from rollguard.streams.kafka.clients import Access
from rollguard.streams.kafka.errors import CLIENT_ERRORS, KafkaError, explained

__all__ = ["RecordSeen", "newest_records"]

#: A read ends when all is there, or after so long: the last place of a partition may hold the mark of a transaction, which is no record.
READ_S = 10.0
STILL_S = 1.0


class RecordSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a topic.

    Attributes
    ----------
    partition, offset : int
    at_ms : int
        Its timestamp, as Kafka has it.
    appended : bool
        Whether the broker set that (LogAppendTime), and not its producer.
    value : bytes or None
    headers : tuple of (str, bytes)
    """

    partition: int
    offset: int
    at_ms: int
    appended: bool
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


async def newest_records(access: Access, partitions: Mapping[str, int], most: int) -> dict[str, list[RecordSeen] | KafkaError]:
    """Read the last records of topics.

    Parameters
    ----------
    access : Access
    partitions : mapping of str to int
        How many partitions each topic has.
    most : int
        Records of a topic, shared out among its partitions, at least one of each.

    Returns
    -------
    dict of str to list of RecordSeen, or KafkaError
        By topic, in order of partition and offset; or why it cannot be read.

    Raises
    ------
    KafkaError
        If the brokers are away.
    """
    found: dict[str, list[RecordSeen] | KafkaError] = {}
    if not partitions:
        # aiokafka raises CancelledError out of a consumer that is stopped before its tasks have begun.
        return found
    consumer = access.consumer(auto_offset_reset="earliest", fetch_max_wait_ms=100)
    async with access.started(consumer):
        for topic, n in sorted(partitions.items()):
            places = [TopicPartition(topic, number) for number in range(n)]
            try:
                found[topic] = await _of_one(consumer, places, max(1, most // max(n, 1)))
            except CLIENT_ERRORS as error:
                found[topic] = explained(error, f"topic {topic}")
    return found


async def _of_one(reader: AIOKafkaConsumer, places: list[TopicPartition], each: int) -> list[RecordSeen]:
    reader.assign(places)
    starts, ends = await asyncio.gather(reader.beginning_offsets(places), reader.end_offsets(places))
    wanted = {place: ends[place] for place in places if ends[place] > starts[place]}
    for place in places:
        reader.seek(place, max(starts[place], ends[place] - each))
    read: list[RecordSeen] = []
    loop = asyncio.get_running_loop()
    begun = last = loop.time()
    while wanted and loop.time() < min(begun + READ_S, max(last, begun + STILL_S) + STILL_S):
        for place, records in (await reader.getmany(timeout_ms=200)).items():
            last = loop.time()
            read += [_seen(record) for record in records if record.offset < ends[place]]
        for place in [place for place, end in wanted.items() if await reader.position(place) >= end]:
            del wanted[place]
    return sorted(read, key=lambda record: (record.partition, record.offset))


def _seen(record: ConsumerRecord) -> RecordSeen:
    headers = tuple((name, text or b"") for name, text in record.headers or ())
    return RecordSeen(
        partition=record.partition,
        offset=record.offset,
        at_ms=record.timestamp,
        appended=record.timestamp_type == 1,
        value=record.value,
        headers=headers,
    )
