"""`rollguard check`: what a config watches, what is wrong with it, and what it cannot see."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rollguard.cli.connections import settings_of, tell_findings
from rollguard.cli.places import Places, written
from rollguard.cli.replaying import ConfigFile, opened_case
from rollguard.cli.volumes import PARTS, Volumes, volumes_of
from rollguard.config import ConfigError, Layer, Metric, Mistake, RollguardError, Settings, default_text, format_duration, read_layer
from rollguard.detectors import (
    Detect,
    Direction,
    ModelError,
    SeriesTree,
    divergences,
    fast_settings,
    least_rate,
    log_thresholds,
    needed_half_life,
    slow_settings,
    visible_change,
)
from rollguard.replay import Case
from rollguard.streams import bin_middle

__all__ = ["check", "refuse_wrong_models"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
CASE_FILE = "case.yaml"
#: Series told by name.
MOST_SERIES = 10
#: A longer memory than this is no advice.
LONGEST_MS = 366 * DAY_MS
#: Standard deviation of the logarithm of a distribution's values where no case shows it; of delivery minutes it is 0.3 to 0.5.
SPREAD = 0.5


def check(
    case: Annotated[Path | None, typer.Argument(help="Folder of a case: its usual volumes are held against what the config asks for.", metavar="CASE")] = None,
    *,
    config: ConfigFile = None,
    live: Annotated[
        bool, typer.Option("--live", help="Try what a worker needs instead: secrets, brokers, topics, permissions, database, port. Nothing is written.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object, for machines.")] = False,
) -> None:
    """Check a config: every mistake at once, what it watches, and the changes that it asks for but cannot see.

    Where a series has too few events, a baseline that follows it takes a change for usual before anyone can be sure of it. This says
    how many events it takes, and what to set where there are fewer; with a case, for which of its series.

        rollguard check -c shop.yaml

        rollguard check -c shop.yaml cases/promise_gross-7 --json | jq .unseen

        rollguard check -c shop.yaml --live

    Exit codes: 0 fine, whatever was advised; 1 the run failed, or --live found what must be mended; 2 wrong usage, config or case.
    """
    if live and case is not None:
        raise RollguardError("--live: means nothing with a case, which needs no brokers. Leave one of them out.", code="usage")
    volumes: Volumes | None = None
    notes: tuple[str, ...] = ()
    if case is None:
        settings = settings_of(config)
        refuse_wrong_models(settings, config)
        if live:
            tell_findings(settings, Places(config), json=json)
            return
    else:
        opened = opened_case(case, config)
        refuse_wrong_models(opened.settings, config, opened)
        settings, volumes = opened.settings, volumes_of(opened)
        notes = (*opened.notes, *volumes.damage)
        silent = [name for name, metric in sorted(settings.metrics.items()) if metric.watch and not volumes.seen(name, metric)]
        notes += tuple(f"{opened.name}: no event of metric {name}: nothing can be said of its series." for name in silent)
    found = _found(settings, volumes)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found | {"notes": list(notes)}), indent=2).decode())
        return
    name = "config/default.yaml, as shipped" if config is None else str(config)
    _tell(Console(width=None if Console().is_terminal else 120, highlight=False), name if case is None else f"{name}, over {case}", settings, found, notes)


def refuse_wrong_models(settings: Settings, config: Path | None, case: Case | None = None) -> None:
    """Refuse river models that cannot be made, which only the detectors know, as mistakes of the config that names them.

    Raises
    ------
    ConfigError
        With the mistakes of all metrics.
    """
    mistakes = []
    for name, metric in sorted(settings.metrics.items()):
        if metric.model is None:
            continue
        alone = metric.model_copy(update={"watch": True})
        try:
            Detect(settings.model_copy(update={"metrics": {name: alone}, "accept": ()}))
        except ModelError as error:
            files = [each for each in (case.path / CASE_FILE if case is not None else None, config) if each is not None and each.is_file()]
            file, line = written(("metrics", name, "model"), [*map(read_layer, files), Layer(default_text(), "default.yaml")])
            problem = f"{error.model}: {error.problem}"
            mistakes.append(Mistake(file=file, line=line, key=f"metrics.{name}.model", problem=problem, expected=error.expected, near=error.near))
    if mistakes:
        raise ConfigError(sorted(mistakes, key=lambda each: (each.file, each.line)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a config asks for of one metric, and how it is looked for."""

    settings: Settings
    slow: Settings | None
    metric: Metric
    spread: float

    @property
    def sizes(self) -> Iterator[tuple[Direction, float]]:
        """The directions that hurt, with the smallest change; a fall is as many times less as a rise would be more."""
        smallest = self.metric.smallest
        if self.metric.worse != "lower":
            yield "higher", smallest
        if self.metric.worse != "higher":
            yield "lower", smallest / (1.0 + smallest)

    def least(self, threshold: float, share: float | None) -> float | None:
        """Events a minute from which the fast watch can see the smallest change."""
        return self._least(self.settings, threshold, share)

    def slow_least(self, threshold: float, share: float | None) -> float | None:
        """The same of the slow watch; None if there is none. The threshold is the fast one's."""
        if self.slow is None or self.metric.model is not None:
            return None
        # The same part of each budget, in buckets of another length.
        fast, slow = self.settings, self.slow
        run_length = math.log(fast.bucket_ms / slow.bucket_ms * fast.budget.false_pages / slow.budget.false_pages)
        return self._least(slow, threshold + run_length, share)

    def _least(self, settings: Settings, threshold: float, share: float | None) -> float | None:
        bucket_ms, baseline = settings.bucket_ms, settings.baseline
        rates = [
            least_rate(
                self.metric.kind,
                smallest=size,
                threshold=threshold,
                half_life=baseline.half_life_ms / bucket_ms,
                lag=baseline.lag_ms / bucket_ms,
                direction=direction,
                share=share,
                spread=self.spread,
            )
            for direction, size in self.sizes
        ]
        known = [rate for rate in rates if rate is not None]
        return max(known) * MINUTE_MS / bucket_ms if len(known) == len(rates) else None

    def advice(self, threshold: float, per_minute: float, share: float | None) -> dict[str, Any]:
        """The half-life or the smallest change that would do for a series of so many events."""
        bucket_ms, baseline = self.settings.bucket_ms, self.settings.baseline
        rate, lag = per_minute * bucket_ms / MINUTE_MS, baseline.lag_ms / bucket_ms
        trials = None if share is None else rate / share
        needed_ms, smallest = 0.0, 0.0
        for direction, size in self.sizes:
            for forward, _ in divergences(self.metric.kind, size, rate, direction, trials=trials, spread=self.spread):
                needed_ms = max(needed_ms, needed_half_life(threshold, forward, lag) * bucket_ms)
            change = visible_change(
                self.metric.kind,
                rate=rate,
                threshold=threshold,
                half_life=baseline.half_life_ms / bucket_ms,
                lag=lag,
                direction=direction,
                trials=trials,
                spread=self.spread,
            )
            change = math.inf if change is None else change if direction == "higher" else change / (1.0 - change)
            smallest = max(smallest, change)
        return {
            "half_life": format_duration(_round_span(needed_ms)) if needed_ms <= LONGEST_MS else None,
            "smallest": _round_up(smallest) if smallest <= 100.0 else None,
        }


def _found(settings: Settings, volumes: Volumes | None) -> dict[str, Any]:
    """All that there is to say, as it is printed for machines."""
    watched = {name: metric for name, metric in sorted(settings.metrics.items()) if metric.watch}
    metrics: list[dict[str, Any]] = []
    unseen: list[dict[str, Any]] = []
    series = 0
    fast, slow = fast_settings(settings), slow_settings(settings)
    for name, metric in sorted(settings.metrics.items()):
        asked = _Asked(fast, slow, metric, _spread(volumes, name))
        tree = SeriesTree(name, settings.labels.watched)
        rates = None if volumes is None else _rates(settings, name, metric, volumes, tree)
        thresholds = log_thresholds(fast, len(watched), tree).tolist() if metric.watch else []
        metrics.append(_metric(settings, asked, name, len(watched), thresholds))
        if metric.watch and rates is not None:
            series += sum(per_minute > 0.0 for per_minute, _ in rates)
            unseen += _unseen(asked, tree, thresholds, rates)
    unseen.sort(key=lambda each: (each["per_minute"] / each["least_per_minute"] if each["least_per_minute"] else 0.0, each["series"]))
    budget, baseline = settings.budget, settings.baseline
    return {
        "budget": {"false_pages": budget.false_pages, "per": format_duration(budget.per_ms), "slow_share": baseline.slow_share},
        "half_life": format_duration(baseline.half_life_ms),
        "metrics": metrics,
        "series": None if volumes is None else series,
        "unseen": None if volumes is None else unseen,
    }


def _spread(volumes: Volumes | None, name: str) -> float:
    """How far a distribution's values are spread: from its 16 % to its 84 % are two standard deviations of their logarithm."""
    counts = {} if volumes is None else {number: count for number, count in volumes.bins.get(name, {}).items() if number > 1}
    if not counts:
        return SPREAD
    numbers = sorted(counts)
    reached = np.cumsum([counts[number] for number in numbers])
    low, high = np.searchsorted(reached, [0.16 * reached[-1], 0.84 * reached[-1]]).tolist()
    values = bin_middle(np.array([numbers[low], numbers[min(high, len(numbers) - 1)]], dtype=np.int16)).tolist()
    # A bin is 5 % wide: what lies in one is spread within it.
    return max(0.5 * math.log(values[1] / values[0]), 0.02)


def _rates(settings: Settings, name: str, metric: Metric, volumes: Volumes, tree: SeriesTree) -> list[tuple[float, float | None]]:
    """Events a minute of each series, and what share of its trials they are if it is a ratio."""
    events = volumes.events.get((name, PARTS[metric.kind]), {})
    against = volumes.events.get((name, "n"), {})
    labels = settings.labels.watched
    on = [at for at, label in enumerate(labels) if label in metric.on]
    others: defaultdict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for values, count in sorted(against.items()):
        # Every choice of the labels on which both sources are joined.
        for bits in range(1 << len(on)):
            others[tuple((labels[at], values[at]) for place, at in enumerate(on) if bits >> place & 1)] += count
    sums: defaultdict[int, int] = defaultdict(int)
    for values, count in sorted(events.items()):
        for row in tree.rows(values):
            sums[row] += count
    found: list[tuple[float, float | None]] = []
    for row in range(len(tree.names)):
        misses = others[tuple(pair for pair in tree.name(row).labels if pair[0] in metric.on)] if metric.kind == "ratio" else 0
        share = sums[row] / (sums[row] + misses) if misses and sums[row] else None
        found.append((sums[row] / max(volumes.minutes, 1.0), share))
    return found


def _metric(settings: Settings, asked: _Asked, name: str, n_watched: int, thresholds: list[float]) -> dict[str, Any]:
    metric = asked.metric
    found: dict[str, Any] = {"metric": name, "kind": metric.kind, "worse": metric.worse, "smallest": metric.smallest, "watched": metric.watch}
    if not metric.watch:
        return found
    # All together is the series that needs the least; each of many needs more.
    least = asked.least(thresholds[0], None)
    found |= {
        "one_false_page_in": format_duration(_round_span(settings.budget.per_ms / settings.budget.false_pages * n_watched)),
        "threshold_nats": round(thresholds[0], 2),
        "least_per_minute": None if least is None else _round_up(least),
        "slow_least_per_minute": None if (slow := asked.slow_least(thresholds[0], None)) is None else _round_up(slow),
    }
    if least is not None:
        half = _round_up(0.5 * least)
        advice = asked.advice(thresholds[0], half, None)
        found["advice"] = {"per_minute": half} | advice
        found["sentence"] = (
            f"{name}: this half-life ({format_duration(settings.baseline.half_life_ms)}) cannot see the change you asked for ({metric.smallest:g}) "
            f"below {_per_minute(least)}; for a series of {_per_minute(half)} {_what_to_do(advice)}."
        )
    return found


def _unseen(asked: _Asked, tree: SeriesTree, thresholds: list[float], rates: list[tuple[float, float | None]]) -> Iterator[dict[str, Any]]:
    """The series of a metric in which the change that is asked for cannot be seen."""
    half_life = format_duration(asked.settings.baseline.half_life_ms)
    for name, threshold, (per_minute, share) in zip(tree.names, thresholds, rates, strict=True):
        least = asked.least(threshold, share)
        if per_minute == 0.0 or (least is not None and per_minute >= least):
            continue
        slow = asked.slow_least(threshold, share)
        by_slow = slow is not None and per_minute >= slow
        advice = asked.advice(threshold, per_minute, share)
        words = f"{name}: {_per_minute(per_minute)}, and this half-life ({half_life}) cannot see the change you asked for ({asked.metric.smallest:g})"
        if least is not None:
            words += f" below {_per_minute(least, like=per_minute)}"
        words += f": {_what_to_do(advice)}."
        if by_slow:
            words += " The slow watch can, within days."
        yield {
            "series": str(name),
            "per_minute": float(f"{per_minute:.4g}"),
            "least_per_minute": None if least is None else _round_up(least),
            "slow_watch_sees_it": by_slow,
            "advice": advice,
            "sentence": words,
        }


def _what_to_do(advice: dict[str, Any]) -> str:
    ways = []
    if advice["half_life"] is not None:
        ways.append(f"baseline.half_life to {advice['half_life']}")
    if advice["smallest"] is not None:
        ways.append(f"smallest to {advice['smallest']:g}")
    return f"raise {' or '.join(ways)}" if ways else "only more events help, or labels with fewer values"


def _round_up(value: float) -> float:
    """Two digits, never less than the value."""
    if value <= 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.6g}")


def _round_span(span_ms: float) -> int:
    """Whole minutes, hours or days, never less than the span."""
    unit = MINUTE_MS if span_ms < 2 * HOUR_MS else HOUR_MS if span_ms < 2 * DAY_MS else DAY_MS
    return max(math.ceil(span_ms / unit - 1e-9), 1) * unit


def _per_minute(events: float, *, like: float | None = None) -> str:
    """A volume in words, in the unit in which another one is told.

    Examples
    --------
    >>> _per_minute(1234.0), _per_minute(12.0), _per_minute(0.02), _per_minute(12.0, like=0.02)
    ('1,300 events/min', '12 events/min', '1.2 events/h', '720 events/h')
    """
    number, unit = (events, "min") if (events if like is None else like) >= 1.0 else (60.0 * events, "h")
    shown = _round_up(number)
    return f"{shown:,.0f} events/{unit}" if shown >= 10.0 else f"{shown:g} events/{unit}"


def _watches(metric: Metric) -> str:
    what = {
        "count": f"how many {metric.source}",
        "sum": f"the sum of {metric.field} over {metric.source}",
        "ratio": f"{metric.source} among {metric.source} and {metric.against}",
        "distribution": f"the distribution of {metric.field} over {metric.source}",
    }[metric.kind]
    return f"{what}, and {metric.model.name}" if metric.model is not None else what


def _tell(console: Console, title: str, settings: Settings, found: dict[str, Any], notes: tuple[str, ...]) -> None:
    console.print(f"[bold]{escape(title)}[/bold]: no mistakes")
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), title="What is watched", title_justify="left", title_style="bold")
    for column in ("metric", "what", "worse", "smallest change", "false pages", "needs at least", "slow watch"):
        table.add_column(column)
    for each in found["metrics"]:
        metric = settings.metrics[each["metric"]]
        row = [each["metric"], _watches(metric), metric.worse, f"{100 * metric.smallest:g} %"]
        if metric.watch:
            row.append(f"one in {each['one_false_page_in']}")
            row += ["-" if each[key] is None else _per_minute(each[key]) for key in ("least_per_minute", "slow_least_per_minute")]
        else:
            row += ["never pages", "", ""]
        table.add_row(*map(escape, row))
    console.print(table)
    labels = ", ".join(settings.labels.watched) or "no label"
    console.print(f"Each by {escape(labels)}, and all together. What is needed holds at best: for all together, and a baseline that does not err.", style="dim")
    console.print()
    for note in notes:
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)
    if found["unseen"] is None:
        for each in found["metrics"]:
            if "sentence" in each:
                console.print(Text(each["sentence"]), soft_wrap=True)
        console.print("Give a case, and its own series are held against this.", style="dim")
        return
    if not found["unseen"]:
        console.print(f"In all {found['series']:,} series of the case the change that is asked for can be seen.")
    for each in found["unseen"][:MOST_SERIES]:
        console.print(Text(f"! {each['sentence']}", style="yellow"), soft_wrap=True)
    if len(found["unseen"]) > MOST_SERIES:
        console.print(f"and {len(found['unseen']) - MOST_SERIES:,} more of {found['series']:,} series", style="yellow")
