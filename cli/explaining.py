"""`rollguard explain`: why an incident of a case was judged as it was, with the numbers, and what would change that."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rollguard.cli.bar import meter
from rollguard.cli.replaying import ConfigFile, opened_case, run_of
from rollguard.config import RollguardError, near_match
from rollguard.incidents import probability_without
from rollguard.replay import Run, in_words

__all__ = ["chosen", "explain"]

#: Evidence of less than this decides nothing and is not told.
LEAST_NATS = 0.05
#: Factors beyond this are all the same to a reader.
MOST = 1_000_000


class NoIncidentError(RollguardError):
    """The case has no such incident."""

    code = "usage"


def explain(
    case: Annotated[Path, typer.Argument(help="Folder of the case, as for `rollguard replay`.", metavar="CASE")],
    incident: Annotated[str | None, typer.Argument(help="Id of the incident, as inc-1a2b3c4d; needless where there is just one.", metavar="INCIDENT")] = None,
    *,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the explanation as one JSON object, for machines.")] = False,
) -> None:
    """Explain a verdict: for every suspect what speaks for and against it, with numbers, and what would change the verdict.

        rollguard explain cases/decoys-7

        rollguard explain cases/decoys-7 inc-ee505347 --json

    Exit codes: 0 fine, 1 the run failed, 2 wrong usage, config or case.
    """
    opened = opened_case(case, config)
    run = run_of(opened)
    if not run.incidents and incident is None:
        typer.echo("{}" if json else f"{run.name}: nothing was wrong, so there is nothing to explain.")
        return
    explained = _explained(chosen(run, incident), opened.settings.policy.guilty)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(explained), indent=2).decode())
        return
    _tell(Console(width=None if Console().is_terminal else 120, highlight=False), explained)


def chosen(run: Run, wanted: str | None) -> dict[str, Any]:
    """Find the incident that was meant: the named one, or the only one."""
    known = {incident["incident_id"]: incident for incident in run.incidents}
    if wanted is None and len(known) == 1:
        return next(iter(known.values()))
    if wanted in known:
        return known[wanted]
    listed = "; ".join(f"{name} since {incident['onset']}" for name, incident in known.items()) or "none"
    near = near_match(wanted, known) if wanted is not None else None
    hint = f" Did you mean '{near}'?" if near else ""
    problem = "which incident?" if wanted is None else f"no incident '{wanted}'."
    raise NoIncidentError(f"{run.name}: {problem} Expected: one of its incidents: {listed}.{hint}")


def _explained(incident: dict[str, Any], needed: float) -> dict[str, Any]:
    last = next((decision for decision in reversed(incident["decisions"]) if decision["action"] in {"hold", "rollback"}), None)
    return {
        "incident_id": incident["incident_id"],
        "verdict": incident["verdict"],
        "needed_probability": needed,
        "no_change_probability": incident["no_change_probability"],
        "suspects": [_suspect(suspect) for suspect in incident["suspects"]],
        "would_change": _would_change(incident, needed),
        "rollback_blocked_by": [] if last is None else last["blocked_by"],
    }


def _suspect(suspect: dict[str, Any]) -> dict[str, Any]:
    evidence = [
        {
            "kind": kind,
            "nats": nats,
            "times_likelier": round(math.exp(min(nats, math.log(MOST))), 4),
            "probability_without": round(_without(suspect, nats), 4),
            "reasons": [in_words(reason.removeprefix(f"{kind}: ")) for reason in suspect["reasons"] if reason.startswith(f"{kind}: ")],
        }
        for kind, nats in sorted(suspect["evidence"].items(), key=lambda item: -abs(item[1]))
        if abs(nats) >= LEAST_NATS
    ]
    return {name: suspect[name] for name in ("deploy_id", "service", "probability", "facts")} | {"evidence": evidence}


def _without(suspect: dict[str, Any], nats: float) -> float:
    """What a suspect would have left without a piece of evidence; calibration takes as much of it as it took of all."""
    return probability_without(suspect["uncalibrated"], nats) * _kept(suspect)


def _kept(suspect: dict[str, Any]) -> float:
    """What calibration leaves of a probability."""
    alone = suspect["uncalibrated"]
    return min(suspect["probability"] / alone, 1.0) if alone else 1.0


def _would_change(incident: dict[str, Any], needed: float) -> list[str]:
    """What the verdict hangs on: what would turn it if it were seen otherwise, and which evidence carries it."""
    found = [f"{sentence}." for sentence in incident["would_change"]]
    if not incident["suspects"]:
        return found
    first = incident["suspects"][0]
    name, probability = first["deploy_id"], first["probability"]
    if incident["verdict"] == "guilty":
        without = {kind: _without(first, nats) for kind, nats in first["evidence"].items()}
        carrying = [
            f"Without what {kind} says, {name} would have {100 * left:.0f} %, less than the {100 * needed:.0f} % needed."
            for kind, left in without.items()
            if left < needed
        ]
        least = f"No single kind of evidence carries it: without any one of them {name} would still have at least {100 * min(without.values()):.0f} %."
        return found + (carrying or [least])
    alone, enough = first["uncalibrated"], min(needed / _kept(first), 0.999)
    odds = enough / (1.0 - enough) * (1.0 - alone) / max(alone, 1e-9)
    more = _factor(math.log(max(odds, 1.0)))
    return [f"{name} has {100 * probability:.0f} % and would need {100 * needed:.0f} %: what was seen would have to be {more} if it did it.", *found]


def _factor(nats: float) -> str:
    """A log likelihood ratio as how many times likelier."""
    times = math.exp(min(abs(nats), math.log(MOST)))
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    more = "over " if times >= MOST else ""
    return f"{more}{shown} x likelier" if nats >= 0 else f"{more}{shown} x less likely"


def _tell(console: Console, explained: dict[str, Any]) -> None:
    console.print(f"[bold]{explained['incident_id']}[/bold]: the verdict is [bold]{explained['verdict'].replace('_', ' ')}[/bold]")
    console.print(
        "How much likelier what was seen is, if the change did it, than if no change did; and the probability that would be left without that evidence.",
        style="dim",
    )
    for suspect in explained["suspects"]:
        console.print()
        console.print(f"[bold]{escape(suspect['deploy_id'])}[/bold] of {escape(suspect['service'])}  {meter(suspect['probability'], 12, 'red')}")
        table = Table(box=None, padding=(0, 2, 0, 2), show_header=True)
        table.add_column("evidence", no_wrap=True)
        table.add_column("if it did it", no_wrap=True)
        table.add_column("without it", justify="right", no_wrap=True)
        table.add_column("what was seen")
        for each in suspect["evidence"]:
            table.add_row(each["kind"], _factor(each["nats"]), f"{100 * each['probability_without']:.0f} %", escape("; ".join(each["reasons"])))
        console.print(table)
        console.print(f"  known of it, and no evidence: {escape('; '.join(suspect['facts']))}", style="dim")
    console.print()
    console.print(
        f"[bold]no change[/bold]  {meter(explained['no_change_probability'], 12, 'green')}  a provider, the weather, a sale, or a change that nobody recorded"
    )
    console.print()
    for sentence in explained["would_change"]:
        console.print(escape(sentence))
    for sentence in explained["rollback_blocked_by"]:
        console.print(f"No rollback: {escape(in_words(sentence))}")
