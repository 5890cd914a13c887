"""A case's files onto the topics of a config, in the order of arrival and at the pace of its own time."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from rollguard.config import Settings
from rollguard.incidents import ChangeRefusedError, sightings
from rollguard.replay.case import Case
from rollguard.replay.pipeline import Progress
from rollguard.replay.reader import EventFile
from rollguard.replay.tables import from_text
from rollguard.streams import Decoder
from rollguard.streams.kafka import Access, Topics

__all__ = ["Produced", "produce_case"]

#: Records sent before the first of them has to be acknowledged.
IN_FLIGHT = 5_000
#: The pace is kept to so many seconds.
PACE_S = 0.05


@dataclass(slots=True)
class Produced:
    """What was written.

    Attributes
    ----------
    events : dict of str to int
        By source.
    changes : int
    """

    events: dict[str, int]
    changes: int = 0


Sign = Callable[[bytes], list[tuple[str, bytes]]]


class _Sent(NamedTuple):
    """A record on its way: when it is due, its topic, key and value; of order 0 it is a change."""

    due_ms: int
    order: int
    number: int
    topic: str
    key: bytes | None
    value: bytes


async def produce_case(
    case: Case, settings: Settings, access: Access, *, speed: float | None, sign: Sign = lambda _: [], on_progress: Callable[[Progress], None] | None = None
) -> Produced:
    """Write a case to Kafka.

    Events keep their times; each source's go to its topic, keyed by their id, so that copies meet in one partition. Damage is written as it
    stands: what cannot be read is for ingest to refuse.

    Parameters
    ----------
    case : Case
    settings : Settings
        Of the live service: its topics and brokers.
    access : Access
    speed : float or None
        Event time over the time on the wall; None: as fast as it goes, changes first, so that no order of arrival between topics decides.
    sign : callable, optional
        Gives the headers of a change, which sign it.
    on_progress : callable, optional
        Called after each stretch of records.

    Returns
    -------
    Produced

    Raises
    ------
    KafkaError
        If a topic is missing or may not be written to, or the brokers are away.
    """
    files = {source: EventFile(path) for source, path in case.files.items() if source in settings.sources}
    topics = {source: settings.sources[source].topic for source in files}
    async with Topics.of(access) as known:
        await known.require(sorted({*topics.values(), settings.changes.topic}))
    changes = list(_changes(case, settings))
    streams = [_events(settings, source, file, order) for order, (source, file) in enumerate(sorted(files.items()), 1)]
    records = heapq.merge(*streams) if speed is None else heapq.merge(iter(changes), *streams)
    done = Produced(dict.fromkeys(sorted(files), 0), len(changes))
    source_of = dict(enumerate(sorted(files), 1))
    total = sum(file.total for file in files.values())
    async with access.started(access.producer()) as producer:
        if speed is None:
            await _send(producer, changes, sign)
        waiting: list[_Sent] = []
        began_ms, began_s = None, time.monotonic()
        for record in records:
            if speed is not None:
                began_ms = record.due_ms if began_ms is None else began_ms
                ahead_s = (record.due_ms - began_ms) / 1000 / speed - (time.monotonic() - began_s)
                if ahead_s > PACE_S:
                    await _send(producer, waiting, sign)
                    waiting = []
                    await asyncio.sleep(ahead_s)
            waiting.append(record)
            if record.order:
                done.events[source_of[record.order]] += 1
            if len(waiting) >= IN_FLIGHT:
                await _send(producer, waiting, sign)
                waiting = []
                if on_progress is not None:
                    on_progress(Progress(sum(file.done for file in files.values()), total, record.due_ms))
        await _send(producer, waiting, sign)
    return done


async def _send(producer: AIOKafkaProducer, records: list[_Sent], sign: Sign) -> None:
    sent = [await producer.send(each.topic, value=each.value, key=each.key, headers=[] if each.order else sign(each.value)) for each in records]
    await asyncio.gather(*sent)


def _events(settings: Settings, source: str, file: EventFile, order: int) -> Iterator[_Sent]:
    """Lines of a file; each is due when the latest before it was, as they stand in the order of arrival."""
    decoder = Decoder(settings, source, lax=file.lax)
    topic, due_ms, number = settings.sources[source].topic, 0, 0
    for batch in file:
        decoded = decoder.decode(batch.lines)
        times = dict(zip(decoded.index.tolist(), decoded.ts_ms.tolist(), strict=True))
        ids = {} if decoded.ids is None else dict(zip(decoded.index.tolist(), decoded.ids, strict=True))
        for at, line in enumerate(batch.lines):
            due_ms = max(due_ms, times.get(at, due_ms))
            number += 1
            name = ids.get(at)
            yield _Sent(due_ms, order, number, topic, None if name is None else name.encode(), from_text(line) if file.lax else line)


def _changes(case: Case, settings: Settings) -> Iterator[_Sent]:
    if case.deploys is None:
        return
    file = EventFile(case.deploys)
    found: list[_Sent] = []
    due_ms = number = 0
    for batch in file:
        for line in batch.lines:
            number += 1
            value = from_text(line) if file.lax else line
            try:
                seen = sightings(value, environment=settings.environment)
                due_ms = seen[0].seen_ms if seen else due_ms
                key = seen[0].deploy_id.encode() if seen else None
            except ChangeRefusedError:
                key = None
            found.append(_Sent(due_ms, 0, number, settings.changes.topic, key, value))
    yield from sorted(found)
