"""From the config's `kafka` to clients that are connected, or to one line that says why not."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiokafka.errors
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest

from rollguard.config import Kafka
from rollguard.streams.kafka.errors import CLIENT_ERRORS, KafkaError, explained
from rollguard.streams.kafka.secrets import SecretError, find_secret, refuse_open_file

__all__ = ["LARGEST_RECORD", "Access", "BrokerSeen", "group_of", "pauses", "quiet_client_logs", "retrying"]

T = TypeVar("T")
C = TypeVar("C", bound=AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient)

#: Bytes of the largest record of our own: a tick carries the accounts of every series. The topics take a little more.
LARGEST_RECORD = 8 * 1024 * 1024 - 65_536
#: A batch of a partition is sent when it is so large, or so old.
BATCH_BYTES = 1024 * 1024
LINGER_MS = 5
#: Fewer, larger answers: every answer costs about the same in Python.
FETCH_BYTES = 64 * 1024 * 1024
PARTITION_FETCH_BYTES = 4 * 1024 * 1024
#: New partitions are found within this time.
METADATA_MS = 10_000
#: Between two heartbeats of a group's member. Only by the answer to one it learns that another has left: so soon it takes over.
HEARTBEAT_MS = 250
CONNECT_MS = 10_000
#: A peer that does not take part in a goodbye is not waited for any longer.
GOODBYE_S = 1.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class BrokerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A broker, as the cluster tells of it.

    Attributes
    ----------
    node : int
        Its id.
    host, port : str, int
        Where it says it is; clients go there.
    """

    node: int
    host: str
    port: int


def group_of(kafka: Kafka, stage: str) -> str:
    """Name of a stage's consumer group.

    Examples
    --------
    >>> group_of(Kafka(), "ingest")
    'rollguard.ingest'
    """
    return f"{kafka.group}.{stage}"


class Access:
    """How to reach the brokers, with the secrets found; shows none of them.

    Parameters
    ----------
    kafka : Kafka
        The config's section.

    Raises
    ------
    SecretError
        If a secret, or the file of a certificate or key, is not where the config says.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.__arguments = _arguments(kafka)

    def __repr__(self) -> str:
        return f"Access({','.join(self.kafka.bootstrap_servers)}, {self.kafka.security_protocol})"

    def arguments(self) -> dict[str, Any]:
        """What every client of aiokafka takes, by its names. Holds the secrets: neither keep nor show it."""
        return dict(self.__arguments)

    def consumer(self, *, group: str | None = None, auto_offset_reset: Literal["none", "earliest"] = "none", **changed: Any) -> AIOKafkaConsumer:
        """Make a consumer that commits nothing by itself, and has no topics yet.

        Subscribe after it has started, and after `Topics.require`: a consumer that starts with a topic that is missing, or a group that
        it may not read, waits for ever, and one that subscribes to a missing topic creates it where brokers allow that.

        Parameters
        ----------
        group : str or None
            Its consumer group; None: for `assign` alone.
        auto_offset_reset : {"none", "earliest"}
            Where to begin without an offset: `none` raises, so that nothing is skipped in silence.
        **changed
            Other arguments of aiokafka's, over ours.
        """
        session_ms = self.kafka.session_timeout_ms
        ours: dict[str, Any] = {
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": auto_offset_reset,
            "session_timeout_ms": session_ms,
            "heartbeat_interval_ms": min(HEARTBEAT_MS, session_ms // 4),
            "metadata_max_age_ms": METADATA_MS,
            "fetch_max_bytes": FETCH_BYTES,
            "max_partition_fetch_bytes": PARTITION_FETCH_BYTES,
            # What a shop's own transaction took back was no event.
            "isolation_level": "read_committed",
        }
        return AIOKafkaConsumer(**(self.__arguments | ours | changed))

    def producer(self, **changed: Any) -> AIOKafkaProducer:
        """Make a producer whose records are written once each, in order, and acknowledged by all copies."""
        ours: dict[str, Any] = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": LINGER_MS,
            "max_batch_size": BATCH_BYTES,
            "max_request_size": LARGEST_RECORD,
        }
        return AIOKafkaProducer(**(self.__arguments | ours | changed))

    def admin(self) -> AIOKafkaAdminClient:
        """Make a client for offsets of groups. Not for topics: asked about a missing one it creates it; `Topics` never does."""
        return AIOKafkaAdminClient(**self.__arguments)

    def client(self) -> AIOKafkaClient:
        """Make a bare client, which sends requests to brokers."""
        return AIOKafkaClient(**self.__arguments)

    async def start(self, client: C) -> None:
        """Start a client; one that cannot is closed.

        Raises
        ------
        KafkaError
            Where, what and what to do: the reason that aiokafka logs and then forgets.
        """
        started = False
        try:
            await self.reach()
            await (client.bootstrap() if isinstance(client, AIOKafkaClient) else client.start())
            started = True
        except CLIENT_ERRORS as error:
            raise explained(error, f"broker {', '.join(self.kafka.bootstrap_servers)}") from error
        finally:
            if not started:
                await _close(client)

    @asynccontextmanager
    async def started(self, client: C) -> AsyncIterator[C]:
        """Start a client for a block, and close it behind it.

        Raises
        ------
        KafkaError
            If it cannot start, or for what Kafka did not do in the block.
        """
        await self.start(client)
        try:
            yield client
        except aiokafka.errors.KafkaError as error:
            raise explained(error, f"broker {', '.join(self.kafka.bootstrap_servers)}") from error
        finally:
            await _close(client)

    async def reach(self) -> tuple[BrokerSeen, ...]:
        """Ask the servers, one after another, who is in the cluster.

        Returns
        -------
        tuple of BrokerSeen
            All brokers, by id.

        Raises
        ------
        KafkaError
            If none of them answers: why the first does not, and first of all one that waiting does not mend.
        """
        found: list[KafkaError] = []
        for server in self.kafka.bootstrap_servers:
            host, _, port = server.rpartition(":")
            try:
                return await self.ask(host.strip("[]"), int(port))
            except KafkaError as error:
                found.append(error)
        raise min(found, key=lambda each: each.recoverable)

    async def ask(self, host: str, port: int) -> tuple[BrokerSeen, ...]:
        """Log in at one address and ask who is in the cluster.

        Raises
        ------
        KafkaError
            Names the address.
        """
        where = f"broker {host}:{port}"
        arguments = {key: value for key, value in self.__arguments.items() if key != "bootstrap_servers"}
        opened = asyncio.Event()
        # aiokafka tells of the end of a connection that once was, and of no other; also where it ends one itself, on a wrong password.
        connection = AIOKafkaConnection(host, port, **arguments, request_timeout_ms=CONNECT_MS, on_close=lambda *_: opened.set())
        try:
            try:
                await connection.connect()
                answer = await connection.send(MetadataRequest([], allow_auto_topic_creation=False))
            finally:
                closing = connection.close()
                if opened.is_set():
                    # TLS says goodbye first: left to itself, a loop that ends at once leaves the socket open.
                    await asyncio.wait((closing,), timeout=GOODBYE_S)
        except CLIENT_ERRORS as error:
            raise explained(error, where) from error
        return tuple(BrokerSeen(node=node, host=at, port=port) for node, at, port, *_ in sorted(answer.brokers))


async def retrying(
    attempt: Callable[[], Awaitable[T]], *, tell: Callable[[KafkaError], None], first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S
) -> T:
    """Try until it works, with longer and longer pauses. Cancel it to give up.

    Parameters
    ----------
    attempt : callable
        What to try.
    tell : callable
        Is given each error that differs from the one before: one line at start, none for its repetitions.
    first_s, longest_s : float
        Seconds of the first pause, which doubles, and of the longest.

    Returns
    -------
    object
        What the attempt gave.
    """
    before = ""
    for pause_s in pauses(first_s, longest_s):
        try:
            return await attempt()
        except KafkaError as error:
            if str(error) != before:
                tell(error)
            before = str(error)
        await asyncio.sleep(pause_s)
    raise AssertionError("pauses end")


def pauses(first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> Iterator[float]:
    """Seconds between attempts, without end.

    Examples
    --------
    >>> from itertools import islice
    >>> list(islice(pauses(), 7))
    [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    """
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(2.0 * pause_s, longest_s)


def quiet_client_logs() -> None:
    """Keep aiokafka from logging: what it cannot do comes as one `KafkaError`. On debug it would also log passwords."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _arguments(kafka: Kafka) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        found |= {"sasl_mechanism": kafka.sasl_mechanism}
        if kafka.sasl_mechanism == "GSSAPI":
            if importlib.util.find_spec("gssapi") is None:
                raise KafkaError(where="kafka.sasl_mechanism", problem="GSSAPI needs the package gssapi", advice="pip install gssapi")
            found |= {"sasl_kerberos_service_name": kafka.sasl_kerberos_service_name, "sasl_kerberos_domain_name": kafka.sasl_kerberos_domain_name}
        else:
            password = None if kafka.sasl_plain_password is None else find_secret(kafka.sasl_plain_password, "kafka.sasl_plain_password")
            found |= {"sasl_plain_username": kafka.sasl_plain_username, "sasl_plain_password": password}
    if kafka.security_protocol.endswith("SSL"):
        found["ssl_context"] = _ssl_context(kafka)
    return found


def _ssl_context(kafka: Kafka) -> ssl.SSLContext:
    told = kafka.ssl_context
    for name, path in (("cafile", told.cafile), ("certfile", told.certfile), ("keyfile", told.keyfile)):
        if path is not None and not Path(path).is_file():
            raise SecretError(key=f"kafka.ssl_context.{name}", reference=path, problem="no such file", expected="a file in PEM form")
    if (key := told.keyfile or told.certfile) is not None:
        refuse_open_file(Path(key), "kafka.ssl_context.keyfile" if told.keyfile else "kafka.ssl_context.certfile", key)
    # Without a password OpenSSL would ask the terminal for one, and wait.
    password = "" if told.password is None else find_secret(told.password, "kafka.ssl_context.password")
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=told.cafile, certfile=told.certfile, keyfile=told.keyfile, password=password)
    except OSError as error:
        reason = str(getattr(error, "reason", None) or error.strerror or "").replace("_", " ").lower() or "cannot be used"
        reference = ", ".join(path for path in (told.cafile, told.certfile, told.keyfile) if path is not None)
        expected = "certificates and key in PEM form that belong together, and the key's password"
        raise SecretError(key="kafka.ssl_context", reference=reference, problem=reason, expected=expected) from None
    return context


async def _close(client: C) -> None:
    """Close a client, whatever state it is in."""
    with suppress(*CLIENT_ERRORS):
        await (client.close() if isinstance(client, (AIOKafkaAdminClient, AIOKafkaClient)) else client.stop())
