"""What goes to a topic of ours, and what ingest and detect need of the logs, whoever keeps them."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

__all__ = ["Bounds", "Logs", "Outgoing", "Topic"]

#: Topics of ours, without the prefix.
Topic = str


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A record to be appended.

    Attributes
    ----------
    topic : str
        One of ours, without the prefix: `blocks`, `signals`, `deadletter`.
    key : bytes
        Made from content, so that a repeat is known as one.
    value : bytes or None
    headers : tuple of (str, bytes)
    """

    topic: Topic
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Bounds(NamedTuple):
    """Offsets of the first record of a partition, and of the next that will be written."""

    first: int
    end: int


class Logs(Protocol):
    """What a stage's work needs of Kafka besides the records it is fed.

    Each raises a `KafkaError`, recoverable or not, or a `LostError` where the group has given the partition to another.
    """

    async def append(self, records: Sequence[Outgoing]) -> dict[Topic, int]:
        """Append records in order and wait until all brokers in sync have them.

        Returns
        -------
        dict of topic to int
            The offset behind the last one.
        """

    async def tail(self, topic: Topic, since: int) -> list[ConsumerRecord]:
        """Read one of our topics from an offset (0: its beginning) to its present end; what has no value is left out."""

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Ask where partitions begin and end now."""

    async def at_end(self, partition: TopicPartition, offset: int) -> bool:
        """Ask whether a partition that was read up to an offset has nothing more to read; false also if the broker cannot say."""

    async def count(self, topic: str) -> int:
        """Ask how many partitions a topic has now."""

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        """Ask what was committed of partitions, with its metadata; those of which nothing was are left out."""

    async def commit(self, partition: TopicPartition, offset: int, metadata: str) -> None:
        """Commit, as a member of the group to whom the partition belongs."""
