"""What a case holds: its events by series, counted as a replay reads them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from rollguard.cli.bar import progress_bar
from rollguard.config import Metric
from rollguard.replay import Case, Replay
from rollguard.streams import Block, Part, measures

__all__ = ["PARTS", "Volumes", "volumes_of"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
#: The part of a metric's blocks that holds its events.
PARTS: dict[str, Part] = {"count": "count", "sum": "count", "ratio": "k", "distribution": "bins"}


@dataclass(slots=True)
class Volumes:
    """What a case holds.

    Attributes
    ----------
    events : dict of (metric, part) to dict of label values to events
        Label values are those of the watched labels.
    bins : dict of metric to dict of bin to events
    minutes : float
        Time that had events of any source.
    damage : list of str
        What kept a file from being read to its end.
    """

    events: dict[tuple[str, str], dict[tuple[str, ...], int]] = field(default_factory=dict)
    bins: dict[str, dict[int, int]] = field(default_factory=dict)
    minutes: float = 0.0
    damage: list[str] = field(default_factory=list)

    def seen(self, name: str, metric: Metric) -> bool:
        """Whether there was any event of a metric."""
        return bool(self.events.get((name, PARTS[metric.kind])))


def volumes_of(case: Case) -> Volumes:
    """Read a case's events, as a replay does, and count them."""
    settings = case.settings
    replay = Replay(settings, case.events(), None, start_ms=case.start_ms, end_ms=case.end_ms)
    found = Volumes()
    cells: defaultdict[int, defaultdict[tuple[str, ...], int]] = defaultdict(lambda: defaultdict(int))
    bins: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    buckets: set[int] = set()
    total = sum(lane.reader.total for lane in replay.lanes)
    with progress_bar(f"reading {case.name}") as move:
        for lane in replay.lanes:
            while not lane.done:
                if (block := lane.next()) is not None:
                    _count(block, len(settings.labels.watched), cells, bins, buckets)
                move(sum(each.reader.done for each in replay.lanes) / max(total, 1))
            if lane.report.damage is not None:
                found.damage.append(lane.report.damage)
            end = case.end_ms // settings.bucket_ms if case.end_ms is not None else (lane.ingest.frontier or 0)
            if (block := lane.settle(end)) is not None:
                _count(block, len(settings.labels.watched), cells, bins, buckets)
    for number, measure in enumerate(measures(settings)):
        if measure.metric:
            found.events[measure.metric, measure.part] = dict(cells[number])
            if measure.part == "bins":
                found.bins[measure.metric] = dict(bins[number])
    found.minutes = _minutes(buckets, settings.bucket_ms)
    return found


def _count(
    block: Block,
    n_watched: int,
    cells: defaultdict[int, defaultdict[tuple[str, ...], int]],
    bins: defaultdict[int, defaultdict[int, int]],
    buckets: set[int],
) -> None:
    buckets.update(np.unique(block.bucket).tolist())
    for measure in np.unique(block.measure).tolist():
        mine = block.measure == measure
        by_key = np.zeros(len(block.keys), dtype=np.int64)
        np.add.at(by_key, block.key[mine], block.value[mine])
        for at in np.flatnonzero(by_key).tolist():
            cells[measure][block.keys[at][:n_watched]] += int(by_key[at])
        for name, value in zip(block.bin[mine].tolist(), block.value[mine].tolist(), strict=True):
            if name:
                bins[measure][name] += value


def _minutes(buckets: set[int], bucket_ms: int) -> float:
    """Length of the hours that had events, the first and the last as far as they go."""
    if not buckets:
        return 0.0
    an_hour = HOUR_MS // bucket_ms
    first, last = min(buckets), max(buckets) + 1
    n = sum(min((hour + 1) * an_hour, last) - max(hour * an_hour, first) for hour in {bucket // an_hour for bucket in buckets})
    return n * bucket_ms / MINUTE_MS
