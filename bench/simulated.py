"""Simulated buckets of every kind of metric, and the shipped banks for them, told their baseline instead of learning it.

The benches of run lengths and delays share it. Coefficients, bounds, recursion and overshoot are those of the banks; only the
baseline is known, and its dead band none.
"""

from __future__ import annotations

import copy
import os
import platform
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rollguard.detectors.bank import Bank, RateBank
from rollguard.detectors.baseline import Epoch
from rollguard.detectors.evidence import Floats, Singles, bin_constants, ratios_above, ratios_below
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS, QUANTILES, ShareEpoch, tilts_for

__all__ = ["BUCKET_MS", "EPOCH", "SHARES", "Bins", "Counts", "Data", "Engine", "KnownRates", "Odds", "Shop", "bar", "factors", "machine", "publish", "season"]

Bools = npt.NDArray[np.bool_]
#: Columns of some buckets, series last; which, its kind knows.
Data = tuple[npt.NDArray[np.float64], ...]

BUCKET_MS = 10_000
#: Buckets in an epoch of five minutes.
EPOCH = 30
#: What the quantile bins promise to hold.
SHARES = np.diff(np.array([0.0, *QUANTILES, 1.0]))
#: Spread of the logarithm of simulated minutes.
SPREAD = 0.35


def machine(command: str) -> str:
    """The line above a table: where it was measured, and how."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}: `{command}`\n"


@contextmanager
def bar(what: str, steps: int) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr, and its task."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(what, total=steps)


def publish(name: str, text: str, *, page: str = "detection.md") -> None:
    """Print what a bench found; with `--write`, put it into a page of the docs between the markers of that name, too."""
    print(text)
    if "--write" in sys.argv[1:]:
        path = Path(__file__).parent.parent / "docs" / page
        before, found, rest = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->")
        if not found:
            raise SystemExit(f"docs/{page} has no marker <!-- {name} -->")
        path.write_text(f"{before}{found}\n\n{text}\n\n{rest[rest.index('<!-- end -->') :]}", encoding="utf-8")


def season(day: Floats | float, swing: Floats | float) -> Floats:
    """Factors around one by part of the day."""
    return np.asarray(1.0 + np.asarray(swing) * np.sin(2.0 * np.pi * np.asarray(day)), dtype=np.float64)


def factors(direction: str, smallest: float) -> Floats:
    """The shipped grid of a direction."""
    return ratios_below(smallest) if direction == "lower" else ratios_above(smallest)


class KnownRates(RateBank):
    """The bank of rates, told what it would have learnt."""

    def __init__(self, direction: str, smallest: float, n_series: int, *, odds: bool) -> None:
        super().__init__(factors(direction, smallest), bucket_ms=BUCKET_MS, odds=odds, warmup_ms=0)
        self.told = np.ones((3, n_series), dtype=np.float32)
        self.grow(np.zeros(n_series, dtype=np.int64))

    def tell(self, rate: Floats, scatter: Floats, exposure: Floats) -> None:
        """Rate per unit of exposure, variance over the Poisson one, and exposure of a bucket; of the next epoch."""
        self.told[:] = rate, scatter, exposure

    def _prepare(self, epoch: int) -> None:
        self.epoch = epoch
        self.rate, self.scatter, exposure = self.told.copy()
        none, sure = np.zeros_like(exposure), np.ones(len(exposure), dtype=np.bool_)
        self.error, self.power, self.ready = none, none + np.float32(1.0), sure
        self.baseline.waiting = deque([Epoch(epoch, none, exposure * np.float32(EPOCH), none, ~sure)])
        self.coefficients = self._coefficients()
        if self.coefficients is not None:
            self.slack = self.coefficients.slack


class KnownShares(ShareBank):
    """The bank of distributions, told what it would have learnt; each series alone."""

    def __init__(self, worse: str, n_series: int) -> None:
        super().__init__(worse, bucket_ms=BUCKET_MS, warmup_ms=0)
        self.told = np.ones(n_series, dtype=np.float32)
        alone = np.arange(n_series)
        self.grow(alone, alone[:, None])

    def tell(self, events: Floats) -> None:
        """Values of a bucket of the next epoch."""
        self.told[:] = events

    def _prepare(self, epoch: int) -> None:
        n = len(self.told)
        self.epoch = self.refreshed = epoch
        self.scatter, self.ready = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.bool_)
        self.tilts = tilts_for(SHARES, self.baseline.worse)
        shares = np.repeat(SHARES[:, None], n, axis=1).astype(np.float32)
        constants = bin_constants(shares, self.tilts.factors, np.zeros((len(self.tilts.of), n)))
        self.constants = [constants]
        self.baseline.waiting = deque([ShareEpoch(shares * self.told * np.float32(EPOCH), ~self.ready)])
        self.slack = self._slack(shares, self.tilts.factors, constants)


class Shop(Protocol):
    """Many series of one kind of metric."""

    n_series: int

    def turn(self, day: float) -> None:
        """Go to a time of the day, in days."""

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> Data:
        """So many buckets, after a change by a factor."""

    def bank(self, direction: str, smallest: float) -> Bank:
        """The shipped bank for all series."""

    def load(self, bank: Bank, start: int, data: Data) -> None:
        """Tell the bank its baseline and give it some buckets."""

    def known(self, data: Data, change: float) -> Singles:
        """(n_buckets, n_series) nats of one who knows the size of the change."""


class _Seasonal:
    def __init__(self, mean: Floats, swing: Floats) -> None:
        self.n_series = len(mean)
        self.now = mean
        self.mean, self.swing = mean, swing
        # Every series is at another time of its day, so that each measurement has all of it.
        self.phase: Floats = np.arange(self.n_series, dtype=np.float64) * 0.381966 % 1.0
        self.turn(0.0)

    def turn(self, day: float) -> None:
        """See `Shop`."""
        self.now = self.mean * season(self.phase + day, self.swing)


class Counts(_Seasonal):
    """Poisson or negative binomial counts.

    Parameters
    ----------
    mean, scatter, swing : (n_series,) float64
        Mean of a bucket, variance over it, and how far the season swings.
    """

    def __init__(self, mean: Floats, scatter: Floats, swing: Floats) -> None:
        super().__init__(mean, swing)
        self.scatter = scatter
        self.wild = np.flatnonzero(scatter > 1.0)
        self.plain = np.flatnonzero(scatter <= 1.0)

    @property
    def size(self) -> Floats:
        """(n_series,) r of the negative binomial, of variance scatter x mean at any time."""
        return self.now / np.maximum(self.scatter - 1.0, 1e-9)

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> Data:
        """See `Shop`."""
        mean = self.now * change
        found = np.empty((n, self.n_series))
        found[:, self.plain] = rng.poisson(mean[self.plain], (n, len(self.plain)))
        if len(self.wild):
            size = self.size[self.wild]
            found[:, self.wild] = rng.negative_binomial(size, size / (size + mean[self.wild]), (n, len(self.wild)))
        return (found,)

    def bank(self, direction: str, smallest: float) -> Bank:
        """See `Shop`."""
        return KnownRates(direction, smallest, self.n_series, odds=False)

    def load(self, bank: Bank, start: int, data: Data) -> None:
        """See `Shop`."""
        if isinstance(bank, KnownRates):
            bank.tell(self.now, self.scatter, np.ones(self.n_series))
            bank.load(start, data[0], np.ones((len(data[0]), 1)), np.ones(len(data[0]), dtype=np.bool_))

    def known(self, data: Data, change: float) -> Singles:
        """See `Shop`."""
        spread = np.where(self.scatter > 1.0, np.log1p((change - 1.0) * self.now / (self.size + self.now)), 0.0)
        constant = np.where(self.scatter > 1.0, spread * self.size, (change - 1.0) * self.now)
        return np.asarray(data[0] * (np.log(change) - spread) - constant, dtype=np.float32)


class Odds(_Seasonal):
    """Hits among trials; the trials follow the season, the chance stays.

    Parameters
    ----------
    chance, trials, swing : (n_series,) float64
    """

    def __init__(self, chance: Floats, trials: Floats, swing: Floats) -> None:
        super().__init__(trials, swing)
        self.chance = chance
        self.odds = chance / (1.0 - chance)

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> Data:
        """See `Shop`."""
        # A Poisson number of trials, thinned, is two Poisson numbers; given their sum, hits are binomial.
        odds = self.odds * change
        chance = odds / (1.0 + odds)
        hits, misses = (rng.poisson(self.now * part, (n, self.n_series)).astype(np.float64) for part in (chance, 1.0 - chance))
        return hits, misses

    def bank(self, direction: str, smallest: float) -> Bank:
        """See `Shop`."""
        return KnownRates(direction, smallest, self.n_series, odds=True)

    def load(self, bank: Bank, start: int, data: Data) -> None:
        """See `Shop`."""
        if isinstance(bank, KnownRates):
            bank.tell(self.odds, np.ones(self.n_series), self.now * (1.0 - self.chance))
            hits, misses = data
            bank.load(start, hits, misses, np.ones(len(hits), dtype=np.bool_))

    def known(self, data: Data, change: float) -> Singles:
        """See `Shop`."""
        miss = np.log1p((change - 1.0) * self.chance)
        return np.asarray(data[0] * (np.log(change) - miss) - data[1] * miss, dtype=np.float32)


class Bins(_Seasonal):
    """Values in quantile bins that hold what they promise; the number of values follows the season.

    Parameters
    ----------
    events, swing : (n_series,) float64
        Mean number of values in a bucket.
    worse : {"higher", "lower", "both"}
        Direction that hurts, where `bank` is not told it.
    """

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> Data:
        """See `Shop`."""
        return (np.stack([rng.poisson(self.now * share, (n, self.n_series)) for share in _shares(change).tolist()], axis=1).astype(np.float64),)

    def bank(self, direction: str, smallest: float) -> Bank:  # noqa: ARG002 - the steps of its tilts are fixed
        """See `Shop`."""
        return KnownShares(direction, self.n_series)

    def load(self, bank: Bank, start: int, data: Data) -> None:
        """See `Shop`."""
        if isinstance(bank, KnownShares):
            bank.tell(self.now)
            bank.load(start, data[0].astype(np.float32), np.ones(len(data[0]), dtype=np.bool_))

    def known(self, data: Data, change: float) -> Singles:
        """See `Shop`."""
        weight = np.log(np.maximum(_shares(change), 1e-12) / SHARES)
        nats: Floats = np.zeros(data[0][:, 0].shape)
        for j in range(N_BINS):
            nats += weight[j] * data[0][:, j]
        return nats.astype(np.float32)


def _shares(change: float) -> Floats:
    """Shares of the bins once lognormal minutes are so many times as long."""
    normal = NormalDist()
    below = [normal.cdf(normal.inv_cdf(q) - np.log(change) / SPREAD) for q in QUANTILES]
    return np.diff(np.array([0.0, *below, 1.0]))


@dataclass
class Engine:
    """A bank with thresholds: the nominal run length of each series, lowered for overshoot. It starts again after each alarm."""

    shop: Shop
    bank: Bank
    nominal: Singles
    turns: int = 0

    def run(self, data: Data) -> Bools:
        """(n_buckets, n_series) where it alarms in the next buckets of an epoch."""
        start = self.turns * EPOCH
        self.turns += 1
        self.shop.load(self.bank, start, data)
        threshold = self.nominal * self.bank.slack
        alarms = np.zeros((len(data[0]), self.shop.n_series), dtype=np.bool_)
        for at, alarm in enumerate(alarms):
            np.greater_equal(self.bank.step(start + at), threshold, out=alarm)
            if alarm.any():
                self.bank.forget(np.flatnonzero(alarm))
        return alarms

    def fork(self) -> Engine:
        """One that goes on from here by itself."""
        return Engine(self.shop, copy.deepcopy(self.bank), self.nominal, self.turns)
