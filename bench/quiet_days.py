"""How often the shipped config signals on days on which nothing is wrong: python -P bench/quiet_days.py [DAYS].

A shop of four regions and seven services is simulated through the detect stage itself: Poisson counts over a daily curve,
every day's level off by 5 % (half of it in common), a slow wander of 2 % more, delivery times that wander by 1 % + 1 %. No
change, no incident: every signal is false. The table sets them beside the budget of the shipped config.
"""

from __future__ import annotations

import collections
import math
import platform
import sys
import time

import numpy as np
import numpy.typing as npt

from rollguard.config import default_text, load
from rollguard.detectors import Detect, Signal
from rollguard.streams import Closed, bin_of, measures

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUCKETS = 8640
SETTINGS = load(default_text(), name="default.yaml")
REGIONS = ("eu-west", "us-east", "us-west", "ap-south")
SERVICES = ("checkout", "promise", "cart", "payments", "search", "catalog", "accounts")
REGION_SHARE = np.array([0.34, 0.30, 0.20, 0.16])
SERVICE_SHARE = np.array([0.30, 0.22, 0.16, 0.12, 0.10, 0.06, 0.04])
OFFSET_H = np.array([1.0, -5.0, -8.0, 5.5])
KEYS = tuple((service, region, "1.0") for region in REGIONS for service in SERVICES)
PLACE = np.repeat(np.arange(len(REGIONS)), len(SERVICES))
ERRORS_AN_ORDER = 0.3
PROMISED = np.array([32.0, 38.0, 41.0, 35.0])


class Wander:
    """Log factors that differ from day to day and wander slowly meanwhile.

    Parameters
    ----------
    rng : Generator
    n : int
        How many at once.
    daily, slow : float
        Standard deviations; the slow one has a memory of two hours.
    """

    def __init__(self, rng: np.random.Generator, n: int, daily: float, slow: float) -> None:
        self.rng, self.n, self.daily, self.slow = rng, n, daily, slow
        self.level = rng.normal(0.0, daily, n)
        self.state = rng.normal(0.0, slow, n)

    def day(self) -> Floats:
        """(BUCKETS, n) of the next day."""
        end = self.rng.normal(0.0, self.daily, self.n)
        part = np.linspace(0.0, 1.0, BUCKETS, endpoint=False)[:, None]
        base = self.level * (1.0 - part) + end * part
        self.level = end
        keep = math.exp(-6.0 / 720.0)
        steps = self.rng.normal(0.0, self.slow * math.sqrt(1.0 - keep**2), (BUCKETS // 6, self.n))
        minutes = np.empty_like(steps)
        for at, step in enumerate(steps):
            self.state = self.state * keep + step
            minutes[at] = self.state
        return np.asarray(base + np.repeat(minutes, 6, axis=0), dtype=np.float64)


def curve() -> Floats:
    """(BUCKETS, n_regions) demand over a day, in each region's own time."""
    hour = (np.arange(BUCKETS) / 360.0)[:, None] + OFFSET_H
    shape = 1.0 + 0.75 * np.sin((hour - 9.0) / 24.0 * 2.0 * np.pi) + 0.15 * np.sin((hour - 3.0) / 12.0 * 2.0 * np.pi)
    return np.asarray(np.maximum(shape, 0.12), dtype=np.float64)


class Quiet:
    """Days of a shop in which nothing is wrong."""

    def __init__(self, seed: int, per_second: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.numbers = {(each.metric, str(each.part)): at for at, each in enumerate(measures(SETTINGS))}
        self.mean = per_second * 10.0 * curve()
        self.common = Wander(self.rng, 1, 0.05, 0.02)
        self.places = Wander(self.rng, len(REGIONS), 0.025, 0.02)
        self.failing = Wander(self.rng, len(SERVICES), 0.05, 0.02)
        self.slower = Wander(self.rng, 1, 0.01, 0.01)
        self.slower_there = Wander(self.rng, len(REGIONS), 0.01, 0.01)

    def day(self) -> list[Ints]:
        """Rows of the next day: bucket, measure, key, bin and value, sorted."""
        level = (self.mean * np.exp(self.common.day() + self.places.day()))[:, PLACE]
        orders = self.rng.poisson(level * np.outer(REGION_SHARE, SERVICE_SHARE).ravel())
        failing = np.exp(np.tile(self.failing.day(), (1, len(REGIONS))))
        errors = self.rng.poisson(ERRORS_AN_ORDER * level * np.outer(REGION_SHARE, SERVICE_SHARE[::-1]).ravel() * failing)
        rows = [self._counts(("orders", "count"), orders), self._counts(("errors", "k"), errors), self._counts(("errors", "n"), orders)]
        bucket, key = np.nonzero(orders)
        bucket, key = np.repeat(bucket, orders[bucket, key]), np.repeat(key, orders[bucket, key])
        shift = (self.slower.day() + self.slower_there.day())[bucket, PLACE[key]]
        for metric, spread in (("promised_minutes", 0.30), ("actual_minutes", 0.45)):
            minutes = np.round(PROMISED[PLACE[key]] * np.exp(shift + self.rng.normal(0.0, spread, len(bucket))))
            cell, value = np.unique((bucket * len(KEYS) + key) * 2000 + bin_of(minutes).astype(np.int64), return_counts=True)
            number = np.full(len(cell), self.numbers[metric, "bins"])
            rows.append([cell // 2000 // len(KEYS), number, cell // 2000 % len(KEYS), cell % 2000, value])
        columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        order = np.lexsort(columns[3::-1])
        return [column[order] for column in columns]

    def _counts(self, measure: tuple[str, str], counts: Ints) -> list[Ints]:
        bucket, key = np.nonzero(counts)
        return [bucket, np.full(len(bucket), self.numbers[measure]), key, np.zeros(len(bucket), dtype=np.int64), counts[bucket, key]]


def signals_of(days: int, per_second: float, seed: int) -> list[Signal]:
    """What leaves its baseline in so many days."""
    shop, detect = Quiet(seed, per_second), Detect(SETTINGS)
    left: list[Signal] = []
    for day in range(days):
        bucket, measure, key, bins, value = shop.day()
        start = (20_000 + day) * BUCKETS
        for low in range(0, BUCKETS, 360):
            rows = slice(*np.searchsorted(bucket, [low, low + 360]).tolist())
            flags = {source: np.zeros(360, dtype=np.bool_) for source in SETTINGS.sources}
            closed = Closed(
                start + low,
                start + low + 360,
                KEYS,
                bucket[rows] + start,
                measure[rows].astype(np.int16),
                key[rows].astype(np.int32),
                bins[rows].astype(np.int16),
                value[rows],
                flags,
                flags,
            )
            left += [each for each in detect.feed(closed) if isinstance(each, Signal) and each.kind == "left"]
    return left


def main() -> None:
    """Print the table."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    watched_days = days - SETTINGS.warmup_ms / 86_400_000
    budget = SETTINGS.budget.false_pages * watched_days * 86_400_000 / SETTINGS.budget.per_ms
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}: python -P bench/quiet_days.py {days}\n")
    print(f"| orders a second | budget for {watched_days:.0f} days | false signals, not further apart than 30 min counted as one | by metric | time |")
    print("|---|---|---|---|---|")
    for per_second, seed in ((0.5, 11), (1.5, 12), (5.0, 13)):
        began = time.perf_counter()
        left = signals_of(days, per_second, seed)
        apart = sum(1 for at, each in enumerate(left) if at == 0 or each.bucket - left[at - 1].bucket > 180)
        metrics = ", ".join(f"{metric} {number}" for metric, number in sorted(collections.Counter(each.series.metric for each in left).items())) or "none"
        print(f"| {per_second} | {budget:.1f} | {apart} | {metrics} | {time.perf_counter() - began:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
