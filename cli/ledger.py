"""`rollguard ledger`: what was decided and done, and whether somebody altered that."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from rollguard.cli.working import ConfigToRun, UsageError, live_settings
from rollguard.service import open_store
from rollguard.store import Anchor

__all__ = ["ledger"]

ledger = typer.Typer(name="ledger", help="The append-only record of decisions: a chain of hashes.", no_args_is_help=True)


@ledger.command()
def head(*, config: ConfigToRun) -> None:
    """Print where the ledger ends, as NUMBER:HASH. Keep it elsewhere: it shows what is cut off or rewritten later.

        rollguard ledger head -c shop.yaml >> /mnt/elsewhere/anchors

    Exit codes: 0 fine; 1 the database cannot be read; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config))) as store:
        anchor = store.anchor()
    typer.echo(f"{anchor.seq}:{anchor.hash.hex()}")


@ledger.command()
def verify(
    *,
    config: ConfigToRun,
    anchors: Annotated[
        list[str] | None, typer.Option("--anchor", help="What `rollguard ledger head` once printed; may be given again.", metavar="NUMBER:HASH")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the flaws as one JSON array, for machines.")] = False,
) -> None:
    """Read the whole ledger, and name every entry that was altered, removed or put in since it was written.

    Without an anchor nothing shows that the end was cut off, or that the whole chain was made anew.

        rollguard ledger verify -c shop.yaml --anchor 812:5f1c…

    Exit codes: 0 it is whole; 1 it is not, or the database cannot be read; 2 wrong usage or config.
    """
    known = [_anchor(text) for text in anchors or ()]
    with closing(open_store(live_settings(config))) as store:
        flaws, end = store.verify(known), store.anchor()
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(flaws), indent=2).decode())
    else:
        console = Console(highlight=False)
        for flaw in flaws:
            console.print(Text(f"entry {flaw.seq}: {flaw.problem}. {flaw.detail}", style="bold red"), soft_wrap=True)
        if not flaws:
            held = f", held against {len(known)} {'anchor' if len(known) == 1 else 'anchors'}" if known else ""
            console.print(f"{end.seq} entries, all as they were written{held}.")
    if flaws:
        raise typer.Exit(1)


def _anchor(text: str) -> Anchor:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text.strip())
    if found is None:
        raise UsageError(f"--anchor {text}: no anchor. Expected: NUMBER:HASH, as `rollguard ledger head` prints it.")
    return Anchor(seq=int(found[1]), hash=bytes.fromhex(found[2]))
