"""How long it takes to a false alarm, against the run length that was asked for: python bench/run_length.py.

First the engine with a baseline that is known: the promise itself, of which nothing is lost to learning. Then the banks as they are,
with a baseline that they learn, its dead band and its warm-up of two days, on data with a season: what the promise is worth on series
that keep all its assumptions. Real series keep fewer of them: `bench/cloud.py`.

    --write    puts the tables into docs/detection.md
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).parent.parent))
from bench.simulated import EPOCH, SHARES, Bins, Counts, Engine, Odds, Shop, bar, factors, machine, publish, season

from rollguard.detectors.alarms import SUSPICION
from rollguard.detectors.bank import BAND_PER_ERROR, RateBank
from rollguard.detectors.evidence import Floats
from rollguard.detectors.sharebank import LEAST_LEAN, ShareBank

COMMAND = "python bench/run_length.py"
SEED = 20260302
#: Nominal run lengths in buckets, series of each, and buckets that they are watched for: about so many false alarms each.
NOMINAL = {1_000: 32, 5_000: 64, 20_000: 256}
BUCKETS = 40_000
DAY = 8_640
#: The busiest bucket of a season has seven times the mean of the quietest.
SWING = 0.75
SWINGS = {"": 0.0, ", season": SWING}
COUNTS = {
    "Poisson, 0.3 a bucket": (0.3, 1.0),
    "Poisson, 2": (2.0, 1.0),
    "Poisson, 20": (20.0, 1.0),
    "Poisson, 200": (200.0, 1.0),
    "negative binomial, 20, variance 2 x mean": (20.0, 2.0),
    "negative binomial, 20, variance 5 x mean": (20.0, 5.0),
}
RATIOS = {"binomial, 1 % of 20": (0.01, 20.0), "binomial, 1 % of 1,000": (0.01, 1000.0), "binomial, 20 % of 50": (0.2, 50.0)}
VALUES = {"bins, 2 values": (2.0,), "bins, 20 values": (20.0,)}
SMALLEST = 0.10
#: With a learnt baseline: buckets of a minute, days, series, and run lengths.
MINUTE_MS, DAY_MS = 60_000, 86_400_000
DAYS, WARM_UP = 10, 2
LEARNERS = 400
LEARNT_NOMINAL = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """False alarms in so many buckets of some series."""

    nominal: int
    alarms: int
    buckets: int

    @property
    def ratio(self) -> float:
        """Measured over nominal run length."""
        return self.buckets / self.alarms / self.nominal if self.alarms else math.inf

    def __str__(self) -> str:
        """The ratio with its standard error."""
        if not self.alarms:
            return f"over {self.buckets / self.nominal:.0f}"
        ratio = self.ratio
        # Times between false alarms are all but exponential: as large an error as of a Poisson number of them.
        return f"{ratio:.2f} +- {ratio / math.sqrt(self.alarms):.2f}" if ratio < 10.0 else f"{ratio:.0f} +- {ratio / math.sqrt(self.alarms):.0f}"


def known(shop: Shop, names: Sequence[str], ways: Sequence[str], seed: int, tick: Callable[[], None]) -> dict[tuple[str, str], list[Found]]:
    """False alarms of the engine; the shop has a block of series for each name, and in it one for each run length."""
    nominal = np.tile(np.repeat(np.array(list(NOMINAL), dtype=np.float32), list(NOMINAL.values())), len(names))
    engines = {way: Engine(shop, shop.bank(way, SMALLEST), nominal) for way in ways}
    alarms = {way: np.zeros(shop.n_series, dtype=np.int64) for way in ways}
    rng = np.random.default_rng(seed)
    for epoch in range(BUCKETS // EPOCH):
        shop.turn(epoch * EPOCH / DAY)
        data = shop.draw(rng, EPOCH)
        for way, engine in engines.items():
            alarms[way] += engine.run(data).sum(axis=0)
        tick()
    edges = np.cumsum([0, *NOMINAL.values()])
    found: dict[tuple[str, str], list[Found]] = {}
    for way, each in alarms.items():
        for name, block in zip(names, each.reshape(len(names), -1), strict=True):
            spans = zip(NOMINAL, itertools.pairwise(edges.tolist()), strict=True)
            found[name, way] = [Found(gamma, int(block[low:high].sum()), (high - low) * BUCKETS) for gamma, (low, high) in spans]
    return found


def _seasonal(kinds: Mapping[str, tuple[float, ...]]) -> tuple[list[str], list[Floats]]:
    """Names of the kinds without and with a season, and their numbers as columns, one value a series."""
    named = {f"{name}{how}": (*numbers, swing) for name, numbers in kinds.items() for how, swing in SWINGS.items()}
    return list(named), [np.repeat(np.array(column), sum(NOMINAL.values())) for column in zip(*named.values(), strict=True)]


def engine(tick: Callable[[], None]) -> str:
    """The first table."""
    found: dict[tuple[str, str], list[Found]] = {}
    names, columns = _seasonal(COUNTS)
    found |= known(Counts(*columns), names, ("lower", "higher"), SEED, tick)
    names, columns = _seasonal(RATIOS)
    found |= known(Odds(*columns), names, ("lower", "higher"), SEED + 1, tick)
    names, columns = _seasonal(VALUES)
    found |= known(Bins(*columns), names, ("higher", "both"), SEED + 2, tick)
    lines = ["| known baseline | looks for | " + " | ".join(f"nominal {gamma:,}" for gamma in NOMINAL) + " |", "|---" * (2 + len(NOMINAL)) + "|"]
    lines += [f"| {name} | {way} | " + " | ".join(map(str, each)) + " |" for (name, way), each in found.items()]
    ratios = [each.ratio for row in found.values() for each in row]
    within = sum(0.8 <= ratio <= 1.2 for ratio in ratios)
    lines.append(f"\n{within} of {len(ratios)} within 0.8 and 1.2 (bar: all); from {min(ratios):.2f} to {max(ratios):.2f}.")
    return "\n".join(lines)


class Learner:
    """A bank that learns, with thresholds for a run length; an alarm starts its evidence again, and its epoch is not learnt."""

    def __init__(self, bank: RateBank | ShareBank, nominal: int) -> None:
        self.bank, self.nominal = bank, nominal
        self.alarms, self.watched = 0, 0

    def epoch(self, start: int, n: int) -> None:
        """Go through the loaded buckets of an epoch, and learn from them; row 0 is all together and is not counted."""
        bank = self.bank
        with np.errstate(divide="ignore"):
            limit = np.where(bank.ready, np.log(np.float32(self.nominal) * bank.slack), np.inf)
            away = np.zeros(len(limit), dtype=np.bool_)
            for bucket in range(start, start + n):
                value = bank.step(bucket)
                alarm = np.log(value) >= limit
                if alarm.any():
                    self.alarms += int(alarm[1:].sum())
                    away |= alarm
                    bank.forget(np.flatnonzero(alarm))
            self.watched += n * int(bank.ready[1:].sum())
            bank.close_epoch(away | (np.log(value) >= SUSPICION * limit))


def learnt(tick: Callable[[], None]) -> str:
    """The second table."""
    lines = [f"| learnt baseline, season | looks for | nominal {LEARNT_NOMINAL:,} | dead band |", "|---|---|---|---|"]
    for name, mean, scatter in (
        ("Poisson, 2 a bucket", 2.0, 1.0),
        ("Poisson, 20", 20.0, 1.0),
        ("Poisson, 200", 200.0, 1.0),
        ("negative binomial, 20", 20.0, 2.0),
    ):
        lines.append(_learnt_rate(name, "lower", mean, None, scatter, tick))
    lines.append(_learnt_rate("binomial, 1 % of 1,000", "higher", 1000.0, 0.01, 1.0, tick))
    lines.append(_learnt_shares("bins, 20 values", "both", 20.0, tick))
    return "\n".join(lines)


def _rows() -> npt.NDArray[np.int64]:
    return np.zeros(LEARNERS + 1, dtype=np.int64)


def _row(name: str, way: str, learner: Learner, band: str) -> str:
    return f"| {name} | {way} | {Found(LEARNT_NOMINAL, learner.alarms, learner.watched)} | {band} |"


def _learnt_rate(name: str, way: str, mean: float, chance: float | None, scatter: float, tick: Callable[[], None]) -> str:
    """Counts, or hits where there is a chance of one; row 0 has all of them together."""
    bank = RateBank(factors(way, SMALLEST), bucket_ms=MINUTE_MS, odds=chance is not None, warmup_ms=WARM_UP * DAY_MS)
    bank.grow(_rows())
    learner, rng = Learner(bank, LEARNT_NOMINAL), np.random.default_rng(SEED)
    n = bank.buckets_per_epoch
    there, one = np.ones(n, dtype=np.bool_), np.ones((n, 1))
    for start in range(0, DAYS * DAY_MS // MINUTE_MS, n):
        now = mean * float(season(start * MINUTE_MS / DAY_MS, SWING))
        shape, size = (n, LEARNERS), now / max(scatter - 1.0, 1e-9)
        counts = rng.negative_binomial(size, 1.0 / scatter, shape) if scatter > 1.0 else rng.poisson(now * (chance or 1.0), shape)
        misses = rng.poisson(now * (1.0 - chance), shape) if chance is not None else None
        bank.load(start, _with_all(counts), one if misses is None else _with_all(misses), there)
        learner.epoch(start, n)
        tick()
    return _row(
        f"{name}, variance {scatter:g} x mean" if scatter > 1.0 else name, way, learner, f"{200.0 * float(np.median(bank.error[1:])):.0f} % of the mean"
    )


def _learnt_shares(name: str, way: str, mean: float, tick: Callable[[], None]) -> str:
    """Values in bins, which are cut where they should be."""
    bank = ShareBank(way, bucket_ms=MINUTE_MS, warmup_ms=WARM_UP * DAY_MS)
    bank.grow(_rows(), np.stack([np.zeros(LEARNERS, dtype=np.int64), np.arange(1, LEARNERS + 1)], axis=1))
    learner, rng = Learner(bank, LEARNT_NOMINAL), np.random.default_rng(SEED)
    n = bank.buckets_per_epoch
    bank.baseline.learn_fine(np.arange(10_000), np.ones(10_000, dtype=np.int64))
    for start in range(0, DAYS * DAY_MS // MINUTE_MS, n):
        now = mean * float(season(start * MINUTE_MS / DAY_MS, SWING))
        counts = np.stack([rng.poisson(now * share, (n, LEARNERS)) for share in SHARES.tolist()], axis=1).astype(np.float32)
        bank.load(start, counts * np.float32(bank.baseline.cut is not None), np.ones(n, dtype=np.bool_))
        learner.epoch(start, n)
        tick()
    lean = np.maximum(LEAST_LEAN, BAND_PER_ERROR * bank.baseline.lean(bank.baseline.shares())[:, 1:])
    return _row(name, way, learner, f"{100.0 * float(np.median(lean)):.0f} % of a tilt")


def _with_all(values: npt.NDArray[np.int64]) -> Floats:
    return np.concatenate([values.sum(axis=1, keepdims=True), values], axis=1).astype(np.float64)


def main() -> None:
    """Print both tables."""
    steps = 3 * (BUCKETS // EPOCH) + 6 * DAYS * 288
    with bar("run lengths", steps) as (progress, task):
        tables = [each(lambda: progress.advance(task)) for each in (engine, learnt)]
    what = "Measured over nominal run length, in buckets, with its standard error; 1 is the promise, less is more false alarms."
    publish("bench/run_length.py", f"{machine(COMMAND)}\n{what}\n\n{tables[0]}\n\n{tables[1]}")


if __name__ == "__main__":
    main()
