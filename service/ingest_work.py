"""Ingest around one partition of a topic: what Kafka holds of it, and what it tells Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import Settings
from rollguard.streams import Block, BlockCodec, BlockRecord, DeadLetter, Ingest, IngestCounts, Partitions, Resume, Vacant, WireError
from rollguard.streams.kafka import Bounds, Logs, Outgoing

__all__ = ["IngestWork", "IngestWorks"]

log = structlog.get_logger()

#: How often the number of a topic's partitions is asked for, and a partition without events looked at.
COUNT_MS, LOOK_MS = 10_000, 1_000
#: A partition counts as unread only after so many looks in vain: a single wait may be that of a reader who was busy, or stood still.
LOOKS = 4
#: Of a refused record so much is kept.
MOST_BYTES = 256 * 1024
NEVER_MS = -(2**62)


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a committed offset.

    Attributes
    ----------
    bucket_ms : int
        What frontiers count.
    blocks : int
        Offset in the log of blocks behind which all that was sent since stands.
    sources : dict of str to Resume
    """

    version: int = 1
    bucket_ms: int
    blocks: int
    sources: dict[str, Resume]


@dataclass(slots=True)
class _Place:
    """Where a partition's last owner left off.

    Attributes
    ----------
    bounds : Bounds
    blocks : int
        Offset in the log of blocks from which on it tells more than the commit.
    resumes : dict of str to Resume
        By source.
    kept : bool
        What was committed is still in the log.
    """

    bounds: Bounds
    blocks: int
    resumes: dict[str, Resume]
    kept: bool

    def restarted(self) -> dict[str, Resume]:
        """Resumes to go on from."""
        return self.resumes if self.kept else {name: resume.restarted(self.bounds.first) for name, resume in self.resumes.items()}


class IngestWorks:
    """Opens the work of each partition of the topics that sources read.

    Parameters
    ----------
    settings : Settings
    logs : Logs
    """

    #: Records to be taken at once: few enough that the passes over them find them in the processor's cache.
    MOST_RECORDS = 2_000

    def __init__(self, settings: Settings, logs: Logs) -> None:
        self.settings = settings
        self.logs = logs
        self.codec = BlockCodec(settings)
        self.sources: dict[str, tuple[str, ...]] = {}
        for name, source in sorted(settings.sources.items()):
            self.sources[source.topic] = (*self.sources.get(source.topic, ()), name)

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, IngestWork]:
        """Begin where the commits and the log of blocks say that the last owners left off."""
        bounds, committed = await asyncio.gather(self.logs.bounds(partitions), self.logs.committed(partitions))
        places = {each: self._place(each, bounds[each], committed.get(each)) for each in partitions}
        by_source = {(name, each.partition): place for each, place in places.items() for name in place.resumes}
        for sent in await self.logs.tail("blocks", min(place.blocks for place in places.values())):
            try:
                record = self.codec.decode(sent.value)
            except WireError:
                # Detect reads the same log, and puts it away.
                continue
            if isinstance(record, Block) and (place := by_source.get((record.source, record.partition))) is not None and sent.offset >= place.blocks:
                place.resumes[record.source] = place.resumes[record.source].heard(record)
        return {each: IngestWork(self, each, place.restarted(), place.bounds, blocks=place.blocks) for each, place in places.items()}

    def _place(self, partition: TopicPartition, bounds: Bounds, committed: tuple[int, str] | None) -> _Place:
        """Where the commit says that the last owner stood."""
        sources = self.sources[partition.topic]
        known = None if committed is None else _metadata(committed[1], partition)
        within = committed is not None and bounds.first <= committed[0] <= bounds.end
        if committed is not None and not within:
            log.error("records_are_gone", topic=partition.topic, partition=partition.partition, committed=committed[0], first=bounds.first, end=bounds.end)
        resumes = dict.fromkeys(sources, Resume(offset=bounds.first))
        if known is not None:
            resumes |= {name: resume.in_buckets(known.bucket_ms, self.settings.bucket_ms) for name, resume in known.sources.items() if name in sources}
        return _Place(bounds, 0 if known is None else known.blocks, resumes, kept=known is not None and within)


class IngestWork:
    """One partition, with a stage for each source that reads it."""

    def __init__(self, works: IngestWorks, partition: TopicPartition, resumes: Mapping[str, Resume], bounds: Bounds, *, blocks: int) -> None:
        self.works = works
        self.partition = partition
        # Nothing has fallen out of a log that begins with its first record.
        whole = bounds.first == 0
        self.stages = {name: Ingest.resumed(works.settings, name, partition.partition, resume, whole=whole) for name, resume in resumes.items()}
        self.offset = min(resume.offset for resume in resumes.values())
        self._since = {name: resume.offset for name, resume in resumes.items()}
        self._empty = bounds.first == bounds.end
        self._blocks = blocks
        self._count: int | None = None
        self._counted_ms = self._looked_ms = NEVER_MS
        #: When something last came, or the partition was taken.
        self._came_ms: int | None = None
        #: How long it has been waited for in vain since, as far as the reader did wait.
        self._vain_ms = 0
        self._said: set[Partitions | Vacant] = set()
        self._to_commit = False
        self._patience_ms = max(LOOK_MS, min(works.settings.sources[name].idle_ms for name in self.stages) // LOOKS)

    @property
    def counts(self) -> dict[str, IngestCounts]:
        """What became of the records read, by source."""
        return {name: stage.counts for name, stage in self.stages.items()}

    def feed(self, records: Sequence[ConsumerRecord], now_ms: int) -> list[Outgoing]:
        """Count a batch of records."""
        self._came_ms, self._vain_ms = now_ms, 0
        marks: list[BlockRecord] = []
        letters: list[Outgoing] = []
        offsets = np.fromiter((record.offset for record in records), dtype=np.int64, count=len(records))
        stamps = np.fromiter((record.timestamp for record in records), dtype=np.int64, count=len(records))
        lines = [record.value or b"" for record in records]
        for name, stage in self.stages.items():
            marks += self._say(Partitions(source=name, count=self.partition.partition + 1, exact=False))
            if stage.frontier is None:
                marks += self._say(Vacant(source=name, partition=self.partition.partition, vacant=False))
            skipped = int(np.searchsorted(offsets, self._since[name]))
            taken = stage.feed(lines[skipped:], offsets[skipped:], stamps[skipped:])
            if taken.block is not None:
                marks.append(taken.block)
            letters += [self._letter(letter, records[int(np.searchsorted(offsets, letter.offset))]) for letter in taken.dead]
        self.offset = int(offsets[-1]) + 1
        return [*map(self._outgoing, marks), *letters]

    async def rest(self, now_ms: int) -> list[Outgoing] | None:
        """Say of a partition without events whether it is silent or cannot be read, and which partitions there are."""
        out: list[BlockRecord] = []
        if self.partition.partition == 0 and now_ms - self._counted_ms >= COUNT_MS:
            self._counted_ms = now_ms
            count = await self.works.logs.count(self.partition.topic)
            if count != self._count:
                self._count = count
                out += [Partitions(source=name, count=count) for name in self.stages]
        if self._empty and self._came_ms is None:
            for name, stage in self.stages.items():
                if stage.frontier is None:
                    out += self._say(Partitions(source=name, count=self.partition.partition + 1, exact=False))
                    out += self._say(Vacant(source=name, partition=self.partition.partition, vacant=True))
        if self._came_ms is None:
            self._came_ms = now_ms
        if (since_ms := now_ms - self._looked_ms) >= LOOK_MS:
            if self._came_ms < now_ms:
                self._vain_ms += min(since_ms, now_ms - self._came_ms, self._patience_ms)
            self._looked_ms = now_ms
            out += await self._still(now_ms)
        return [self._outgoing(each) for each in out] or None

    async def write(self, out: Sequence[Outgoing]) -> None:
        """Append to the logs; when it returns, every broker in sync has it."""
        if not out:
            return
        behind = await self.works.logs.append(out)
        if "blocks" in behind:
            self._blocks = behind["blocks"]
            self._to_commit = True

    async def acknowledge(self, now_ms: int, *, last: bool) -> None:
        """Commit where a crash would have to read again, once what came before is in the log of blocks."""
        del now_ms
        if self._to_commit or last:
            await self._commit()

    async def _commit(self) -> None:
        resumes = {name: stage.resume() for name, stage in self.stages.items()}
        metadata = msgspec.json.encode(_Metadata(bucket_ms=self.works.settings.bucket_ms, blocks=self._blocks, sources=resumes)).decode()
        offset = min(resume.offset for resume in resumes.values())
        await self.works.logs.commit(self.partition, offset, metadata)
        self._to_commit = False

    async def _still(self, now_ms: int) -> list[BlockRecord]:
        """Move the frontiers of a partition from which nothing comes, or so little that its events tell the time late."""
        idle: list[tuple[Ingest, int]] = []
        slow: list[tuple[Ingest, int]] = []
        for name, stage in self.stages.items():
            if now_ms - (self._came_ms or now_ms) >= self.works.settings.sources[name].idle_ms:
                idle += self._move(stage, stage.clock(now_ms))
            elif stage.last_ms is not None:
                # The median of the last 21 events lies ten events back, and needs so many: in a slow partition those are minutes.
                slow += self._move(stage, stage.clock(min(stage.last_ms, now_ms)))
        if not idle and not slow:
            return []
        at_end = await self.works.logs.at_end(self.partition, self.offset)
        if not at_end:
            # There is more: while it comes, however slowly, or its turn has not come, the others have to wait for it.
            slow, idle = [], [each for each in idle if self._vain_ms >= self.works.settings.sources[each[0].source].idle_ms]
        if not idle and not slow:
            return []
        # Only a member of the group may say that nothing came: a commit is refused to anyone else.
        await self._commit()
        blocks = [stage.silence(frontier) if at_end else stage.unread(frontier) for stage, frontier in idle]
        blocks += [stage.clocked(frontier) for stage, frontier in slow]
        return [block for block in blocks if block is not None]

    def _move(self, stage: Ingest, clock: int | None) -> list[tuple[Ingest, int]]:
        """The stage and how far the clock moves it, where it does."""
        if clock is None:
            return []
        frontier = (clock - self.works.settings.sources[stage.source].lateness_ms) // self.works.settings.bucket_ms
        return [(stage, frontier)] if stage.frontier is None or frontier > stage.frontier else []

    def _say(self, mark: Partitions | Vacant) -> list[BlockRecord]:
        """A mark, the first time. Nothing of a partition may stand in the log before the log tells of the partition."""
        if mark in self._said:
            return []
        self._said.add(mark)
        return [mark]

    def _outgoing(self, record: BlockRecord) -> Outgoing:
        return Outgoing(topic="blocks", key=BlockCodec.id_of(record).encode(), value=self.works.codec.encode(record))

    def _letter(self, letter: DeadLetter, record: ConsumerRecord) -> Outgoing:
        gone = record.value is None
        reason, detail = ("tombstone", "it has no value.") if gone else (letter.reason, letter.detail)
        return dead_letter(record, source=letter.source, reason=reason, detail=detail)


def dead_letter(record: ConsumerRecord, *, source: str, reason: str, detail: str) -> Outgoing:
    """Keep a refused record as it came, with the reason in its headers."""
    value = record.value
    headers = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
        "source": source,
        "reason": reason,
        "detail": detail,
    }
    if value is not None and len(value) > MOST_BYTES:
        headers["bytes"] = str(len(value))
        value = value[:MOST_BYTES]
    return Outgoing(
        topic="deadletter",
        key=f"{record.topic}/{record.partition}/{record.offset}".encode(),
        value=value,
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )


def _metadata(text: str, partition: TopicPartition) -> _Metadata | None:
    try:
        return msgspec.json.decode(text, type=_Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("commit_is_not_ours", topic=partition.topic, partition=partition.partition, error=str(error))
        return None
