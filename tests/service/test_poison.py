"""Poison beside good events: it is put away, and costs the good ones nothing but its own share."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import Layer, default_text, load_layers
from rollguard.service import IngestWorks
from rollguard.streams.kafka import Outgoing
from tests.service.simulated import Cluster, SimulatedLogs

SETTINGS = load_layers([Layer(default_text(), "default.yaml")])
START_MS = 1_772_442_000_000
PLACE = TopicPartition("orders", 0)
POISON = (b"{rubbish", None, b'{"event_id": "x"}', b"\xff\xfe", b"{" * 500, b"9" * 70_000)


def record(offset: int, value: bytes | None) -> ConsumerRecord:
    return ConsumerRecord("orders", 0, offset, START_MS + offset * 100, 0, None, value, None, 0, len(value or b""), ())


def fed(values: list[bytes | None]) -> tuple[int, list[Outgoing], int]:
    """Feed one batch: events kept, what came out, calls made of the world."""
    cluster = Cluster("rollguard", {"orders": 1, "rollguard.blocks": 1, "rollguard.deadletter": 1}, START_MS)
    work = asyncio.run(IngestWorks(SETTINGS, SimulatedLogs(cluster, "rollguard.ingest")).open([PLACE]))[PLACE]
    before = cluster.calls
    out = work.feed([record(offset, value) for offset, value in enumerate(values)], START_MS)
    return work.counts["orders"].kept, out, cluster.calls - before


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_every_good_event_of_a_batch_counts_whatever_stands_beside_it(share: float) -> None:
    good = [msgspec.json.encode({"event_id": f"o-{n}", "ts": START_MS + n * 100, "service": "checkout", "region": "eu", "version": "1"}) for n in range(1000)]
    bad = round(len(good) * share / (1 - share))
    values: list[bytes | None] = []
    for number, event in enumerate(good):
        values += [POISON[at % len(POISON)] for at in range(number * bad // len(good), (number + 1) * bad // len(good))]
        values.append(event)
    kept, out, calls = fed(values)
    letters = [each for each in out if each.topic == "deadletter"]
    assert kept == len(good)
    assert len(letters) == bad
    assert len({letter.key for letter in letters}) == bad
    # Nothing is asked of the world for a record, good or bad; and of a long one no more is kept than fits.
    assert calls == 0
    assert max((len(letter.value or b"") for letter in letters), default=0) <= 256 * 1024
