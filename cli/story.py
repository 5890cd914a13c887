"""A run told in a terminal, for someone who has never heard of Rollguard."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rollguard.cli.bar import meter
from rollguard.replay import Run

__all__ = ["in_words", "tell"]

VERDICTS = {
    "guilty": ("red", "a change did it"),
    "no_change": ("green", "no change did it"),
    "inconclusive": ("yellow", "not sure enough to blame a change"),
}
ACTIONS = {"page": "paged", "rollback": "ROLL BACK", "hold": "no rollback yet", "observe": "observed"}
BAR = 12
#: Symptoms told of an incident.
SYMPTOMS = 4
_NATS = re.compile(r" \(([+-]?\d+(?:\.\d+)?) nats\)")
_COUNT = re.compile(r"(?<![\w.,:-])\d{4,}(?=,| expected| outside)")


def in_words(sentence: str) -> str:
    """A sentence of the desk with its log evidence in words, and its counts with separators.

    Examples
    --------
    >>> in_words("time: it began to hurt 35 s into the change (+7.8 nats)")
    'time: it began to hurt 35 s into the change (strongly for)'
    >>> in_words("errors: 165541, 6077 expected")
    'errors: 165,541, 6,077 expected'
    """
    return _COUNT.sub(lambda found: f"{int(found[0]):,}", _NATS.sub(lambda found: f" ({_strength(float(found[1]))})", sentence))


def _strength(nats: float) -> str:
    # A factor of ten in the odds is strong; one below 1.6 decides nothing.
    if abs(nats) < 0.5:
        return "neither for nor against"
    return ("strongly " if abs(nats) >= 2.3 else "") + ("for" if nats > 0 else "against")


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
        console.print(_incident(incident, saving))
    if not sources:
        return
    console.print(_sources(summary))
    for note in summary["notes"]:
        # One line each, however long: a terminal wraps it, a file keeps it whole.
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)


def _incident(incident: dict[str, Any], saving: dict[str, Any]) -> Panel:
    colour, meaning = VERDICTS[incident["verdict"]]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    where = ", ".join(incident["regions"]) or "everywhere"
    facts.add_row(
        "since", f"{_moment(incident['onset'])} in {where}" + (f", closed {_moment(incident['closed_at'])}" if incident["closed_at"] else ", still open")
    )
    # What hurts as a whole comes before its parts.
    symptoms = sorted(incident["symptoms"], key=lambda symptom: " of " in symptom.split(" in ")[0])
    for number, symptom in enumerate(symptoms[:SYMPTOMS]):
        facts.add_row("what hurts" if number == 0 else "", escape(in_words(symptom)))
    if len(incident["symptoms"]) > SYMPTOMS:
        facts.add_row("", f"[dim]and {len(incident['symptoms']) - SYMPTOMS} more[/dim]")
    low, high = incident["orders_lost_interval"]
    facts.add_row("cost", f"about {incident['orders_lost']:,.0f} orders lost (95 %: {low:,.0f} to {high:,.0f})")
    if incident["saved_by_rollback"]:
        low, high = incident["saved_by_rollback_interval"]
        facts.add_row("", f"a rollback now would save about {incident['saved_by_rollback']:,.0f} of the next hour's (95 %: {low:,.0f} to {high:,.0f})")
    if saving["saved"]:
        facts.add_row(
            "",
            f"[bold]{saving['saved']:,.0f} of them saved[/bold] by the rollback, done 2 minutes after it was decided: "
            f"{saving['lost_until_effect']:,.0f} were lost by then",
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
        reasons = "\n".join(escape(in_words(text)) for text in suspect["reasons"])
        table.add_row(f"{escape(suspect['deploy_id'])}\n[dim]{escape(suspect['service'])}[/dim]", meter(suspect["probability"], BAR, "red"), reasons)
    table.add_row("no change", meter(incident["no_change_probability"], BAR, "red"), "[dim]a provider, the weather, a sale: nothing that was shipped[/dim]")
    return table


def _decisions(incident: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="What was decided", title_justify="left", title_style="bold")
    table.add_column("at", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    table.add_column("why")
    onset = datetime.fromisoformat(incident["onset"])
    for decision in incident["decisions"]:
        after = (datetime.fromisoformat(decision["at"]) - onset).total_seconds()
        # All conditions of a rollback hold: they are a list, not each an answer.
        why = decision["blocked_by"] or (["; ".join(decision["reasons"])] if decision["action"] == "rollback" else decision["reasons"])
        target = [f"[bold]{escape(decision['target'])}[/bold]"] if decision["target"] else []
        action = ACTIONS[decision["action"]]
        table.add_row(f"{_moment(decision['at'])}\n[dim]{_after(after)}[/dim]", action, "\n".join([*target, *(escape(in_words(text)) for text in why)]))
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


def _after(seconds: float) -> str:
    return f"{seconds:+.0f} s" if abs(seconds) < 120 else f"{seconds / 60:+.0f} min"


def _day(when: str | None) -> str:
    return "?" if when is None else f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _moment(when: str) -> str:
    return f"{datetime.fromisoformat(when).astimezone(UTC):%H:%M:%S}Z"
