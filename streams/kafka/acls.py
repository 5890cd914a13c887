"""What Rollguard has to be allowed on the brokers: which operation on which topic or group, and why. No transactional id is ever used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import repeat
from typing import Literal

import msgspec

from rollguard.config import Settings
from rollguard.streams.kafka.topics import own_topics, source_topics

__all__ = ["Grant", "Role", "commands_of", "grants"]

#: The worker; who creates its topics; a person who says something; who replays topics. Who only looks at incidents reads the database alone.
Role = Literal["worker", "creator", "person", "replay"]
Operation = Literal["READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE"]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One resource, and what has to be allowed on it.

    Attributes
    ----------
    resource : {"topic", "group"}
    name : str
    prefixed : bool
        Whether `name` is how names begin.
    operations : tuple of str
        As Kafka names them; READ and WRITE bring DESCRIBE with them.
    why : str
        In words.
    """

    resource: Literal["topic", "group"]
    name: str
    prefixed: bool = False
    operations: tuple[Operation, ...]
    why: str


def grants(settings: Settings, role: Role) -> tuple[Grant, ...]:
    """Say what a role has to be allowed, and nothing that it need not.

    Parameters
    ----------
    settings : Settings
    role : {"worker", "creator", "person", "replay"}
        The worker with all its parts; `rollguard topics create`; `rollguard kill`, `mute`, `incidents ack` and the like; `rollguard replay --from`.

    Examples
    --------
    >>> from rollguard.config import default_text, load
    >>> for grant in grants(load(default_text(), name="default.yaml"), "person"):
    ...     print(grant.resource, grant.name, *grant.operations)
    topic rollguard.commands WRITE
    """
    kafka = settings.kafka
    ours = f"{kafka.prefix}."
    match role:
        case "person":
            return (Grant(resource="topic", name=own_topics(kafka).commands.name, operations=("WRITE",), why="what a person says goes there, signed"),)
        case "creator":
            why = "makes what is missing, and compares what is there"
            return (Grant(resource="topic", name=ours, prefixed=True, operations=("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"), why=why),)
        case "replay":
            return tuple(_read(settings))
        case "worker":
            return (
                *map(_written, _read(settings), repeat(settings)),
                Grant(
                    resource="topic",
                    name=ours,
                    prefixed=True,
                    operations=("READ", "WRITE", "DESCRIBE_CONFIGS"),
                    why="blocks, signals, commands and dead letters; DESCRIBE_CONFIGS lets `rollguard check --live` compare their settings",
                ),
                Grant(
                    resource="group", name=f"{kafka.group}.", prefixed=True, operations=("READ",), why="a group for each stage: ingest, detect, desk, changes"
                ),
            )


def _read(settings: Settings) -> list[Grant]:
    uses: dict[str, list[str]] = {}
    for name, source in sorted(settings.sources.items()):
        uses.setdefault(source.topic, []).append(name)
    uses.setdefault(settings.changes.topic, []).append("changes")
    return [Grant(resource="topic", name=topic, operations=("READ",), why=f"read as {', '.join(uses[topic])}") for topic in source_topics(settings)]


def _written(grant: Grant, settings: Settings) -> Grant:
    """What the worker needs on a topic of others: it writes that of the changes, if they come in by itself."""
    if not settings.changes.is_written or grant.name != settings.changes.topic:
        return grant
    return msgspec.structs.replace(grant, operations=("READ", "WRITE"), why=f"{grant.why}; written with what comes by HTTP and from Kubernetes")


def commands_of(granted: Sequence[Grant], *, principal: str, bootstrap: str) -> list[str]:
    """Write grants as commands for a shell.

    Parameters
    ----------
    granted : sequence of Grant
    principal : str
        As Kafka names who logs in: `User:rollguard`, or `User:CN=rollguard` of a certificate.
    bootstrap : str
        host:port of a broker.

    Examples
    --------
    >>> granted = [Grant(resource="topic", name="orders", operations=("READ",), why="")]
    >>> print(*commands_of(granted, principal="User:rollguard", bootstrap="127.0.0.1:9092"))
    kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:rollguard --operation Read --topic orders
    """
    found = []
    for grant in granted:
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principal]
        for operation in grant.operations:
            words += ["--operation", operation.title().replace("_", "")]
        words += [f"--{grant.resource}", grant.name]
        if grant.prefixed:
            words += ["--resource-pattern-type", "prefixed"]
        found.append(shlex.join(words))
    return found
