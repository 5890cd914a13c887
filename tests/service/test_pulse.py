"""Time is told by the clock on the wall only when no bucket closes though one should have, however long a bucket is."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from rollguard.config import Layer, default_text, load_layers
from rollguard.detectors import Tick
from rollguard.incidents import LogCodec, Pulse
from rollguard.service import DeskWork, DeskWorks
from tests.incidents import scenes
from tests.service.simulated import Cluster, SimulatedLogs, SimulatedStore

PLACE = TopicPartition("rollguard.signals", 0)
SECOND_MS = 1_000
#: `lateness` and `idle` as shipped, and the minute more.
MORE_S = 20 + 60 + 60


def desk_of(bucket: str) -> tuple[Cluster, DeskWork]:
    """A desk that has just taken a log over in which a bucket has closed."""
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(f"bucket: {bucket}\n", "shop.yaml")])
    cluster = Cluster("rollguard", {PLACE.topic: 1, "rollguard.deadletter": 1}, scenes.START_MS)
    codec, tick = LogCodec(), Tick(bucket=scenes.START_MS // settings.bucket_ms, accounts=(), ready=True)
    cluster.write(PLACE.topic, 0, codec.encode(tick), key=codec.id_of(tick).encode())
    works = DeskWorks(settings, SimulatedLogs(cluster, "rollguard.desk"), SimulatedStore(cluster), "one", lambda: cluster.now_ms)  # type: ignore[arg-type]
    return cluster, asyncio.run(works.open([PLACE]))[PLACE]


def told_after_s(cluster: Cluster, work: DeskWork) -> int:
    """Seconds without a tick until time is told."""
    work.feed(cluster.logs[PLACE], cluster.now_ms)
    for after_s in range(3_600):
        out = asyncio.run(work.rest(cluster.now_ms + after_s * SECOND_MS))
        if out is not None:
            (record,) = out.records
            assert isinstance(LogCodec().decode(record.value or b""), Pulse)
            return after_s
    raise AssertionError("never")


@pytest.mark.parametrize(("bucket", "bucket_s"), [("10s", 10), ("1m", 60), ("5m", 300)])
def test_no_bucket_is_missed_before_it_should_have_closed(bucket: str, bucket_s: int) -> None:
    cluster, work = desk_of(bucket)
    assert told_after_s(cluster, work) == bucket_s + MORE_S
