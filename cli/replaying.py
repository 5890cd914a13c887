"""`rollguard replay`: a past incident, from its files to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rollguard.cli.story import tell
from rollguard.config import Mode, read_layer
from rollguard.replay import Progress as Reached
from rollguard.replay import Run, open_case, run_case

__all__ = ["replay", "with_progress"]


def replay(
    case: Annotated[
        Path, typer.Argument(help="Folder of the case: case.yaml, orders.jsonl.gz, errors.jsonl.gz, deliveries.jsonl.gz, deploys.jsonl.", metavar="CASE")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write timeline.jsonl, incidents.jsonl and summary.json into this folder.", metavar="DIR")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A config file over the defaults; the case's own case.yaml goes over both.", metavar="FILE")
    ] = None,
    mode: Annotated[Mode | None, typer.Option("--mode", help="What may be done. Without it: what auto would do. A replay never calls anything.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary and the incidents as one JSON object, for machines.")] = False,
) -> None:
    """Replay a past incident: what hurt, since when, which change did it, what it cost, what was decided.

    A case is a folder of events in order of arrival. It needs no config: the shipped one fits the case format.

        rollguard replay cases/promise-7

        rollguard replay cases/promise-7 --out result --json | jq .incidents
    """
    opened = open_case(case, [] if config is None else [read_layer(config)])
    if mode is not None:
        opened = replace(opened, settings=opened.settings.model_copy(update={"mode": mode}))
    run = with_progress(f"replaying {opened.name}", lambda report: run_case(opened, report))
    if out is not None:
        run.write(out)
    if json:
        typer.echo(run.as_json())
        return
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    tell(console, run)
    if out is not None:
        console.print(f"Written to {out}: timeline.jsonl, incidents.jsonl, summary.json", style="dim")


def with_progress(title: str, work: Callable[[Callable[[Reached], None]], Run]) -> Run:
    """Run something with a progress bar, which only a terminal sees."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None)

        def report(reached: Reached) -> None:
            bar.update(task, total=max(reached.bytes_total, 1), completed=reached.bytes_read)

        return work(report)
