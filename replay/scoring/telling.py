"""Figures in words, and the score as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rollguard.replay.scoring.bars import Checked
from rollguard.replay.scoring.measures import MEASURES, Form, Measured
from rollguard.replay.scoring.score import Part, Score

__all__ = ["BY_KIND", "figure", "figure_of", "interval_of", "kind_rows", "markdown_of", "table"]

#: What is told of each kind: the measure and a short title.
BY_KIND = (
    ("recall", "recall"),
    ("precision", "precision"),
    ("repeats", "dup./10"),
    ("delay", "delay"),
    ("delay_oracle", "by oracle"),
    ("top1", "top 1"),
    ("top3", "top 3"),
    ("false_blame", "false blame"),
    ("wrong_rollbacks", "wrong rb."),
    ("missed_rollbacks", "missed rb."),
    ("saved_share", "saved"),
    ("bill", "bill"),
    ("brier", "Brier"),
)
NOTHING = "-"
_WRITTEN: dict[Form, Callable[[float], str]] = {
    "share": lambda value: f"{100 * value:.1f} %",
    "signed": lambda value: f"{100 * value:+.1f} %",
    "seconds": lambda value: f"{value:,.0f} s",
    "times": lambda value: f"{value:.1f} times",
    "count": lambda value: f"{value:,.0f}",
    "number": lambda value: f"{value:.3f}",
}
_FORMS: dict[str, Form] = {each.name: each.form for each in MEASURES}


def figure(value: float | None, form: Form) -> str:
    """A figure as a person reads it.

    Examples
    --------
    >>> figure(0.975, "share"), figure(-0.125, "signed"), figure(95.0, "seconds"), figure(2.5, "times"), figure(None, "share")
    ('97.5 %', '-12.5 %', '95 s', '2.5 times', '-')
    """
    return NOTHING if value is None else _WRITTEN[form](value)


def figure_of(measured: Measured) -> str:
    """A figure without its interval."""
    return figure(measured.value, _FORMS[measured.name])


def interval_of(measured: Measured) -> str:
    """A figure's interval and what it was measured on; empty where there is none."""
    if measured.value is None:
        return ""
    form = _FORMS[measured.name]
    bounds = "" if measured.low is None else f"{figure(measured.low, form)} to {figure(measured.high, form)}, "
    return f"{bounds}n = {measured.n:g}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown; the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join(["---", *(["---:"] * (len(titles) - 1))]) + "|"]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)]


def kind_rows(kinds: Sequence[Part]) -> list[list[str]]:
    """The table by kind, without its titles."""
    return [[each.name, str(each.cases), str(each.incidents), *(figure_of(each[name]) for name, _ in BY_KIND)] for each in kinds]


def markdown_of(score: Score, command: str) -> str:
    """Write the score as Markdown.

    Parameters
    ----------
    score : Score
    command : str
        That makes it.
    """
    whole = score.parts[0]
    lines = [f"Made by `{command}`: {whole.cases} cases, {whole.incidents} labelled incidents. Intervals are of 95 %.", ""]
    titles = ["measure", *(f"{part.name} ({part.cases} cases)" for part in score.parts)]
    lines += table(titles, [[each.title, *(_cell(part[each.name]) for part in score.parts)] for each in MEASURES])
    if score.bars:
        lines += ["", "## Bars", "", *table(["measure", "bar", "reached", "state"], bar_rows(score.bars))]
    lines += ["", "## By kind", "", *table(["kind", "cases", "incidents", *(title for _, title in BY_KIND)], kind_rows(score.kinds))]
    lines += ["", "## Probabilities", "", *table(["called", "guesses", "on average", "were true", "interval"], reliability_rows(whole))]
    lines += ["", chance] if (chance := chance_line(score)) else []
    lines += ["", "## What went wrong", "", *(remark_lines(score) or ["Nothing."])]
    return "\n".join(lines) + "\n"


def bar_rows(checked: Sequence[Checked]) -> list[list[str]]:
    """The table of bars, without its titles."""
    names = {each.name: each.title for each in MEASURES}
    return [[names[each.measured.name] + (f" ({each.kind})" if each.kind else ""), each.bar, _cell(each.measured), each.state] for each in checked]


def reliability_rows(part: Part) -> list[list[str]]:
    """The reliability table, without its titles."""
    return [
        [
            f"{100 * row.low:.0f} to {100 * row.high:.0f} %",
            str(row.n),
            f"{100 * row.mean:.1f} %",
            f"{100 * row.share:.1f} %",
            f"{100 * row.share_low:.0f} to {100 * row.share_high:.0f} %",
        ]
        for row in part.reliability
    ]


def chance_line(score: Score) -> str:
    """Say how large the calibration error is by chance alone; empty where there is no guess."""
    told = [f"{part.chance:.3f} ({part.name})" for part in score.parts if part.chance is not None]
    return f"Were every probability right, so few guesses would make a calibration error of {', '.join(told)} by chance alone." if told else ""


def remark_lines(score: Score) -> list[str]:
    """Everything that went wrong, a line each, by case."""
    return [f"- **{case.name}** ({case.split}): {remark}" for case in score.cases for remark in case.remarks]


def _cell(measured: Measured) -> str:
    bounds = interval_of(measured)
    return figure_of(measured) + (f" ({bounds})" if bounds else "")
