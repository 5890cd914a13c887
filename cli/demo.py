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
from rich.table import Table

from rollguard.cli.bar import meter, progress_bar, with_progress
from rollguard.cli.story import tell
from rollguard.config import ms_of, rfc3339
from rollguard.replay import Run, Story, in_words, make_out, march_story, open_case, run_case, write_case

__all__ = ["demo"]

SEED = 2
SCALE = 0.1
#: Minutes before and after the first wrong promise of which each is told.
TOLD_MIN = (-1, 9)
BAR = 20


def demo(
    *,
    scale: Annotated[
        float,
        typer.Option("--scale", help="Share of 120,000 lost orders and 1.6 million errors to make; a smaller shop is harder to watch.", min=0.05, max=1.0),
    ] = SCALE,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another shop.", min=0)] = SEED,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep the case and the results in this folder.", metavar="DIR")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what really happened, the summary and the incidents as one JSON object, for machines.")] = False,
) -> None:
    """Make the March story at a scale, replay it, and tell what happened minute by minute.

    On 2 March a change shipped everywhere at once. Delivery promises turned wrong while every page still answered 200,
    orders fell, errors followed, and 120,000 orders were lost. The demo makes such a day out of chance numbers, hands
    its raw events to the same code that runs live, and shows what would have been different.

        rollguard demo

        rollguard demo --keep march && rollguard replay march/march

    Exit codes: 0 fine, 1 the run failed, 2 wrong usage.
    """
    if keep is not None:
        make_out(keep)
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        with progress_bar("making the story") as move:
            story = march_story(seed=seed, scale=scale)
            write_case(story, folder / "march", on_progress=move)
        case = open_case(folder / "march")
        run = with_progress("replaying", lambda report: run_case(case, report, report=keep is not None))
        if keep is not None:
            run.write(folder / "result")
    truth = _truth(story, run)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"story": truth, "summary": run.summary, "incidents": run.incidents}), indent=2).decode())
        return
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    _introduce(console, run, scale)
    _minutes(console, story, run, truth)
    tell(console, run, sources=False)
    _conclude(console, story, truth)
    _what_next(console, keep)


def _truth(story: Story, run: Run) -> dict[str, Any]:
    """What really happened, and what would have been different: `lost` with the rollback, where one was decided."""
    pages = [ms_of(decision["at"]) for incident in run.incidents for decision in incident["decisions"] if decision["action"] == "page"]
    effect = next((saving["effect_at"] for saving in run.summary["savings"] if saving["effect_at"] is not None), None)
    lost = story.lost_orders if effect is None else story.lost_until(ms_of(effect))
    return {
        "onset": rfc3339(story.onset_ms),
        "undone_at": rfc3339(story.undone_ms),
        "culprit": story.culprit,
        "lost_orders": story.lost_orders,
        "extra_errors": story.extra_errors,
        "first_page_after_s": (min(pages) - story.onset_ms) / 1000 if pages else None,
        "rolled_back_at": effect,
        "lost": lost,
        "saved": story.lost_orders - lost,
        "saved_share": round(1.0 - lost / story.lost_orders, 4),
    }


def _introduce(console: Console, run: Run, scale: float) -> None:
    events = sum(file["read"] for file in run.summary["sources"].values())
    start, end = (ms_of(run.summary[name]) for name in ("start", "end"))
    console.print()
    console.print(
        f"[bold]The March story at 1:{1 / scale:.0f}[/bold], a simulated shop: {events:,} events of {(end - start) / 86_400_000:.1f} days, "
        f"{run.summary['changes']} changes, one of them bad."
    )
    console.print(
        "At minute 0 customers see the first wrong delivery promise. No page fails, and for 25 minutes there are no more errors than usual.", style="dim"
    )
    console.print("Bar: the orders that came, of those that would have come without the change. Rollguard sees nothing but raw events.", style="dim")
    console.print()


def _minutes(console: Console, story: Story, run: Run, truth: dict[str, Any]) -> None:
    """One line a minute around the onset: orders against normal, what was lost, what was said and decided."""
    said = _said(run)
    effect_ms = None if truth["rolled_back_at"] is None else ms_of(truth["rolled_back_at"])
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("minute", justify="right")
    table.add_column("orders, as it happened", no_wrap=True)
    table.add_column("orders lost", justify="right")
    table.add_column("with Rollguard", justify="right")
    table.add_column("what Rollguard says and does")
    for minute in range(*TOLD_MIN):
        begin_ms, end_ms = story.onset_ms + minute * 60_000, story.onset_ms + (minute + 1) * 60_000
        normal, came = story.orders_in_minute(minute)
        share = came / normal if normal else 1.0
        colour = "green" if share > 0.85 else "yellow" if share > 0.6 else "red"
        lost, with_it = story.lost_until(end_ms), story.lost_until(end_ms if effect_ms is None else min(end_ms, effect_ms))
        here = [text for at_ms, text in said if begin_ms <= at_ms < end_ms]
        if effect_ms is not None and begin_ms <= effect_ms < end_ms:
            here.append(f"{_clock(effect_ms)} [green]the old version is back: no more orders are lost[/green]")
        table.add_row(f"{minute:+d}" if minute else "0", meter(share, BAR, colour), f"{lost:,}", f"[green]{with_it:,}[/green]", "\n".join(here))
    console.print(table)
    console.print()


def _said(run: Run) -> list[tuple[int, str]]:
    """Moments and sentences of the timeline worth telling once."""
    out: list[tuple[int, str]] = []
    before: dict[str, dict[str, Any]] = {}
    for raw in run.timeline:
        line = msgspec.json.decode(raw)
        at_ms = ms_of(line["at"])
        if "decision" in line:
            text = _decision(line["decision"])
        else:
            text = _news(line["incident"], before.get(line["incident_id"]))
            before[line["incident_id"]] = line["incident"]
        if text:
            out.append((at_ms, f"{_clock(at_ms)} {text}"))
    return out


def _decision(decision: dict[str, Any]) -> str:
    if decision["action"] == "page":
        return f"[bold yellow]PAGE[/bold yellow] {escape(in_words('; '.join(decision['reasons'])))}"
    if decision["action"] == "rollback":
        return f"[bold green]ROLL BACK[/bold green] {escape(decision['target'] or '')}"
    if decision["action"] == "hold" and decision["target"]:
        return f"[dim]no rollback yet, {escape(in_words(decision['blocked_by'][0]))}[/dim]"
    return ""


def _news(incident: dict[str, Any], before: dict[str, Any] | None) -> str:
    suspect = incident["suspects"][0] if incident["suspects"] else None
    if incident["verdict"] == "guilty" and (before is None or before["verdict"] != "guilty") and suspect:
        return f"[bold red]{escape(suspect['deploy_id'])}[/bold red], a change of {escape(suspect['service'])}, did it ({100 * suspect['probability']:.0f} %)"
    new = sorted(set(incident["metrics"]) - set(before["metrics"])) if before is not None else []
    return f"now hurt too: {escape(', '.join(new))}" if new else ""


def _conclude(console: Console, story: Story, truth: dict[str, Any]) -> None:
    hours = (story.undone_ms - story.onset_ms) / 3_600_000
    console.print()
    console.print(
        f"As it happened, nobody undid the change for {hours:.0f} hours: [bold]{truth['lost_orders']:,} orders lost[/bold], "
        f"{truth['extra_errors']:,} errors more than usual."
    )
    if truth["first_page_after_s"] is None:
        console.print("Rollguard did not page: at this scale there were too few events to be sure.")
    elif truth["rolled_back_at"] is None:
        console.print(f"Rollguard paged {_after(truth['first_page_after_s'])} the first wrong promise, and left the rollback to a person.")
    else:
        console.print(
            f"With Rollguard: a page {_after(truth['first_page_after_s'])} the first wrong promise, the old version back "
            f"{_after((ms_of(truth['rolled_back_at']) - story.onset_ms) / 1000)} it: "
            f"[bold]{truth['lost']:,} orders lost, {truth['saved']:,} saved ({100 * truth['saved_share']:.1f} %)[/bold]."
        )
        console.print(
            "Taken for granted here: a rollback needs 2 minutes, and Rollguard may act by itself (mode `auto`). Live it starts by watching only.", style="dim"
        )


def _what_next(console: Console, keep: Path | None) -> None:
    if keep is None:
        console.print(
            "Next: [bold]rollguard demo --keep DIR[/bold] keeps the events and results; [bold]rollguard replay CASE[/bold] takes an incident of yours."
        )
    else:
        console.print(
            f"Kept: {escape(str(keep / 'march'))} is the case, {escape(str(keep / 'result' / 'report.html'))} the page to look at. "
            f"Next: [bold]rollguard replay {escape(str(keep / 'march'))}[/bold], or a case of yours in the same form."
        )


def _after(seconds: float) -> str:
    if seconds < 0:
        return f"{-seconds:.0f} s before"
    return f"{seconds:.0f} s after" if seconds < 180 else f"{seconds / 60:.0f} min after"


def _clock(when_ms: int) -> str:
    return f"[dim]{datetime.fromtimestamp(when_ms / 1000, UTC):%H:%M:%S}[/dim]"
