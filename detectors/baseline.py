"""What a rate should be now, learnt only from what is past, together with how wrong that has been so far.

Rate = level x time of day. The level follows slowly and lags behind the buckets under test, so that a decline under way
cannot make itself normal; the time of day is learnt a whole day at a time and shrunk to the profile of all series
together; both stand still for a series under suspicion. The baseline keeps its own record: the relative error of its
past hours widens the dead band of the evidence, the scatter of its past epochs tempers it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats
from rollguard.detectors.sums import column_sum, row_sums

__all__ = ["BaselineError", "Epoch", "RateBaseline"]

Bools = npt.NDArray[np.bool_]

SLOTS_PER_DAY = 96
DAY_MS = 86_400_000
EPOCHS_PER_HOUR = 12
#: Epochs between a bucket and the level that may learn from it: longer than most tests run, see the memory law.
LAG_EPOCHS = 9
#: Half-life of the level, in epochs (of five minutes).
LEVEL_HALF_LIFE_EPOCHS = 48
#: Half-lives of what is known about errors and scatter, in hours.
ERROR_HALF_LIFE_HOURS = 36
SCATTER_HALF_LIFE_HOURS = 24
#: The record starts as if this relative error had been seen for so many hours: a young baseline is a wide one.
PRIOR_ERROR = 0.08
PRIOR_ERROR_HOURS = 6.0
#: Events of its own a series needs in a slot of the day before its own profile weighs as much as the pooled one.
PROFILE_PRIOR_EVENTS = 60.0
DAY_DECAY = 0.8
#: A frozen level is let go after this many epochs (12 hours): a new normal must not be an incident for ever.
FREEZE_EPOCHS = 144

LEVEL_DECAY = 0.5 ** (1.0 / LEVEL_HALF_LIFE_EPOCHS)
ERROR_DECAY = 0.5 ** (1.0 / ERROR_HALF_LIFE_HOURS)
SCATTER_DECAY = 0.5 ** (1.0 / SCATTER_HALF_LIFE_HOURS)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Sums of one epoch of buckets, for every series.

    Attributes
    ----------
    number : int
        Epochs since 1970.
    observed, exposure, expected : (n_series,) float64
        Events, exposure (buckets, or trials of the other kind) and events expected; missing buckets left out.
    suspected : (n_series,) bool
        Series under suspicion at its end.
    """

    number: int
    observed: Floats
    exposure: Floats
    expected: Floats
    suspected: Bools


@dataclass(frozen=True, slots=True)
class BaselineError:
    """How wrong a baseline has been.

    Attributes
    ----------
    relative : (n_series,) float64
        Root mean square of its hours' relative errors beyond counting noise, >= 0.
    scatter : (n_series,) float64
        Variance of epoch sums relative to Poisson, >= 1.
    """

    relative: Floats
    scatter: Floats


class RateBaseline:
    """Causal baselines of many rates, as columns. Row 0 is the pooled series of the metric.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch in ms; it divides a slot of the day.
    random_exposure : bool
        The exposure is itself a Poisson count (misses): it adds its own noise to what is expected.

    Examples
    --------
    >>> baseline = RateBaseline(300_000)
    >>> baseline.grow(np.array([0]))
    >>> for number in range(20):
    ...     baseline.learn(Epoch(number, np.array([50.0]), np.array([30.0]), np.array([50.0]), np.array([False])))
    >>> baseline.rate(20).round(2)
    array([1.67])
    """

    #: Arrays with one row a series, and how wide each is.
    _WIDTHS: ClassVar[dict[str, int]] = {
        "level_events": 0, "level_exposure": 0, "frozen_epochs": 0, "epochs": 0,
        "profile_events": SLOTS_PER_DAY, "profile_exposure": SLOTS_PER_DAY,
        "day_events": SLOTS_PER_DAY, "day_exposure": SLOTS_PER_DAY,
        "hour_observed": EPOCHS_PER_HOUR, "hour_expected": EPOCHS_PER_HOUR, "hour_exposure": 0, "error_sum": 0, "error_weight": 0,
        "scatter_sum": 0, "scatter_weight": 0,
    }  # fmt: skip

    def __init__(self, epoch_ms: int, *, random_exposure: bool = False) -> None:
        self.epoch_ms = epoch_ms
        self.random_exposure = random_exposure
        self.n_series = 0
        self.days = 0
        self.epochs_in_day = 0
        self.epochs_in_hour = 0
        self.waiting: deque[Epoch] = deque()
        self.columns: dict[str, Floats] = {name: np.zeros((0, width) if width else 0) for name, width in self._WIDTHS.items()}
        self.factors: Floats = np.ones((0, SLOTS_PER_DAY))
        self.parents: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def grow(self, parents: npt.NDArray[np.int64]) -> None:
        """Make room for more series; a new one starts without a past.

        Parameters
        ----------
        parents : (n_series,) int64
            For every series the row whose profile of the day it borrows from; the pooled row 0 is its own parent.
        """
        n_series = len(parents)
        extra = n_series - self.n_series
        if extra <= 0:
            return
        self.parents = parents
        for name, column in self.columns.items():
            self.columns[name] = _longer(column, extra)
        self.waiting = deque(Epoch(e.number, *(_longer(getattr(e, f.name), extra) for f in fields(Epoch)[1:])) for e in self.waiting)
        self.n_series = n_series
        self.factors = self._factors()

    def rate(self, epoch: int) -> Floats:
        """Events expected per unit of exposure in an epoch; NaN for a series that has learnt nothing.

        Parameters
        ----------
        epoch : int
            Epochs since 1970.

        Returns
        -------
        (n_series,) float64
        """
        events, exposure = self.columns["level_events"], self.columns["level_exposure"]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Half an event keeps a series that has been silent so far from being impossible.
            level = np.where(exposure > 0.0, (events + 0.5) / exposure, np.nan)
        return level * self._factor_at(epoch)

    def error(self) -> BaselineError:
        """How wrong the baselines have been, each shrunk to the mean of all series."""
        c = self.columns
        # A series of less than a day errs for want of a profile; that says nothing of the others.
        grown = c["epochs"] * self.epoch_ms >= DAY_MS
        pooled_sum, pooled_weight = column_sum(np.where(grown, c["error_sum"], 0.0)), column_sum(np.where(grown, c["error_weight"], 0.0))
        prior = PRIOR_ERROR**2
        pooled = (prior * PRIOR_ERROR_HOURS + pooled_sum) / (PRIOR_ERROR_HOURS + pooled_weight)
        squared = (pooled * PRIOR_ERROR_HOURS + c["error_sum"]) / (PRIOR_ERROR_HOURS + c["error_weight"])
        squared = np.maximum(squared, self._sampling())
        scatter = (EPOCHS_PER_HOUR + c["scatter_sum"]) / (EPOCHS_PER_HOUR + c["scatter_weight"])
        return BaselineError(np.sqrt(np.maximum(squared, 1e-6)), np.maximum(scatter, 1.0))

    def _sampling(self) -> Floats:
        """Relative variance of level and profile from the number of events they are made of: the least error there can be.

        A small series' hours tell so little that its record alone would take the others' error for its own.
        """
        # Weights that fall by halves are worth twice their sum; smoothing and decay of days leave 0.4 of a slot's variance.
        slot = row_sums(self.columns["profile_events"]) * sum(_KERNEL[1:] * 2 + _KERNEL[:1]) / SLOTS_PER_DAY
        return 1.0 / (2.0 * self.columns["level_events"] + 1.0) + 0.4 * slot / (slot + PROFILE_PRIOR_EVENTS) ** 2

    def learn(self, epoch: Epoch) -> None:
        """Take a finished epoch; what is old enough enters level, profile and record.

        Parameters
        ----------
        epoch : Epoch
            The epoch that has just ended. For a series under suspicion nothing of the waiting time is learnt now, and
            nothing of this epoch later, even if it has returned by then.
        """
        self.waiting.append(epoch)
        # The first day has no profile to hold on to: the level may follow at once.
        while len(self.waiting) > (LAG_EPOCHS if self.days else 0):
            old = self.waiting.popleft()
            self._absorb(old, old.suspected | epoch.suspected)

    def accept(self, rows: Bools) -> None:
        """Let these series find their new level from now on."""
        self.columns["frozen_epochs"][rows] = FREEZE_EPOCHS

    def _absorb(self, epoch: Epoch, suspected: Bools) -> None:
        c = self.columns
        c["frozen_epochs"] = np.where(suspected, c["frozen_epochs"] + 1.0, 0.0)
        held = suspected & (c["frozen_epochs"] <= FREEZE_EPOCHS)
        seen = epoch.exposure > 0.0
        known = seen & (epoch.expected > 0.0)
        # Clipping: one wild epoch moves the level no further than an ordinary bad one.
        reach = 0.5 * epoch.expected + 4.0 * np.sqrt(epoch.expected + 1.0)
        clipped = np.where(known, np.clip(epoch.observed, epoch.expected - reach, epoch.expected + reach), epoch.observed)
        # A suspected series learns what was expected of it: its profile stays in step with the others.
        learnt = np.where(held, epoch.expected, clipped)
        factor = self._factor_at(epoch.number)
        moving = seen & ~held
        c["level_events"] = np.where(moving, c["level_events"] * LEVEL_DECAY + learnt, c["level_events"])
        c["level_exposure"] = np.where(moving, c["level_exposure"] * LEVEL_DECAY + epoch.exposure * factor, c["level_exposure"])
        c["epochs"] += seen
        slot = self._slot(epoch.number)
        c["day_events"][:, slot] += np.where(seen, learnt, 0.0)
        c["day_exposure"][:, slot] += epoch.exposure
        if self.days:
            # Before a day is known, errors are the missing profile's, not the baseline's.
            self._record_errors(epoch, clipped, known & ~held)
        self.epochs_in_day += 1
        if self.epochs_in_day * self.epoch_ms >= DAY_MS:
            self._close_day(epoch.number)

    def _record_errors(self, epoch: Epoch, observed: Floats, rows: Bools) -> None:
        at = self.epochs_in_hour
        c = self.columns
        # Clipped as for the level: one wild epoch must not widen the band or temper the evidence for days.
        c["hour_observed"][:, at] = np.where(rows, observed, 0.0)
        c["hour_expected"][:, at] = np.where(rows, epoch.expected, 0.0)
        c["hour_exposure"] += np.where(rows, epoch.exposure, 0.0)
        self.epochs_in_hour += 1
        if self.epochs_in_hour < EPOCHS_PER_HOUR:
            return
        self.epochs_in_hour = 0
        observed, expected = row_sums(c["hour_observed"]), row_sums(c["hour_expected"])
        noise = self._noise(expected, c["hour_exposure"])
        self._record_scatter(observed, expected, noise)
        scatter = self.error().scatter * noise
        ready = expected > 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = np.where(ready, ((observed - expected) ** 2 - scatter * expected) / expected**2, 0.0)
        # An hour says as much about the error as it outweighs its own counting noise.
        information = expected / (expected + 100.0)
        c["error_sum"] = c["error_sum"] * ERROR_DECAY + information * np.clip(beyond, -0.05, 0.09)
        c["error_weight"] = c["error_weight"] * ERROR_DECAY + information
        c["hour_observed"] = np.zeros_like(c["hour_observed"])
        c["hour_expected"] = np.zeros_like(c["hour_expected"])
        c["hour_exposure"] = np.zeros_like(c["hour_exposure"])

    def _noise(self, expected: Floats, exposure: Floats) -> Floats:
        """Variance of (observed - expected) over `expected`, if all were Poisson."""
        if not self.random_exposure:
            return np.ones_like(expected)
        return 1.0 + np.where(exposure > 0.0, expected / np.maximum(exposure, 1.0), 0.0)

    def _record_scatter(self, observed: Floats, expected: Floats, noise: Floats) -> None:
        """Scatter of an hour's epochs around that hour's own level: what is slower than an hour is error, not scatter."""
        c = self.columns
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where(expected > 0.0, observed / expected, 0.0)
            fitted = c["hour_expected"] * level[:, None]
            pearson = np.where(fitted > 0.0, (c["hour_observed"] - fitted) ** 2 / (fitted * noise[:, None]), 0.0)
        # A wild epoch is an event, not scatter.
        total = row_sums(np.minimum(pearson, 16.0))
        used = row_sums(np.where(fitted > 0.0, 1.0, 0.0)) - 1.0
        # An hour of less than one event an epoch tells little of scatter.
        weight = np.minimum(observed / EPOCHS_PER_HOUR, 1.0)
        c["scatter_sum"] = c["scatter_sum"] * SCATTER_DECAY + weight * total
        c["scatter_weight"] = c["scatter_weight"] * SCATTER_DECAY + weight * np.maximum(used, 0.0)

    def _close_day(self, last: int) -> None:
        c = self.columns
        total_events = row_sums(c["day_events"])
        # Weighed by what is known of the day so far, or a series that began at noon would take its afternoon for a whole day.
        total_exposure = row_sums(c["day_exposure"] * self.factors)
        with np.errstate(divide="ignore", invalid="ignore"):
            day_rate = np.where(total_exposure > 0.0, total_events / total_exposure, 0.0)
        c["profile_events"] = c["profile_events"] * DAY_DECAY + c["day_events"]
        c["profile_exposure"] = c["profile_exposure"] * DAY_DECAY + c["day_exposure"] * day_rate[:, None]
        c["day_events"] = np.zeros_like(c["day_events"])
        c["day_exposure"] = np.zeros_like(c["day_exposure"])
        self.days += 1
        self.epochs_in_day = 0
        before = self.factors
        self.factors = self._factors()
        self._keep_level(before, last)

    def _keep_level(self, before: Floats, last: int) -> None:
        """A new profile must not move the level: its past, up to the epoch `last`, is weighed by the new factors."""
        past = range(last, last - 5 * LEVEL_HALF_LIFE_EPOCHS, -1)
        weights = LEVEL_DECAY ** np.arange(len(past))
        slots = [self._slot(number) for number in past]
        self.columns["level_exposure"] *= row_sums(self.factors[:, slots] * weights) / row_sums(before[:, slots] * weights)

    def _factors(self) -> Floats:
        """(n_series, SLOTS_PER_DAY) time-of-day factors, shrunk to the pooled series' profile."""
        if not self.n_series:
            return np.ones((0, SLOTS_PER_DAY))
        events = _smooth_circular(self.columns["profile_events"])
        exposure = _smooth_circular(self.columns["profile_exposure"])
        pooled = (events[0] + 5.0) / (exposure[0] + 5.0)
        parent = (events + PROFILE_PRIOR_EVENTS * pooled) / (exposure + PROFILE_PRIOR_EVENTS)
        parent[0] = pooled
        # Twice: a leaf borrows from its place, and the place from all together.
        borrowed = parent[self.parents]
        shrunk: Floats = (events + PROFILE_PRIOR_EVENTS * borrowed) / (exposure + PROFILE_PRIOR_EVENTS)
        shrunk[0] = pooled
        return shrunk

    def _slot(self, epoch: int) -> int:
        return epoch * self.epoch_ms % DAY_MS * SLOTS_PER_DAY // DAY_MS

    def _factor_at(self, epoch: int) -> Floats:
        """Factors of the middle of an epoch, interpolated between the middles of slots."""
        slot_ms = DAY_MS // SLOTS_PER_DAY
        position = ((epoch * self.epoch_ms + self.epoch_ms // 2) % DAY_MS) / slot_ms - 0.5
        low = int(np.floor(position))
        part = position - low
        return self.factors[:, low % SLOTS_PER_DAY] * (1.0 - part) + self.factors[:, (low + 1) % SLOTS_PER_DAY] * part


def _longer(column: npt.NDArray[Any], extra: int) -> npt.NDArray[Any]:
    return np.concatenate([column, np.zeros((extra, *column.shape[1:]), dtype=column.dtype)])


#: Triangular kernel over slots; 45 minutes to each side.
_KERNEL = (1.0, 0.75, 0.5, 0.25)


def _smooth_circular(values: Floats) -> Floats:
    total = values * _KERNEL[0]
    for shift, weight in enumerate(_KERNEL[1:], start=1):
        total = total + weight * (np.roll(values, shift, axis=1) + np.roll(values, -shift, axis=1))
    return total
