"""`rollguard gate`: whether a version may go on to the next region."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from rollguard.cli.working import ConfigToRun, UsageError, live_settings
from rollguard.config import parse_duration, printable
from rollguard.incidents import GateAnswer, GateQuestion
from rollguard.service import ask_gate, open_store

__all__ = ["gate"]

#: How often it is asked again while it waits, in seconds.
ASK_S = 5.0
#: What a pipeline sees.
CODES = {"pass": 0, "wait": 3, "block": 4}
_STYLES = {"pass": "bold green", "wait": "bold yellow", "block": "bold red"}


def gate(
    service: Annotated[str, typer.Argument(help="The service that is deployed.", metavar="SERVICE")],
    version: Annotated[str, typer.Argument(help="The version that is to go on.", metavar="VERSION")],
    *,
    config: ConfigToRun,
    region: Annotated[str | None, typer.Option("--region", help="Where it is to go next; without it: everywhere.", metavar="REGION")] = None,
    author: Annotated[list[str] | None, typer.Option("--author", help="Who made it, who may not allow it; may be given again.", metavar="NAME")] = None,
    wait: Annotated[str | None, typer.Option("--wait", help="Ask again for so long while the answer is wait, as 30m.", metavar="SPAN")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for machines.")] = False,
) -> None:
    """Ask whether a version may go on to the next region, before it does.

    Blocked while an open incident may be its doing, or once it was rolled back. It waits for approvals, as many as its reach needs; for the region before
    to have been well for a while; for a freeze to end; and while nobody knows how the shop is.

        rollguard gate checkout 2.1 --region us-east --author dana -c shop.yaml --wait 30m

    Exit codes: 0 pass; 3 wait; 4 block; 1 the database cannot be read; 2 wrong usage or config. Go on with 0 alone.
    """
    settings = live_settings(config)
    try:
        patience_s = 0.0 if wait is None else parse_duration(wait) / 1000
    except ValueError as error:
        raise UsageError(f"--wait {wait}: {error}. Expected: a span of time, as 30m.") from None
    asked = GateQuestion(service=service, version=version, region=region, authors=tuple(author or ()))
    until_s = time.monotonic() + patience_s
    console, told = Console(highlight=False, stderr=json), None
    with closing(open_store(settings)) as store:
        while True:
            found = ask_gate(store, settings, asked, time.time_ns() // 1_000_000)
            if patience_s and found != told:
                told = found
                _tell(console, asked, found)
            if found.answer != "wait" or time.monotonic() >= until_s:
                break
            time.sleep(min(ASK_S, max(until_s - time.monotonic(), 0.0)))
    if json:
        typer.echo(msgspec.json.encode(found).decode())
    elif not patience_s:
        _tell(console, asked, found)
    if CODES[found.answer]:
        raise typer.Exit(CODES[found.answer])


def _tell(console: Console, asked: GateQuestion, found: GateAnswer) -> None:
    where = asked.region or "everywhere"
    console.print(Text(found.answer, style=_STYLES[found.answer]), Text(printable(f"{asked.service} {asked.version} to {where}")), soft_wrap=True)
    for reason in found.reasons:
        console.print(Text(f"  {printable(reason)}"), soft_wrap=True)
