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
from rollguard.cli.working import UsageError, live_settings, moment_ms
from rollguard.replay import fold, make_out
from rollguard.service import open_store

__all__ = ["incidents"]

_PRETTY = msgspec.json.Encoder(order="deterministic")


incidents = typer.Typer(name="incidents")


@incidents.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The config file, over the defaults.", metavar="FILE")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only what was known by then, RFC 3339 with an offset.", metavar="TIME")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write timeline.jsonl and incidents.jsonl into this folder.", metavar="DIR")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the incidents as one JSON array, for machines.")] = False,
) -> None:
    """List the incidents that the live service has found, with suspects, cost and decisions.

        rollguard incidents -c shop.yaml

        rollguard incidents -c shop.yaml --until 2026-03-02T10:00:00Z --json | jq '.[0].suspects'

    Exit codes: 0 fine, also without any; 1 the database cannot be read; 2 wrong usage or config.
    """
    if context.invoked_subcommand is not None:
        if config is not None or until is not None or out is not None or json:
            raise UsageError(f"incidents: options go behind the command. Expected: rollguard incidents {context.invoked_subcommand} … -c FILE.")
        return
    if config is None:
        raise UsageError("incidents: of which service? Expected: -c FILE, its config.")
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
    _tell(Console(width=None if Console().is_terminal else 160, highlight=False), found)


for _command in (ack, approve, reject, judge, resolve):
    incidents.command(name=_command.__name__)(_command)


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
