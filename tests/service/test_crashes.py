"""A process may die at any call that it makes of the world: what it leaves behind is what an undisturbed one would."""

from __future__ import annotations

import copy
import random

import msgspec
import pytest
from aiokafka import TopicPartition

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.incidents import LogCodec
from rollguard.service import DeskWorks, DetectWorks, IngestWorks
from rollguard.streams import BlockCodec, measures
from tests.incidents import scenes
from tests.service.simulated import Cluster, SimulatedLogs, SimulatedReader, SimulatedStore, run
from tests.sums import Sums, sums_of

START_MS = 1_772_442_000_000
SHOP = """
bucket: 10s
labels: {watched: [service, region], compare: [], max_values: 3}
sources:
  orders: {lateness: 5s, idle: 30s}
  errors: {lateness: 5s, idle: 30s}
  deliveries: null
metrics: {promised_minutes: null, actual_minutes: null}
"""
SETTINGS: Settings = load_layers([Layer(default_text(), "default.yaml"), Layer(SHOP, "shop.yaml")])
TOPICS = {"orders": 2, "errors": 1, "rollguard.blocks": 1, "rollguard.signals": 1, "rollguard.deadletter": 1}
#: Every so many calls a death is tried, each seed beginning elsewhere; `make test-live` tries every call of more seeds.
STRIDE, SEEDS = 12, 3


def shop(seed: int) -> Cluster:
    """A cluster to which orders and errors come: out of order, late, twice, unreadable, with a pause in which nothing comes."""
    chance = random.Random(seed)  # noqa: S311 - a story that can be told again
    cluster = Cluster("rollguard", TOPICS, START_MS)
    now = START_MS
    ids: list[bytes] = []
    for number in range(chance.randrange(60, 110)):
        now += chance.choice([200, 700, 1500, 2500])
        if number == 50:
            now += 90_000
        topic = "errors" if chance.random() < 0.3 else "orders"
        # What comes late comes when each partition's time is known, and is older than the pause: how much time is over where little or
        # nothing comes is the clock's to say, so that after a death, which takes time, an event may still be in time.
        ts = now - chance.randrange(0, 4_000) - (200_000 if chance.random() < 0.1 and number > 50 else 0)
        order = {"event_id": f"{topic}-{number}", "ts": ts, "service": chance.choice("abcde"), "region": chance.choice(["eu", "us"]), "version": "1"}
        value = msgspec.json.encode(order)
        if ids and chance.random() < 0.1:
            value = ids[-1]
        elif chance.random() < 0.05:
            value = b"{rubbish"
        else:
            ids = [value] if topic == "orders" else ids
        topic = "orders" if value in ids else topic
        partition = 0 if topic == "errors" else hash_of(value) % 2
        cluster.coming.append((now, topic, partition, value))
    return cluster


def hash_of(value: bytes) -> int:
    return sum(value)


def ingest(cluster: Cluster, dies_at: int | None = None) -> bool:
    partitions = [each for each in cluster.logs if not each.topic.startswith("rollguard.")]
    logs = SimulatedLogs(cluster, "rollguard.ingest")
    return run(cluster, SimulatedReader(cluster, partitions, most=7, patience=60), IngestWorks(SETTINGS, logs), dies_at=dies_at)


def sums(cluster: Cluster) -> Sums:
    """What detect would be given: every bucket that has closed, the first copy of each block."""
    codec = BlockCodec(SETTINGS)
    return sums_of(SETTINGS, (codec.decode(value) for _, value in cluster.values("blocks")))


def comparable(found: Sums) -> Sums:
    """Sums without when a doubt was noted: that is the frontier, which an idle partition moves by the clock on the wall, and a death takes time."""
    doubts = [number for number, measure in enumerate(measures(SETTINGS)) if not measure.metric]
    compared: Sums = {}
    for (bucket, measure, key, bin_), value in found.items():
        cell = (0 if measure in doubts else bucket, measure, key, bin_)
        compared[cell] = compared.get(cell, 0) + value
    return compared


@pytest.mark.parametrize("seed", range(SEEDS))
def test_an_ingest_that_dies_at_any_call_loses_and_doubles_nothing(seed: int) -> None:
    assert deaths(seed, STRIDE) > 30


@pytest.mark.live_long
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 20))
def test_an_ingest_that_dies_at_each_call_loses_and_doubles_nothing(seed: int) -> None:
    assert deaths(seed, 1) > 300


def deaths(seed: int, stride: int) -> int:
    """Let an ingest die at every so many calls, a second one end what it began, and hold that against an undisturbed one; how often."""
    calm = shop(seed)
    assert ingest(calm)
    expected, calls = sums(calm), calm.calls
    assert sum(expected.values()) > 40
    points = range(1 + seed % stride, calls + 1, stride)
    for dies_at in points:
        cluster = shop(seed)
        assert not ingest(cluster, dies_at=dies_at)
        assert ingest(cluster)
        assert comparable(sums(cluster)) == comparable(expected), (seed, dies_at)
    return len(points)


def test_letters_of_what_was_refused_are_kept_at_least_once() -> None:
    calm, cluster = shop(1), shop(1)
    assert ingest(calm)
    assert not ingest(cluster, dies_at=calm.calls // 2)
    assert ingest(cluster)
    keys = {key for key, _ in calm.values("deadletter")}
    assert keys
    assert {key for key, _ in cluster.values("deadletter")} == keys


def detect(cluster: Cluster, dies_at: int | None = None) -> bool:
    place = TopicPartition("rollguard.blocks", 0)
    works = DetectWorks(SETTINGS, SimulatedLogs(cluster, "rollguard.detect"), SimulatedStore(cluster), "one", lambda: cluster.now_ms)  # type: ignore[arg-type]
    return run(cluster, SimulatedReader(cluster, [place], most=5, patience=3), works, dies_at=dies_at)


def first_copies(cluster: Cluster) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, value in cluster.values("signals"):
        # A repeat says the same, so that it does not matter which of them the desk takes.
        assert found.setdefault(key, value) == value
    return found


def test_a_detect_that_dies_at_any_call_says_the_same() -> None:
    counted = shop(0)
    assert ingest(counted)
    calm = copy.deepcopy(counted)
    assert detect(calm)
    expected = first_copies(calm)
    assert len(expected) > 20
    for dies_at in range(1, calm.calls + 1, 3):
        cluster = copy.deepcopy(counted)
        assert not detect(cluster, dies_at=dies_at)
        assert detect(cluster)
        assert first_copies(cluster) == expected, dies_at


def desk(cluster: Cluster, dies_at: int | None = None) -> bool:
    place = TopicPartition("rollguard.signals", 0)
    logs, store = SimulatedLogs(cluster, "rollguard.desk"), SimulatedStore(cluster)
    works = DeskWorks(scenes.Shop().settings, logs, store, "one", lambda: cluster.now_ms)  # type: ignore[arg-type]
    return run(cluster, SimulatedReader(cluster, [place], most=9, patience=3), works, dies_at=dies_at)


def incident_log() -> Cluster:
    """A cluster whose signals log tells of a change that hurts."""
    story = scenes.Shop()
    cluster = Cluster("rollguard", TOPICS, scenes.START_MS)
    codec = LogCodec()
    for record in story.log(scenes.START - 10 * scenes.MINUTE, scenes.START + 12 * scenes.MINUTE, [*scenes.regional(story), *scenes.deploy()]):
        cluster.write("rollguard.signals", 0, codec.encode(record), key=codec.id_of(record).encode())
    return cluster


def rows(cluster: Cluster) -> list[tuple[object, ...]]:
    return [(type(row).__name__, row.offset, row.ordinal, getattr(row, "line", None) or row.body) for row in cluster.rows]


def test_a_desk_that_dies_at_any_call_writes_each_row_once() -> None:
    calm = incident_log()
    assert desk(calm)
    expected = rows(calm)
    assert len(expected) == len(set(expected)) > 5
    for dies_at in range(1, calm.calls + 1, 2):
        cluster = incident_log()
        assert not desk(cluster, dies_at=dies_at)
        assert desk(cluster)
        assert rows(cluster) == expected, dies_at
