"""How to try a stage, whatever it is: what it is fed, in pieces of any size, and what it says in a form that can be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from rollguard.config import Settings
from rollguard.detectors import Detect, Signal, Tick
from rollguard.incidents import ChangeSeen, Desk
from rollguard.streams import Block, Closed, Ingest, Ingested, Merger
from tests.properties.chain import Chain, Place, parted, settings_of
from tests.properties.shop import CONFIG, LATENESS_MS, START_MS, Shop, a_shop

SETTINGS = settings_of(CONFIG)
#: Differs in a threshold alone: a stage would run under it, and mean something else.
OTHER_SETTINGS = settings_of("warmup: 3h\n")
PARTITIONS = {"orders": 2, "deliveries": 1, "errors": 1}


def a_quick_shop() -> Shop:
    return a_shop(per_second=1.5)


def plain(value: Any) -> Any:
    """Nested plain values, arrays included."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, msgspec.Struct):
        return [type(value).__name__, *(plain(getattr(value, name)) for name in value.__struct_fields__)]
    if is_dataclass(value):
        return [type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, dict):
        return [[plain(key), plain(item)] for key, item in value.items()]
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def spoil(value: Any) -> None:
    """Alter all that can be altered in what was fed: arrays, lists and dicts, at any depth. What is read-only is a value."""
    if isinstance(value, np.ndarray):
        if value.flags.writeable:
            value[...] = 77
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            spoil(getattr(value, name))
    elif is_dataclass(value):
        for field in fields(value):
            spoil(getattr(value, field.name))
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            spoil(item)
        if not isinstance(value, tuple):
            value.clear()


def seal(value: Any) -> None:
    """Make the arrays of records read-only."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            seal(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            seal(item)


def fresh(value: Any) -> Any:
    """A copy that shares nothing that can be altered; what cannot be stays the same object, as names of series must."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{name: fresh(getattr(value, name)) for name in value.__struct_fields__})
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: fresh(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        found = [fresh(item) for item in value]
        same = isinstance(value, tuple) and all(one is other for one, other in zip(found, value, strict=True))
        return value if same else type(value)(found)
    return value


class Specimen(ABC):
    """A stage to be tried.

    Attributes
    ----------
    stage : type
        Its class.
    atoms : list
        The smallest pieces of what it is fed, in their order.
    """

    stage: type

    @property
    @abstractmethod
    def atoms(self) -> list[Any]: ...

    @abstractmethod
    def new(self) -> Any: ...

    @abstractmethod
    def restore(self, settings: Settings, data: bytes) -> Any: ...

    @abstractmethod
    def record(self, atoms: Sequence[Any]) -> Any:
        """One record of some atoms that follow each other; it shares nothing with others."""

    @abstractmethod
    def said(self, outputs: list[Any]) -> list[Any]:
        """Outputs in plain form, whatever the records were cut into."""

    def feed(self, stage: Any, record: Any) -> Any:
        return stage.feed(record)


class IngestSpecimen(Specimen):
    """Atoms are lines: good, broken, late, doubled, and one far ahead."""

    stage = Ingest

    @property
    def atoms(self) -> list[tuple[int, bytes, int]]:
        return _lines()

    def new(self) -> Ingest:
        return Ingest(SETTINGS, "deliveries", 3, start_ms=START_MS)

    def restore(self, settings: Settings, data: bytes) -> Ingest:
        return Ingest.restore(settings, "deliveries", 3, data)

    def record(self, atoms: Sequence[tuple[int, bytes, int]]) -> Any:
        return [line for _, line, _ in atoms], atoms[0][0], np.array([timestamp_ms for _, _, timestamp_ms in atoms], dtype=np.int64)

    def feed(self, stage: Ingest, record: Any) -> Ingested:
        return stage.feed(*record)

    def said(self, outputs: list[Ingested]) -> list[Any]:
        blocks = [each.block for each in outputs if each.block is not None]
        return [_spans(blocks), *(cell for block in blocks for cell in _cells(block)), *(plain(letter) for each in outputs for letter in each.dead)]


class MergerSpecimen(Specimen):
    """Atoms are blocks of one bucket or so; those of one partition are joined where they follow each other."""

    stage = Merger

    @property
    def atoms(self) -> list[Block]:
        return _blocks()

    def new(self) -> Merger:
        return Merger(SETTINGS, [(source, number) for source, n in PARTITIONS.items() for number in range(n)])

    def restore(self, settings: Settings, data: bytes) -> Merger:
        return Merger.restore(settings, data)

    def record(self, atoms: Sequence[Block]) -> list[Block]:
        return [_joined(list(several)) for _, several in groupby(atoms, key=lambda block: (block.source, block.partition, block.why))]

    def feed(self, stage: Merger, record: list[Block]) -> list[Closed]:
        return [closed for block in record if (closed := stage.feed(block)) is not None]

    def said(self, outputs: list[list[Closed]]) -> list[Any]:
        return [(atom.start, _cells(atom), plain(atom.missing), plain(atom.silent)) for several in outputs for closed in several for atom in _single(closed)]


class DetectSpecimen(Specimen):
    """Atoms are single closed buckets."""

    stage = Detect

    @property
    def atoms(self) -> list[Closed]:
        return _closed()

    def new(self) -> Detect:
        return Detect(SETTINGS)

    def restore(self, settings: Settings, data: bytes) -> Detect:
        return Detect.restore(settings, data)

    def record(self, atoms: Sequence[Closed]) -> Closed:
        first, last = atoms[0], atoms[-1]
        bucket, measure, key, bin_, value = (np.concatenate([getattr(atom, name) for atom in atoms]) for name in ("bucket", "measure", "key", "bin", "value"))
        missing, silent = (
            {source: np.concatenate([getattr(atom, name)[source] for atom in atoms]) for source in first.missing} for name in ("missing", "silent")
        )
        return Closed(first.start, last.end, last.keys, bucket, measure, key, bin_, value, missing, silent)

    def said(self, outputs: list[list[Signal | Tick]]) -> list[Any]:
        return [plain(record) for records in outputs for record in records]


class DeskSpecimen(Specimen):
    """Atoms are records of the signals log. Their arrays are read-only, as a log's reader gives them: the desk keeps ticks, and may not write to them."""

    stage = Desk

    @property
    def atoms(self) -> list[Any]:
        return _log()

    def new(self) -> Desk:
        return Desk(SETTINGS)

    def restore(self, settings: Settings, data: bytes) -> Desk:
        return Desk.restore(settings, data)

    def record(self, atoms: Sequence[Any]) -> list[Any]:
        made: list[Any] = fresh(list(atoms))
        seal(made)
        return made

    def said(self, outputs: list[Any]) -> list[Any]:
        return [plain(entry) for entries in outputs for entry in entries]


SPECIMENS: tuple[Specimen, ...] = (IngestSpecimen(), MergerSpecimen(), DetectSpecimen(), DeskSpecimen())


@cache
def _lines() -> list[tuple[int, bytes, int]]:
    shop = a_quick_shop()
    lines = [(event.line, event.arrival_ms) for event in shop.events["deliveries"][:3000]]
    first_ms = lines[0][1]
    lines[100:100] = [(b'{"ts":', first_ms), lines[10], lines[10], (msgspec.json.encode({"ts": first_ms + 10**8, "promised_minutes": 3}), first_ms)]
    lines[2000:2000] = [lines[5], lines[1999], (b"\xff", first_ms)]
    return [(offset, line, timestamp_ms) for offset, (line, timestamp_ms) in enumerate(lines)]


class _Listening(Chain):
    """A chain that writes down what passes between its stages."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, a_quick_shop(), PARTITIONS)
        self.blocks: list[Block] = []
        self.closed: list[Closed] = []

    def _merge(self, block: Block | None) -> None:
        if block is not None:
            self.blocks.append(block)
        super()._merge(block)

    def _close(self, closed: Closed) -> None:
        self.closed += _single(closed, len(self.closed[-1].keys) if self.closed else 0)
        super()._close(closed)


@cache
def _listening() -> _Listening:
    chain = _Listening()
    logs: dict[Place, list[bytes]] = parted(a_quick_shop(), PARTITIONS)
    for at in range(0, max(map(len, logs.values())), 30):
        for place in sorted(logs):
            if logs[place][at : at + 30]:
                chain.feed(place, logs[place][at : at + 30])
    chain.finish()
    return chain


def _blocks() -> list[Block]:
    return _listening().blocks


def _closed() -> list[Closed]:
    return _listening().closed


@cache
def _log() -> list[Any]:
    chain = _listening()
    changes = list(chain.changes)
    log: list[ChangeSeen | Signal | Tick] = []
    # The desk has nothing to learn from the hours before.
    since = a_quick_shop().onset_ms // SETTINGS.bucket_ms - 60
    for record in (record for record in chain.records if record.bucket >= since):
        while changes and changes[0].seen_ms <= (record.bucket + 1) * SETTINGS.bucket_ms + LATENESS_MS:
            log.append(changes.pop(0))
        log.append(record)
    return log


def _cells(block: Block | Closed) -> list[tuple[Any, ...]]:
    columns = (block.bucket, block.measure, block.bin, block.value)
    return [
        (bucket, measure, block.keys[key], bin_, value)
        for (bucket, measure, bin_, value), key in zip(zip(*(column.tolist() for column in columns), strict=True), block.key.tolist(), strict=True)
    ]


def _spans(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Spans of buckets that were closed, put together where they meet."""
    spans: list[tuple[int, int]] = []
    for block in blocks:
        since = spans.pop()[0] if spans and spans[-1][1] == block.since else block.since
        spans.append((since, block.frontier))
    return spans


def _joined(blocks: list[Block]) -> Block:
    keys = tuple(sorted({key for block in blocks for key in block.keys}))
    codes = [np.array([keys.index(key) for key in block.keys], dtype=np.int32)[block.key] for block in blocks]
    first, last = blocks[0], blocks[-1]
    bucket, measure, bin_, value = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("bucket", "measure", "bin", "value"))
    return Block(first.source, first.partition, first.since, last.frontier, first.why, keys, bucket, measure, np.concatenate(codes), bin_, value)


def _single(closed: Closed, seen: int = 0) -> Iterator[Closed]:
    """The buckets of a `Closed` one by one, after `seen` keys were known."""
    for bucket in range(closed.start, closed.end):
        low, high = np.searchsorted(closed.bucket, [bucket, bucket + 1]).tolist()
        columns = {name: getattr(closed, name)[low:high] for name in ("bucket", "measure", "key", "bin", "value")}
        seen = max([seen, *(columns["key"] + 1).tolist()])
        here = slice(bucket - closed.start, bucket - closed.start + 1)
        missing, silent = ({source: each[here] for source, each in flags.items()} for flags in (closed.missing, closed.silent))
        yield Closed(bucket, bucket + 1, closed.keys[:seen], **columns, missing=missing, silent=silent)
