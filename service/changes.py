"""Changes and commands, by Faust: one record after another is checked, written in our form and appended to the signals log.

What is stateless and slow is Faust's. An agent's body never raises: a message whose handler raised is not delivered again, and the
agent is away for seconds.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from tempfile import gettempdir
from typing import Any, Literal

import faust
import structlog
from aiokafka import ConsumerRecord

from rollguard.config import RollguardError, Settings
from rollguard.incidents import ChangeRefusedError, LogRecord, change_sightings
from rollguard.service.commands import CommandRefusedError, command_of
from rollguard.service.ingest_work import dead_letter
from rollguard.service.signals import to_signals
from rollguard.service.signing import UnsignedError, proof, signature, signer
from rollguard.streams.kafka import Access, Outgoing, find_secret, group_of, own_topics, pauses

__all__ = ["Append", "Keys", "change_signer", "faust_app", "records_of"]

#: A request to a broker may take so long, in seconds; as Faust has it by itself.
REQUEST_S = 90.0

log = structlog.get_logger()
Append = Callable[[Sequence[Outgoing]], Awaitable[object]]
Refused = Callable[[Outgoing], Awaitable[None]]


def change_signer(settings: Settings) -> Callable[[bytes], list[tuple[str, bytes]]]:
    """Make what signs a record of a change, as whoever writes the topic has to; where nobody has to, it gives no headers.

    Raises
    ------
    SecretError
        If the secret is not where the config says.
    UnsignedError
        If it is none.
    """
    if settings.changes.secret is None:
        return lambda _: []
    webhook = signer(find_secret(settings.changes.secret, "changes.secret"), "changes")
    return lambda value: signature(webhook, value, f"chg-{uuid.uuid4().hex}", datetime.now(UTC))


@dataclass(frozen=True)
class Keys:
    """What records have to be signed with.

    Attributes
    ----------
    people : mapping of str to str
        Of the persons who may give commands, by name.
    changes : str or None
        Of changes; None: whoever may write them is believed.
    """

    people: Mapping[str, str] = field(default_factory=dict)
    changes: str | None = None


NOBODY = Keys()


def records_of(settings: Settings, kind: Literal["change", "command"], record: ConsumerRecord, keys: Keys = NOBODY) -> list[Outgoing]:
    """Turn a message into records of the signals log, or into a dead letter.

    Parameters
    ----------
    settings : Settings
    kind : {"change", "command"}
    record : ConsumerRecord
        As it came.
    keys : Keys

    Returns
    -------
    list of Outgoing
        Empty for a change to another environment.
    """
    found: Sequence[LogRecord]
    try:
        value = record.value or b""
        headers = [(name, text or b"") for name, text in record.headers or ()]
        if kind == "command":
            found = [command_of(settings, keys.people, value, headers, record.timestamp or 0)]
        else:
            if keys.changes is not None:
                # By the time it was written: what waited for us is not stale.
                proof(signer(keys.changes, "changes"), value, headers, now_ms=record.timestamp or 0)
            found = change_sightings(value, headers, environment=settings.environment)
    except (ChangeRefusedError, CommandRefusedError, UnsignedError) as error:
        return [dead_letter(record, source=settings.changes.source if kind == "change" else "commands", reason=error.code, detail=str(error))]
    return [to_signals(each) for each in found]


def faust_app(settings: Settings, access: Access, append: Append, keys: Keys, refused: Refused) -> faust.App:
    """Make the Faust app with its two agents.

    Parameters
    ----------
    settings : Settings
    access : Access
    append : callable
        Appends to our topics and returns once all brokers in sync have the records.
    keys : Keys
    refused : callable
        Told of each command, and each change that is not signed, that was put away.
    """
    kafka = settings.kafka
    app = faust.App(
        group_of(kafka, "changes"),
        broker=[f"kafka://{server}" for server in kafka.bootstrap_servers],
        broker_credentials=_credentials(access),
        broker_client_id=kafka.client_id,
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_heartbeat_interval=kafka.session_timeout_ms / 4000,
        # Faust refuses to start when a session is longer than a request may take.
        broker_request_timeout=max(REQUEST_S, 2 * kafka.session_timeout_ms / 1000),
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        # It makes this folder on start, and keeps nothing in it, since there are no tables: never where we happen to be started.
        datadir=f"{gettempdir()}/rollguard-faust",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
    )
    for kind, topic in (("change", settings.changes.topic), ("command", own_topics(kafka).commands.name)):
        channel = app.topic(topic, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes, allow_empty=True)
        app.agent(channel, name=kind, concurrency=1)(_agent(settings, kind, append, keys, refused))
    return app


def _agent(settings: Settings, kind: Any, append: Append, keys: Keys, refused: Refused) -> Callable[[Any], Awaitable[None]]:
    async def agent(stream: Any) -> None:
        async for event in stream.events():
            out = records_of(settings, kind, _as_consumed(event.message), keys)
            for wait_s in pauses():
                try:
                    for each in out:
                        if each.topic == "deadletter" and (kind == "command" or ("reason", UnsignedError.code.encode()) in each.headers):
                            await refused(each)
                    await append(out)
                    break
                except RollguardError as error:
                    log.error("change_waits", kind=kind, topic=event.message.topic, offset=event.message.offset, error=str(error))  # noqa: TRY400 - the text says it all
                    await stream.sleep(wait_s)

    return agent


def _as_consumed(message: Any) -> ConsumerRecord:
    """A message of Faust's, which tells time in seconds, as the record that it was."""
    value = message.value or b""
    timestamp_ms = None if message.timestamp is None else round(1000 * message.timestamp)
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return ConsumerRecord(
        message.topic, message.partition, message.offset, timestamp_ms, message.timestamp_type, message.key, message.value, None, 0, len(value), tuple(headers)
    )


def _credentials(access: Access) -> Any:
    """What Faust wants for the same log in."""
    given = access.arguments()
    context = given.get("ssl_context")
    match given["security_protocol"]:
        case "PLAINTEXT":
            return None
        case "SSL":
            return faust.SSLCredentials(context)
        case _:
            if given["sasl_mechanism"] == "GSSAPI":
                return faust.GSSAPICredentials(
                    kerberos_service_name=given["sasl_kerberos_service_name"], kerberos_domain_name=given["sasl_kerberos_domain_name"], ssl_context=context
                )
            return faust.SASLCredentials(
                username=given["sasl_plain_username"], password=given["sasl_plain_password"], ssl_context=context, mechanism=given["sasl_mechanism"]
            )
