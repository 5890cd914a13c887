"""A run told in a terminal, for someone who has never heard of Rollguard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rollguard.cli.bar import meter
from rollguard.config import ms_of
from rollguard.replay import Run, lasting, told

__all__ = ["tell"]

COLOURS = {"guilty": "red", "no_change": "green", "inconclusive": "yellow"}
MEANINGS = {"guilty": "a change did it", "no_change": "no change did it", "inconclusive": "not sure enough to blame a change"}
ACTIONS = {"page": "[yellow]paged[/yellow]", "rollback": "[green]ROLL BACK[/green]", "hold": "no rollback yet", "observe": "observed"}
BAR = 12
#: Symptoms told of an incident, and reasons of a suspect that is not the first.
SYMPTOMS, REASONS = 3, 2
#: Cells of the money clock.
CELLS = 40
BLOCKS = " ▁▂▃▄▅▆▇█"


def tell(console: Console, run: Run, *, sources: bool = True) -> None:
    """Tell what happened, who did it, what it cost and what was decided.

    Parameters
    ----------
    console : Console
    run : Run
    sources : bool
        Whether to tell what was read, too, and what was wrong with it.
    """
    summary = run.summary
    console.print(
        Text.assemble(
            (f"{run.name}", "bold"),
            f"  {_day(summary['start'])} to {_day(summary['end'])}",
            f", watched from {_day(summary['watching_since'])} on" if summary["watching_since"] else "",
        )
    )
    if not run.incidents:
        found = "Nothing was wrong: no page, no rollback." if summary["watching_since"] else "Nothing could be found: no page, no rollback."
        console.print(Text(found, style="green" if summary["watching_since"] else "yellow"))
    for incident in run.incidents:
        saving = next(s for s in summary["savings"] if s["incident_id"] == incident["incident_id"])
        console.print(_incident(incident, saving, _lost(run, incident)))
    if not sources:
        return
    console.print(_sources(summary))
    for note in summary["notes"]:
        # One line each, however long: a terminal wraps it, a file keeps it whole.
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)


def _incident(incident: dict[str, Any], saving: dict[str, Any], lost: list[tuple[int, float]]) -> Panel:
    answers = told(incident, saving, [])
    colour = COLOURS[incident["verdict"]]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    ended = f"closed {_moment(incident['closed_at'])}, after {answers['lasted']}" if incident["closed_at"] else "still open"
    facts.add_row("since", f"{_moment(incident['onset'])} in {escape(answers['where'])}, {ended}")
    for number, symptom in enumerate(answers["broke"][:SYMPTOMS]):
        facts.add_row("what broke" if number == 0 else "", escape(symptom))
    if len(answers["broke"]) > SYMPTOMS:
        facts.add_row("", f"[dim]and {len(answers['broke']) - SYMPTOMS} more[/dim]")
    facts.add_row("cost", answers["cost"][0].upper() + answers["cost"][1:])
    if clock := _clock(lost):
        facts.add_row("", clock)
    facts.add_row("verdict", f"[{colour}]{incident['verdict'].replace('_', ' ')}[/{colour}]: {MEANINGS[incident['verdict']]}")
    for note in incident["data_quality"]:
        facts.add_row("data", f"[yellow]{escape(note)}[/yellow]")
    head = Text(answers["title"], style="bold")
    return Panel(
        Group(head, facts, _suspects(incident, answers), _decisions(answers)),
        title=f"incident {incident['incident_id']}",
        title_align="left",
        border_style=colour,
    )


def _lost(run: Run, incident: dict[str, Any]) -> list[tuple[int, float]]:
    """Orders lost so far, at each moment at which that was told."""
    lines = (msgspec.json.decode(line) for line in run.timeline)
    return [(ms_of(line["at"]), line["incident"]["orders_lost"]) for line in lines if line["incident_id"] == incident["incident_id"] and "incident" in line]


def _clock(lost: list[tuple[int, float]]) -> str:
    """The money clock: orders lost in each of equal parts of the incident."""
    if len(lost) < CELLS or lost[-1][1] < 1.0:
        return ""
    begin_ms, width_ms = lost[0][0], (lost[-1][0] - lost[0][0]) / CELLS
    ends = [max((each for at_ms, each in lost if at_ms <= begin_ms + (cell + 1) * width_ms), default=0.0) for cell in range(CELLS)]
    parts = [max(end - before, 0.0) for before, end in zip([0.0, *ends], ends, strict=False)]
    most = max(parts)
    cells = "".join(BLOCKS[round(part / most * (len(BLOCKS) - 1))] for part in parts)
    return f"[red]{cells}[/red] [dim]orders lost, each block {lasting(width_ms)}[/dim]"


def _suspects(incident: dict[str, Any], answers: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="Who did it", title_justify="left", title_style="bold")
    table.add_column("suspect", no_wrap=True)
    table.add_column("probability", no_wrap=True)
    table.add_column("for and against")
    for number, suspect in enumerate(answers["suspects"]):
        reasons = [escape(reason["text"]) for reason in suspect["reasons"]][: None if number == 0 else REASONS]
        name = f"{escape(suspect['deploy_id'])}\n[dim]{escape(suspect['service'])}[/dim]"
        table.add_row(name, meter(suspect["probability"], BAR, "red"), "\n".join(reasons))
    table.add_row(
        "no change", meter(incident["no_change_probability"], BAR, "red"), "[dim]a provider, the weather, a sale, or a change that nobody recorded[/dim]"
    )
    return table


def _decisions(answers: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="What would have been done", title_justify="left", title_style="bold")
    table.add_column("at", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    table.add_column("why, and why not")
    for decision in answers["decisions"]:
        # All conditions of a rollback hold: the one that differs from case to case is told.
        met = [f"all {len(decision['why'])} conditions are met", *decision["grounds"]]
        why = decision["why_not"] or (met if decision["action"] == "rollback" else decision["why"])
        target = [f"[bold]{escape(decision['target'])}[/bold]"] if decision["target"] else []
        again = f"\n[dim]{decision['again'] + 1} times[/dim]" if decision["again"] else ""
        at = f"{_moment(decision['at'])}\n[dim]after {decision['after']}[/dim]"
        table.add_row(at, f"{ACTIONS[decision['action']]}{again}", "\n".join([*target, *(escape(text) for text in why)]))
    return table


def _sources(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), title="What was read", title_justify="left", title_style="bold")
    table.add_column("source")
    for name in ("events", "refused", "late", "doubled"):
        table.add_column(name, justify="right")
    for source, file in summary["sources"].items():
        if "file" in file and file["file"] is None:
            table.add_row(source, "[yellow]no file[/yellow]", "", "", "")
            continue
        table.add_row(source, f"{file['read']:,}", f"{sum(file['refused'].values()):,}", f"{file['late']:,}", f"{file['doubled']:,}")
    table.add_row("changes", f"{summary['changes']:,}", f"{summary['changes_refused']:,}", "", "")
    return table


def _day(when: str | None) -> str:
    return "?" if when is None else f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _moment(when: str) -> str:
    return f"{datetime.fromisoformat(when).astimezone(UTC):%H:%M:%S}Z"
