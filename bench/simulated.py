"""Simulated buckets of every kind of metric, and the shipped evidence for them with a baseline that is known.

The benches of run lengths and delays share it. Nothing of the engine stands here: coefficients, bounds and recursion are those of
the banks, with a dead band of none.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rollguard.detectors.evidence import Floats, Singles, bin_constants, count_coefficients, odds_coefficients, overshoot, quietened, ratios_above, ratios_below
from rollguard.detectors.shares import QUANTILES, tilts_for

__all__ = ["EPOCH", "EPOCHS_PER_DAY", "Bins", "Counts", "Evidence", "Odds", "Shop", "bar", "lognormal_shares", "machine", "publish"]

#: Buckets of ten seconds in an epoch of five minutes, and epochs in a day.
EPOCH = 30
EPOCHS_PER_DAY = 288
#: How far a season swings: the busiest bucket has seven times the quietest one's mean.
SWING = 0.75


def machine(command: str) -> str:
    """The line above a table: where it was measured, and how."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}: `{command}`\n"


@contextmanager
def bar(what: str, steps: int) -> Iterator[tuple[Progress, int]]:
    """A progress bar on stderr, and the number of its task in it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(what, total=steps)


def season(phase: Floats, epoch: int, swing: Floats | float = SWING) -> Floats:
    """(n_series,) factors of the epoch, around one."""
    return np.asarray(1.0 + swing * np.sin(2.0 * np.pi * (epoch / EPOCHS_PER_DAY + phase)), dtype=np.float64)


class Evidence(Protocol):
    """Log likelihood ratios of buckets whose baseline is known."""

    n_tilts: int
    slack: Singles

    def nats(self, data: npt.NDArray[np.float32]) -> Singles:
        """(n_buckets, n_tilts, n_series)."""


class Shop(Protocol):
    """Many series of one kind of metric."""

    n_series: int

    def begin(self, epoch: int) -> None:
        """Turn to another epoch."""

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> npt.NDArray[np.float32]:
        """So many buckets of the epoch, after a change by a factor; series last."""

    def evidence(self, direction: str, smallest: float) -> Evidence:
        """The engine's for this epoch."""

    def known(self, data: npt.NDArray[np.float32], change: float) -> Singles:
        """(n_buckets, n_series) nats of one who knows the change's size."""


class _Counted:
    def __init__(self, weight: Singles, constant: Singles, loudest: Singles, slack: Singles) -> None:
        self.n_tilts, self.weight, self.constant, self.loudest, self.slack = len(weight), weight, constant, loudest, slack

    def nats(self, data: npt.NDArray[np.float32]) -> Singles:
        found: Singles = np.minimum(data[0], self.loudest)[:, None, :] * self.weight
        found -= self.constant
        return found


class Counts:
    """Poisson or negative binomial counts.

    Parameters
    ----------
    mean, scatter, swing : (n_series,) float64
        Mean of a bucket, variance over mean in the mean over time, and how far the season swings.
    """

    def __init__(self, mean: Floats, scatter: Floats, swing: Floats) -> None:
        self.n_series = len(mean)
        self.mean, self.swing = mean, swing
        self.phase = np.arange(self.n_series) / self.n_series * 7.0 % 1.0
        #: As the bank has it: the dispersion that gives the variance seen.
        self.alpha = (scatter - 1.0) / mean
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """See `Shop`."""
        self.now = self.mean * season(self.phase, epoch, self.swing)

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> npt.NDArray[np.float32]:
        """See `Shop`."""
        found = np.empty((1, n, self.n_series), dtype=np.float32)
        mean = self.now * change
        plain, wild = np.flatnonzero(self.alpha <= 0.0), np.flatnonzero(self.alpha > 0.0)
        found[0][:, plain] = rng.poisson(mean[plain], (n, len(plain)))
        if len(wild):
            size = 1.0 / self.alpha[wild]
            found[0][:, wild] = rng.negative_binomial(size, size / (size + mean[wild]), (n, len(wild)))
        return found

    def evidence(self, direction: str, smallest: float) -> Evidence:
        """See `Shop`."""
        c = count_coefficients(self.now, np.zeros(self.n_series), self.alpha, _factors(direction, smallest))
        return _Counted(c.weight, c.constant, c.loudest, c.slack)

    def known(self, data: npt.NDArray[np.float32], change: float) -> Singles:
        """See `Shop`."""
        size = 1.0 / np.maximum(self.alpha, 1e-9)
        spread = np.log1p((change - 1.0) * self.now / (size + self.now))
        constant = np.where(self.alpha > 0.0, spread * size, (change - 1.0) * self.now)
        weight = np.log(change) - np.where(self.alpha > 0.0, spread, 0.0)
        return np.asarray(data[0] * weight.astype(np.float32) - constant.astype(np.float32), dtype=np.float32)


class _Hit:
    def __init__(self, weight: Singles, constant: Singles, loudest: Singles, slack: Singles) -> None:
        self.n_tilts, self.weight, self.constant, self.loudest, self.slack = len(weight), weight, constant, loudest, slack

    def nats(self, data: npt.NDArray[np.float32]) -> Singles:
        found: Singles = data[0][:, None, :] * self.weight
        found -= data[1][:, None, :] * self.constant
        for each, hits in zip(found, data[0], strict=True):
            loud = np.flatnonzero(hits > self.loudest)
            if len(loud):
                each[:, loud] = quietened(each[:, loud])
        return found


class Odds:
    """Hits among trials; the trials are Poisson and follow the season, the chance stays.

    Parameters
    ----------
    chance, trials, swing : (n_series,) float64
    """

    def __init__(self, chance: Floats, trials: Floats, swing: Floats) -> None:
        self.n_series = len(chance)
        self.chance, self.trials, self.swing = chance, trials, swing
        self.phase = np.arange(self.n_series) / self.n_series * 7.0 % 1.0
        self.odds = chance / (1.0 - chance)
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """See `Shop`."""
        self.now = self.trials * season(self.phase, epoch, self.swing)

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> npt.NDArray[np.float32]:
        """See `Shop`."""
        # A Poisson number of trials, thinned, is two Poisson numbers: hits and misses.
        odds = self.odds * change
        chance = odds / (1.0 + odds)
        return np.stack([rng.poisson(self.now * part, (n, self.n_series)) for part in (chance, 1.0 - chance)]).astype(np.float32)

    def evidence(self, direction: str, smallest: float) -> Evidence:
        """See `Shop`."""
        one = np.ones(self.n_series)
        # The usual exposure as the bank has it: of the last 45 minutes, here of the epoch.
        c = odds_coefficients(self.odds, 0.0 * one, one, _factors(direction, smallest), self.now * (1.0 - self.chance))
        return _Hit(c.weight, c.constant, c.loudest, c.slack)

    def known(self, data: npt.NDArray[np.float32], change: float) -> Singles:
        """See `Shop`."""
        miss = np.log1p((change - 1.0) * self.chance)
        weight = np.log(change) - miss
        return np.asarray(data[0] * weight.astype(np.float32) - data[1] * miss.astype(np.float32), dtype=np.float32)


class _Binned:
    def __init__(self, basis: Singles, of: npt.NDArray[np.int64], step: Singles, constants: Singles, slack: Singles) -> None:
        self.n_tilts, self.basis, self.of, self.step, self.constants, self.slack = len(of), basis, of, step, constants, slack

    def nats(self, data: npt.NDArray[np.float32]) -> Singles:
        n_bins, n, n_series = data.shape
        score = (self.basis @ data.reshape(n_bins, -1)).reshape(-1, n, n_series)
        events = data.sum(axis=0)
        found: Singles = np.empty((n, self.n_tilts, n_series), dtype=np.float32)
        for k, (of, step) in enumerate(zip(self.of.tolist(), self.step, strict=True)):
            np.subtract(step * score[of], events * self.constants[k], out=found[:, k])
        for each in found:
            quietened(each)
        return found


class Bins:
    """Values in quantile bins that hold their promised shares; the number of values is Poisson and follows the season.

    Parameters
    ----------
    events, swing : (n_series,) float64
        Mean number of values in a bucket.
    """

    def __init__(self, events: Floats, swing: Floats) -> None:
        self.n_series = len(events)
        self.events, self.swing = events, swing
        self.phase = np.arange(self.n_series) / self.n_series * 7.0 % 1.0
        self.shares = np.diff(np.concatenate([[0.0], QUANTILES, [1.0]]))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """See `Shop`."""
        self.now = self.events * season(self.phase, epoch, self.swing)

    def draw(self, rng: np.random.Generator, n: int, change: float = 1.0) -> npt.NDArray[np.float32]:
        """See `Shop`."""
        shares = lognormal_shares(change) if change != 1.0 else self.shares
        found = np.empty((len(shares), n, self.n_series), dtype=np.float32)
        for share, each in zip(shares.tolist(), found, strict=True):
            each[:] = rng.poisson(self.now * share, (n, self.n_series))
        return found

    def evidence(self, direction: str, smallest: float) -> Evidence:  # noqa: ARG002 - steps along the bins are fixed
        """See `Shop`."""
        tilts = tilts_for(self.shares, direction)
        factors = tilts.factors
        constants = bin_constants(self.shares[:, None], factors, np.zeros((len(factors), 1)))
        # As the bank of shares works it out.
        weight = np.exp(factors) * self.shares
        gain = (weight * factors).sum(axis=1) / weight.sum(axis=1) - constants[:, 0]
        jump = factors.max(axis=1) - constants[:, 0]
        slack = np.zeros(self.n_series, dtype=np.float32)
        for g, j in zip(gain, jump, strict=True):
            slack += overshoot((g * self.now).astype(np.float32), np.full(self.n_series, j, dtype=np.float32))
        return _Binned(tilts.basis, tilts.of, tilts.step, constants, slack / np.float32(len(factors)))

    def known(self, data: npt.NDArray[np.float32], change: float) -> Singles:
        """See `Shop`."""
        weight = np.log(np.maximum(lognormal_shares(change), 1e-12) / self.shares).astype(np.float32)
        n_bins, n, n_series = data.shape
        return np.asarray((weight @ data.reshape(n_bins, -1)).reshape(n, n_series), dtype=np.float32)


def lognormal_shares(change: float, spread: float = 0.35) -> Floats:
    """Shares of the bins once all values are so many times as large: minutes are lognormal, with this spread of their logarithm."""
    from statistics import NormalDist  # noqa: PLC0415

    normal = NormalDist()
    below = [normal.cdf(normal.inv_cdf(q) - np.log(change) / spread) for q in QUANTILES]
    return np.diff(np.array([0.0, *below, 1.0]))


def _factors(direction: str, smallest: float) -> Floats:
    if direction == "lower":
        return ratios_below(smallest)
    if direction == "higher":
        return ratios_above(smallest)
    return np.concatenate([ratios_below(smallest), ratios_above(smallest)])


def publish(name: str, text: str) -> None:
    """Print what a bench found; with `--write`, put it into docs/detection.md between the markers of that name, too."""
    print(text)
    if "--write" in sys.argv[1:]:
        page = Path(__file__).parent.parent / "docs" / "detection.md"
        before, found, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->")
        if not found:
            raise SystemExit(f"docs/detection.md has no marker <!-- {name} -->")
        page.write_text(f"{before}{found}\n{text}\n{rest[rest.index('<!-- end -->') :]}", encoding="utf-8")
