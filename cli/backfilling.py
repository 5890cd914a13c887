"""`rollguard backfill`: the past of a metric that is new or means something else now, read from its sources."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from rollguard.cli.bar import with_progress
from rollguard.cli.working import ConfigToRun, live_settings, moment_ms, unknown
from rollguard.config import rfc3339
from rollguard.service import Backfilled, Plan, backfill, open_store, plan_backfill
from rollguard.streams.kafka import Access, Stretches

__all__ = ["backfill_command"]


def backfill_command(
    *,
    config: ConfigToRun,
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="Fill only this metric; may be given again.", metavar="NAME")] = None,
    since: Annotated[str, typer.Option("--since", help="Event time to begin at, as 2026-03-02T10:00:00Z; else all that the topics hold.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read, and stop.")] = False,
    again: Annotated[bool, typer.Option("--again", help="From the beginning, also if an earlier run was interrupted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, for machines.")] = False,
) -> None:
    """Give a changed metric its past, so that a worker watches it without a warm-up.

    Run it with the config that the worker is to have, while the worker still runs with the old one. The sources are read from as far back as
    their topics hold records; nothing is written to any topic, and the running worker is not disturbed. Then start the worker with the new
    config: it goes on from here, and reads the last minutes itself. An interrupted run goes on where it was; a repeated one adds what came since.

        rollguard backfill -c new.yaml --dry-run

        rollguard backfill -c new.yaml --metric errors

    Exit codes: 0 done, or nothing to do; 1 Kafka or the database is away; 2 wrong usage or config.
    """
    settings = live_settings(config)
    for name in metrics or ():
        if name not in settings.metrics:
            raise unknown("--metric", name, sorted(settings.metrics), of="no such metric")
    since_ms = moment_ms("--since", since) if since else None
    console = Console(highlight=False)
    with Stretches(Access(settings.kafka)) as stretches:
        plan = plan_backfill(settings, stretches, metrics=metrics or (), since_ms=since_ms)
        done: Backfilled | None = None
        if plan.lacking and not dry_run:
            with closing(open_store(settings)) as store:
                owner = f"{socket.gethostname()}/{os.getpid()}"
                done = with_progress("reading the past", lambda move: backfill(settings, store, stretches, plan, owner=owner, again=again, on_progress=move))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"plan": plan, "records": plan.records, "done": done}), indent=2).decode())
        return
    if not plan.lacking:
        console.print("The log of blocks holds the past of every metric. There is nothing to fill.")
        return
    _told(console, plan)
    if done is None:
        return
    _told_done(console, done)


def _told(console: Console, plan: Plan) -> None:
    metrics = Table("metric", "lacks", "reads", box=None, pad_edge=False)
    for each in plan.lacking:
        lacks = "everything: its source is new" if each.since_ms is None else f"{rfc3339(each.since_ms)} to {rfc3339(each.until_ms or each.since_ms)}"
        metrics.add_row(each.metric, lacks, ", ".join(each.sources))
    console.print(metrics)
    console.print()
    topics = Table("topic", "partitions", "records", "oldest", box=None, pad_edge=False)
    for topic in dict.fromkeys(each.topic for each in plan.readings):
        parts = [each for each in plan.readings if each.topic == topic]
        oldest = min((each.oldest_ms for each in parts if each.oldest_ms is not None), default=None)
        numbers = {each.partition for each in parts}
        topics.add_row(topic, str(len(numbers)), f"{sum(each.end - each.first for each in parts):,}", "-" if oldest is None else rfc3339(oldest))
    console.print(topics)


def _told_done(console: Console, done: Backfilled) -> None:
    reached = "" if done.until_ms is None else f", up to {rfc3339(done.until_ms)}"
    console.print(f"\n{done.records:,} records read{' (an earlier run was continued)' if done.resumed else ''}{reached}.")
    if done.away:
        console.print(f"{done.away} series have left their baseline: the worker tells them when it takes over.")
    console.print("Start the worker with this config: it goes on from here.")
