"""Events in, blocks of partial sums and frontiers out. Never reads a clock, a socket or a deploy."""

from rollguard.streams.bins import bin_middle, bin_of
from rollguard.streams.decode import Decoded, Decoder
from rollguard.streams.filler import Filler, Origin, Stretch
from rollguard.streams.ingest import Ingest
from rollguard.streams.measure import Measure, Part, measures
from rollguard.streams.merge import Merger
from rollguard.streams.paths import Expression, NotFoundError
from rollguard.streams.records import Block, Closed, DeadLetter, IngestCounts, Ingested, Partitions, Resume, SnapshotError, Vacant, Why
from rollguard.streams.refusal import Refusal
from rollguard.streams.rows import Key
from rollguard.streams.state import StateCodec
from rollguard.streams.text import Text
from rollguard.streams.wire import BlockCodec, BlockRecord, WireError

__all__ = [
    "Block",
    "BlockCodec",
    "BlockRecord",
    "Closed",
    "DeadLetter",
    "Decoded",
    "Decoder",
    "Expression",
    "Filler",
    "Ingest",
    "IngestCounts",
    "Ingested",
    "Key",
    "Measure",
    "Merger",
    "NotFoundError",
    "Origin",
    "Part",
    "Partitions",
    "Refusal",
    "Resume",
    "SnapshotError",
    "StateCodec",
    "Stretch",
    "Text",
    "Vacant",
    "Why",
    "WireError",
    "bin_middle",
    "bin_of",
    "measures",
]
