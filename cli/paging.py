"""`rollguard page`: whether those who are to be told can be told."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from rollguard.cli.working import ConfigToRun, UsageError, live_settings, unknown
from rollguard.config import Settings, printable
from rollguard.responders import Page, PageError, Pager
from rollguard.service import pagers_of

__all__ = ["page"]


def page(
    *,
    config: ConfigToRun,
    test: Annotated[bool, typer.Option("--test", help="Send a test page, and its end right after it.")] = False,
    only: Annotated[list[str] | None, typer.Option("--pager", help="Only this pager; may be given again.", metavar="NAME")] = None,
) -> None:
    """Send a test page to every pager of a config, and end it again: somebody's telephone will ring.

        rollguard page --test -c shop.yaml

        rollguard page --test -c shop.yaml --pager oncall

    Exit codes: 0 every pager took it; 1 one did not; 2 wrong usage or config.
    """
    if not test:
        raise UsageError("page: nothing to tell. Expected: --test, which sends a test page; real ones are sent by the worker.")
    settings = live_settings(config)
    names = tuple(settings.respond.pagers)
    for name in only or ():
        if name not in names:
            raise unknown("--pager", name, names, of="no such pager")
    if not names:
        raise UsageError("page: no pager is declared. Expected: at least one under respond.pagers.")
    failed = asyncio.run(_told(settings, tuple(only or names)))
    if failed:
        raise typer.Exit(1)


async def _told(settings: Settings, names: tuple[str, ...]) -> int:
    """Tell each of them; how many did not take it."""
    pagers = pagers_of(settings)
    console, failed = Console(highlight=False), 0
    try:
        for name in names:
            try:
                text, style = await _test(pagers[name]), "green"
            except PageError as error:
                text, style, failed = error.problem, "bold red", failed + 1
            console.print(Text("ok  " if style == "green" else "mend", style=style), Text(f"{name}: {printable(text)}"), soft_wrap=True)
    finally:
        for pager in pagers.values():
            await pager.close()
    return failed


async def _test(pager: Pager) -> str:
    now_ms = time.time_ns() // 1_000_000
    told = Page(
        event="trigger",
        dedup_key=f"rollguard-test/{now_ms}",
        title="A test page from Rollguard: nothing is wrong",
        lines=("Somebody ran `rollguard page --test`.", "It ends by itself right away; there is nothing to do."),
        severity="info",
        at_ms=now_ms,
        onset_ms=now_ms,
    )
    said = await pager.send(told, message_id=f"{told.dedup_key}/trigger")
    over = msgspec.structs.replace(told, event="resolve", lines=("The test is over.",), ended_ms=now_ms)
    await pager.send(over, message_id=f"{told.dedup_key}/resolve")
    return said
