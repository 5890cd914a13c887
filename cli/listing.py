"""`rollguard incidents`: what the live service has found, from its database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rollguard.cli.commanding import ack, approve, judge, reject, resolve
from rollguard.cli.working import ConfigToRun, UsageError, known_incident, live_settings, moment_ms
from rollguard.config import printable, rfc3339
from rollguard.replay import fold, make_out
from rollguard.service import open_store

__all__ = ["incidents"]

_PRETTY = msgspec.json.Encoder(order="deterministic")
Until = Annotated[str | None, typer.Option("--until", help="Only what was known by then, RFC 3339 with an offset.", metavar="TIME")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write timeline.jsonl and incidents.jsonl into this folder.", metavar="DIR")]


incidents = typer.Typer(name="incidents")


@incidents.callback(invoke_without_command=True)
def bare(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The config file, over the defaults.", metavar="FILE")] = None,
    until: Until = None,
    out: Out = None,
    json: Annotated[bool, typer.Option("--json", help="Print the incidents as one JSON array, for machines.")] = False,
) -> None:
    """List the incidents that the live service has found, with suspects, cost and decisions; or look at one, or say something of it.

        rollguard incidents -c shop.yaml

        rollguard incidents show inc-9b68d9fe -c shop.yaml

    Exit codes: 0 fine, also without any; 1 the database cannot be read; 2 wrong usage or config.
    """
    if context.invoked_subcommand is not None:
        if config is not None or until is not None or out is not None or json:
            raise UsageError(f"incidents: options go behind the command. Expected: rollguard incidents {context.invoked_subcommand} … -c FILE.")
        return
    if config is None:
        raise UsageError("incidents: of which service? Expected: -c FILE, its config.")
    listed(config=config, until=until, out=out, json=json)


@incidents.command(name="list")
def listed(
    *,
    config: ConfigToRun,
    until: Until = None,
    out: Out = None,
    json: Annotated[bool, typer.Option("--json", help="Print the incidents as one JSON array, for machines.")] = False,
) -> None:
    """List the incidents that the live service has found, with suspects, cost and decisions.

        rollguard incidents list -c shop.yaml --until 2026-03-02T10:00:00Z --json | jq '.[0].suspects'

    Exit codes: 0 fine, also without any; 1 the database cannot be read; 2 wrong usage or config.
    """
    until_ms = None if until is None else moment_ms("--until", until)
    if out is not None:
        make_out(out)
    with closing(open_store(live_settings(config))) as store:
        lines = [row.line for row in store.timeline(until_ms)]
    found = fold(msgspec.json.decode(line) for line in lines)
    if out is not None:
        (out / "timeline.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
        (out / "incidents.jsonl").write_bytes(b"".join(_PRETTY.encode(incident) + b"\n" for incident in found))
    if json:
        typer.echo(msgspec.json.format(_PRETTY.encode(found), indent=2).decode())
        return
    _tell(_console(), found)


@incidents.command(name="show")
def shown(
    incident: Annotated[str, typer.Argument(help="Id of the incident, as `rollguard incidents` shows it.", metavar="INCIDENT")],
    *,
    config: ConfigToRun,
    json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object, for machines.")] = False,
) -> None:
    """Show one incident: what is hurt, what it costs, who is suspected, each decision with its reasons, and who was told.

        rollguard incidents show inc-9b68d9fe -c shop.yaml

    Exit codes: 0 fine; 1 the database cannot be read; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config))) as store:
        known_incident(store, incident)
        (found,) = fold(msgspec.json.decode(row.line) for row in store.timeline(incident_id=incident))
        rows = store.outbox(incident_id=incident)
    told = [
        {
            "kind": row.kind,
            "to": msgspec.json.decode(row.body).get("pager", "target"),
            "state": row.state,
            "attempts": row.attempts,
            "at": rfc3339(row.settled_ms),
            "detail": row.detail,
        }
        for row in rows
    ]
    if json:
        typer.echo(msgspec.json.format(_PRETTY.encode(found | {"told": told}), indent=2).decode())
        return
    _show(_console(), found, told)


for _command in (ack, approve, reject, judge, resolve):
    incidents.command(name=_command.__name__)(_command)


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 160, highlight=False)


def _show(console: Console, found: dict[str, Any], told: list[dict[str, Any]]) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    line(f"{found['incident_id']}: {found['state']}, {found['verdict'].replace('_', ' ')}", "bold")
    line(f"since {found['onset']}" + (f", over {found['closed_at']}" if found["closed_at"] else ""))
    if found.get("acknowledged_by"):
        line(f"{found['acknowledged_by']} looks after it")
    for each in found["symptoms"]:
        line(f"  hurt     {each}")
    line(f"  cost     {found['cost']}")
    for each in found["suspects"]:
        line(f"  suspect  {100 * each['probability']:.0f} % {each['deploy_id']} ({each['service']} {each['version'] or ''})")
    line(f"  suspect  {100 * found['no_change_probability']:.0f} % no change")
    for each in found["data_quality"]:
        line(f"  data     {each}")
    line("decided", "bold")
    for each in found["decisions"]:
        line(f"  {each['at']}  {each['action']} {each['target'] or ''}".rstrip())
        if each.get("plan"):
            needs = f", needs {each['needs']}" if each.get("needs") else ""
            line(f"      plan {each['plan']['hash']}{needs}")
        for reason in each["blocked_by"] or each["reasons"]:
            line(f"      {reason}")
    line("told", "bold")
    for each in told:
        line(f"  {each['at'] or 'not yet':<20}  {each['kind']} {each['to']}: {each['state']}" + (f", {each['detail']}" if each["detail"] else ""))


def _tell(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        console.print("No incident so far.")
        return
    table = Table("since", "incident", "state", "verdict", "suspect", "orders lost", "decisions", box=None, pad_edge=False)
    for incident in found:
        first = incident["suspects"][0] if incident["suspects"] else None
        cells = (
            incident["onset"],
            incident["incident_id"],
            incident["state"],
            incident["verdict"],
            "" if first is None else f"{first['deploy_id']} {100 * first['probability']:.0f} %",
            f"{incident['orders_lost']:,.0f}",
            ", ".join(f"{decision['action']} {decision['at']}" for decision in incident["decisions"] if decision["action"] != "hold"),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
