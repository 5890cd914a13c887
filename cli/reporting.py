"""`rollguard report`: one page of one or several replays, to look at and to hand on."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from rollguard.cli.working import UsageError
from rollguard.replay import html_of

__all__ = ["report"]


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `rollguard replay --out` wrote.", metavar="RUN...")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.", metavar="FILE")] = Path("report.html"),
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write one page of one or several replays: what broke, who did it, what it cost, and what was done.

    It is one file that asks nobody for anything: attach it to a post-mortem.

        rollguard replay cases/promise_gross-7 --out result && rollguard report result -o promise_gross-7.html --open

        rollguard report results/* -o all.html

    Exit codes: 0 fine; 1 the page cannot be written; 2 wrong usage, or no such run.
    """
    out.write_text(html_of([_drawn(run) for run in runs]), encoding="utf-8")
    typer.echo(f"Written to {out}: {out.stat().st_size / 1024:,.0f} kB")
    if show:
        webbrowser.open(out.resolve().as_uri())


def _drawn(run: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode((run / "report.json").read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise UsageError(f"{run}: no report.json in it. Expected: a folder that `rollguard replay CASE --out {run}` wrote.") from None
    except (NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        raise UsageError(f"{run}: not what a replay wrote. Expected: a folder that `rollguard replay CASE --out DIR` wrote.") from None
    return found
