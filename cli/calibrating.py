"""`rollguard calibrate`: what the budget promises, what a case measures, and the smallest change that each series can show in time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rollguard.cli.bar import progress_bar
from rollguard.cli.checking import refuse_wrong_models
from rollguard.cli.replaying import ConfigFile, opened_case
from rollguard.config import Settings, format_duration
from rollguard.detectors import Calibration, Detect, Signal, Tick
from rollguard.replay import Case, Progress, Replay

__all__ = ["calibrate"]

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
MONTH_MS = 30 * DAY_MS
#: Times within which a change is seen, as they are called: by the watch on the configured bucket, and by the slow one.
FAST_WITHIN = {"5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "60m": 60 * MINUTE_MS}
SLOW_WITHIN = {"1d": DAY_MS}
#: Signals that are not further apart are one burst, as one incident would be.
APART_MS = 30 * MINUTE_MS
#: Series told of without --all.
MOST_SERIES = 20


def calibrate(
    case: Annotated[Path, typer.Argument(help="Folder of the case, as for `rollguard replay`; the longer and the quieter, the better.", metavar="CASE")],
    *,
    config: ConfigFile = None,
    everything: Annotated[bool, typer.Option("--all", help=f"Every series, not only the {MOST_SERIES} whose models promise too much.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object, for machines.")] = False,
) -> None:
    """Hold the promised rate of false alarms against a case, and say the smallest change that each series can show in 5, 15 and 60 minutes.

    The budget ("one false page a month for everything") promises a rate; it holds if the models of what is usual do. So every series keeps a
    record of how high its own evidence has risen for nothing. Where that is too often or too high, its evidence counts less and has
    further to go: no more false alarms than promised, at the price of seeing less.

    Best over weeks in which nothing was wrong.

        rollguard calibrate cases/quiet-7

        rollguard calibrate cases/quiet-7 -c shop.yaml --json | jq .series

    Exit codes: 0 fine, whatever was found; 1 the run failed; 2 wrong usage, config or case.
    """
    opened = opened_case(case, config)
    refuse_wrong_models(opened.settings, config, opened)
    measured = _measured(opened)
    found = _found(opened, measured)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    _tell(Console(width=None if Console().is_terminal else 120, highlight=False), found, everything=everything)


@dataclass(slots=True)
class _Measured:
    """What the detectors made of a case.

    Attributes
    ----------
    calibration : tuple of Calibration
        At its end.
    left : list of Signal
        Series that left their baseline.
    buckets, judged : int
        Closed buckets, and those in which at least one series could speak.
    damage : list of str
        What kept a file from being read to its end.
    """

    calibration: tuple[Calibration, ...] = ()
    left: list[Signal] = field(default_factory=list)
    buckets: int = 0
    judged: int = 0
    damage: list[str] = field(default_factory=list)

    def bursts(self, bucket_ms: int) -> int:
        """Signals, those that are not far apart counted as one."""
        at = [signal.bucket for signal in self.left]
        return sum(not number or (bucket - at[number - 1]) * bucket_ms > APART_MS for number, bucket in enumerate(at))


def _measured(case: Case) -> _Measured:
    """Feed a case through the detectors, as a replay does, without a desk behind them."""
    replay = Replay(case.settings, case.events(), None, start_ms=case.start_ms, end_ms=case.end_ms)
    detect, found = Detect(case.settings), _Measured()
    with progress_bar(f"calibrating over {case.name}") as move:

        def reached(progress: Progress) -> None:
            move(progress.done / max(progress.total, 1))

        for closed in replay.closed(reached):
            for record in detect.feed(closed):
                if isinstance(record, Tick):
                    found.buckets += 1
                    found.judged += record.ready
                elif record.kind == "left":
                    found.left.append(record)
    found.calibration = detect.calibration()
    found.damage = [report.damage for _, report in sorted(replay.report.files.items()) if report.damage is not None]
    return found


def _found(case: Case, measured: _Measured) -> dict[str, Any]:
    """All that there is to say, as it is printed for machines."""
    settings = case.settings
    budget, months = settings.budget, measured.judged * settings.bucket_ms / MONTH_MS
    bursts = measured.bursts(settings.bucket_ms)
    return {
        "case": case.name,
        "budget": {
            "false_pages": budget.false_pages,
            "per": format_duration(budget.per_ms),
            "per_month": _digits(budget.false_pages * MONTH_MS / budget.per_ms),
            "slow_share": settings.baseline.slow_share,
        },
        "days": _digits(measured.buckets * settings.bucket_ms / DAY_MS),
        "days_judged": _digits(months * MONTH_MS / DAY_MS),
        "promised_per_month": _digits(sum(each.promised for each in measured.calibration)),
        "model_alone_per_month": _digits(sum(each.measured for each in measured.calibration)),
        "signals": len(measured.left),
        "bursts": bursts,
        "signals_per_month": _digits(len(measured.left) / months) if months else None,
        "bursts_per_month": _digits(bursts / months) if months else None,
        "series": _series(measured),
        "models": _models(settings, measured.calibration),
        "notes": [*case.notes, *measured.damage],
    }


def _series(measured: _Measured) -> list[dict[str, Any]]:
    """The worst first: those whose model would give the most times the false alarms that it promises."""
    signals = Counter(signal.series for signal in measured.left)
    slow = {each.series: each for each in measured.calibration if each.watch == "slow"}
    fast = [each for each in measured.calibration if each.watch == "fast"]
    fast.sort(key=lambda each: (not each.ready, -(_times(each) or 0.0), each.honesty, each.series))
    return [
        {
            "series": str(each.series),
            "metric": each.series.metric,
            "labels": dict(each.series.labels),
            "kind": each.kind,
            "worse": each.worse,
            "model": each.model,
            "per_minute": _digits(each.per_minute),
            "signals": signals[each.series],
            "fast": _watch(each, FAST_WITHIN),
            "slow": _watch(slow[each.series], SLOW_WITHIN) if each.series in slow else None,
        }
        for each in fast
    ]


def _watch(each: Calibration, within: dict[str, int]) -> dict[str, Any]:
    shown = {
        name: {one.direction: None if one.change is None else _digits(one.change) for one in each.shown if one.within_ms == span}
        for name, span in within.items()
    }
    return {
        "ready": each.ready,
        "per_minute": _digits(each.per_minute),
        "scatter": _digits(each.scatter),
        "error": _digits(each.error),
        "honesty": _digits(each.honesty),
        "threshold_nats": None if each.threshold is None else _digits(each.threshold),
        "promised_per_month": _digits(each.promised),
        "model_alone_per_month": _digits(each.measured),
        "times_promised": None if (times := _times(each)) is None else _digits(times),
        "alarms": _digits(each.alarms),
        "smallest_change": shown,
    }


def _models(settings: Settings, calibration: tuple[Calibration, ...]) -> list[dict[str, Any]]:
    """River models, by metric."""
    return [
        {
            "metric": name,
            "model": mine[0].model,
            "series": len(mine),
            "ready": sum(each.ready for each in mine),
            "refused": sum(each.refused for each in mine),
            "renewed": sum(each.renewed for each in mine),
        }
        for name in sorted(settings.metrics)
        if (mine := [each for each in calibration if each.model is not None and each.series.metric == name])
    ]


def _times(each: Calibration) -> float | None:
    """How many times the false alarms that it promises a model alone would give."""
    return each.measured / each.promised if each.promised else None


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _tell(console: Console, found: dict[str, Any], *, everything: bool) -> None:
    console.print(f"[bold]{escape(found['case'])}[/bold]: {_count(found['days'])} days, {_count(found['days_judged'])} of them judged")
    console.print()
    for title, words in _sums(found):
        console.print(Text.assemble((f"{title:<12}", "bold"), words), soft_wrap=True)
    for each in found["models"]:
        words = f"{each['metric']}: {each['model']} watches {each['series']} series, {each['ready']} of them ready; refused {each['refused']:,} values"
        console.print(Text(f"{words}, built anew {each['renewed']:,} times for that"), soft_wrap=True)
    console.print()
    for note in found["notes"]:
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)
    ready = [each for each in found["series"] if each["fast"]["ready"]]
    young = len(found["series"]) - len(ready)
    if not ready:
        console.print("No series has been seen for long enough to be judged. Give a longer case, or set a shorter `warmup`.", style="yellow")
        return
    shown = ready if everything else ready[:MOST_SERIES]
    console.print(_table(shown))
    if len(ready) > len(shown):
        console.print(f"and {len(ready) - len(shown):,} more with less to make up for; --all shows them")
    if young:
        console.print(f"and {young:,} not seen for long enough to speak")
    console.print()
    notes = FOOTNOTES | (SLOW_NOTE if _slow_speaks(shown) else {})
    for name, words in notes.items():
        console.print(Text.assemble((name, "bold"), f": {words}", style="dim"))


FOOTNOTES = {
    "model alone": "how many times the promised false alarms the series would give if its model of what is usual were believed as it is; the worst come first.",
    "trust in the model": "so much of the evidence counts. Below 100 % the series has swung further without a cause than its model allows.",
    "threshold": "how much evidence it takes for a signal, in nats: 2.3 more is ten times rarer by chance.",
    "smallest change": "a change of this size, in the direction that hurts, is seen so soon on average, at a usual hour; -: none is. "
    "Smaller than what the config asks for is not looked for.",
}
SLOW_NOTE = {"in a day": "the same by the slow watch, which looks at whole hours; the other columns are those of the watch on the configured bucket."}


def _slow_speaks(series: list[dict[str, Any]]) -> bool:
    """Whether any series has been seen for the week that the slow watch needs."""
    return any(each["slow"] is not None and each["slow"]["ready"] for each in series)


def _sums(found: dict[str, Any]) -> list[tuple[str, str]]:
    budget, months = found["budget"], found["days_judged"] * DAY_MS / MONTH_MS
    pages = "one false page" if budget["false_pages"] == 1 else f"{_count(budget['false_pages'])} false pages"
    ready = sum(each["fast"]["ready"] for each in found["series"])
    lines = [
        ("Budget", f"{pages} in {budget['per']} for everything: {_count(budget['per_month'] * months)} in these {_count(found['days_judged'])} days."),
        ("Promised", f"{_count(found['promised_per_month'])} false alarms a month in sum, by the {ready:,} series that may speak by now."),
        (
            "Model alone",
            f"{_count(found['model_alone_per_month'])} a month is what they would give by their own past, if every model were believed as it is. "
            "Trust and threshold below make up for it.",
        ),
    ]
    if found["signals"]:
        signals, bursts = _of(found["signals"], "signal"), _of(found["bursts"], "burst")
        words = f"{signals} (a series left its baseline) in {bursts}, those within 30 min as one: "
        words += f"{_count(found['bursts_per_month'])} bursts a month. A true incident counts too, and lowers the trust below: "
        words += "nothing here knows which they were. Quiet time says more."
    else:
        words = "no signal: no series left its baseline."
    return [*lines, ("Measured", words)]


def _of(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _table(shown: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title="Smallest change that is seen in time", title_justify="left", title_style="bold")
    table.add_column("series", overflow="fold")
    slow_too = _slow_speaks(shown)
    columns = ["events\n/min", "model\nalone", "trust in\nthe model", "threshold", "in\n5 min", "in\n15 min", "in\n60 min"]
    for column in [*columns, "in\na day"] if slow_too else columns:
        table.add_column(column, justify="right", no_wrap=True)
    for each in shown:
        fast, slow = each["fast"], each["slow"]
        sizes = [_sizes(fast["smallest_change"][name]) for name in FAST_WITHIN]
        sizes += [_sizes(slow["smallest_change"][name]) if slow is not None else "-" for name in SLOW_WITHIN] if slow_too else []
        times = fast["times_promised"]
        row = [each["series"], _count(each["per_minute"]), "-" if times is None else f"{_count(times)} x"]
        row += [f"{100 * fast['honesty']:.0f} %", f"{fast['threshold_nats']:.1f}", *sizes]
        table.add_row(*map(escape, row))
    return table


def _sizes(by_direction: dict[str, float | None]) -> str:
    """The change that is seen in each direction that hurts; where both do, the larger.

    Examples
    --------
    >>> _sizes({"lower": 0.213}), _sizes({"higher": 2.04, "lower": 0.3}), _sizes({"higher": 0.5, "lower": None})
    ('-22 %', '± 204 %', '-')
    """
    sizes = [size for size in by_direction.values() if size is not None]
    if not sizes or len(sizes) < len(by_direction):
        return "-"
    sign = "± " if len(sizes) > 1 else "+" if "higher" in by_direction else "-"
    return f"{sign}{math.ceil(100 * max(sizes) - 1e-9):,} %"


def _count(number: float) -> str:
    """A number in at most two digits behind the point.

    Examples
    --------
    >>> _count(12345.6), _count(12.0), _count(1.25), _count(0.1712), _count(0.0001), _count(0.0)
    ('12,346', '12', '1.2', '0.17', '< 0.01', '0')
    """
    if number >= 10.0:
        return f"{number:,.0f}"
    if number >= 0.995:
        return f"{number:.1f}".removesuffix(".0")
    return "0" if number == 0.0 else f"{number:.2f}" if number >= 0.01 else "< 0.01"
