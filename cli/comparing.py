"""`rollguard compare`: what a change made better or worse, case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollguard.cli.working import UsageError
from rollguard.replay.scoring import Score, comparison_of, read_outcomes, read_score, score_of

__all__ = ["compare"]


def compare(
    old: Annotated[Path, typer.Argument(help="Before: a folder of results, or what `rollguard score --json` printed.", metavar="A")],
    new: Annotated[Path, typer.Argument(help="After: the same of it.", metavar="B")],
    *,
    cases: Annotated[Path | None, typer.Option("--cases", help="Of folders of results: the cases that they are of.", metavar="CASES")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write into this file instead of printing.", metavar="FILE")] = None,
) -> None:
    """Compare two sets of results: what got better, what got worse, case by case, as Markdown for a pull request.

        rollguard compare results-main results-mine --cases cases

        rollguard compare main.json mine.json > comparison.md

    Exit codes: 0 fine, whatever got worse; 1 the file cannot be written; 2 wrong usage, or results that are missing or broken.
    """
    before, after = _score(old, cases), _score(new, cases)
    if not {case.name for case in before.cases} & {case.name for case in after.cases}:
        raise UsageError(f"{old} and {new} have no case in common, so there is nothing to compare. Expected: two results of the same cases.")
    text = comparison_of(before, after, names=(_name(old), _name(new)) if _name(old) != _name(new) else ("A", "B"))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"Written to {out}.")


def _name(path: Path) -> str:
    return path.name.removesuffix(".json") or str(path)


def _score(path: Path, cases: Path | None) -> Score:
    if not path.is_dir():
        return read_score(path)
    if cases is None:
        raise UsageError(f"{path}: results of which cases? Expected: --cases CASES, or two files that `rollguard score --json` wrote.")
    return score_of(read_outcomes(cases, path))
