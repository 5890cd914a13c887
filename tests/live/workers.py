"""Real workers as processes on a real broker: started, killed, stopped, and what they left in topics and database."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.detectors import Signal, Tick
from rollguard.incidents import LogCodec
from rollguard.replay import fold
from rollguard.service import open_store
from rollguard.streams import BlockCodec
from tests.live.servers import HOST, Broker, Names, free_ports, fresh_names, in_a_loop, until
from tests.sums import Sums, sums_of

ENDS_S = 30.0


@dataclass
class Process:
    """A process of Rollguard's, with what it said."""

    words: Sequence[str]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-P", "-m", "rollguard", *self.words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number: Signals = SIGTERM) -> int:
        """End it, and give its exit code; one that does not end is killed, and that is an error."""
        if self.runs:
            self.signal(SIGCONT)
            self.signal(number)
        try:
            return self.process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it does not end:\n{self.said[-3000:]}") from None

    def done(self, seconds: float = 600.0) -> str:
        """Wait for its own end, and give what it said."""
        code = self.process.wait(seconds)
        assert code == 0, self.said
        return self.said

    def get(self, path: str) -> tuple[int, str]:
        """Ask its web server; 0: nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=2.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        if not self.runs:
            raise AssertionError(f"it has ended:\n{self.said[-3000:]}")
        return self.get("/readyz")[0] == 200

    def metric(self, name: str, **labels: str) -> float | None:
        """A value that it shows now."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


@dataclass
class Service(AbstractContextManager["Service"]):
    """A live service of a shop's: one config, its topics, its database, any number of workers.

    Parameters
    ----------
    broker : Broker
    folder : Path
        Of its own.
    shop : Names
        Whose topics of events and changes it reads.
    config : str
        What else its config says, as YAML.
    store : str, optional
        Address of a database; else a file.
    """

    broker: Broker
    folder: Path
    shop: Names
    config: str = ""
    store: str = ""
    names: Names = field(default_factory=fresh_names)
    processes: list[Process] = field(default_factory=list)
    #: What each source says besides its topic; None: there is no such source.
    sources: dict[str, str | None] = field(default_factory=dict)
    has_topics: bool = False
    #: What its changes say besides their topic.
    changes: str = ""
    #: What else its `kafka` says, as `, key: value`.
    kafka: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = self.store or f"sqlite:///{self.folder / 'rollguard.db'}"
        for topic in () if self.has_topics else ("blocks", "signals", "deadletter", "commands"):
            self.broker.create_topic(self.topic(topic))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each in self.processes:
            if each.runs:
                each.signal(SIGKILL)
                each.process.wait()

    @property
    def settings(self) -> Settings:
        """What its config says."""
        return load_layers([Layer(default_text(), "default.yaml"), Layer(self._text(0), "shop.yaml")])

    def topic(self, name: str) -> str:
        """A topic of the service's own."""
        return f"{self.names.prefix}.{name}"

    def path(self, port: int = 0) -> Path:
        """Its config as a file, with a port for a worker's web server."""
        path = self.folder / f"shop-{port}.yaml"
        path.write_text(self._text(port), encoding="utf-8")
        return path

    def worker(self, *words: str) -> Process:
        """Start a worker."""
        (port,) = free_ports(1)
        return self._run(["worker", "-c", str(self.path(port)), "--logs", "json", *words], port)

    def ready(self, *words: str) -> Process:
        """Start a worker, and wait until it is ready."""
        worker = self.worker(*words)
        until(lambda: worker.ready, f"a worker that is ready; it said:\n{worker.said[-2000:]}")
        return worker

    def produce(self, case: Path, speed: str) -> Process:
        """Start to write a case to the shop's topics."""
        return self._run(["produce", str(case), "--speed", speed, "-c", str(self.path())], 0)

    def send(self, topic: str, values: Sequence[bytes | None], partition: int = 0, *, at_ms: int | None = None) -> None:
        """Write records to a topic."""

        async def work() -> None:
            async with AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap, max_request_size=2**24) as producer:
                for value in values:
                    await producer.send(topic, value=value, key=b"gone" if value is None else None, partition=partition, timestamp_ms=at_ms)
                await producer.flush()

        in_a_loop(work)

    def read(self, topic: str, partition: int = 0) -> list[ConsumerRecord]:
        """All records of a partition."""

        async def work() -> list[ConsumerRecord]:
            place = TopicPartition(topic, partition)
            found: list[ConsumerRecord] = []
            async with AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=2**24) as consumer:
                consumer.assign([place])
                end = (await consumer.end_offsets([place]))[place]
                while await consumer.position(place) < end:
                    for records in (await consumer.getmany(timeout_ms=1000)).values():
                        found += records
            return found

        return in_a_loop(work)

    def end_of(self, topic: str) -> int:
        """The next offset of a topic with one partition."""

        async def work() -> int:
            place = TopicPartition(topic, 0)
            async with AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap) as consumer:
                end: int = (await consumer.end_offsets([place]))[place]
                return end

        return in_a_loop(work)

    def await_records(self, partitions: int) -> None:
        """Wait until each partition of the shop's events holds a record: none is vacant then."""
        wanted = [TopicPartition(self.shop.topic(topic), number) for topic in ("orders", "errors", "deliveries") for number in range(partitions)]

        async def all_there() -> bool:
            async with AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap) as consumer:
                return all((await consumer.end_offsets(wanted)).values())

        until(lambda: in_a_loop(all_there), "a record in each partition")

    def frontier_ms(self, stage: str = "desk") -> float:
        """Event time up to which a stage has come, whichever worker has it."""
        found = [each.metric("rollguard_frontier_timestamp_seconds", stage=stage) for each in self.processes if each.port and each.runs]
        return 1000 * max((each for each in found if each is not None), default=0.0)

    def await_frontier(self, end_ms: float, *, stage: str = "desk", seconds: float = 120.0) -> None:
        """Wait until a stage has come so far."""
        until(lambda: self.frontier_ms(stage) >= end_ms, f"{stage} at {end_ms}; it is at {self.frontier_ms(stage)}", seconds)

    def sums(self) -> Sums:
        """What detect was given: every bucket that has closed, the first copy of each block."""
        codec = BlockCodec(self.settings)
        return sums_of(self.settings, (codec.decode(record.value) for record in self.read(self.topic("blocks"))))

    def signals(self, until_ms: int) -> dict[bytes, bytes]:
        """Signals and ticks of buckets that end by then, by id. A repeat has to say the same as the first copy."""
        codec, bucket_ms = LogCodec(), self.settings.bucket_ms
        found: dict[bytes, bytes] = {}
        for record in self.read(self.topic("signals")):
            told = codec.decode(record.value)
            bucket = told.bucket if isinstance(told, Tick) else told.bucket if isinstance(told, Signal) else None
            if bucket is not None and (bucket + 1) * bucket_ms <= until_ms:
                assert found.setdefault(record.key, record.value) == record.value, f"a repeat of {record.key!r} says something else"
        return found

    def timeline(self, until_ms: int) -> list[bytes]:
        """Lines of the timeline up to a moment of event time, in order."""
        store = open_store(self.settings)
        try:
            return [row.line for row in store.timeline(until_ms)]
        finally:
            store.close()

    def incidents(self, until_ms: int) -> list[dict[str, Any]]:
        """What was known of incidents by then."""
        return fold(msgspec.json.decode(line) for line in self.timeline(until_ms))

    def _run(self, words: Sequence[str], port: int) -> Process:
        started = Process(words, self.folder / f"{words[0]}-{len(self.processes)}.log", port)
        self.processes.append(started)
        return started

    def _sources(self) -> str:
        told = {"orders": "", "errors": "", "deliveries": ""} | self.sources
        return "\n".join(f"  {name}: {'null' if more is None else f'{{topic: {self.shop.topic(name)}{more}}}'}" for name, more in told.items())

    def _text(self, port: int) -> str:
        return f"""
kafka: {{bootstrap_servers: "{self.broker.bootstrap}", prefix: {self.names.prefix}, group: {self.names.group}{self.kafka}}}
store: {{url: "{self.store}", snapshot: 2s}}
http: {{port: {port}}}
sources:
{self._sources()}
changes: {{topic: {self.shop.topic("deploys")}{self.changes}}}
{self.config}"""


def shop_topics(broker: Broker, names: Names, partitions: int = 4) -> None:
    """Create the topics of a shop."""
    for topic in ("orders", "errors", "deliveries"):
        broker.create_topic(names.topic(topic), partitions)
    broker.create_topic(names.topic("deploys"))


def assert_same_lines(found: list[bytes], expected: list[bytes]) -> None:
    """Hold two timelines against one another, and show the first difference by its place."""
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        differing = list(differences(msgspec.json.decode(one), msgspec.json.decode(other)))
        assert not differing, f"line {number}: {'; '.join(differing[:9])}"
    assert len(found) == len(expected)
    assert found == expected


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif one != other:
        yield f"{place}: {one} != {other}"
