"""`rollguard demo`: the March story, made, replayed and told minute by minute."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rollguard.cli.replaying import with_progress
from rollguard.cli.story import tell
from rollguard.replay import ROLLBACK_TAKES_MS, Run, Story, march_story, open_case, run_case, write_case

__all__ = ["demo"]

SEED = 2
SCALE = 0.1
#: Minutes after the onset of which each is told.
TOLD_MIN = 12
BAR = 24


def demo(
    *,
    scale: Annotated[float, typer.Option("--scale", help="Share of 120,000 lost orders and 1.6 million errors to make.", min=0.02, max=1.0)] = SCALE,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another shop.", min=0)] = SEED,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep the case and the results in this folder.", metavar="DIR")] = None,
) -> None:
    """Make the March story at a scale, replay it, and tell what happened minute by minute.

    On 2 March a change shipped everywhere at once. Delivery promises turned wrong while every page still answered 200,
    orders fell, errors followed, and 120,000 orders were lost. The demo makes such a day out of chance numbers, hands
    its raw events to the same code that runs live, and shows what would have been different.
    """
    console = Console(width=None if Console().is_terminal else 110, highlight=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        story = _make(folder / "march", scale, seed)
        case = open_case(folder / "march")
        run = with_progress("replaying", lambda report: run_case(case, report))
        if keep is not None:
            run.write(folder / "result")
    _introduce(console, run, scale)
    _minutes(console, story, run)
    tell(console, run)
    _conclude(console, story, run)
    if keep is not None:
        console.print(f"Kept in {folder}: march/ is the case, result/ what was found.", style="dim")


def _make(path: Path, scale: float, seed: int) -> Story:
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("making the story", total=1.0)
        story = march_story(seed=seed, scale=scale)
        write_case(story, path, on_progress=lambda part: bar.update(task, completed=part))
    return story


def _introduce(console: Console, run: Run, scale: float) -> None:
    events = sum(file["read"] for file in run.summary["sources"].values())
    console.print()
    console.print(
        f"[bold]The March story at 1:{1 / scale:.0f}[/bold], a simulated shop: {events:,} events over {_days(run)} days, {run.summary['changes']} changes."
    )
    console.print("What really happened, minute by minute, and what Rollguard said of it (it saw the events alone):")
    console.print()


def _minutes(console: Console, story: Story, run: Run) -> None:
    """One line a minute around the onset: orders against normal, and what was said and decided."""
    said = _said(run)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("minute", justify="right")
    table.add_column("orders against normal")
    table.add_column("lost so far", justify="right")
    table.add_column("Rollguard")
    lost = 0.0
    for minute in range(-2, TOLD_MIN):
        normal, came = story.orders_in_minute(minute)
        lost += max(normal - came, 0.0) if minute >= 0 else 0.0
        share = came / normal if normal else 1.0
        full = min(round(BAR * share), BAR)
        colour = "green" if share > 0.85 else "yellow" if share > 0.6 else "red"
        bar = f"[{colour}]{'█' * full}[/{colour}][dim]{'░' * (BAR - full)}[/dim] {100 * share:3.0f} %"
        moment_ms = story.onset_ms + minute * 60_000
        here = [text for at_ms, text in said if moment_ms <= at_ms < moment_ms + 60_000]
        table.add_row(f"{minute:+d}", bar, f"{lost:,.0f}", "\n".join(here))
    console.print(table)
    console.print()


def _said(run: Run) -> list[tuple[int, str]]:
    """Moments and sentences of the timeline worth telling once."""
    out: list[tuple[int, str]] = []
    before: dict[str, Any] = {}
    for raw in run.timeline:
        line = msgspec.json.decode(raw)
        at_ms = round(datetime.fromisoformat(line["at"]).timestamp() * 1000)
        clock = f"[dim]{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S}[/dim] "
        if "decision" in line:
            text = _decision(line["decision"])
        else:
            text = _news(line["incident"], before)
            before = line["incident"]
        if text:
            out.append((at_ms, clock + text))
    return out


def _decision(decision: dict[str, Any]) -> str:
    if decision["action"] == "page":
        return f"[bold yellow]PAGE[/bold yellow] {escape('; '.join(decision['reasons']))}"
    if decision["action"] == "rollback":
        return f"[bold green]ROLL BACK[/bold green] {escape(decision['target'] or '')}"
    if decision["action"] == "hold" and decision["target"]:
        return f"[dim]waits: {escape(decision['blocked_by'][0])}[/dim]"
    return ""


def _news(incident: dict[str, Any], before: dict[str, Any]) -> str:
    suspect = incident["suspects"][0] if incident["suspects"] else None
    if incident["verdict"] == "guilty" and before.get("verdict") != "guilty" and suspect:
        return f"[bold red]{escape(suspect['deploy_id'])}[/bold red] of {escape(suspect['service'])} did it ({100 * suspect['probability']:.0f} %)"
    new = sorted(set(incident["metrics"]) - set(before.get("metrics", [])))
    if before and new:
        return f"{escape(', '.join(new))} hurts too"
    return ""


def _conclude(console: Console, story: Story, run: Run) -> None:
    decided = [s for s in run.summary["savings"] if s["rollback_at"] is not None]
    hours = (story.undone_ms - story.onset_ms) / 3_600_000
    console.print()
    console.print(
        f"As it happened, nobody undid the change for {hours:.0f} hours: [bold]{story.lost_orders:,} orders lost[/bold], "
        f"{story.extra_errors:,} errors more than usual."
    )
    if not decided:
        console.print("Rollguard paged and left the rollback to a person.")
        return
    first = decided[0]
    at_ms = round(datetime.fromisoformat(first["rollback_at"]).timestamp() * 1000)
    effect_ms = at_ms + ROLLBACK_TAKES_MS
    lost = story.lost_until(effect_ms)
    saved = story.lost_orders - lost
    console.print(
        f"With the rollback decided {(at_ms - story.onset_ms) / 1000:.0f} s after the first wrong promise and done 2 minutes later: "
        f"[bold]{lost:,.0f} orders lost, {saved:,.0f} saved ({100 * saved / story.lost_orders:.1f} %)[/bold]."
    )
    console.print("(`auto` is taken as earned here. Live, a service earns it by judged incidents; until then a person presses the button.)", style="dim")


def _days(run: Run) -> str:
    start, end = (datetime.fromisoformat(run.summary[name]) for name in ("start", "end"))
    return f"{(end - start).total_seconds() / 86_400:.1f}"
