"""A cluster, a group and a database in memory, and a process that dies at any call it makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from rollguard.store import Batch, Flag, Kept, StaleError
from rollguard.streams.kafka import Bounds, LostError, Outgoing, Shell, Works

#: Between two cycles of a process.
STEP_MS = 1_000


class Died(BaseException):
    """The process is gone, as by kill -9."""


class Cluster:
    """What outlives every process: logs, commits, snapshots, rows. `dies_at` counts calls of the process that runs now."""

    def __init__(self, prefix: str, topics: Mapping[str, int], now_ms: int) -> None:
        self.prefix = prefix
        self.now_ms = now_ms
        self.logs: dict[TopicPartition, list[ConsumerRecord]] = {TopicPartition(topic, n): [] for topic, count in topics.items() for n in range(count)}
        self.commits: dict[tuple[str, TopicPartition], tuple[int, str]] = {}
        self.snapshots: dict[str, list[Kept]] = {}
        self.flags: dict[str, Flag] = {}
        self.epochs: dict[str, int] = {}
        self.applied: dict[str, int] = {}
        self.rows: list[Any] = []
        self.calls = 0
        self.dies_at: int | None = None
        #: What others will write: time, topic, partition, value; in order of time.
        self.coming: list[tuple[int, str, int, bytes | None]] = []

    def pass_time(self, span_ms: int) -> None:
        """Let time go on, and others write."""
        self.now_ms += span_ms
        while self.coming and self.coming[0][0] <= self.now_ms:
            at_ms, topic, partition, value = self.coming.pop(0)
            self.write(topic, partition, value, at_ms=at_ms)

    def call(self) -> None:
        """Count a call; die at the one that was chosen. Every call is made twice: before and after its effect."""
        self.calls += 1
        if self.calls == self.dies_at:
            raise Died

    def write(
        self, topic: str, partition: int, value: bytes | None, *, key: bytes = b"", headers: Sequence[tuple[str, bytes]] = (), at_ms: int | None = None
    ) -> int:
        """Append a record."""
        place = TopicPartition(topic, partition)
        records = self.logs[place]
        stamp = self.now_ms if at_ms is None else at_ms
        records.append(ConsumerRecord(topic, partition, len(records), stamp, 0, key, value, None, len(key), len(value or b""), tuple(headers)))
        return len(records)

    def values(self, topic: str) -> list[tuple[bytes, bytes]]:
        """Keys and values of one of our topics, in order."""
        return [(record.key, record.value) for record in self.logs[TopicPartition(f"{self.prefix}.{topic}", 0)]]


class SimulatedLogs:
    """`Logs` of a cluster, for one member of a group."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self.cluster = cluster
        self.group = group
        self.lost: set[TopicPartition] = set()

    async def append(self, records: Sequence[Outgoing]) -> dict[str, int]:
        behind: dict[str, int] = {}
        for each in records:
            self.cluster.call()
            behind[each.topic] = self.cluster.write(f"{self.cluster.prefix}.{each.topic}", 0, each.value, key=each.key, headers=each.headers)
        self.cluster.call()
        return behind

    async def tail(self, topic: str, since: int) -> list[ConsumerRecord]:
        self.cluster.call()
        return self.cluster.logs[TopicPartition(f"{self.cluster.prefix}.{topic}", 0)][since:]

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        self.cluster.call()
        return {each: Bounds(0, len(self.cluster.logs[each])) for each in partitions}

    async def at_end(self, partition: TopicPartition, offset: int) -> bool:
        self.cluster.call()
        return offset >= len(self.cluster.logs[partition])

    async def count(self, topic: str) -> int:
        self.cluster.call()
        return sum(each.topic == topic for each in self.cluster.logs)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        self.cluster.call()
        return {each: self.cluster.commits[self.group, each] for each in partitions if (self.group, each) in self.cluster.commits}

    async def commit(self, partition: TopicPartition, offset: int, metadata: str) -> None:
        self.cluster.call()
        if partition in self.lost:
            raise LostError(f"{partition}: lost")
        self.cluster.commits[self.group, partition] = (offset, metadata)
        self.cluster.call()


class SimulatedStore:
    """The part of `Store` that stages use, in memory."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def claim(self, stage: str, *_: object) -> int:
        self.cluster.call()
        self.cluster.epochs[stage] = self.cluster.epochs.get(stage, 0) + 1
        return self.cluster.epochs[stage]

    def newest(self, stage: str) -> Kept | None:
        self.cluster.call()
        kept = self.cluster.snapshots.get(stage)
        return kept[-1] if kept else None

    def keep(self, stage: str, epoch: int, *, offset: int, state: bytes, now_ms: int) -> None:
        self.cluster.call()
        self._check(stage, epoch)
        self.cluster.snapshots.setdefault(stage, []).append(Kept(offset=offset, state=state, saved_ms=now_ms, damaged=False))
        self.cluster.call()

    def record(self, stage: str, epoch: int, batch: Batch, now_ms: int) -> None:
        self.cluster.call()
        self._check(stage, epoch)
        applied = self.cluster.applied.get(stage, 0)
        rows: list[Any] = [*batch.timeline, *batch.outbox, *batch.ledger]
        self.cluster.rows += [row for row in rows if row.offset >= applied]
        self.cluster.applied[stage] = max(applied, batch.to_offset)
        if batch.snapshot is not None:
            self.cluster.snapshots.setdefault(stage, []).append(Kept(offset=batch.to_offset, state=batch.snapshot, saved_ms=now_ms, damaged=False))
        self.cluster.call()

    def raise_flag(self, name: str, value: str, now_ms: int) -> None:
        self.cluster.call()
        self.cluster.flags[name] = Flag(name=name, value=value, at_ms=now_ms)

    def flag(self, name: str) -> Flag | None:
        self.cluster.call()
        return self.cluster.flags.get(name)

    def _check(self, stage: str, epoch: int) -> None:
        if self.cluster.epochs.get(stage) != epoch:
            raise StaleError(stage, epoch, self.cluster.epochs.get(stage, 0), "another")


class SimulatedReader:
    """A consumer of some partitions; time goes on with every poll."""

    def __init__(self, cluster: Cluster, partitions: Collection[TopicPartition], *, most: int, patience: int) -> None:
        self.cluster = cluster
        self.partitions = set(partitions)
        self.most = most
        self.patience = patience
        self.positions = dict.fromkeys(self.partitions, 0)
        self.idle = 0
        #: Set when all is read, and nothing has moved for a while.
        self.done = asyncio.Event()

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None) -> dict[TopicPartition, list[ConsumerRecord]]:
        del timeout_ms, max_records
        self.cluster.call()
        self.cluster.pass_time(STEP_MS)
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        for partition in sorted(self.partitions):
            if partitions and partition not in partitions:
                continue
            at = self.positions[partition]
            records = self.cluster.logs[partition][at : at + self.most]
            if records:
                self.positions[partition] = at + len(records)
                found[partition] = records
        self.idle = 0 if found or self.cluster.coming else self.idle + 1
        if self.idle > self.patience:
            self.done.set()
            # Who waits for that takes note before the next cycle.
            await asyncio.sleep(0)
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def assignment(self) -> set[TopicPartition]:
        return self.partitions


def run(cluster: Cluster, reader: SimulatedReader, works: Works[Any], *, dies_at: int | None = None, most_records: int = 20_000) -> bool:
    """Run a process until all is done; False: it died."""
    cluster.calls, cluster.dies_at = 0, dies_at

    async def whole() -> bool:
        shell = Shell(reader, works, now_ms=lambda: cluster.now_ms, most_records=most_records, sleep=_no_sleep, aside=_here)
        shell.assigned(reader.partitions)
        running = asyncio.create_task(_ended(shell))
        finished = asyncio.create_task(reader.done.wait())
        await asyncio.wait([running, finished], return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        if reader.done.is_set():
            # A process that ends in order says how far it has come; what it calls then is not counted.
            cluster.dies_at, calls = None, cluster.calls
            await shell.stop()
            cluster.calls = calls
        return await running

    return asyncio.run(whole())


async def _ended(shell: Shell[Any]) -> bool:
    """Run until the end; False: by death."""
    try:
        await shell.run()
    except Died:
        return False
    return True


async def _here(what: Callable[..., Any], *given: Any) -> Any:
    return what(*given)


async def _no_sleep(seconds: float) -> None:
    del seconds
