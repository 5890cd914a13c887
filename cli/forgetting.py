"""`rollguard forget`: where an order or a customer is named in what is kept, and out of it."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import msgspec
import typer
from aiokafka import TopicPartition
from rich.console import Console

from rollguard.cli.working import ConfigToRun, UsageError, live_settings
from rollguard.config import rfc3339
from rollguard.service import open_store
from rollguard.store import Mention
from rollguard.streams.kafka import Access, Stretches, own_topics

__all__ = ["forget"]

#: A shorter word would be found inside of others.
SHORTEST = 4


class _Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that names it."""

    partition: int
    offset: int
    at: str


def forget(
    *,
    config: ConfigToRun,
    order: Annotated[list[str], typer.Option("--order", "--customer", help="What names the person or the order; may be given again.", metavar="ID")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say where it stands, and change nothing.")] = False,
    database_only: Annotated[bool, typer.Option("--database-only", help="Do not look through the dead letters.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object, for machines.")] = False,
) -> None:
    """Take the name of an order or a customer out of all that Rollguard keeps, and say where it stands that cannot be changed.

    Rollguard counts events and keeps none: a name gets into the database only where a person typed it, in a reason or a note, and into the topic
    of dead letters with a record that was refused. In timelines, incidents and messages it becomes `[forgotten]`. An entry of the ledger cannot
    be changed without breaking its chain, and Kafka deletes no single record: both are named, with the moment when they go by themselves.

        rollguard forget -c shop.yaml --order o-4711 --dry-run

    Exit codes: 0 nothing of it is left; 1 it still stands where it cannot be changed, or something is away; 2 wrong usage or config.
    """
    for each in order:
        if len(each) < SHORTEST:
            raise UsageError(f"--order {each}: too short. Expected: {SHORTEST} characters at least; a shorter word stands inside of others.")
    settings = live_settings(config)
    with closing(open_store(settings)) as store:
        found = store.mentions(order) if dry_run else store.redact(order)
    letters: list[_Letter] = []
    if not database_only:
        needles = [each.encode() for each in order]
        topic = own_topics(settings.kafka).deadletter.name
        with Stretches(Access(settings.kafka)) as stretches:
            for partition, bounds in enumerate(stretches.bounds(topic)):
                for records in stretches.read(TopicPartition(topic, partition), bounds.first, bounds.end):
                    letters += [
                        _Letter(partition=partition, offset=record.offset, at=rfc3339(record.timestamp))
                        for record in records
                        if any(needle in (record.value or b"") for needle in needles)
                    ]
    left = bool(letters) or any(each.table == "ledger" for each in found) or (dry_run and bool(found))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"database": found, "dead_letters": letters}), indent=2).decode())
    else:
        _told(found, letters, dry_run=dry_run)
    if left:
        raise typer.Exit(1)


def _told(found: list[Mention], letters: list[_Letter], *, dry_run: bool) -> None:
    console = Console(highlight=False)
    for each in found:
        kept = each.table == "ledger"
        done = "stands in the chain: it goes when the ledger is pruned" if kept else "named there" if dry_run else "now says [forgotten]"
        console.print(f"{each.table} {each.row}: {done}", soft_wrap=True, markup=False)
    for letter in letters:
        console.print(f"dead letter {letter.partition}@{letter.offset} of {letter.at}: goes with the topic's retention", soft_wrap=True, markup=False)
    if not found and not letters:
        console.print("Nothing of it is kept.")
