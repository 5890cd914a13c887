"""A metric's past, read from the sources again: what detect does with blocks that lack it, and what `rollguard backfill` leaves for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import Settings, settings_hash
from rollguard.store import DamagedError, Store
from rollguard.streams import Block, BlockRecord, Filler
from rollguard.streams.kafka import Bounds, Stretches

__all__ = ["Found", "Staged", "discard", "filled", "staged_name", "staged_of", "take", "taken"]

log = structlog.get_logger()

#: Raised with every change of what is kept.
VERSION = 1


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill keeps beside a stage's own snapshots, until a worker takes it.

    Attributes
    ----------
    done : bool
        False: it was interrupted, and goes on from here.
    metrics : list of str
        What was asked for.
    since_ms : int or None
    away : list of bytes
        Signals of series that have left their baseline and not come back, as in the signals log: nobody has told them yet.
    stage : bytes
        Snapshot of the stage, with its filler.
    """

    version: int = VERSION
    done: bool
    metrics: list[str]
    since_ms: int | None
    away: list[bytes]
    stage: bytes


class Found(NamedTuple):
    """A kept backfill, and the offset in the log of blocks at which it goes on."""

    staged: Staged
    offset: int


def staged_name(stage: str, settings: Settings) -> str:
    """Where a backfill for these settings is kept: a worker with others never looks there."""
    return f"{stage} filled for {settings_hash(settings)}"


def staged_of(store: Store, stage: str, settings: Settings) -> Found | None:
    """What a backfill kept; None: nothing that is intact.

    Raises
    ------
    StoreError
        If the database is away.
    """
    try:
        kept = store.newest(staged_name(stage, settings))
    except DamagedError as error:
        log.error("backfill_is_damaged", stage=stage, error=str(error))  # noqa: TRY400 - the text says it all
        return None
    if kept is None:
        return None
    try:
        staged = msgspec.msgpack.decode(kept.state, type=Staged)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("backfill_refused", stage=stage, error=str(error))
        return None
    if staged.version != VERSION:
        log.warning("backfill_refused", stage=stage, version=staged.version, expected=VERSION)
        return None
    return Found(staged, kept.offset)


def taken(store: Store, stage: str, settings: Settings, bounds: Bounds) -> Found | None:
    """The backfill that a worker goes on from; None: there is none, or it is not finished, or the log has gone past it."""
    found = staged_of(store, stage, settings)
    if found is None or not found.staged.done:
        return None
    if not bounds.first <= found.offset <= bounds.end:
        log.warning("backfill_is_too_old", stage=stage, offset=found.offset, first=bounds.first, end=bounds.end)
        return None
    return found


def discard(store: Store, stage: str, settings: Settings) -> None:
    """Let go of what a backfill kept."""
    store.forget(staged_name(stage, settings))


def filled(filler: Filler | None, stretches: Stretches | None, record: BlockRecord, on_read: Callable[[int], None] | None = None) -> Sequence[BlockRecord]:
    """Give a record of the log of blocks what it lacks, as far as its source still holds it.

    Parameters
    ----------
    filler : Filler or None
        None: nothing is to be filled.
    stretches : Stretches or None
        What sources are read with; None: they are not.
    record : Block, Partitions or Vacant
    on_read : callable, optional
        Called with the number of records that were read.

    Raises
    ------
    KafkaError
        If a source cannot be read.
    """
    if filler is None or stretches is None or not isinstance(record, Block):
        return (record,)
    wanted = filler.wants(record)
    if wanted is not None:
        first = wanted.first
        for records in stretches.read(TopicPartition(wanted.topic, wanted.partition), first, wanted.end):
            if records[0].offset > first and stretches.bounds(wanted.topic)[wanted.partition].first > first:
                # Deleted while we were on our way.
                filler.restart(wanted.source, wanted.partition, records[0].offset)
            first = records[-1].offset + 1
            take(filler, wanted.source, wanted.partition, records)
            if on_read is not None:
                on_read(len(records))
    return filler.filled(record)


def take(filler: Filler, source: str, partition: int, records: Sequence[ConsumerRecord]) -> Block | None:
    """Let a filler take records as they came from Kafka."""
    lines = [record.value or b"" for record in records]
    offsets = np.array([record.offset for record in records], dtype=np.int64)
    stamps = np.array([record.timestamp for record in records], dtype=np.int64)
    return filler.take(source, partition, lines, offsets, stamps)
