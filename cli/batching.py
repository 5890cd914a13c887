"""`rollguard replay --all`: every case of a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rollguard.cli.bar import progress_bar
from rollguard.cli.otherwise import checked_for
from rollguard.config import ConfigError, read_layer
from rollguard.replay import CaseError, Done, Switches, Work, case_folders, make_out, open_case, replay_all

__all__ = ["replay_folder"]

STYLES = {"replayed": "green", "kept": "dim", "broken": "bold red"}


def replay_folder(cases: Path, out: Path, *, config: Path | None, switches: Switches, jobs: int | None, again: bool, json: bool) -> None:
    """Replay every case of a folder, and say what became of each.

    Raises
    ------
    typer.Exit
        With code 1 if a case is broken.
    """
    folders = [folder for folder in case_folders(cases) if folder.resolve() != out.resolve()]
    layers = () if config is None else (read_layer(config),)
    if switches.approve_after_ms is not None:
        for folder in folders:
            # One that cannot be opened is told with the others.
            with suppress(CaseError, ConfigError):
                checked_for(switches, open_case(folder, layers).settings)
    make_out(out)
    works = [Work(folder, out / folder.name, layers, switches, again) for folder in folders]
    done: list[Done] = []
    with progress_bar(f"replaying {len(works)} cases") as move:
        for each in replay_all(works, jobs or os.cpu_count() or 1):
            done.append(each)
            move(len(done) / len(works))
    done.sort(key=lambda each: each.name)
    broken = [each for each in done if each.state == "broken"]
    if json:
        rows = [{"case": each.name, "state": each.state, "trouble": each.trouble, "summary": each.summary or None} for each in done]
        typer.echo(msgspec.json.format(msgspec.json.encode({"cases": rows, "broken": len(broken)}), indent=2).decode())
    else:
        _tell(done, out, cases)
    for each in broken:
        typer.echo(f"{each.name}: not replayed: {each.trouble}", err=True)
    if broken:
        raise typer.Exit(1)


def _tell(done: Sequence[Done], out: Path, cases: Path) -> None:
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    table = Table(box=None, padding=(0, 3, 0, 0))
    table.add_column("case")
    table.add_column("")
    for title in ("incidents", "pages", "rollbacks", "orders lost", "saved", "notes"):
        table.add_column(title, justify="right")
    for each in done:
        figures = ["", "", "", "", "", ""]
        if each.summary:
            saved = sum(saving["saved"] for saving in each.summary["savings"])
            counts = [f"{each.summary[name]:,}" for name in ("incidents", "pages", "rollbacks")]
            figures = [*counts, f"{each.summary['orders_lost']:,.0f}", f"{saved:,.0f}", f"{len(each.summary['notes'])}"]
        table.add_row(escape(each.name), f"[{STYLES[each.state]}]{each.state}[/]", *figures)
    console.print(table)
    states = {state: sum(each.state == state for each in done) for state in STYLES}
    console.print(
        f"{len(done)} cases: {', '.join(f'{number} {state}' for state, number in states.items() if number)}. Results below {out}.", style="bold", soft_wrap=True
    )
    console.print(f"How good was that? rollguard score {cases} {out}", style="dim", soft_wrap=True)
