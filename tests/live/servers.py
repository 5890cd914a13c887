"""A real Apache Kafka for tests: found, or started in a folder of its own with every way to log in, and stopped again.

Where it comes from, in this order: `ROLLGUARD_TEST_KAFKA=host:port`; Java 17 and Maven; Docker. None: `NoServerError` says why.

A broker of our own has five listeners. PLAINTEXT and SSL may do everything; whom SASL_PLAINTEXT and SASL_SSL let in is `USER`, who may
do nothing before `Broker.allow`; MUTUAL asks for the client's certificate. Its certificates name 127.0.0.1 and not localhost.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import TypeVar

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

T = TypeVar("T")

POM = Path(__file__).parent / "kafka" / "pom.xml"
IMAGE = "apache/kafka:4.1.0"
HOST = "127.0.0.1"
LISTENERS = ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL", "MUTUAL", "CONTROLLER")
#: Who may log in by SASL (both mechanisms), and with what: `root` may do everything, `USER` what tests allow, `STRANGER` nothing ever.
USER = "worker"
STRANGER = "stranger"
PASSWORDS = {"root": "root-secret-1b", USER: "worker-secret-7f", STRANGER: "stranger-secret-5d"}
MECHANISMS = ("PLAIN", "SCRAM-SHA-512")
#: Small and quick to start: one garbage collector thread, only the first compiler.
JVM = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")
READY_S = 180.0
OPERATIONS = {"all": 2, "read": 3, "write": 4, "create": 5, "describe": 8, "describe_configs": 10, "idempotent_write": 12}
RESOURCES = {"topic": 2, "group": 3, "cluster": 4}


class NoServerError(Exception):
    """No server of this kind can be had here, and why."""


@dataclass(frozen=True)
class Names:
    """What a test calls its own, so that no other test meets it: goes into the config's `kafka.prefix` and `kafka.group`."""

    prefix: str
    group: str

    def topic(self, name: str) -> str:
        """A topic of the shop's, for this test alone."""
        return f"{self.prefix}-{name}"


def fresh_names() -> Names:
    """Names that no test had before."""
    tag = uuid.uuid4().hex[:10]
    return Names(prefix=f"rg-{tag}", group=f"group-{tag}")


def in_a_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine in a loop of its own, also when called from inside another one."""
    found: list[T] = []
    raised: list[BaseException] = []

    async def whole() -> None:
        found.append(await work())

    def run() -> None:
        try:
            asyncio.run(whole())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def until(met: Callable[[], bool], what: str, seconds: float = READY_S) -> None:
    """Wait for a condition, up to a deadline."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Broker:
    """A Kafka broker, as tests use it. Every call waits until it is done.

    Attributes
    ----------
    bootstrap : str
        host:port of its PLAINTEXT listener, where everything is allowed.
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @property
    def certificates(self) -> Path:
        """Folder with ca.pem, other-ca.pem (signed nothing), client.pem and client.key (locked with `CLIENT_KEY_PASSWORD`)."""
        return self._own().folder

    def address(self, listener: str) -> str:
        """host:port of a listener: PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL or MUTUAL."""
        return f"{HOST}:{self._own().ports[listener]}"

    def create_topic(self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """Create a topic; an error of the broker's is raised as aiokafka's."""
        # aiokafka takes -1, "as the brokers say", only beside an assignment of replicas, which may be empty.
        new = NewTopic(name, partitions, -1, {}, dict(configs or {}))

        async def work(admin: AIOKafkaAdminClient) -> None:
            answer = await admin.create_topics([new])
            for _, code, *said in answer.topic_errors:
                if code:
                    raise for_code(code)(*said)

        self._as_admin(work)
        self._wait_for(name, partitions)

    def add_partitions(self, name: str, total: int) -> None:
        """Let a topic grow to so many partitions."""

        async def work(admin: AIOKafkaAdminClient) -> None:
            await admin.create_partitions({name: NewPartitions(total)})

        self._as_admin(work)
        self._wait_for(name, total)

    def topics(self) -> dict[str, int]:
        """All topics with their number of partitions; asking creates none."""

        async def work(admin: AIOKafkaAdminClient) -> dict[str, int]:
            return {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}

        return self._as_admin(work)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete topics."""

        async def work(admin: AIOKafkaAdminClient) -> None:
            await admin.delete_topics(list(names))

        self._as_admin(work)
        until(lambda: self.topics().keys().isdisjoint(names), f"topics {', '.join(names)} to be gone")

    def delete_records(self, topic: str, partition: int, *, before: int) -> None:
        """Delete a partition's records before an offset, as its retention would."""

        async def work(admin: AIOKafkaAdminClient) -> None:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})

        self._as_admin(work)

    def allow(self, operation: str, resource: str, name: str, *, prefixed: bool = False, user: str = USER) -> None:
        """Allow a user one operation (of `OPERATIONS`) on one resource (of `RESOURCES`), or on all whose names begin so."""
        self._own()
        acl = (RESOURCES[resource], name, 4 if prefixed else 3, f"User:{user}", "*", OPERATIONS[operation], 3)

        async def work() -> None:
            client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
            await client.bootstrap()
            try:
                answer = await client.send(client.get_random_node(), CreateAcls([acl]))
            finally:
                await client.close()
            for code, said in answer.results:
                if code:
                    raise for_code(code)(said)

        in_a_loop(work)

    def stop(self) -> None:
        """Shut it down, as an operator would."""
        self._own().end(SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._own().end(SIGKILL)

    def start(self) -> None:
        """Start it again, with all that it kept; returns when it serves."""
        self._own().start()

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stand, nothing is answered (SIGSTOP)."""
        self._own().signal(SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._own().signal(SIGCONT)

    def make_well(self) -> None:
        """Undo what a test did to the process: it runs, and goes on."""

    def _own(self) -> _OwnBroker:
        raise pytest.skip.Exception("ROLLGUARD_TEST_KAFKA is a broker of somebody else's: it is neither stopped nor given users")

    def _as_admin(self, work: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
        async def whole() -> T:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            try:
                await admin.start()
                return await work(admin)
            finally:
                await admin.close()

        return in_a_loop(whole)

    def _wait_for(self, name: str, partitions: int) -> None:
        until(lambda: self.topics().get(name) == partitions, f"topic {name} with {partitions} partitions")


@dataclass
class Runtime:
    """How a Java program of Kafka's is called."""

    command: Callable[[str, Sequence[str]], list[str]]
    """From the name of a container (of which plain Java has none) and the JVM's words to a command line."""
    container: bool = False


class _OwnBroker(Broker):
    """A broker in a folder, run by us."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self.folder = folder
        self.runtime = runtime
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self.process: subprocess.Popen[bytes] | None = None
        self.container = ""
        super().__init__(f"{HOST}:{self.ports['PLAINTEXT']}")
        make_certificates(folder)
        (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        users = [word for name, secret in PASSWORDS.items() for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={secret}]")]
        self._run("kafka.tools.StorageTool", "format", "-t", "4Qx1kTq8S5WvB2mJ0c9rLA", "-c", str(folder / "server.properties"), *users)

    def _own(self) -> _OwnBroker:
        return self

    def start(self) -> None:
        """Start the process; returns when it serves."""
        self.container = f"rollguard-{uuid.uuid4().hex[:10]}"
        words = self.runtime.command(self.container, [*JVM, "kafka.Kafka", str(self.folder / "server.properties")])
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until(self._serves, f"Kafka on {self.bootstrap}")

    def signal(self, number: Signals) -> None:
        """Send the broker a signal."""
        if self.process is None:
            return
        if self.runtime.container:
            subprocess.run(["docker", "kill", f"--signal={number.name}", self.container], check=True, capture_output=True)  # noqa: S607 - from the PATH, as for a person
        else:
            self.process.send_signal(number)

    def end(self, number: Signals) -> None:
        """Send a signal that ends it, and wait for the end."""
        if self.process is None:
            return
        self.signal(number)
        self.process.wait(READY_S)
        self.process = None

    def make_well(self) -> None:
        """Undo what a test did to the process."""
        if self.process is not None and self.process.poll() is None:
            self.signal(SIGCONT)
        else:
            self.process = None
            self.start()

    def _serves(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"Kafka ended by itself:\n{self._said()}")
        try:
            # Without aiokafka, which reports each refusal.
            socket.create_connection((HOST, self.ports["PLAINTEXT"]), 1.0).close()
            self.topics()
        except Exception:  # noqa: BLE001 - whatever it is, it does not serve yet
            return False
        return True

    def _said(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-3000:]

    def _run(self, *words: str) -> None:
        done = subprocess.run(self.runtime.command(f"rollguard-{uuid.uuid4().hex[:10]}", [*JVM, *words]), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words[:2])} failed:\n{done.stdout}{done.stderr}")

    def _properties(self) -> dict[str, str]:
        protocols = {name: name for name in LISTENERS} | {"CONTROLLER": "PLAINTEXT", "MUTUAL": "SSL"}
        serving = [name for name in LISTENERS if name != "CONTROLLER"]
        plain = " ".join(f'user_{name}="{secret}"' for name, secret in PASSWORDS.items())
        modules = {
            "plain": f"org.apache.kafka.common.security.plain.PlainLoginModule required {plain};",
            "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        }
        logins = {
            f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
            for listener in ("sasl_plaintext", "sasl_ssl")
            for mechanism, module in modules.items()
        }
        return logins | {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.ports['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in self.ports.items()),
            "advertised.listeners": ",".join(f"{name}://{HOST}:{self.ports[name]}" for name in serving),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "ca.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:root;User:CN=client",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the controller waits so long before it lets the broker in again (9 s as shipped).
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            # Kafka's own default, and a trap: whoever asks for a topic by name creates it.
            "auto.create.topics.enable": "true",
        }


CLIENT_KEY_PASSWORD = "client-key-secret-3c"  # noqa: S105 - of a key that lives as long as a test


def make_certificates(folder: Path) -> None:
    """Make an authority, what it signed for the broker and for a client, and an authority that signed nothing."""

    def openssl(*words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607 - from the PATH, as for a person
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(words)} failed:\n{done.stderr}")

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    for name in ("ca", "other-ca"):
        openssl("req", "-x509", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30", "-subj", f"/CN={name}")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30")
    openssl(
        "req", "-x509", *key, *signed, "-nodes", "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=broker", "-addext", f"subjectAltName=IP:{HOST}"
    )
    openssl("req", "-x509", *key, *signed, "-passout", f"pass:{CLIENT_KEY_PASSWORD}", "-keyout", "client.key", "-out", "client.pem", "-subj", "/CN=client")
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())
    for each in folder.glob("*.key"):
        each.chmod(0o600)


class _AclsCreated(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))))


class _CreateAcls(RequestStruct):  # type: ignore[misc]  # the same
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = _AclsCreated
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class CreateAcls(Request[_CreateAcls]):  # type: ignore[misc]  # the same
    """Kafka's request of that name, which aiokafka lacks."""

    API_KEY = 30

    def __init__(self, acls: Sequence[tuple[int, str, int, str, str, int, int]]) -> None:
        self.acls = list(acls)

    def build(self, request_struct_class: type[_CreateAcls]) -> _CreateAcls:
        """As aiokafka asks for it."""
        return request_struct_class(self.acls)


def java() -> Runtime:
    """Java 17 and Maven, with Kafka's jars fetched once.

    Raises
    ------
    NoServerError
        If one of them is missing, too old, or cannot fetch.
    """
    missing = [each for each in ("java", "mvn", "openssl") if shutil.which(each) is None]
    if missing:
        raise NoServerError(f"no {' and no '.join(missing)} on the PATH")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S607 - from the PATH, as for a person
    version = said.partition('"')[2].partition('"')[0].partition(".")[0].partition("-")[0]
    if not version.isdigit() or int(version) < 17:
        raise NoServerError(f"Java 17 or newer is needed, `java -version` says {said.splitlines()[0] if said else 'nothing'}")
    jars = fetched_jars()
    return Runtime(lambda _, words: ["java", "-cp", f"{jars}/*", *words])


def fetched_jars() -> Path:
    """Folder of Kafka's jars, in the user's cache; two runs at once wait for one another."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollguard"
    wanted = cache / f"kafka-{hashlib.blake2b(POM.read_bytes(), digest_size=6).hexdigest()}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            part = wanted.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            words = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NoServerError(f"Maven could not fetch Kafka: {(done.stdout + done.stderr).strip()[-500:]}")
            part.rename(wanted)
    return wanted


def docker(folder: Path) -> Runtime:
    """Java and Kafka from Docker's image.

    Raises
    ------
    NoServerError
        If there is no Docker, or it cannot run the image.
    """
    if shutil.which("docker") is None or shutil.which("openssl") is None:
        raise NoServerError("no docker, or no openssl, on the PATH")
    user = f"{os.getuid()}:{os.getgid()}"

    def command(name: str, words: Sequence[str]) -> list[str]:
        run = ["docker", "run", "--rm", "--name", name, "--network", "host", "--user", user, "--volume", f"{folder}:{folder}", "--entrypoint", "java"]
        return [*run, IMAGE, "-cp", "/opt/kafka/libs/*", *words]

    done = subprocess.run(command(f"rollguard-{uuid.uuid4().hex[:10]}", ["-version"]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoServerError(f"docker cannot run {IMAGE}: {done.stderr.strip()[-200:]}")
    return Runtime(command, container=True)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """A broker for as long as the block runs.

    Raises
    ------
    NoServerError
        If there is none to be had here; says why of each way.
    """
    if address := os.environ.get("ROLLGUARD_TEST_KAFKA"):
        yield Broker(address)
        return
    reasons = ["ROLLGUARD_TEST_KAFKA=host:port is not set"]
    runtime: Runtime | None = None
    for way in (java, lambda: docker(folder)):
        try:
            runtime = way()
            break
        except NoServerError as error:
            reasons.append(str(error))
    if runtime is None:
        raise NoServerError("; ".join(reasons))
    broker = _OwnBroker(folder, runtime)
    try:
        broker.start()
        yield broker
    finally:
        broker.end(SIGKILL)
