"""The shell around a stage: assign, restore, seek, feed, write, acknowledge. The same for every stage; it knows none of them.

One cycle reads a batch, lets each partition's work feed its stage, waits until what came out is durable, and only then says how far
it has come. Nothing is read meanwhile, so a slow broker or database makes the shell wait and never grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple, Unpack

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import RollguardError

__all__ = ["LostError", "Reader", "Shell", "Work", "Works"]

Out = TypeVar("Out")
Got = TypeVar("Got")
Given = TypeVarTuple("Given")
#: How long to wait for the first record of a batch.
WAIT_MS = 200
#: Seconds between two tries of something that may succeed later: doubled from the first up to the last.
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 15.0

log = structlog.get_logger()


class LostError(RollguardError):
    """Another owner has this partition now: what this one still holds is of no use."""

    code = "lost"


class Reader(Protocol):
    """What the shell needs of a consumer; `AIOKafkaConsumer` is one."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Give what has been fetched."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from an offset."""

    def assignment(self) -> Collection[TopicPartition]:
        """Give the partitions that are ours."""


class Work(Protocol[Out]):
    """One partition's stage, with its ways in and out."""

    offset: int
    """The next record to be fed."""

    def feed(self, records: Sequence[ConsumerRecord], now_ms: int) -> Out:
        """Let the stage take records. No IO."""

    async def write(self, out: Out) -> None:
        """Make what came out durable."""

    async def rest(self, now_ms: int) -> Out | None:
        """Give what is to be written though no record came; called in each cycle in which the partition was read, also in vain."""

    async def acknowledge(self, now_ms: int, *, last: bool) -> None:
        """Say how far it has come, if it is time to; `last`: the partition is given away, so it is."""


class Works(Protocol[Out]):
    """Makes the works of partitions that were assigned, as they stood when they were last kept."""

    async def open(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Work[Out]]:
        """Restore them, or begin anew: all together, since others wait until the last one is there."""


class Shell(Generic[Out]):
    """Drives the works of the partitions that a consumer is assigned.

    Parameters
    ----------
    reader : Reader
        A consumer that commits nothing by itself.
    works : Works
    now_ms : callable
        The clock on the wall, epoch ms.
    most_records : int
        Records taken at once over all partitions: what a stage makes of them has to fit into memory.
    sleep : callable
        How to wait, in seconds.
    aside : callable
        Runs a stage beside the loop, which has heartbeats to send meanwhile.
    on_cycle : callable, optional
        Called after each cycle, with the works by partition.
    """

    def __init__(
        self,
        reader: Reader,
        works: Works[Out],
        *,
        now_ms: Callable[[], int],
        most_records: int = 20_000,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        aside: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        on_cycle: Callable[[Mapping[TopicPartition, Work[Out]]], None] | None = None,
    ) -> None:
        self._reader = reader
        self._works = works
        self._now_ms = now_ms
        self._most_records = most_records
        self._sleep = sleep
        self._aside = aside
        self._on_cycle = on_cycle
        self._open: dict[TopicPartition, Work[Out]] = {}
        self._wanted: set[TopicPartition] = set()
        #: Partitions whose turn did not come, for the last batch was full before.
        self._waiting: set[TopicPartition] = set()
        self._between = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._taken = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def mine(self) -> frozenset[TopicPartition]:
        """Partitions that are ours, also those that are still to be restored."""
        return frozenset(self._open) | self._wanted

    @property
    def open(self) -> Mapping[TopicPartition, Work[Out]]:
        """The works by partition."""
        return self._open

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions; they are restored before the next batch is read."""
        self._wanted |= set(partitions)
        self._taken.set()

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions away, once the cycle under way is over: what was written is acknowledged."""
        async with self._between:
            self._wanted -= set(partitions)
            for partition in sorted(set(partitions) & self._open.keys()):
                work = self._open.pop(partition)
                try:
                    await work.acknowledge(self._now_ms(), last=True)
                except RollguardError as error:
                    # It is only read again by whoever has it now.
                    log.warning("partition_given_away_unkept", **_place(partition, work), error=str(error))

    async def run(self) -> None:
        """Go on until stopped; what was written is acknowledged then.

        Raises
        ------
        RollguardError
            What no later try could mend.
        """
        try:
            while not self._stopping.is_set():
                async with self._between:
                    await self._restore()
                # Not under the lock: it gives nothing before a rebalance is over, which waits for the lock.
                batches = await self._read()
                async with self._between:
                    await self._cycle(batches, self._served(batches))
            await self.revoked(list(self._open))
        finally:
            self._over.set()

    async def stop(self) -> None:
        """End after the cycle under way; returns when `run` has, whose clients may be closed then and no sooner."""
        self._stopping.set()
        await self._over.wait()

    async def _read(self) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Give a batch; empty as soon as it is to stop, for others wait for the partitions, or as partitions came that are to be restored."""
        # aiokafka gives out a partition's whole buffer before it looks at the next one's: who had no turn has the next one.
        turn = sorted(self._waiting & self._open.keys())
        reading = asyncio.ensure_future(self._reader.getmany(*turn, timeout_ms=0 if turn else WAIT_MS, max_records=self._most_records))
        stopping, taken = asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(self._taken.wait())
        try:
            await asyncio.wait([reading, stopping, taken], return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else {}
        finally:
            for each in (reading, stopping, taken):
                each.cancel()

    def _served(self, batches: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> Collection[TopicPartition]:
        """Tell which partitions were read, also those in vain; the others have the next turn."""
        asked = (self._waiting & self._open.keys()) or set(self._open)
        full = sum(map(len, batches.values())) >= self._most_records
        self._waiting = asked - batches.keys() if full else set()
        return asked - self._waiting

    async def _restore(self) -> None:
        self._taken.clear()
        if not (wanted := sorted(self._wanted)):
            return
        opened = await self._insist(wanted, self._works.open, wanted)
        if opened is None:
            # What is still ours is tried once more.
            self._wanted &= set(self._reader.assignment())
            return
        self._wanted.difference_update(wanted)
        for partition, work in opened.items():
            self._open[partition] = work
            self._reader.seek(partition, work.offset)
            log.info("partition_restored", topic=partition.topic, partition=partition.partition, offset=work.offset)

    async def _cycle(self, batches: Mapping[TopicPartition, Sequence[ConsumerRecord]], served: Collection[TopicPartition]) -> None:
        now_ms = self._now_ms()
        for partition, records in sorted(batches.items()):
            work = self._open.get(partition)
            if work is None:
                continue
            # Some may have been fetched before the seek.
            new = records if records[0].offset >= work.offset else [record for record in records if record.offset >= work.offset]
            if new:
                await self._insist([partition], work.write, await self._aside(work.feed, new, now_ms))
        for partition, work in [(partition, work) for partition, work in self._open.items() if partition in served]:
            out = await self._insist([partition], work.rest, now_ms)
            if out is not None:
                await self._insist([partition], work.write, out)
        for partition, work in list(self._open.items()):
            await self._insist([partition], _acknowledge, work, self._now_ms())
        if self._on_cycle is not None:
            self._on_cycle(self._open)

    async def _insist(self, partitions: Sequence[TopicPartition], what: Callable[[Unpack[Given]], Awaitable[Got]], *given: *Given) -> Got | None:
        """Do something that may fail for a while; None when the partitions were lost, one of them at least."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await what(*given)
            except LostError as error:
                for partition in partitions:
                    log.warning("partition_lost", **_place(partition, self._open.pop(partition, None)), error=str(error))
                self._wanted.difference_update(partitions)
                return None
            except RollguardError as error:
                if not getattr(error, "recoverable", False) or self._stopping.is_set():
                    raise
                log.warning("trying_again", **_place(partitions[0], self._open.get(partitions[0])), wait_s=wait_s, error=str(error))
                await self._sleep(wait_s)
                wait_s = min(2 * wait_s, LAST_WAIT_S)
                if not set(partitions) <= set(self._reader.assignment()):
                    return None


def _place(partition: TopicPartition, work: Work[Any] | None) -> dict[str, Any]:
    """Where something happened, as the keys of a line of the log."""
    return {"topic": partition.topic, "partition": partition.partition, **({} if work is None else {"offset": work.offset})}


async def _acknowledge(work: Work[Any], now_ms: int) -> None:
    await work.acknowledge(now_ms, last=False)
