"""A worker that is told to stop leaves its groups: nobody waits until it is missed."""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.live.servers import Broker, Names, until
from tests.live.workers import Process, Service, shop_topics
from tests.properties import shop as shops

PARTITIONS = 4
ALL = {"ingest": 3 * PARTITIONS, "detect": 1, "desk": 1}
#: Of a worker that did not leave, partitions were free after five minutes: so long nobody waits here.
SESSION, SOON_S = "5m", 120.0


def held(worker: Process) -> dict[str, int]:
    """Partitions that a worker has restored, by stage."""
    return {stage: int(worker.metric("rollguard_partitions", stage=stage) or 0) for stage in ALL}


def test_a_worker_that_is_told_to_stop_leaves_its_partitions_to_the_others_before_it_is_missed(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, PARTITIONS)
    with Service(broker, tmp_path, names, shops.CONFIG, kafka=f", session_timeout: {SESSION}") as service:
        one, other = service.ready(), service.ready()
        until(lambda: {stage: held(one)[stage] + number for stage, number in held(other).items()} == ALL and held(one)["ingest"] > 0, "each has a part", SOON_S)
        assert one.end() == 0
        until(lambda: held(other) == ALL, "the other has all", SOON_S)
        assert "trying_again" not in other.said


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 0.8, 1.2])
def test_a_signal_while_it_connects_ends_it(broker: Broker, names: Names, tmp_path: Path, delay_s: float) -> None:
    """Whatever it is at just then: a shell that began after the signal would have run for ever."""
    shop_topics(broker, names, 1)
    with Service(broker, tmp_path, names, shops.CONFIG) as service:
        worker = service.worker()
        until(lambda: "worker_starts" in worker.said, "it starts")
        time.sleep(delay_s)
        # Before it takes signals it has begun nothing, and dies of them.
        assert worker.end() in {0, -SIGTERM}
