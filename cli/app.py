"""The command `rollguard`: its options and its table of subcommands."""

import sys
from typing import Annotated

import typer

from rollguard import __version__
from rollguard.cli.affecting import affected
from rollguard.cli.backfilling import backfill_command
from rollguard.cli.calibrating import calibrate
from rollguard.cli.checking import check
from rollguard.cli.commanding import allow, kill, mute
from rollguard.cli.comparing import compare
from rollguard.cli.database import database
from rollguard.cli.demo import demo
from rollguard.cli.explaining import explain
from rollguard.cli.forgetting import forget
from rollguard.cli.gating import gate
from rollguard.cli.initing import init
from rollguard.cli.interrupts import interrupts_never_lost
from rollguard.cli.ledger import ledger
from rollguard.cli.listing import incidents
from rollguard.cli.paging import page
from rollguard.cli.producing import produce
from rollguard.cli.replaying import replay
from rollguard.cli.reporting import report
from rollguard.cli.scoring import score
from rollguard.cli.simulating import simulate
from rollguard.cli.topics import topics
from rollguard.cli.working import worker
from rollguard.config import RollguardError

#: Codes of errors that are a matter of what was typed or written, not of what happened.
WRONG_USAGE = frozenset({"config", "case", "model", "secret", "usage"})

app = typer.Typer(
    name="rollguard",
    help="Names the change that hurt customers, and says or undoes it.",
    epilog="Begin with `rollguard demo`, then `rollguard replay CASE`. Exit codes: 0 fine, 1 the run failed, 2 wrong usage or config.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        typer.echo(f"rollguard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Name the change that hurt customers, and say or undo it."""


app.command(name="replay")(replay)
app.command(name="score")(score)
app.command(name="compare")(compare)
app.command(name="report")(report)
app.command(name="explain")(explain)
app.command(name="affected")(affected)
app.command(name="check")(check)
app.command(name="calibrate")(calibrate)
app.command(name="demo")(demo)
app.command(name="simulate")(simulate)
app.command(name="init")(init)
app.command(name="worker")(worker)
app.command(name="backfill")(backfill_command)
app.command(name="produce")(produce)
app.add_typer(incidents)
app.command(name="gate")(gate)
app.command(name="allow")(allow)
app.command(name="mute")(mute)
app.command(name="kill")(kill)
app.command(name="page")(page)
app.add_typer(ledger)
app.add_typer(database)
app.command(name="forget")(forget)
app.add_typer(topics)


def main() -> None:
    """Run the command line: the entry point `rollguard`.

    Exit codes: 0 fine, 1 the run failed, 2 wrong usage or config.
    """
    try:
        with interrupts_never_lost():
            app()
    except RollguardError as error:
        # One line a mistake; a traceback would tell an operator nothing.
        typer.echo(str(error), err=True)
        sys.exit(2 if error.code in WRONG_USAGE else 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        typer.echo(f"{error.filename or 'rollguard'}: {reason}. Nothing more was done; make room or permission and run it again.", err=True)
        sys.exit(1)
