"""`rollguard produce`: a case's files onto live topics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from rollguard.cli.bar import with_progress
from rollguard.cli.replaying import opened_case
from rollguard.cli.working import ConfigToRun, UsageError, live_settings
from rollguard.replay import produce_case
from rollguard.service import change_signer
from rollguard.streams.kafka import Access, quiet_client_logs

__all__ = ["produce"]


def produce(
    case: Annotated[Path, typer.Argument(help="Folder of the case.", metavar="CASE")],
    *,
    config: ConfigToRun,
    speed: Annotated[str, typer.Option("--speed", help="Event time over time on the wall, as 100; max: as fast as it goes, changes first.")] = "100",
) -> None:
    """Write a case to the topics of a config, as if it happened again.

    Events and changes keep their own times, and stand in the topics as they stand in the files. A worker on the same config finds in them what
    `rollguard replay` finds in the files.

        rollguard produce cases/promise_gross-7 --speed 100 -c shop.yaml

        rollguard produce cases/promise_gross-7 --speed max -c shop.yaml

    Exit codes: 0 all is written; 1 the run failed; 2 wrong usage, config or case.
    """
    pace = _pace(speed)
    settings = live_settings(config)
    opened = opened_case(case, config)
    quiet_client_logs()
    access = Access(settings.kafka)
    sign = change_signer(settings)
    done = with_progress(
        f"producing {opened.name}", lambda report: asyncio.run(produce_case(opened, settings, access, speed=pace, sign=sign, on_progress=report))
    )
    for source, number in done.events.items():
        typer.echo(f"{settings.sources[source].topic}: {number:,} events")
    typer.echo(f"{settings.changes.topic}: {done.changes:,} changes")


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0.0 < pace <= 1e6:
        raise UsageError(f"--speed {speed}: no pace. Expected: a number above 0, as 100, or max.")
    return pace
