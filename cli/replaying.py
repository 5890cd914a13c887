"""`rollguard replay`: a past incident, from its files to a verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rollguard.cli.bar import with_progress
from rollguard.cli.batching import replay_folder
from rollguard.cli.otherwise import checked_for, switches_of, tell_otherwise
from rollguard.cli.story import tell
from rollguard.cli.working import UsageError, live_settings, moment_ms
from rollguard.config import Mode, read_layer, rfc3339
from rollguard.replay import Case, Replay, Run, Switches, make_out, open_case, open_window, run_case, run_otherwise
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
    all_of: Annotated[
        Path | None, typer.Option("--all", help="Instead of a case: every case in this folder, into one folder each below --out.", metavar="DIR")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="With --all: so many at a time. [default: one a core]", min=1, max=256, metavar="N")] = None,
    again: Annotated[bool, typer.Option("--again", help="With --all: replay also what has a result that is whole and newer than its case.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write report.html, timeline.jsonl, incidents.jsonl and summary.json into this folder.", metavar="DIR")
    ] = None,
    config: ConfigFile = None,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="What may be done: observe, advise, approve or auto. Without it: auto. A replay never calls anything.", metavar="MODE"),
    ] = None,
    approve_after: Annotated[
        str | None, typer.Option("--approve-after", help="What if: in mode approve, persons approve the plan so long after the page, as 5m.", metavar="SPAN")
    ] = None,
    staged_regions: Annotated[
        bool, typer.Option("--staged-regions", help="What if: the culprit had gone out region by region, half an hour apart. An estimate.")
    ] = False,
    require_approvals: Annotated[
        int | None, typer.Option("--require-approvals", help="What if: each version needed so many approvals at the gate.", min=1, max=5, metavar="N")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="What if: other false pages were borne, as 4 (in the config's span) or 1/7d.", metavar="PAGES[/SPAN]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary and the incidents as one JSON object, for machines.")] = False,
) -> None:
    """Replay a past incident: what hurt, since when, which change did it, what it cost, what was decided.

    A case is a folder of events in order of arrival. It needs no config: the shipped one fits the case format.

        rollguard replay cases/promise_gross-7

        rollguard replay cases/promise_gross-7 --out result --json | jq .incidents

        rollguard replay cases/promise_gross-7 --approve-after 5m --staged-regions --require-approvals 2

        rollguard replay --all cases --out results --jobs 4

        rollguard replay --from 2026-03-01T00:00Z --to 2026-03-02T11:00Z -c shop.yaml

    With --all a result that is whole, newer than its case and made under the same settings is kept: what was broken off goes on where it was.
    It says nothing of whether the code has changed since; then --again. `rollguard score` compares the results with the cases' labels.

    With --from it reads the live topics of a config instead, and changes nothing there. What is usual is learnt from what is replayed: begin
    days before the incident, and no less than the config's `warmup`.

    Exit codes: 0 fine, whatever was found; 1 the run failed, or a case of --all did; 2 wrong usage, config or case.
    """
    if sum(each is not None for each in (case, since, all_of)) != 1:
        raise UsageError("replay: what? Expected: the folder of a case, or --all DIR, or --from TIME with -c FILE for live topics; one of them.")
    if since is None and until is not None:
        raise UsageError("--to: means nothing without --from: a case states its `end` itself.")
    if all_of is None and (jobs is not None or again):
        raise UsageError("--jobs, --again: mean nothing without --all DIR.")
    switches = switches_of(mode=mode, approve_after=approve_after, staged_regions=staged_regions, require_approvals=require_approvals, budget=budget)
    if since is not None and switches != Switches(mode=mode):
        raise UsageError("--from: what if is asked of cases alone. Expected: a folder of files, or --mode alone.")
    if all_of is not None:
        if out is None:
            raise UsageError("--all: where to? Expected: --out DIR, below which each case gets its folder.")
        replay_folder(all_of, out, config=config, switches=switches, jobs=jobs, again=again, json=json)
        return
    if out is not None:
        make_out(out)
    if case is None:
        run = _of_topics(since or "", until, config, mode, report=out is not None)
    else:
        opened = opened_case(case, config)
        checked_for(switches, opened.settings)
        run = with_progress(f"replaying {opened.name}", lambda reached: run_otherwise(opened, switches, reached, report=out is not None))
    if out is not None:
        run.write(out)
    if json:
        typer.echo(run.as_json())
        return
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    tell(console, run)
    tell_otherwise(console, run.summary)
    if out is not None:
        console.print(f"Written to {out}: report.html, timeline.jsonl, incidents.jsonl, summary.json", style="dim")
