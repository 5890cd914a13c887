"""How long the engine takes to see a change, against one who knows its size: python bench/delay.py.

The oracle is Page's CUSUM with the true likelihood ratio: no procedure of its run length is faster in the worst case (G. Moustakides,
1986). Both are set to false alarms at the same rate on the same simulated past; both then run in steady state until a change comes,
and see the same buckets after it. The baseline is known; what learning it costs is told by `rollguard calibrate` and `bench/cloud.py`.

    --write    puts the table into docs/detection.md
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).parent.parent))
from bench.simulated import EPOCH, Bins, Counts, Data, Engine, Odds, Shop, bar, machine, publish
from rollguard.detectors.evidence import Floats, Singles

COMMAND = "python bench/delay.py"
NOMINAL = 5_000
RISES = (1.05, 1.1, 1.2, 1.5, 2.0, 4.0)
FALLS = (0.95, 0.9, 0.8, 0.67, 0.5, 0.25)
#: The default, and what an operator sets who wants to hear of 5 %.
SMALLEST, SMALLER = 0.10, 0.05
#: Series and buckets of the past, series of the change, and buckets before it.
PAST = (400, 24_000)
SERIES = 1_200
BEFORE = 1_200
#: The oracle's highest excursions that are kept: more than there are alarms.
HIGHEST = 10_000


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean delays after one change, in buckets, the one in which it is seen included."""

    ours: float
    oracle: float

    @property
    def efficiency(self) -> float:
        """1: as fast as one who knows the size."""
        return self.oracle / self.ours


def shops(n: int) -> dict[str, Shop]:
    """Kinds of metric, each with so many series."""
    one, none = np.ones(n), np.zeros(n)
    return {
        "Poisson, 20 a bucket": Counts(20.0 * one, one, none),
        "Poisson, 200": Counts(200.0 * one, one, none),
        "negative binomial, 20, variance 2 x mean": Counts(20.0 * one, 2.0 * one, none),
        "binomial, 1 % of 1,000 (odds)": Odds(0.01 * one, 1000.0 * one, none),
        "bins, 20 values (minutes)": Bins(20.0 * one, none),
    }


class Oracle:
    """Page's CUSUMs, each of which knows its size."""

    def __init__(self, shop: Shop, sizes: Sequence[float]) -> None:
        self.shop, self.sizes = shop, sizes
        self.sum: Singles = np.zeros((len(sizes), shop.n_series), dtype=np.float32)
        self.highest = np.full_like(self.sum, -np.inf)
        self.excursions: list[Singles] = [self.sum[0, :0] for _ in sizes]
        self.floor: Singles = np.full((len(sizes), 1), -np.inf, dtype=np.float32)

    def record(self, data: Data) -> None:
        """Go through buckets without alarming, and note how high each excursion from zero has been."""
        nats = np.stack([self.shop.known(data, size) for size in self.sizes], axis=1)
        new: list[list[Singles]] = [[] for _ in self.sizes]
        for each in nats:
            self.sum += each
            np.maximum(self.highest, self.sum, out=self.highest)
            ended = self.sum <= 0.0
            self.sum[ended] = 0.0
            told = ended & (self.highest > self.floor)
            for k in np.flatnonzero(told.any(axis=1)).tolist():
                new[k].append(self.highest[k, told[k]])
            # A bucket against the change is an excursion of its own, below zero: a large change is looked for in single buckets.
            self.highest[ended] = -np.inf
        for k, more in enumerate(new):
            kept = np.sort(np.concatenate([self.excursions[k], *more]))[-HIGHEST:]
            self.excursions[k] = kept
            if len(kept) == HIGHEST:
                self.floor[k] = kept[0]

    def height(self, k: int, alarms: int) -> float:
        """Threshold that so many of the recorded excursions pass."""
        return float(self.excursions[k][-alarms])

    def run(self, k: int, data: Data, height: float) -> npt.NDArray[np.bool_]:
        """(n_buckets, n_series) where the one for size k alarms; it starts again after each."""
        nats = self.shop.known(data, self.sizes[k])
        alarms = np.zeros(nats.shape, dtype=np.bool_)
        own = self.sum[k]
        for each, alarm in zip(nats, alarms, strict=True):
            np.maximum(own, 0.0, out=own)
            own += each
            np.greater_equal(own, height, out=alarm)
            own[alarm] = 0.0
        return alarms


def _engine(shop: Shop, direction: str, smallest: float) -> Engine:
    return Engine(shop, shop.bank(direction, smallest), np.full(shop.n_series, NOMINAL, dtype=np.float32))


def cells(kind: str, sizes: Sequence[float], rng: np.random.Generator) -> tuple[dict[float, Cell], float]:
    """Delays after changes in one direction, and the run length they were measured at."""
    direction = "higher" if sizes[0] > 1.0 else "lower"
    of = {size: SMALLER if abs(size - 1.0) < 0.07 else SMALLEST for size in sizes}
    past, now = shops(PAST[0])[kind], shops(SERIES)[kind]
    ours, steady = ({each: _engine(shop, direction, each) for each in (SMALLEST, SMALLER)} for shop in (past, now))
    alarms = dict.fromkeys(ours, 0)
    oracle = Oracle(past, sizes)
    for _ in range(PAST[1] // EPOCH):
        data = past.draw(rng, EPOCH)
        for smallest, each in ours.items():
            alarms[smallest] += int(each.run(data).sum())
        oracle.record(data)
    heights = [oracle.height(k, alarms[of[size]]) for k, size in enumerate(sizes)]
    knowing = Oracle(now, sizes)
    for _ in range(BEFORE // EPOCH):
        data = now.draw(rng, EPOCH)
        for each in steady.values():
            each.run(data)
        for k, height in enumerate(heights):
            knowing.run(k, data, height)
    found = {size: _delays(rng, steady[of[size]], knowing, k, heights[k]) for k, size in enumerate(sizes)}
    return found, PAST[0] * PAST[1] / alarms[SMALLEST]


def _delays(rng: np.random.Generator, steady: Engine, oracle: Oracle, k: int, height: float) -> Cell:
    now, ours, own = steady.shop, steady.fork(), oracle.sum[k].copy()
    seen = [np.zeros(now.n_series), np.zeros(now.n_series)]
    bucket = 0
    while not all((each > 0.0).all() for each in seen):
        # A large change is seen at once; a small one in steps of an epoch.
        n = min(EPOCH, 2 + bucket)
        data = now.draw(rng, n, oracle.sizes[k])
        for each, alarms in zip(seen, (ours.run(data), oracle.run(k, data, height)), strict=True):
            first = np.where(alarms.any(axis=0), alarms.argmax(axis=0) + 1.0 + bucket, 0.0)
            np.copyto(each, first, where=each == 0.0)
        bucket += n
    oracle.sum[k] = own
    return Cell(*(float(np.mean(each)) for each in seen))


def _percent(size: float) -> str:
    return f"x {size:.0f}" if size >= 2.0 else f"{100.0 * (size - 1.0):+.0f} %"


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(20260302)
    kinds = list(shops(1))
    found: dict[tuple[str, float], Cell] = {}
    runs: dict[str, Floats] = {}
    with bar("delays", 2 * len(kinds)) as (progress, task):
        for kind in kinds:
            lengths = []
            for sizes in (RISES, FALLS):
                each, length = cells(kind, sizes, rng)
                found.update({(kind, size): cell for size, cell in each.items()})
                lengths.append(length)
                progress.advance(task)
            runs[kind] = np.array(lengths)
    lines = [
        machine(COMMAND),
        f"Mean buckets until it is seen: oracle / ours = efficiency, both with as many false alarms; nominal run length {NOMINAL:,} buckets.\n",
    ]
    lines += ["| change | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for size in (*RISES, *FALLS):
        row = [found[kind, size] for kind in kinds]
        lines.append(f"| {_percent(size)} | " + " | ".join(f"{c.oracle:.1f} / {c.ours:.1f} = {c.efficiency:.2f}" for c in row) + " |")
    lines.append("| run length, rises and falls | " + " | ".join(" and ".join(f"{x:,.0f}" for x in runs[kind]) for kind in kinds) + " |")
    all_of = [cell.efficiency for cell in found.values()]
    lines.append(f"\nEfficiency: median {statistics.median(all_of):.2f} (bar 0.8), worst {min(all_of):.2f} (bar 0.6).")
    publish("bench/delay.py", "\n".join(lines))


if __name__ == "__main__":
    main()
