"""How soon another worker goes on after one was told to stop, on a real Kafka.

    python -P bench/handover.py [ROUNDS]

Two workers share one database (SQLite); events come on the clock of the wall to 3 topics of 4 partitions, and buckets are a second long. In each round
one gets SIGTERM, and another is started in its place. Told is, of each stage that it had, the time from the signal until the other has it (assigned
and restored), and until the other first moved its frontier, which has to wait for the end of the next bucket besides. Needs Java and Maven, or
ROLLGUARD_TEST_KAFKA=host:port.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench.steady import Load
from tests.live.servers import fresh_names, running_broker, until
from tests.live.workers import ENDS_S, Process, Service, shop_topics

PARTITIONS, RATE = 4, 1000
STAGES = ("ingest", "detect", "desk")
SOURCES = ("orders", "errors", "deliveries")
CONFIG = """
bucket: 1s
warmup: 1m
"""
SETTLE_S = 15.0
#: A stage's frontier is looked at so often, in seconds.
LOOK_S = 0.02


def lines_of(worker: Process) -> list[dict[str, Any]]:
    """What a worker has logged."""
    return [json.loads(line) for line in worker.said.splitlines() if line.startswith("{")]


def at_s(line: dict[str, Any]) -> float:
    """When a line was logged, epoch s."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def held(worker: Process) -> dict[str, float]:
    """Partitions that a worker has, by stage."""
    return {stage: worker.metric("rollguard_partitions", stage=stage) or 0.0 for stage in STAGES}


def frontier_s(worker: Process, stage: str) -> float:
    """How far a stage has come in a worker, epoch s; 0: it has not."""
    return worker.metric("rollguard_frontier_timestamp_seconds", stage=stage) or 0.0


def restored_s(worker: Process, stage: str, since_s: float) -> float:
    """When the last partition of a stage was restored that a worker took after a moment."""
    found = [at_s(line) for line in lines_of(worker) if line["event"] == "partition_restored" and line.get("stage") == stage]
    return max((each for each in found if each >= since_s), default=float("nan"))


def n_restored(worker: Process, since_s: float) -> int:
    """Partitions of ingest that a worker has restored since a moment."""
    return sum(line["event"] == "partition_restored" and line.get("stage") == "ingest" and at_s(line) >= since_s for line in lines_of(worker))


def moved_s(service: Service, other: Process, stages: list[str], since_s: float) -> dict[str, float]:
    """When a worker first moved the frontier of each stage that it took over."""
    found: dict[str, float] = {}
    wanted = [stage for stage in stages if stage != "ingest"]
    before = dict.fromkeys(wanted, 0.0)
    deadline = time.time() + 30.0
    while len(found) < len(wanted) and time.time() < deadline:
        for stage in wanted:
            now_s = frontier_s(other, stage)
            if now_s and not before[stage]:
                before[stage] = now_s
            elif now_s > before[stage] > 0:
                found.setdefault(stage, time.time())
        time.sleep(LOOK_S)
    if "ingest" in stages:
        # What is in the log of blocks since the other has the partitions, it has written.
        until(lambda: n_restored(other, since_s) >= PARTITIONS * len(SOURCES), "all partitions restored", 120.0)
        taken_s = restored_s(other, "ingest", since_s)
        until(lambda: any(record.timestamp / 1000 > taken_s for record in service.read(service.topic("blocks"))[-200:]), "a block")
        found["ingest"] = min(record.timestamp / 1000 for record in service.read(service.topic("blocks")) if record.timestamp / 1000 > taken_s)
    return found


def one_round(service: Service, one: Process, other: Process) -> list[tuple[str, float, float]]:
    """Stop one; by stage the seconds until the other has it, and until it first moved its frontier."""
    stages = [stage for stage, number in held(one).items() if number]
    since_s = time.time()
    one.signal(SIGTERM)
    moved = moved_s(service, other, stages, since_s)
    # Not told again: a second signal would end it at once.
    if (code := one.process.wait(ENDS_S)) != 0:
        raise RuntimeError(f"it ended with {code}:\n{one.said[-2000:]}")
    return [(stage, restored_s(other, stage, since_s) - since_s, moved.get(stage, float("nan")) - since_s) for stage in stages]


def main() -> None:
    """Run, and print."""
    rounds = int((*sys.argv[1:], "6")[0])
    names = fresh_names()
    rows: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        shop_topics(broker, names, PARTITIONS)
        with Service(broker, Path(folder) / "service", names, CONFIG) as service:
            load = Load(broker.bootstrap, {source: names.topic(source) for source in SOURCES}, RATE, 100.0)
            load.thread.start()
            try:
                one, other = service.ready(), service.ready()
                for _ in range(rounds):
                    time.sleep(SETTLE_S)
                    until(lambda: service.frontier_ms("desk") > 0, "a desk that has come somewhere")
                    rows += one_round(service, one, other)
                    one, other = other, service.ready()
            finally:
                load.over.set()
                load.thread.join()
    print(f"{platform.machine()}, Python {platform.python_version()}; python -P bench/handover.py {rounds}\n")
    print("| stage | rounds | the other has it, s: median | most | its frontier moves, s: median | most |\n|---|---|---|---|---|---|")
    for stage in STAGES:
        found = np.array([row[1:] for row in rows if row[0] == stage])
        if len(found):
            middle, most = np.nanmedian(found, axis=0), np.nanmax(found, axis=0)
            print(f"| {stage} | {len(found)} | {middle[0]:.2f} | {most[0]:.2f} | {middle[1]:.2f} | {most[1]:.2f} |")


if __name__ == "__main__":
    main()
