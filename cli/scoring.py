"""`rollguard score`: how good Rollguard was on cases whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rollguard.replay.scoring import (
    BY_KIND,
    ENOUGH_CASES,
    MEASURES,
    Halves,
    Score,
    bar_rows,
    chance_line,
    check_bars,
    figure_of,
    interval_of,
    kind_rows,
    markdown_of,
    read_outcomes,
    reliability_rows,
    score_of,
)

__all__ = ["score"]

STATES = {"held": "green", "broken": "bold red", "not judged": "yellow"}


def score(
    cases: Annotated[Path, typer.Argument(help="Folder of the cases, one folder each, with labels.json.", metavar="CASES")],
    results: Annotated[Path, typer.Argument(help="What `rollguard replay --all CASES --out RESULTS` wrote.", metavar="RESULTS")],
    *,
    split: Annotated[Halves, typer.Option("--split", help="Which half of the cases, by a hash of their names; both: also each apart.")] = "both",
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object; `rollguard compare` reads it.")] = False,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the tables as Markdown, too.", metavar="FILE")] = None,
    bars: Annotated[
        bool, typer.Option("--bars", help="Hold the figures against what they have to be; of both halves the unseen one. Exit 1 if one is broken.")
    ] = False,
) -> None:
    """Score results against what really happened: pages, delay, blame, rollbacks, the bill, and whether probabilities mean what they say.

    Each figure stands with its 95 % interval and what it was measured on, in all and by kind of case; below, all that went wrong, case by case.

        rollguard replay --all cases --out results && rollguard score cases results

        rollguard score cases results --markdown quality.md --bars

        rollguard score cases results --split unseen --json > new.json

    Half of the cases is there to tune by, the other half to be surprised by: what is unseen is decided by a hash of kind and seed, so nobody chooses.

    Exit codes: 0 fine; 1 a bar is broken, or a file cannot be written; 2 wrong usage, no case, broken labels, or a result that is missing.
    """
    outcomes = read_outcomes(cases, results)
    scored = score_of(outcomes, split=split)
    if bars:
        scored = replace(scored, bars=check_bars([each for each in scored.cases if split != "both" or each.split == "unseen"]))
    if markdown is not None:
        options = [*([] if split == "both" else [f"--split {split}"]), *(["--bars"] if bars else []), f"--markdown {markdown}"]
        markdown.write_text("# Quality\n\n" + markdown_of(scored, f"rollguard score {cases} {results} {' '.join(options)}"), encoding="utf-8")
    if json:
        typer.echo(scored.as_json())
    else:
        _tell(scored, split)
    broken = [row for row, each in zip(bar_rows(scored.bars), scored.bars, strict=True) if each.state == "broken"]
    for title, bar, reached, _ in broken:
        typer.echo(f"bar broken: {title}: {reached}. Expected: {bar}.", err=True)
    if broken:
        raise typer.Exit(1)


def _tell(scored: Score, split: Halves) -> None:
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    whole = scored.parts[0]
    console.print(f"[bold]{whole.cases} cases[/bold], {whole.incidents} labelled incidents. In brackets: 95 % interval, and what it was measured on.")
    table = Table(box=None, padding=(0, 3, 0, 0))
    table.add_column("measure")
    for part in scored.parts:
        table.add_column(f"{part.name} ({part.cases})")
    for each in MEASURES:
        measured = [part[each.name] for part in scored.parts]
        table.add_row(each.title, *(f"{figure_of(one)} [dim]{escape(f'({interval_of(one)})') if interval_of(one) else ''}[/dim]" for one in measured))
    console.print(table)
    if scored.bars:
        half = "the unseen half" if split == "both" else "all that was scored" if split == "unseen" else "the seen half, which proves nothing"
        console.print(_table(f"Bars, on {half}", ("measure", "bar", "reached", "state"), bar_rows(scored.bars), state_last=True))
        if whole.cases < ENOUGH_CASES:
            console.print(f"{whole.cases} cases are few: the bars are meant for {ENOUGH_CASES} and more.", style="yellow")
    console.print(_table("By kind", ("kind", "cases", "incidents", *(title for _, title in BY_KIND)), kind_rows(scored.kinds)))
    if whole.reliability:
        console.print(_table("What probabilities mean", ("called", "guesses", "on average", "were true", "interval"), reliability_rows(whole)))
        console.print(chance_line(scored), style="dim")
    wrong = [(case, remark) for case in scored.cases for remark in case.remarks]
    console.print(f"[bold]What went wrong[/bold] ({len(wrong)})" if wrong else "[green]Nothing went wrong.[/green]")
    for case, remark in wrong:
        console.print(f"{escape(case.name)} [dim]{case.split}[/dim]  {escape(remark)}", soft_wrap=True)


def _table(title: str, titles: Sequence[str], rows: Iterable[Sequence[str]], *, state_last: bool = False) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    for at, each in enumerate(titles):
        table.add_column(each, justify="left" if at == 0 or state_last else "right")
    for row in rows:
        cells = [escape(cell) for cell in row]
        if state_last:
            cells[-1] = f"[{STATES[row[-1]]}]{row[-1]}[/]"
        table.add_row(*cells)
    return table
