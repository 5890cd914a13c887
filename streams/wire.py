"""The log of blocks as bytes: blocks, and marks about partitions; each block says what its numbers mean."""

import msgspec
import numpy as np

from rollguard.config import RollguardError, Settings, metric_hash
from rollguard.streams.cap import OTHER
from rollguard.streams.measure import Part, measures
from rollguard.streams.records import Block, Partitions, SnapshotError, Vacant, Why, rescaled
from rollguard.streams.rows import Ints, Key, Rows
from rollguard.streams.snapshot import PackedRows, packed_rows, unpacked_rows

__all__ = ["BlockCodec", "BlockRecord", "WireError"]

BlockRecord = Block | Partitions | Vacant
#: A measure by what it means: metric, part, source, and the hash of the metric; of a source's own measures "".
_Meaning = tuple[str, Part, str, str]


HOUR_MS = 3_600_000


class WireError(RollguardError):
    """Bytes that are no record of the log; says why."""

    code = "wire"


class _Block(msgspec.Struct, frozen=True, kw_only=True, tag="block", tag_field="record"):
    source: str
    partition: int
    since: int
    frontier: int
    why: Why
    offset: int
    bucket_ms: int
    table: msgspec.Raw
    keys: list[Key]
    rows: PackedRows


class _Partitions(msgspec.Struct, frozen=True, kw_only=True, tag="partitions", tag_field="record"):
    source: str
    count: int
    exact: bool


class _Vacant(msgspec.Struct, frozen=True, kw_only=True, tag="vacant", tag_field="record"):
    source: str
    partition: int
    vacant: bool


_DECODER = msgspec.msgpack.Decoder(_Block | _Partitions | _Vacant)
_TABLE = msgspec.msgpack.Decoder(list[_Meaning])


class BlockCodec:
    """Writes and reads records of the log of blocks.

    A block that was written under other settings is read as far as its metrics mean the same now; what it lacks it says.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        known = measures(settings)
        hashes = {name: metric_hash(settings, name) for name in settings.metrics}
        self._meanings: list[_Meaning] = [(each.metric, each.part, each.source, hashes.get(each.metric, "")) for each in known]
        self._bucket_ms = settings.bucket_ms
        self._n_labels = len(settings.labels.watched) + len(settings.labels.compare)
        self._own = msgspec.Raw(msgspec.msgpack.encode(self._meanings))
        self._tables: dict[bytes, tuple[Ints | None, dict[str, tuple[str, ...]]]] = {bytes(self._own): (None, {})}

    @staticmethod
    def id_of(record: BlockRecord) -> str:
        """Made from what a record speaks of: the same block sent twice has one id.

        Examples
        --------
        >>> BlockCodec.id_of(Partitions(source="orders", count=4))
        'orders/partitions/4'
        """
        match record:
            case Block():
                return f"{record.source}/{record.partition}/{record.since}-{record.frontier}"
            case Vacant():
                return f"{record.source}/{record.partition}/{'vacant' if record.vacant else 'occupied'}"
            case Partitions():
                return f"{record.source}/partitions/{record.count}{'' if record.exact else '+'}"

    def encode(self, record: BlockRecord) -> bytes:
        """Write a record."""
        if isinstance(record, Partitions):
            return msgspec.msgpack.encode(_Partitions(source=record.source, count=record.count, exact=record.exact))
        if isinstance(record, Vacant):
            return msgspec.msgpack.encode(_Vacant(source=record.source, partition=record.partition, vacant=record.vacant))
        return msgspec.msgpack.encode(
            _Block(
                source=record.source,
                partition=record.partition,
                since=record.since,
                frontier=record.frontier,
                why=record.why,
                offset=record.offset,
                bucket_ms=self._bucket_ms,
                table=self._own,
                keys=list(record.keys),
                rows=packed_rows(record.rows()),
            )
        )

    def decode(self, value: bytes) -> BlockRecord:
        """Read a record.

        Raises
        ------
        WireError
            If it is none.
        """
        try:
            found = _DECODER.decode(value)
            if isinstance(found, _Partitions):
                return Partitions(source=found.source, count=found.count, exact=found.exact)
            if isinstance(found, _Vacant):
                return Vacant(source=found.source, partition=found.partition, vacant=found.vacant)
            rows = unpacked_rows(found.rows, len(found.keys))
            table, lacks = self._meaning(bytes(found.table))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SnapshotError) as error:
            raise WireError(f"no record of the log of blocks: {error}") from error
        if not 0 < found.bucket_ms <= HOUR_MS:
            raise WireError("no record of the log of blocks: its buckets have no length that a bucket can have")
        keys = tuple(found.keys)
        if table is not None:
            rows = _renamed(rows, table)
            if any(len(key) != self._n_labels for key in keys):
                # What a source said of itself counts also where it did not have our labels; whose it was is not known.
                keys, rows = ((OTHER,) * self._n_labels,), rows.with_keys(np.zeros(len(rows), dtype=np.int32)).summed()
        elif len(rows) and not 0 <= int(rows.measure.min()) <= int(rows.measure.max()) < len(self._meanings):
            raise WireError("no record of the log of blocks: it names a measure that it does not declare")
        return Block(
            found.source,
            found.partition,
            rescaled(found.since, found.bucket_ms, self._bucket_ms),
            rescaled(found.frontier, found.bucket_ms, self._bucket_ms),
            found.why,
            keys,
            rows.bucket,
            rows.measure,
            rows.key,
            rows.bin,
            rows.value,
            offset=found.offset,
            lacks=lacks.get(found.source, ()),
        )

    def _meaning(self, raw: bytes) -> tuple[Ints | None, dict[str, tuple[str, ...]]]:
        """Our number of each of their measures, -1 where we have none (None: theirs are ours), and by source the metrics they lack."""
        known = self._tables.get(raw)
        if known is None:
            theirs = _TABLE.decode(raw)
            place = {meaning: number for number, meaning in enumerate(self._meanings)}
            lacks: dict[str, set[str]] = {}
            # The hash of a metric holds the length of its buckets: of another length none means the same.
            for metric, _, source, _ in set(self._meanings) - set(theirs):
                if metric:
                    lacks.setdefault(source, set()).add(metric)
            numbers = np.array([place.get(meaning, -1) for meaning in theirs], dtype=np.int64)
            known = self._tables[raw] = (numbers, {source: tuple(sorted(names)) for source, names in lacks.items()})
        return known


def _renamed(rows: Rows, table: Ints) -> Rows:
    if len(rows) and not 0 <= int(rows.measure.min()) <= int(rows.measure.max()) < len(table):
        raise WireError("no record of the log of blocks: it names a measure that it does not declare")
    ours = table[rows.measure] if len(table) else np.zeros(0, dtype=np.int64)
    rows = rows.take(ours >= 0)
    rows.measure = ours[ours >= 0].astype(np.int16)
    return rows.summed()
