"""A run told in a terminal, for someone who has never heard of Rollguard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rollguard.replay import Run

__all__ = ["tell"]

VERDICTS = {
    "guilty": ("red", "a change did it"),
    "no_change": ("green", "no change did it"),
    "inconclusive": ("yellow", "not sure enough to blame a change"),
}
ACTIONS = {"page": "paged", "rollback": "ROLLED BACK (decided; a replay calls nothing)", "hold": "no rollback yet", "observe": "observed"}
BAR = 12
#: Symptoms told of an incident.
SYMPTOMS = 5


def tell(console: Console, run: Run) -> None:
    """Tell what happened, who did it, what it cost and what was decided.

    Parameters
    ----------
    console : Console
    run : Run
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
        console.print(Text("Nothing was wrong: no page, no rollback.", style="green"))
    for incident in run.incidents:
        saving = next(s for s in summary["savings"] if s["incident_id"] == incident["incident_id"])
        console.print(_incident(incident, saving))
    console.print(_sources(summary))
    for note in summary["notes"]:
        console.print(Text(f"! {note}", style="yellow"))


def _incident(incident: dict[str, Any], saving: dict[str, Any]) -> Panel:
    colour, meaning = VERDICTS[incident["verdict"]]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    where = ", ".join(incident["regions"]) or "everywhere"
    facts.add_row(
        "since", f"{_moment(incident['onset'])} in {where}" + (f", closed {_moment(incident['closed_at'])}" if incident["closed_at"] else ", still open")
    )
    for number, symptom in enumerate(incident["symptoms"][:SYMPTOMS]):
        facts.add_row("what hurts" if number == 0 else "", escape(symptom))
    if len(incident["symptoms"]) > SYMPTOMS:
        facts.add_row("", f"[dim]and {len(incident['symptoms']) - SYMPTOMS} more[/dim]")
    low, high = incident["orders_lost_interval"]
    facts.add_row("cost", f"{incident['orders_lost']:,.0f} orders lost (95 %: {low:,.0f} to {high:,.0f})")
    if saving["saved"]:
        facts.add_row(
            "", f"[bold]{saving['saved']:,.0f} of them saved[/bold] had the rollback been made: {saving['lost_until_effect']:,.0f} were lost until then"
        )
    facts.add_row("verdict", f"[{colour}]{incident['verdict'].replace('_', ' ')}[/{colour}]: {meaning}")
    for note in incident["data_quality"]:
        facts.add_row("data", f"[yellow]{escape(note)}[/yellow]")
    return Panel(Group(facts, _suspects(incident), _decisions(incident)), title=f"incident {incident['incident_id']}", title_align="left", border_style=colour)


def _suspects(incident: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="Who did it", title_justify="left", title_style="bold")
    table.add_column("suspect", no_wrap=True)
    table.add_column("probability", no_wrap=True)
    table.add_column("for and against")
    for suspect in incident["suspects"]:
        reasons = "\n".join(escape(text) for text in suspect["reasons"])
        table.add_row(f"{escape(suspect['deploy_id'])}\n[dim]{escape(suspect['service'])}[/dim]", _bar(suspect["probability"]), reasons)
    table.add_row("no change", _bar(incident["no_change_probability"]), "[dim]a provider, the weather, a sale: nothing that was shipped[/dim]")
    return table


def _decisions(incident: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="What was decided", title_justify="left", title_style="bold")
    table.add_column("at", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    table.add_column("why")
    onset = datetime.fromisoformat(incident["onset"])
    for decision in incident["decisions"]:
        after = (datetime.fromisoformat(decision["at"]) - onset).total_seconds()
        why = decision["blocked_by"] or decision["reasons"]
        target = [f"[bold]{escape(decision['target'])}[/bold]"] if decision["target"] else []
        action = ACTIONS[decision["action"]].split(" (", maxsplit=1)[0]
        table.add_row(f"{_moment(decision['at'])}\n[dim]{_after(after)}[/dim]", action, "\n".join([*target, *(escape(text) for text in why)]))
    return table


def _sources(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), title="What was read", title_justify="left", title_style="bold")
    table.add_column("source")
    for name in ("events", "refused", "late", "doubled"):
        table.add_column(name, justify="right")
    for source, file in summary["sources"].items():
        if file["file"] is None:
            table.add_row(source, "[yellow]no file[/yellow]", "", "", "")
            continue
        table.add_row(source, f"{file['read']:,}", f"{sum(file['refused'].values()):,}", f"{file['late']:,}", f"{file['doubled']:,}")
    table.add_row("changes", f"{summary['changes']:,}", "", "", "")
    return table


def _bar(probability: float) -> str:
    full = round(BAR * probability)
    return f"[red]{'█' * full}[/red][dim]{'░' * (BAR - full)}[/dim] {100 * probability:3.0f} %"


def _after(seconds: float) -> str:
    return f"{seconds:+.0f} s" if abs(seconds) < 120 else f"{seconds / 60:+.0f} min"


def _day(when: str | None) -> str:
    return "?" if when is None else f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _moment(when: str) -> str:
    return f"{datetime.fromisoformat(when).astimezone(UTC):%H:%M:%S}Z"
