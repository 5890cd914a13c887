"""The slow watch: the same engine on buckets of an hour, for what is too small or too gradual to be seen in minutes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.config import Budget, Settings
from rollguard.detectors.chunk import Chunk
from rollguard.detectors.watch import watch_for
from rollguard.detectors.watched import Turn, Watched

__all__ = ["SlowWatch", "fast_settings", "slow_settings"]

Ints = npt.NDArray[np.int64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: A slow watch speaks after so long at least: its errors are those of days.
WARMUP_MS = 7 * DAY_MS


def slow_settings(settings: Settings) -> Settings | None:
    """Settings of the slow watch: buckets of an hour, its memory, its share of the budget. None: there is none."""
    base = settings.baseline
    if not base.slow_share or settings.bucket_ms >= HOUR_MS:
        return None
    slow = base.model_copy(update={"half_life_ms": base.slow_half_life_ms, "lag_ms": DAY_MS, "freeze_ms": max(base.freeze_ms, 2 * DAY_MS)})
    warmup_ms = max(settings.warmup_ms, WARMUP_MS)
    budget = _share(settings, base.slow_share)
    return settings.model_copy(update={"bucket_ms": HOUR_MS, "baseline": slow, "warmup_ms": warmup_ms, "budget": budget})


def fast_settings(settings: Settings) -> Settings:
    """Settings of the watch on the configured bucket, with what the slow one leaves of the budget."""
    if slow_settings(settings) is None:
        return settings
    return settings.model_copy(update={"budget": _share(settings, 1.0 - settings.baseline.slow_share)})


def _share(settings: Settings, share: float) -> Budget:
    return settings.budget.model_copy(update={"false_pages": settings.budget.false_pages * share})


def _summed(key: Ints, fine: Ints, value: Ints) -> tuple[Ints, Ints, Ints]:
    """Rows of the same key and bin as one."""
    order = np.lexsort((fine, key))
    first = np.ones(len(key), dtype=bool)
    first[1:] = (np.diff(key[order]) != 0) | (np.diff(fine[order]) != 0)
    at = np.flatnonzero(first)
    sums = np.add.reduceat(value[order], at) if len(at) else value
    return key[order][at], fine[order][at], sums


class SlowWatch:
    """Adds up the chunks of a metric, and watches its hours.

    Parameters
    ----------
    name : str
        The metric.
    settings : Settings
        See `slow_settings`.
    bucket_ms : int
        Bucket of the chunks.
    n_metrics : int
        Metrics that share the budget.
    """

    def __init__(self, name: str, settings: Settings, bucket_ms: int, n_metrics: int) -> None:
        self.watched = Watched(watch_for(name, settings), settings, n_metrics)
        self.per_hour = HOUR_MS // bucket_ms
        #: By part: key, bin and value of what the hour under way has counted.
        self.parts: dict[str, tuple[Ints, Ints, Ints]] = {}
        self.seen = 0
        self.missing = 0
        self.missing_other = 0

    def add(self, chunk: Chunk) -> None:
        """Add a chunk, which lies in one hour."""
        for part, (_, *rows) in chunk.parts.items():
            both = [np.concatenate(pair) for pair in zip(self.parts[part], rows, strict=True)] if part in self.parts else rows
            self.parts[part] = _summed(*both)
        self.seen += chunk.n
        self.missing += int(np.count_nonzero(chunk.missing))
        self.missing_other += int(np.count_nonzero(chunk.missing_other))

    def close(self, bucket: int, keys: tuple[tuple[str, ...], ...], settings: Settings) -> list[Turn]:
        """If an hour ends with this bucket: judge it. Onsets are told in buckets of the chunks."""
        if (bucket + 1) % self.per_hour:
            return []
        hour = bucket // self.per_hour
        chunk = Chunk(
            hour,
            1,
            keys,
            {part: (np.full(len(key), hour), key, fine, value) for part, (key, fine, value) in self.parts.items()},
            # An hour of which a part is missing would look like a fall.
            missing=np.array([self.missing > 0 or self.seen < self.per_hour]),
            missing_other=np.array([self.missing_other > 0 or self.seen < self.per_hour]),
            silent=np.array([False]),
            doubtful=np.zeros(1),
        )
        self.parts, self.seen, self.missing, self.missing_other = {}, 0, 0, 0
        self.watched.load(chunk)
        turns = [
            Turn(turn.kind, turn.row, turn.onset * self.per_hour, turn.onset_error * self.per_hour, turn.direction, turn.evidence, turn.threshold)
            for turn in self.watched.step(hour)
        ]
        self.watched.close_epoch(settings)
        return turns
