"""`rollguard replay`: a past incident, from its files to a verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rollguard.cli.bar import with_progress
from rollguard.cli.story import tell
from rollguard.cli.working import UsageError, live_settings, moment_ms
from rollguard.config import Mode, read_layer, rfc3339
from rollguard.replay import Case, Replay, Run, make_out, open_case, open_window, run_case
from rollguard.replay import run_of as run_replay
from rollguard.streams.kafka import Access, quiet_client_logs

__all__ = ["ConfigFile", "opened_case", "replay", "run_of"]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="A config file over the defaults; the case's own case.yaml goes over both.", metavar="FILE")
]


def opened_case(case: Path, config: Path | None) -> Case:
    """Open a case under the operator's config, if there is one."""
    return open_case(case, [] if config is None else [read_layer(config)])


def run_of(case: Case, *, report: bool = False) -> Run:
    """Replay a case under a progress bar, for a page or only for its results."""
    return with_progress(f"replaying {case.name}", lambda reached: run_case(case, reached, report=report))


def _in_mode(case: Case, mode: Mode | None) -> Case:
    return case if mode is None else replace(case, settings=case.settings.model_copy(update={"mode": mode}))


def _of_topics(since: str, until: str | None, config: Path | None, mode: Mode | None, *, report: bool) -> Run:
    """Replay the topics of a config between two times."""
    if config is None:
        raise UsageError("--from: whose topics? Expected: -c FILE, the config of the live service.")
    settings = live_settings(config)
    if mode is not None:
        settings = settings.model_copy(update={"mode": mode})
    start_ms = moment_ms("--from", since)
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    end_ms = None if until is None else moment_ms("--to", until)
    if end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"--to {until}: not after --from {since}.")
    if end_ms is not None and end_ms > now_ms:
        raise UsageError(f"--to {until}: not yet. Expected: a time that is over, or none: then all that the topics hold.")
    quiet_client_logs()
    with open_window(settings, Access(settings.kafka), start_ms) as window:
        replayed = Replay(settings, window.events, window.changes, start_ms=window.start_ms, end_ms=end_ms)
        name = f"{rfc3339(window.start_ms)}--{rfc3339(now_ms if end_ms is None else end_ms)}"
        return with_progress("replaying topics", lambda reached: run_replay(name, replayed, reached, notes=window.notes, report=report))


def replay(
    case: Annotated[
        Path | None,
        typer.Argument(help="Folder of the case: case.yaml, orders.jsonl.gz, errors.jsonl.gz, deliveries.jsonl.gz, deploys.jsonl.", metavar="[CASE]"),
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option("--from", help="Instead of a case: the topics of the config from this event time on, RFC 3339.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="With --from: up to this event time. [default: all that the topics hold]", metavar="TIME")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write report.html, timeline.jsonl, incidents.jsonl and summary.json into this folder.", metavar="DIR")
    ] = None,
    config: ConfigFile = None,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="What may be done: observe, advise, approve or auto. Without it: auto. A replay never calls anything.", metavar="MODE"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary and the incidents as one JSON object, for machines.")] = False,
) -> None:
    """Replay a past incident: what hurt, since when, which change did it, what it cost, what was decided.

    A case is a folder of events in order of arrival. It needs no config: the shipped one fits the case format.

        rollguard replay cases/promise-7

        rollguard replay cases/promise-7 --out result --json | jq .incidents

        rollguard replay --from 2026-03-01T00:00Z --to 2026-03-02T11:00Z -c shop.yaml

    With --from it reads the live topics of a config instead, and changes nothing there. What is usual is learnt from what is replayed: begin
    days before the incident, and no less than the config's `warmup`.

    Exit codes: 0 fine, whatever was found; 1 the run failed; 2 wrong usage, config or case.
    """
    if (case is None) == (since is None):
        raise UsageError("replay: what? Expected: the folder of a case, or --from TIME with -c FILE for live topics; one of the two.")
    if since is None and until is not None:
        raise UsageError("--to: means nothing without --from: a case states its `end` itself.")
    if out is not None:
        make_out(out)
    run = (
        _of_topics(since or "", until, config, mode, report=out is not None)
        if case is None
        else run_of(_in_mode(opened_case(case, config), mode), report=out is not None)
    )
    if out is not None:
        run.write(out)
    if json:
        typer.echo(run.as_json())
        return
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    tell(console, run)
    if out is not None:
        console.print(f"Written to {out}: report.html, timeline.jsonl, incidents.jsonl, summary.json", style="dim")
