"""`rollguard topics`: Rollguard's own topics, made and shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rollguard.cli.connections import settings_of
from rollguard.config import RollguardError, Settings, format_duration
from rollguard.streams.kafka import (
    Access,
    Difference,
    KafkaError,
    Role,
    Topic,
    Topics,
    TopicSeen,
    commands_of,
    differences,
    grants,
    own_topics,
    quiet_client_logs,
    source_topics,
)

__all__ = ["topics"]

#: Of a topic that is made for trying out.
PARTITIONS = 4
LONGEST_MS = 10 * 365 * 86_400_000

topics = typer.Typer(name="topics", help="Rollguard's own topics: make them, list them, say who needs which permission.", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="A config file over the defaults.", metavar="FILE")]


@topics.command()
def create(
    *,
    config: ConfigFile = None,
    sources: Annotated[bool, typer.Option("--sources", help="Create the topics of the sources and of the changes too: for trying out.")] = False,
    partitions: Annotated[
        int | None, typer.Option("--partitions", min=1, max=1000, help=f"Of each source's topic, with --sources. [default: {PARTITIONS}]")
    ] = None,
) -> None:
    """Create Rollguard's own topics where they are missing. What is there stays as it is; where it is not as it should be, that is said.

        rollguard topics create -c shop.yaml

        rollguard topics create -c shop.yaml --sources --partitions 4

    Exit codes: 0 all are there and as they should be; 1 one could not be created or is wrong; 2 wrong usage or config.
    """
    if partitions is not None and not sources:
        raise RollguardError("--partitions: means nothing without --sources: the own topics have one partition each.", code="usage")
    settings = settings_of(config)
    quiet_client_logs()
    created, there, wrong = asyncio.run(_create(settings, [*_wanted(settings, partitions or PARTITIONS)] if sources else []))
    for name in created:
        typer.echo(f"created  {name}")
    for name in there:
        typer.echo(f"there    {name}")
    for each in wrong:
        typer.echo(str(each), err=each.wrong)
    if any(each.wrong for each in wrong):
        raise typer.Exit(1)


def _wanted(settings: Settings, partitions: int) -> list[Topic]:
    """The topics of others, as one makes them for trying out: the brokers' own settings, and changes in one order."""
    changes = settings.changes.topic
    return [Topic(name=name, partitions=1 if name == changes else partitions) for name in source_topics(settings)]


async def _create(settings: Settings, others: list[Topic]) -> tuple[list[str], list[str], list[Difference]]:
    own = list(own_topics(settings.kafka))
    async with Topics.of(Access(settings.kafka)) as cluster:
        created = await cluster.create([*own, *others])
        seen, _ = await cluster.describe([topic.name for topic in own], configs=True)
    there = [topic.name for topic in (*own, *others) if topic.name not in created]
    return [topic.name for topic in (*own, *others) if topic.name in created], there, differences(own, seen)


@topics.command(name="list")
def list_topics(
    *,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the topics as one JSON array, for machines.")] = False,
) -> None:
    """List the topics that Rollguard reads and writes: which are there, and which are not as they should be.

        rollguard topics list -c shop.yaml

        rollguard topics list -c shop.yaml --json | jq -r '.[] | select(.partitions == null) | .topic'

    Exit codes: 0 fine, whatever is listed; 1 Kafka did not answer; 2 wrong usage or config.
    """
    settings = settings_of(config)
    quiet_client_logs()
    rows = asyncio.run(_rows(settings))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    table = Table("topic", "is", "partitions", "copies", "kept for", "state", box=None, pad_edge=False)
    for row in rows:
        state = Text("; ".join(row["problems"]), style="red") if row["problems"] else Text("as it should be", style="green")
        table.add_row(row["topic"], row["role"], _number(row["partitions"]), _number(row["replication"]), row["kept"] or "", state)
    console = Console(width=None if Console().is_terminal else 200, highlight=False)
    console.print(table)


@topics.command(name="acls")
def list_acls(
    *,
    config: ConfigFile = None,
    principal: Annotated[str, typer.Option("--principal", help="Who is allowed, as Kafka names who logs in.")] = "User:rollguard",
    role: Annotated[Role, typer.Option("--for", help=f"What they do: {', '.join(get_args(Role))}.")] = "worker",
    json: Annotated[bool, typer.Option("--json", help="Print the permissions as one JSON array, for machines.")] = False,
) -> None:
    """Print what has to be allowed on each topic and group of a config, as commands of `kafka-acls.sh` to look at and run. Asks no broker.

        rollguard topics acls -c shop.yaml --principal User:rollguard

        rollguard topics acls -c shop.yaml --principal User:dana --for person

    Exit codes: 0 fine; 2 wrong usage or config.
    """
    settings = settings_of(config)
    granted = grants(settings, role)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(granted), indent=2).decode())
        return
    for grant, command in zip(granted, commands_of(granted, principal=principal, bootstrap=settings.kafka.bootstrap_servers[0]), strict=True):
        typer.echo(f"# {grant.why}\n{command}")


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    own = {topic.name: topic for topic in own_topics(settings.kafka)}
    roles = dict.fromkeys(own, "own")
    for name, source in sorted(settings.sources.items()):
        roles[source.topic] = f"{roles[source.topic]}, {name}" if source.topic in roles else f"source {name}"
    roles[settings.changes.topic] = "changes"
    async with Topics.of(Access(settings.kafka)) as cluster:
        seen, refused = await cluster.describe(list(roles), configs=True)
    return [_row(name, role, own.get(name), seen, refused) for name, role in roles.items()]


def _row(name: str, role: str, wanted: Topic | None, seen: dict[str, TopicSeen], refused: dict[str, KafkaError]) -> dict[str, Any]:
    there = seen.get(name)
    if there is None:
        error = refused[name]
        problems = ["missing" if error.recoverable else error.problem]
    else:
        problems = [] if wanted is None else [each.problem for each in differences([wanted], seen)]
    return {
        "topic": name,
        "role": role,
        "partitions": None if there is None else there.partitions,
        "replication": None if there is None else there.replication,
        "kept": None if there is None else _kept(there),
        "problems": problems,
    }


def _kept(seen: TopicSeen) -> str | None:
    """How long a topic keeps a record, in words."""
    kept = (seen.configs or {}).get("retention.ms")
    if kept is None:
        return None
    return "ever" if int(kept) < 0 or int(kept) > LONGEST_MS else format_duration(int(kept))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
