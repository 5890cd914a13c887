"""`rollguard replay`: a past incident, from its files to a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rollguard.cli.bar import with_progress
from rollguard.cli.story import tell
from rollguard.config import Mode, read_layer
from rollguard.replay import Case, Run, make_out, open_case, run_case

__all__ = ["ConfigFile", "opened_case", "replay", "run_of"]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="A config file over the defaults; the case's own case.yaml goes over both.", metavar="FILE")
]


def opened_case(case: Path, config: Path | None) -> Case:
    """Open a case under the operator's config, if there is one."""
    return open_case(case, [] if config is None else [read_layer(config)])


def run_of(case: Case) -> Run:
    """Replay a case under a progress bar."""
    return with_progress(f"replaying {case.name}", lambda report: run_case(case, report))


def replay(
    case: Annotated[
        Path, typer.Argument(help="Folder of the case: case.yaml, orders.jsonl.gz, errors.jsonl.gz, deliveries.jsonl.gz, deploys.jsonl.", metavar="CASE")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write timeline.jsonl, incidents.jsonl and summary.json into this folder.", metavar="DIR")
    ] = None,
    config: ConfigFile = None,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="What may be done: observe, advise, approve or auto. Without it: auto. A replay never calls anything.", metavar="MODE"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary and the incidents as one JSON object, for machines.")] = False,
) -> None:
    """Replay a past incident: what hurt, since when, which change did it, what it cost, what was decided.

    A case is a folder of events in order of arrival. It needs no config: the shipped one fits the case format.

        rollguard replay cases/promise-7

        rollguard replay cases/promise-7 --out result --json | jq .incidents

    Exit codes: 0 fine, whatever was found; 1 the run failed; 2 wrong usage, config or case.
    """
    opened = opened_case(case, config)
    if mode is not None:
        opened = replace(opened, settings=opened.settings.model_copy(update={"mode": mode}))
    if out is not None:
        make_out(out)
    run = run_of(opened)
    if out is not None:
        run.write(out)
    if json:
        typer.echo(run.as_json())
        return
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    tell(console, run)
    if out is not None:
        console.print(f"Written to {out}: timeline.jsonl, incidents.jsonl, summary.json", style="dim")
