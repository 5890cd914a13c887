"""`rollguard database`: its schema up and down, what is old out of it, and a copy of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from rollguard.cli.bar import progress_bar
from rollguard.cli.working import ConfigToRun, UsageError, live_settings
from rollguard.config import parse_duration
from rollguard.service import cutoffs_of, now_ms, open_store, swept
from rollguard.store import Cutoffs, Pruned

__all__ = ["database"]

database = typer.Typer(name="database", help="The database: schema, retention, backup.", no_args_is_help=True)

#: What is kept for less could come back when the logs are read again.
SHORTEST = "40d"


@database.command()
def version(*, config: ConfigToRun) -> None:
    """Print the step at which the schema stands, and the steps that this version knows.

        rollguard database version -c shop.yaml

    Exit codes: 0 fine; 1 the database cannot be read; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config), migrate=False)) as store:
        steps, now = store.steps(), store.schema()
    console = Console(highlight=False)
    if now is None:
        console.print(f"The database is empty. This version makes schema {steps[-1]}.")
    elif now not in steps:
        console.print(f"Schema {now}, newer than any that this version knows (up to {steps[-1]}). Run the newer version.")
    else:
        console.print(f"Schema {now}{'' if now == steps[-1] else f'; `rollguard database upgrade` brings it to {steps[-1]}'}. Known: {', '.join(steps)}.")


@database.command()
def upgrade(*, config: ConfigToRun) -> None:
    """Bring the schema up to date. A worker does so by itself when it starts.

        rollguard database upgrade -c shop.yaml

    Exit codes: 0 it is up to date; 1 it is newer than this version, or away: nothing was changed; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config), migrate=False)) as store:
        before = store.schema()
        store.migrate()
        after = store.schema()
    typer.echo(f"schema {after}, as before" if before == after else f"schema {before or 'none'} -> {after}")


@database.command()
def downgrade(
    *,
    config: ConfigToRun,
    to: Annotated[str, typer.Option("--to", help="The step that the older version knows, as `rollguard database version` prints it there.", metavar="STEP")],
) -> None:
    """Take the schema back, before an older version of Rollguard goes on. Stop all workers first.

    Incidents, timeline, outbox and ledger stay, and so does what was open: the older version goes on with the same incidents. What only a newer
    schema can hold is gone.

        rollguard database downgrade -c shop.yaml --to 0002

    Exit codes: 0 done; 1 there is no such earlier step, or it is away: nothing was changed; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config), migrate=False)) as store:
        before = store.schema()
        store.downgrade(to)
    typer.echo(f"schema {before} -> {to}. Start the older version now: a worker of this one would bring it up again.")


@database.command()
def backup(*, config: ConfigToRun, file: Annotated[Path, typer.Argument(help="A file that is not there yet.", metavar="FILE")]) -> None:
    """Copy the database, as it is at one moment, into a file, while the workers go on. PostgreSQL: it names the command of pg_dump.

        rollguard database backup -c shop.yaml /mnt/elsewhere/rollguard.db

    Exit codes: 0 the copy is whole; 1 it could not be made; 2 wrong usage or config.
    """
    with closing(open_store(live_settings(config), migrate=False)) as store:
        store.backup(file)
        anchor = store.anchor()
    typer.echo(f"{file}: {file.stat().st_size:,} bytes. The ledger ends at {anchor.seq}:{anchor.hash.hex()}")


@database.command()
def prune(
    *,
    config: ConfigToRun,
    older_than: Annotated[
        str, typer.Option("--older-than", help=f"All that is over for so long, {SHORTEST} at least; else as `retention` says.", metavar="SPAN")
    ] = "",
    with_ledger: Annotated[bool, typer.Option("--ledger", help="With --older-than: the ledger's beginning too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as one JSON object, for machines.")] = False,
) -> None:
    """Delete what is old and over. A worker does so by itself every hour, as `retention` in the config says.

    Nothing of an open incident goes, nothing that has still to be sent, and no rollback before its incident. The ledger's beginning goes only
    where it is asked for; an entry at its end says so, and what is left is verified as before.

        rollguard database prune -c shop.yaml --dry-run

        rollguard database prune -c shop.yaml --older-than 90d

    Exit codes: 0 done; 1 the database is away; 2 wrong usage or config.
    """
    settings, now = live_settings(config), now_ms()
    cutoffs = cutoffs_of(settings, now)
    if older_than:
        before_ms = now - _age_ms(older_than)
        cutoffs = Cutoffs(incidents_ms=before_ms, outbox_ms=before_ms, releases_ms=before_ms, ledger_ms=before_ms if with_ledger else None)
    elif with_ledger:
        raise UsageError("--ledger: older than what? Expected: --older-than SPAN beside it, or `retention.ledger` in the config.")
    with closing(open_store(settings)) as store:
        would = store.prunable(cutoffs)
        gone = would
        if not dry_run:
            with progress_bar("deleting") as move:
                gone = swept(store, cutoffs, now, on_batch=lambda so_far: move(so_far.rows / max(would.rows, 1)))
    if json:
        typer.echo(msgspec.json.encode(gone).decode())
        return
    told = ", ".join(f"{getattr(gone, name):,} {text}" for name, text in _WORDS.items())
    typer.echo(f"{'would delete' if dry_run else 'deleted'}: {told}")


_WORDS = dict(zip(Pruned.__struct_fields__, ("lines of timelines", "rows of the outbox", "incidents", "versions", "entries of the ledger"), strict=True))


def _age_ms(text: str) -> int:
    try:
        age_ms = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--older-than {text}: {error}. Expected: a whole number and a unit, such as 90d.") from None
    if age_ms < parse_duration(SHORTEST):
        raise UsageError(
            f"--older-than {text}: too short. Expected: {SHORTEST} at least, since the logs of {SHORTEST} may be read again and would find it missing."
        )
    return age_ms
