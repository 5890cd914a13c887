"""The filler: blocks that lack a metric in, and the events they were made of; the same blocks with that metric out.

A metric that is new, or means something else now, lacks a past in the log of blocks. Its events may still stand in the sources. Read again
partition by partition, exactly as far as each block had read, ingest decides as it did then, and gives what the block would have said.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import msgspec
import numpy as np

from rollguard.config import Settings
from rollguard.streams.ingest import Ingest
from rollguard.streams.measure import measures
from rollguard.streams.merge import REMEMBER_MS
from rollguard.streams.records import Block, Resume
from rollguard.streams.rows import Ints, Key, Rows, renumbered
from rollguard.streams.snapshot import packed, unpacked
from rollguard.streams.watermark import NEVER
from rollguard.streams.wire import BlockCodec

__all__ = ["Filler", "Origin", "Stretch"]

_STAGE = "filler"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a partition is read again from.

    Attributes
    ----------
    offset : int
        The first record.
    whole : bool
        It is the first that the partition ever held, so that before it there was nothing.
    since_ms : int or None
        Event time before which nothing is asked for; None: whatever is there.
    """

    offset: int
    whole: bool
    since_ms: int | None = None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of a partition that the filler needs next: from offset `first` up to, not with, `end`."""

    topic: str
    source: str
    partition: int
    first: int
    end: int


@dataclass(slots=True)
class _Lane:
    """A partition that is read again: how far, and what it gave of the last half hour."""

    ingest: Ingest
    origin: Origin
    next: int
    #: First bucket of which all events were read; None while it is not known.
    covered: int | None
    given: list[Block]


class _LaneState(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    partition: int
    origin: Origin
    next: int
    covered: int | None
    ingest: bytes
    given: list[bytes]


class _State(msgspec.Struct, frozen=True, kw_only=True):
    metrics: list[str]
    lanes: list[_LaneState]


class Filler:
    """Gives blocks what they lack.

    Parameters
    ----------
    settings : Settings
        Under which the blocks are read.
    origins : mapping of (str, int) to Origin
        Source and partition of all that can be read again.
    metrics : collection of str
        Which to fill.
    """

    def __init__(self, settings: Settings, origins: Mapping[tuple[str, int], Origin], metrics: Collection[str]) -> None:
        self._settings = settings
        self.metrics = frozenset(metrics)
        self._lanes = {place: _lane(settings, place, origin) for place, origin in sorted(origins.items())}
        of_source: dict[str, set[str]] = {source: set() for source in settings.sources}
        self._measures: dict[str, dict[str, list[int]]] = {source: {} for source in settings.sources}
        for number, each in enumerate(measures(settings)):
            if each.metric:
                of_source[each.source].add(each.metric)
            self._measures[each.source].setdefault(each.metric, []).append(number)
        self._of_source = {source: frozenset(names) for source, names in of_source.items()}

    def __bool__(self) -> bool:
        """Whether there is anything left to be filled."""
        return bool(self._lanes)

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Source and partition of all that is still read again."""
        return tuple(self._lanes)

    def frontier(self, source: str, partition: int) -> int | None:
        """How far a partition was read again: the first bucket still open."""
        return self._lanes[source, partition].ingest.frontier

    def wants(self, block: Block) -> Stretch | None:
        """Say which records have to be taken before a block can be filled; None: no more than were taken."""
        lane = self._lanes.get((block.source, block.partition))
        if lane is None or not self.metrics.intersection(block.lacks) or block.offset <= lane.next:
            return None
        return self.stretch(block.source, block.partition, block.offset)

    def take(self, source: str, partition: int, lines: Sequence[bytes], offsets: Ints, stamps_ms: Ints) -> Block | None:
        """Take records of a partition, as `Ingest.feed` does; gives the block that they closed."""
        lane = self._lanes[source, partition]
        block = lane.ingest.feed(lines, offsets, stamps_ms).block
        lane.next = int(offsets[-1]) + 1
        self._give(lane, block)
        return block

    def restart(self, source: str, partition: int, offset: int) -> None:
        """Begin a partition anew at an offset, since the records before it are gone."""
        place = source, partition
        self._lanes[place] = _lane(self._settings, place, Origin(offset=offset, whole=False))

    def passed(self, source: str, partition: int, offset: int) -> None:
        """Take that there is no record before an offset but those that were taken: a topic may have been compacted."""
        lane = self._lanes[source, partition]
        lane.next = max(lane.next, offset)

    def stretch(self, source: str, partition: int, end: int) -> Stretch:
        """Give the records of a partition from the next one on."""
        topic = self._settings.sources[source].topic
        return Stretch(topic=topic, source=source, partition=partition, first=self._lanes[source, partition].next, end=end)

    def filled(self, block: Block) -> tuple[Block, ...]:
        """Give a block what it lacks, as far as the records that were taken say it.

        Parameters
        ----------
        block : Block
            Of the log, in its order; what it `wants` was taken.

        Returns
        -------
        tuple of Block
            The same buckets. A block whose first buckets cannot be filled becomes two.
        """
        place = block.source, block.partition
        lane = self._lanes.get(place)
        if lane is None:
            return (block,)
        if not block.lacks:
            # Whoever reads the partition now counts the metric itself; from here on nothing is lacking.
            del self._lanes[place]
            return (block,)
        if not self.metrics.intersection(block.lacks):
            return (block,)
        lane.next = max(lane.next, block.offset)
        if lane.ingest.frontier is None or lane.ingest.frontier < block.frontier:
            # The log of blocks moved on here by the clock, or has seen events that are refused now.
            self._give(lane, lane.ingest.silence(block.frontier))
        covered = lane.covered
        if covered is None or covered >= block.frontier:
            return (block,)
        early = block.until(covered)
        late = self._whole(lane, block if early is None else _from(block, covered))
        # Whoever crashed sends its last blocks again, and they have to say the same again.
        oldest = block.frontier - REMEMBER_MS // self._settings.bucket_ms
        lane.given = [each for each in lane.given if each.frontier > oldest]
        return (late,) if early is None else (early, late)

    def snapshot(self) -> bytes:
        """All that later answers depend on; see `restore`."""
        codec = BlockCodec(self._settings)
        lanes = [
            _LaneState(
                source=source,
                partition=partition,
                origin=lane.origin,
                next=lane.next,
                covered=lane.covered,
                ingest=lane.ingest.snapshot(),
                given=[codec.encode(block) for block in lane.given],
            )
            for (source, partition), lane in self._lanes.items()
        ]
        return packed(_STAGE, self._settings, _State(metrics=sorted(self.metrics), lanes=lanes))

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Self:
        """Go on from a snapshot as if never stopped.

        Raises
        ------
        SnapshotError
            If it is damaged, or of another version or settings.
        """
        state = unpacked(_STAGE, settings, data, _State)
        codec = BlockCodec(settings)
        filler = cls(settings, {}, state.metrics)
        for lane in state.lanes:
            ingest = Ingest.restore(settings, lane.source, lane.partition, lane.ingest)
            given = [block for value in lane.given if isinstance(block := codec.decode(value), Block)]
            filler._lanes[lane.source, lane.partition] = _Lane(ingest, lane.origin, lane.next, lane.covered, given)
        return filler

    def _give(self, lane: _Lane, block: Block | None) -> None:
        if block is None:
            return
        if lane.covered is None:
            lane.covered = block.since
            if not lane.origin.whole and lane.origin.since_ms is None:
                # Of the first buckets some events were deleted, or are older than the first record that is left.
                lane.covered += -(-2 * self._settings.sources[block.source].lateness_ms // self._settings.bucket_ms) + 1
        lane.given.append(block)

    def _whole(self, lane: _Lane, block: Block) -> Block:
        """The block, with rows of what it lacked; of a source that means something else as a whole, none of its own stay."""
        wanted = self.metrics.intersection(block.lacks)
        anew = wanted == self._of_source[block.source]
        numbers = [number for metric, each in self._measures[block.source].items() if metric in wanted or (anew and not metric) for number in each]
        codes: dict[Key, int] = {}
        parts = [] if anew else [_coded(block.rows(), block.keys, codes)]
        for given in lane.given:
            if given.frontier <= block.since or given.since >= block.frontier:
                continue
            rows = given.rows().cut(block.since)[1].cut(block.frontier)[0]
            parts.append(_coded(rows.take(np.isin(rows.measure, numbers)), given.keys, codes))
        rows, keys = renumbered(Rows.together(parts).summed(), list(codes))
        return replace(
            block,
            keys=keys,
            bucket=rows.bucket,
            measure=rows.measure,
            key=rows.key,
            bin=rows.bin,
            value=rows.value,
            lacks=tuple(metric for metric in block.lacks if metric not in wanted),
        )


def _lane(settings: Settings, place: tuple[str, int], origin: Origin) -> _Lane:
    frontier = NEVER if origin.since_ms is None else -(-origin.since_ms // settings.bucket_ms)
    ingest = Ingest.resumed(settings, *place, Resume(offset=origin.offset, frontier=frontier), whole=origin.whole)
    return _Lane(ingest, origin, origin.offset, None, [])


def _from(block: Block, bucket: int) -> Block:
    """The part of a block from a bucket on."""
    rows, keys = renumbered(block.rows().cut(bucket)[1], block.keys)
    return replace(block, since=bucket, keys=keys, bucket=rows.bucket, measure=rows.measure, key=rows.key, bin=rows.bin, value=rows.value)


def _coded(rows: Rows, keys: Sequence[Key], codes: dict[Key, int]) -> Rows:
    table = np.fromiter((codes.setdefault(key, len(codes)) for key in keys), dtype=np.int32, count=len(keys))
    return rows.with_keys(table[rows.key]) if len(rows) else rows
