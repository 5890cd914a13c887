"""A worker under a steady load: how long from an event to its signal, and whether memory and lag stay flat. Linux, for it reads /proc.

    python -P bench/steady.py 5000 2 [AGE_MS]      event to signal
    python -P bench/steady.py 2000 10 [AGE_MS]     soak

Events are AGE_MS old on arrival (mean; 300 unless told), some a few times that. They come on the clock of the wall to 3 topics of 4 partitions; one
real worker with SQLite runs beside them. Needs Java and Maven, or ROLLGUARD_TEST_KAFKA=host:port.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from aiokafka import AIOKafkaProducer
from rich.progress import track

from rollguard.detectors import Tick
from rollguard.incidents import LogCodec

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.live.servers import fresh_names, running_broker
from tests.live.workers import Process, Service, shop_topics

PARTITIONS = 4
#: What a thousand events are.
SHARES = {"orders": 450, "deliveries": 450, "errors": 100}
REGIONS = ("eu-west", "us-east", "us-west", "ap-south")
SERVICES = ("checkout", "cart", "search", "payments", "catalog", "accounts")
SAMPLE_S = 5.0
#: Of a run so much is for the worker to come to its usual size.
SETTLING = 0.3
#: Events are written in turns so long.
TURN_MS = 50


class Load:
    """Writes events until it is over."""

    def __init__(self, bootstrap: str, topics: dict[str, str], rate: int, age_ms: float) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.rate = rate
        self.age_ms = age_ms
        self.over = threading.Event()
        self.sent = 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self._write()))

    async def _write(self) -> None:
        chance = np.random.default_rng(1)
        sources = [source for source, share in SHARES.items() for _ in range(share)]
        began = time.monotonic()
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5) as producer:
            while not self.over.is_set():
                due = int((time.monotonic() - began) * self.rate)
                for number in range(self.sent, due):
                    source = sources[number * 7919 % len(sources)]
                    event = {
                        "event_id": f"{source}-{number}",
                        "ts": time.time_ns() // 1_000_000 - int(min(chance.exponential(self.age_ms), 15_000)),
                        "service": SERVICES[number % len(SERVICES)],
                        "region": REGIONS[number // 7 % len(REGIONS)],
                        "version": f"4.1.{number % 3}",
                        "promised_minutes": int(chance.lognormal(7.9, 0.45)),
                    }
                    await producer.send(self.topics[source], msgspec.json.encode(event), partition=number % PARTITIONS)
                self.sent = due
                await asyncio.sleep(TURN_MS / 1000)


def rss_mb(worker: Process) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def samples_of(worker: Process, minutes: float) -> npt.NDArray[np.float64]:
    """Every few seconds: minutes since the start, MB, seconds by which the frontiers of ingest's log and of the desk lie behind the clock."""
    began = time.monotonic()
    rows: list[tuple[float, ...]] = []
    for number in track(range(round(minutes * 60 / SAMPLE_S)), description="running"):
        time.sleep(max(0.0, began + (number + 1) * SAMPLE_S - time.monotonic()))
        ages = []
        for stage in ("detect", "desk"):
            frontier_s = worker.metric("rollguard_frontier_timestamp_seconds", stage=stage)
            ages.append(float("nan") if frontier_s is None else time.time() - frontier_s)
        rows.append(((time.monotonic() - began) / 60, rss_mb(worker), *ages))
    return np.array(rows)


def delays_s(service: Service, since_ms: float) -> npt.NDArray[np.float64]:
    """Seconds from an event to the tick of its bucket in the signals log, of events evenly spread over the buckets."""
    codec, bucket_ms = LogCodec(), service.settings.bucket_ms
    found = []
    for record in service.read(service.topic("signals")):
        told = codec.decode(record.value)
        if isinstance(told, Tick) and told.bucket * bucket_ms >= since_ms:
            found += [record.timestamp - told.bucket * bucket_ms - at for at in range(0, bucket_ms, bucket_ms // 20)]
    return np.array(found) / 1000


def tell(minutes: float, service: Service, load: Load, samples: npt.NDArray[np.float64], delays: npt.NDArray[np.float64]) -> None:
    """Print what was measured."""
    rate = load.rate
    settings = service.settings
    print(f"python -P bench/steady.py {rate} {minutes:g} {load.age_ms:g}")
    print(f"Python {platform.python_version()}, {platform.machine()}; {load.sent:,} events at {rate:,} a second over {minutes:g} minutes\n")
    bar_s = (settings.bucket_ms + settings.sources["orders"].lateness_ms) / 1000 + 1
    p50, p99 = np.percentile(delays, [50, 99])
    print(f"event to signal: p50 {p50:.1f} s, p99 {p99:.1f} s, most {delays.max():.1f} s (bar: p99 {bar_s:.0f} s: bucket + lateness + 1 s)\n")
    print("| minute | MB | detect behind, s | desk behind, s |\n|---|---|---|---|")
    for row in samples[:: max(len(samples) // 10, 1)]:
        print(f"| {row[0]:.1f} | {row[1]:.0f} | {row[2]:.1f} | {row[3]:.1f} |")
    settled = samples[samples[:, 0] > SETTLING * minutes]
    names = ("memory, MB", "detect behind, s", "desk behind, s")
    print("\n" + "; ".join(f"{name} an hour: {60 * np.polyfit(settled[:, 0], settled[:, at + 1], 1)[0]:+.1f}" for at, name in enumerate(names)))


def main() -> None:
    """Run, and print."""
    rate, minutes, age_ms = int(sys.argv[1]), float(sys.argv[2]), float((*sys.argv[3:], "300")[0])
    names = fresh_names()
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        shop_topics(broker, names, PARTITIONS)
        with Service(broker, Path(folder) / "service", names) as service:
            load = Load(broker.bootstrap, {source: names.topic(source) for source in SHARES}, rate, age_ms)
            load.thread.start()
            try:
                worker = service.ready()
                # The buckets in which it started are no measure.
                since_ms = time.time() * 1000 + 30_000
                samples = samples_of(worker, minutes)
            finally:
                load.over.set()
                load.thread.join()
            worker.end()
            tell(minutes, service, load, samples, delays_s(service, since_ms))


if __name__ == "__main__":
    main()
