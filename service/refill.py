"""A changed metric's past from its sources: what would be read, and the detect stage that has read it, kept for a worker to go on from.

Nothing is written to any topic, and a worker that runs with other settings never looks at what is kept here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

import msgspec
from aiokafka import TopicPartition

from rollguard.config import RollguardError, Settings
from rollguard.detectors import Signal
from rollguard.incidents import LogCodec
from rollguard.replay import Progress
from rollguard.service.detect_work import DetectStage
from rollguard.service.filling import Staged, filled, staged_name, staged_of, take
from rollguard.service.stages import now_ms
from rollguard.store import Store
from rollguard.streams import Block, BlockCodec, BlockRecord, Filler, Origin, Partitions, SnapshotError, Vacant, WireError
from rollguard.streams.kafka import Stretches, own_topics

__all__ = ["Backfilled", "Lacking", "Plan", "Reading", "backfill", "plan_backfill"]

#: The log of blocks has one partition, read by one stage.
STAGE = "detect/0"
#: So often what was done is kept, in seconds: an interrupted run goes on from there.
KEEP_S = 30.0
MOST = 2_000


class Lacking(msgspec.Struct, frozen=True, kw_only=True):
    """A metric whose past is not in the log of blocks.

    Attributes
    ----------
    metric : str
    sources : tuple of str
    since_ms, until_ms : int or None
        Event time of the buckets that lack it; None: its source is new, and no bucket of it is there.
    """

    metric: str
    sources: tuple[str, ...]
    since_ms: int | None
    until_ms: int | None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Records of a partition that would be read again.

    Attributes
    ----------
    source, topic, partition : str, str, int
    first, end : int
        Offsets, from `first` up to, not with, `end`.
    oldest_ms : int or None
        The topic's own time of the first; None: there is none.
    whole : bool
        Nothing was before it: the partition's first record is still there.
    """

    source: str
    topic: str
    partition: int
    first: int
    end: int
    oldest_ms: int | None
    whole: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill would read.

    Attributes
    ----------
    lacking : tuple of Lacking
        Metrics that are to be filled; empty: there is nothing to do.
    metrics : tuple of str
        Their names, as asked for.
    since_ms : int or None
    readings : tuple of Reading
    new_sources : tuple of str
        Those of which the log of blocks has never heard.
    blocks_first, blocks_end : int
        Offsets in the log of blocks.
    """

    lacking: tuple[Lacking, ...]
    metrics: tuple[str, ...]
    since_ms: int | None
    readings: tuple[Reading, ...]
    new_sources: tuple[str, ...]
    blocks_first: int
    blocks_end: int

    @property
    def records(self) -> int:
        """How many records of sources would be read, at most."""
        return sum(each.end - each.first for each in self.readings)


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill did.

    Attributes
    ----------
    records : int
        Of sources, read by this run.
    blocks : int
        Records of the log of blocks, read by this run.
    offset : int
        In the log of blocks, at which a worker goes on.
    until_ms : int or None
        Event time that was reached.
    resumed : bool
        It went on from an earlier run.
    away : int
        Series that have left their baseline now: the worker tells them when it takes over.
    """

    records: int
    blocks: int
    offset: int
    until_ms: int | None
    resumed: bool
    away: int


class BackfillError(RollguardError):
    """A backfill that cannot be done; says why, and what to do."""

    code = "backfill"


class _Seen:
    """What the log of blocks knows, read once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lacks: dict[str, tuple[int, int]] = {}
        #: Behind the last record that a block was made of, by source and partition.
        self.ends: dict[tuple[str, int], int] = {}
        self.first: int | None = None

    def take(self, record: BlockRecord) -> None:
        if not isinstance(record, Block) or record.source not in self.settings.sources:
            return
        place = record.source, record.partition
        self.ends[place] = max(self.ends.get(place, 0), record.offset)
        # A partition's first block may reach back to the beginning of time.
        starts = record.bucket[:1].tolist() or [record.frontier]
        for metric in record.lacks:
            since, until = self.lacks.get(metric, (starts[0], record.frontier))
            self.lacks[metric] = min(since, starts[0]), max(until, record.frontier)


def plan_backfill(settings: Settings, stretches: Stretches, *, metrics: Collection[str] = (), since_ms: int | None = None) -> Plan:
    """Work out what the log of blocks lacks, and what of it the sources still hold.

    Parameters
    ----------
    settings : Settings
        Those that a worker is to run with.
    stretches : Stretches
    metrics : collection of str
        Which to fill; empty: all that lack a past.
    since_ms : int or None
        Event time from which on; None: all that is there.

    Raises
    ------
    KafkaError
        If a topic is missing or may not be read.
    """
    blocks = own_topics(settings.kafka).blocks.name
    (bounds,) = stretches.bounds(blocks)
    seen, codec = _Seen(settings), BlockCodec(settings)
    for records in stretches.read(TopicPartition(blocks, 0), bounds.first, bounds.end):
        for record in records:
            try:
                seen.take(codec.decode(record.value or b""))
            except WireError:
                # Detect puts it away.
                continue
    new_sources = tuple(source for source in sorted(settings.sources) if not any(place[0] == source for place in seen.ends))
    lacking: list[Lacking] = []
    for name, metric in sorted(settings.metrics.items()):
        sources = tuple(sorted({metric.source, metric.against or metric.source}))
        if metrics and name not in metrics:
            continue
        since, until = seen.lacks.get(name, (None, None))
        if since is not None and until is not None:
            lacking.append(Lacking(metric=name, sources=sources, since_ms=since * settings.bucket_ms, until_ms=until * settings.bucket_ms))
        elif set(sources) & set(new_sources):
            lacking.append(Lacking(metric=name, sources=sources, since_ms=None, until_ms=None))
    wanted = {source for each in lacking for source in each.sources}
    # What no block tells of would hold back everything: a source that is new is read, whatever was asked for.
    readings = [
        each
        for source in sorted(wanted | set(new_sources if lacking else ()))
        for each in _readings(settings, stretches, source, seen.ends, since_ms, new=source in new_sources)
    ]
    return Plan(
        lacking=tuple(lacking),
        metrics=tuple(each.metric for each in lacking),
        since_ms=since_ms,
        readings=tuple(readings),
        new_sources=new_sources,
        blocks_first=bounds.first,
        blocks_end=bounds.end,
    )


def _readings(settings: Settings, stretches: Stretches, source: str, ends: dict[tuple[str, int], int], since_ms: int | None, *, new: bool) -> Iterator[Reading]:
    told = settings.sources[source]
    bounds = stretches.bounds(told.topic)
    # An event may be ahead of the topic's own time.
    offsets = [None] * len(bounds) if since_ms is None else stretches.since(told.topic, since_ms - told.ahead_ms)
    for partition, (there, offset) in enumerate(zip(bounds, offsets, strict=True)):
        first = there.first if since_ms is None else there.end if offset is None else offset
        end = there.end if new else min(max(ends.get((source, partition), first), first), there.end)
        oldest = None
        if first < end:
            record = next(iter(stretches.read(TopicPartition(told.topic, partition), first, first + 1)), None)
            oldest = None if record is None else int(record[0].timestamp)
        yield Reading(source=source, topic=told.topic, partition=partition, first=first, end=end, oldest_ms=oldest, whole=first == 0)


def backfill(
    settings: Settings,
    store: Store,
    stretches: Stretches,
    plan: Plan,
    *,
    owner: str,
    again: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Backfilled:
    """Read what the plan says, and keep the stage that has read it for a worker with these settings.

    Parameters
    ----------
    settings : Settings
    store : Store
    stretches : Stretches
    plan : Plan
    owner : str
        Who we are, for those who look into the database.
    again : bool
        From the beginning, also if an earlier run left something.
    on_progress : callable, optional
        Called after each batch.

    Raises
    ------
    BackfillError
        If nothing lacks a past.
    RollguardError
        If Kafka or the database is away: what was done so far is kept, and the next run goes on from there.
    """
    if not plan.lacking:
        raise BackfillError("backfill: the log of blocks holds the past of every metric of these settings. Nothing was read; start the worker.")
    run = _Run(settings, store, stretches, plan, owner=owner, on_progress=on_progress)
    run.begin(again=again)
    run.go()
    return run.over()


class _Run:
    """One run of a backfill."""

    def __init__(
        self, settings: Settings, store: Store, stretches: Stretches, plan: Plan, *, owner: str, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self.settings = settings
        self.store = store
        self.stretches = stretches
        self.plan = plan
        self.owner = owner
        self.on_progress = on_progress
        self.codec = BlockCodec(settings)
        self.log_codec = LogCodec()
        self.name = staged_name(STAGE, settings)
        self.ends = {(each.source, each.partition): each.end for each in plan.readings}
        self.records = self.blocks = 0
        self.resumed = False
        self.away: dict[str, Signal] = {}
        self.stage = DetectStage(settings)
        self.offset = plan.blocks_first
        self.epoch = 0
        self.kept_s = time.monotonic()

    def begin(self, *, again: bool) -> None:
        """Take up what an earlier run left, or begin."""
        known = None if again else staged_of(self.store, STAGE, self.settings)
        if known is not None:
            same = (known.staged.metrics, known.staged.since_ms) == (list(self.plan.metrics), self.plan.since_ms)
            if same and self.plan.blocks_first <= known.offset <= self.plan.blocks_end and self._resume(known.staged):
                self.offset, self.resumed = known.offset, True
                self.epoch = self.store.claim(self.name, self.owner, now_ms())
                return
        self.store.forget(self.name)
        self.epoch = self.store.claim(self.name, self.owner, now_ms())
        origins = {(each.source, each.partition): Origin(offset=each.first, whole=each.whole, since_ms=self.plan.since_ms) for each in self.plan.readings}
        self.stage.filler = Filler(self.settings, origins, self.plan.metrics)
        for source in self.plan.new_sources:
            mine = [each for each in self.plan.readings if each.source == source]
            self._feed(Partitions(source=source, count=len(mine)))
            for each in mine:
                if each.end == 0:
                    self._feed(Vacant(source=source, partition=each.partition, vacant=True))

    def go(self) -> None:
        """Read the log of blocks to the end that the plan says."""
        place = TopicPartition(own_topics(self.settings.kafka).blocks.name, 0)
        for records in self.stretches.read(place, self.offset, self.plan.blocks_end):
            reached: int | None = None
            for record in records:
                self.blocks += 1
                try:
                    told = self.codec.decode(record.value or b"")
                except WireError:
                    # Detect puts it away.
                    continue
                if isinstance(told, Block):
                    reached = max(told.frontier, reached or told.frontier)
                for each in filled(self.stage.filler, self.stretches, told, self._read):
                    self._feed(each)
            if reached is not None:
                self._ahead(reached)
            self.offset = records[-1].offset + 1
            self._tell()
            if time.monotonic() - self.kept_s >= KEEP_S:
                self._keep(done=False)

    def over(self) -> Backfilled:
        """Keep the whole, and say what was done."""
        self.offset = self.plan.blocks_end
        self._keep(done=True)
        frontier = self.stage.merger.frontier
        return Backfilled(
            records=self.records,
            blocks=self.blocks,
            offset=self.offset,
            until_ms=None if frontier is None else frontier * self.settings.bucket_ms,
            resumed=self.resumed,
            away=len(self.away),
        )

    def _resume(self, staged: Staged) -> bool:
        try:
            self.stage = DetectStage.restore(self.settings, staged.stage)
        except SnapshotError:
            return False
        for value in staged.away:
            told = self.log_codec.decode(value)
            if isinstance(told, Signal):
                self.away[str(told.series)] = told
        return True

    def _feed(self, record: BlockRecord) -> None:
        try:
            found = self.stage.feed([record])
        except RollguardError as error:
            if error.code != "unknown_partition":
                raise
            return
        for told in found:
            if isinstance(told, Signal):
                if told.kind == "left":
                    self.away[str(told.series)] = told
                else:
                    self.away.pop(str(told.series), None)

    def _ahead(self, frontier: int) -> None:
        """Let sources of which the log has never heard come as far as the others."""
        filler = self.stage.filler
        if filler is None:
            return
        for source, partition in filler.places:
            if source not in self.plan.new_sources:
                continue
            end = self.ends.get((source, partition), 0)
            while True:
                stretch = filler.stretch(source, partition, end)
                reached = filler.frontier(source, partition)
                if stretch.first >= end or (reached is not None and reached >= frontier):
                    break
                until = min(stretch.first + MOST, end)
                for records in self.stretches.read(TopicPartition(stretch.topic, partition), stretch.first, until):
                    block = take(filler, source, partition, records)
                    self._read(len(records))
                    if block is not None:
                        self._feed(block)
                filler.passed(source, partition, until)

    def _read(self, count: int) -> None:
        self.records += count
        self._tell()

    def _tell(self) -> None:
        if self.on_progress is not None:
            blocks, frontier = self.plan.blocks_end - self.plan.blocks_first, self.stage.merger.frontier
            done = (self.offset - self.plan.blocks_first) + self.records
            self.on_progress(Progress(done=done, total=blocks + self.plan.records, event_ms=None if frontier is None else frontier * self.settings.bucket_ms))

    def _keep(self, *, done: bool) -> None:
        staged = Staged(
            done=done,
            metrics=list(self.plan.metrics),
            since_ms=self.plan.since_ms,
            away=[self.log_codec.encode(each) for each in self.away.values()],
            stage=self.stage.snapshot(),
        )
        self.store.keep(self.name, self.epoch, offset=self.offset, state=msgspec.msgpack.encode(staged), now_ms=now_ms())
        self.kept_s = time.monotonic()
