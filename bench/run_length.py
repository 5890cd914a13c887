"""How long it takes to a false alarm, against the run length that was asked for: python bench/run_length.py.

First the engine with a baseline that is known: the promise itself. Then the same with one mistake in what it knows. Then the banks as they are,
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
from bench.simulated import EPOCH, SHARES, Bins, Counts, Data, Engine, KnownRates, Odds, Shop, bar, factors, machine, publish, season
from rollguard.detectors.alarms import SUSPICION
from rollguard.detectors.bank import BAND_PER_ERROR, Bank, RateBank
from rollguard.detectors.evidence import Floats
from rollguard.detectors.past import PastPeaks
from rollguard.detectors.sharebank import LEAST_LEAN, ShareBank
from rollguard.detectors.watched import PEAK

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
#: Variance over mean, baseline too high by, wander of the level.
MISTAKES = {
    "the baseline is 2 % too high": (1.0, 0.02, 0.0),
    "the baseline is 5 % too high": (1.0, 0.05, 0.0),
    "the baseline is 10 % too high": (1.0, 0.1, 0.0),
    "the variance is 1.5 x the mean, unknown": (1.5, 0.0, 0.0),
    "the variance is 2 x the mean, unknown": (2.0, 0.0, 0.0),
    "the level wanders by 5 % within hours": (1.0, 0.0, 0.05),
    "the level wanders by 10 % within hours": (1.0, 0.0, 0.1),
}
#: With a learnt baseline: buckets of a minute, days, series, and run lengths.
MINUTE_MS, DAY_MS = 60_000, 86_400_000
DAYS, WARM_UP = 14, 2
#: Days after which the errors of a profile made of one day alone are forgotten.
FIRST = 7
LEARNERS = 200
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


class Mistaken(Counts):
    """Poisson or scattered counts, of which the engine is told something wrong.

    Parameters
    ----------
    scatter : (n_series,) float64
        What the variance is over the mean; it is told that the counts are Poisson.
    off : (n_series,) float64
        By how much the mean it is told is too high.
    wander : (n_series,) float64
        Standard deviation of a wander of the true level, with a memory of an hour.
    """

    def __init__(self, scatter: Floats, off: Floats, wander: Floats) -> None:
        self.off, self.wander = off, wander
        self.state = np.zeros(len(off))
        self.rng = np.random.default_rng(SEED + 3)
        super().__init__(np.full(len(off), 20.0), scatter, np.zeros(len(off)))

    def turn(self, day: float) -> None:
        """See `Shop`."""
        super().turn(day)
        keep = math.exp(-1.0 / 12.0)
        self.state = keep * self.state + math.sqrt(1.0 - keep**2) * self.rng.normal(size=len(self.state))
        self.now = self.now * np.exp(self.wander * self.state)

    def load(self, bank: Bank, start: int, data: Data) -> None:
        """See `Shop`."""
        if isinstance(bank, KnownRates):
            bank.tell(self.mean * (1.0 + self.off), np.ones(self.n_series), np.ones(self.n_series))
            bank.load(start, data[0], np.ones((len(data[0]), 1)), np.ones(len(data[0]), dtype=np.bool_))


def broken(tick: Callable[[], None]) -> str:
    """The second table: what each mistake does to the promise."""
    columns = [np.repeat(np.array(column), sum(NOMINAL.values())) for column in zip(*MISTAKES.values(), strict=True)]
    found = known(Mistaken(*columns), list(MISTAKES), ("lower",), SEED + 4, tick)
    lines = [
        "| Poisson, 20 a bucket, no dead band, but | looks for | " + " | ".join(f"nominal {gamma:,}" for gamma in NOMINAL) + " |",
        "|---" * (2 + len(NOMINAL)) + "|",
    ]
    lines += [f"| {name} | {way} | " + " | ".join(map(str, each)) + " |" for (name, way), each in found.items()]
    return "\n".join(lines)


class Learner:
    """A bank that learns, with the thresholds of `Watched`; an alarm starts its evidence again, and its epoch is not learnt."""

    def __init__(self, bank: RateBank | ShareBank, tick: Callable[[], None]) -> None:
        self.bank, self.tick = bank, tick
        self.nominal = math.log(LEARNT_NOMINAL)
        self.n = bank.buckets_per_epoch
        self.past = PastPeaks(self.n * MINUTE_MS, above=PEAK * max(self.nominal, 4.0))
        self.past.grow(LEARNERS + 1)
        self.more = np.ones(LEARNERS + 1)
        self.alarms, self.watched = np.zeros(DAYS, dtype=np.int64), np.zeros(DAYS, dtype=np.int64)

    def epoch(self, start: int) -> None:
        """Go through the loaded buckets of an epoch, and learn from them; row 0 is all together and is not counted."""
        bank, day = self.bank, start * MINUTE_MS // DAY_MS
        limit = np.where(bank.ready, self.nominal + np.log(bank.slack * self.more), np.inf)
        away = np.zeros(len(limit), dtype=np.bool_)
        for at in range(start, start + self.n):
            value = bank.step(at)
            self.past.see(value)
            alarm = np.log(np.maximum(value, 1e-30)) >= limit
            if alarm.any():
                self.alarms[day] += int(alarm[1:].sum())
                away |= alarm
                bank.forget(np.flatnonzero(alarm))
        self.watched[day] += self.n * int(bank.ready[1:].sum())
        self.past.close_epoch(np.where(bank.ready, self.n, 0), limit, bank.honesty)
        self.more = self.past.more_often(bank.slack)
        bank.close_epoch(away | (np.log(np.maximum(bank.value, 1e-30)) >= SUSPICION * limit))
        bank.honesty = self.past.honesty()
        self.tick()

    def row(self, name: str, way: str, band: str) -> str:
        """Of the table."""
        spans = (slice(WARM_UP, FIRST), slice(FIRST, DAYS))
        found = [Found(LEARNT_NOMINAL, int(self.alarms[span].sum()), int(self.watched[span].sum())) for span in spans]
        return f"| {name} | {way} | " + " | ".join(map(str, found)) + f" | {band} |"


@dataclass(frozen=True, slots=True)
class Rate:
    """Counts of a mean and scatter, or hits where there is a chance of one."""

    name: str
    way: str
    mean: float
    scatter: float = 1.0
    chance: float | None = None

    def draw(self, rng: np.random.Generator, day: float, n: int) -> tuple[Floats, Floats]:
        """Events and exposure of some buckets; the first column is all together."""
        now, shape = self.mean * float(season(day, SWING)), (n, LEARNERS)
        if self.chance is not None:
            hits, misses = (rng.poisson(now * part, shape) for part in (self.chance, 1.0 - self.chance))
            return _with_all(hits), _with_all(misses)
        scattered = self.scatter > 1.0
        counts = rng.negative_binomial(now / (self.scatter - 1.0), 1.0 / self.scatter, shape) if scattered else rng.poisson(now, shape)
        return _with_all(counts), np.ones((n, 1))


LEARNT = (
    Rate("Poisson, 2 a bucket", "lower", 2.0),
    Rate("Poisson, 20", "lower", 20.0),
    Rate("Poisson, 200", "lower", 200.0),
    Rate("negative binomial, 20, variance 2 x mean", "lower", 20.0, scatter=2.0),
    Rate("binomial, 1 % of 1,000", "higher", 1000.0, chance=0.01),
)


def learnt(tick: Callable[[], None]) -> str:
    """The third table."""
    heads = f"days {WARM_UP + 1} to {FIRST} | days {FIRST + 1} to {DAYS} | dead band at the end"
    lines = [f"| learnt baseline, season | looks for | nominal {LEARNT_NOMINAL:,}, {heads} |", "|---|---|---|---|---|"]
    lines += [_learnt_rate(kind, tick) for kind in LEARNT]
    lines.append(_learnt_shares("bins, 20 values", "both", 20.0, tick))
    return "\n".join(lines)


def _learnt_rate(kind: Rate, tick: Callable[[], None]) -> str:
    bank = RateBank(factors(kind.way, SMALLEST), bucket_ms=MINUTE_MS, odds=kind.chance is not None, warmup_ms=WARM_UP * DAY_MS)
    bank.grow(np.zeros(LEARNERS + 1, dtype=np.int64))
    learner, rng = Learner(bank, tick), np.random.default_rng(SEED)
    for start in range(0, DAYS * DAY_MS // MINUTE_MS, learner.n):
        bank.load(start, *kind.draw(rng, start * MINUTE_MS / DAY_MS, learner.n), np.ones(learner.n, dtype=np.bool_))
        learner.epoch(start)
    return learner.row(kind.name, kind.way, f"{100.0 * BAND_PER_ERROR * float(np.median(bank.error[1:])):.1f} % of the mean")


def _learnt_shares(name: str, way: str, mean: float, tick: Callable[[], None]) -> str:
    """Values in bins, which are cut where they should be."""
    bank = ShareBank(way, bucket_ms=MINUTE_MS, warmup_ms=WARM_UP * DAY_MS)
    parts = np.arange(1, LEARNERS + 1)
    bank.grow(np.zeros(LEARNERS + 1, dtype=np.int64), np.stack([np.zeros_like(parts), parts], axis=1))
    bank.baseline.learn_fine(np.arange(10_000), np.ones(10_000, dtype=np.int64))
    learner, rng = Learner(bank, tick), np.random.default_rng(SEED)
    for start in range(0, DAYS * DAY_MS // MINUTE_MS, learner.n):
        now = mean * float(season(start * MINUTE_MS / DAY_MS, SWING))
        counts = np.stack([rng.poisson(now * share, (learner.n, LEARNERS)) for share in SHARES.tolist()], axis=1).astype(np.float32)
        if bank.baseline.cut is None:
            counts[:] = 0.0
        bank.load(start, counts, np.ones(learner.n, dtype=np.bool_))
        learner.epoch(start)
    lean = np.maximum(LEAST_LEAN, BAND_PER_ERROR * bank.baseline.lean(bank.baseline.shares())[:, 1:])
    return learner.row(name, way, f"{100.0 * float(np.median(lean)):.0f} % of a tilt")


def _with_all(values: npt.NDArray[np.int64]) -> Floats:
    return np.concatenate([values.sum(axis=1, keepdims=True), values], axis=1).astype(np.float64)


def main() -> None:
    """Print the tables."""
    steps = 4 * (BUCKETS // EPOCH) + (len(LEARNT) + 1) * DAYS * 288
    with bar("run lengths", steps) as (progress, task):
        tables = [each(lambda: progress.advance(task)) for each in (engine, broken, learnt)]
    what = "Measured over nominal run length, in buckets, with its standard error; 1 is the promise, less is more false alarms."
    publish("bench/run_length.py", "\n\n".join([f"{machine(COMMAND)}\n{what}", *tables]))


if __name__ == "__main__":
    main()
