"""`rollguard affected`: the events that an incident touched, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollguard.cli.explaining import chosen
from rollguard.cli.replaying import ConfigFile, opened_case, run_of
from rollguard.replay import make_file, write_affected

__all__ = ["affected"]


def affected(
    case: Annotated[Path, typer.Argument(help="Folder of the case, as for `rollguard replay`.", metavar="CASE")],
    incident: Annotated[str | None, typer.Argument(help="Id of the incident; needless where there is just one.", metavar="INCIDENT")] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Write them into this file, one JSON object a line; .gz is compressed.", metavar="FILE")],
    config: ConfigFile = None,
) -> None:
    """List what an incident touched: orders and promises of the places that hurt, while they hurt.

    A rollback does not undo what was already promised or sold: this is the list to go through. Of the service that did it,
    only what its guilty version said is in it. The list may hold personal data.

        rollguard affected cases/promise_gross-7 --out affected.jsonl.gz

    Exit codes: 0 fine, 1 the run failed, 2 wrong usage, config or case.
    """
    opened = opened_case(case, config)
    make_file(out)
    run = run_of(opened)
    found = chosen(run, incident)
    counts = write_affected(opened, found, out)
    listed = ", ".join(f"{number:,} {source}" for source, number in sorted(counts.items())) or "nothing"
    typer.echo(f"{found['incident_id']}: {listed} written to {out}")
