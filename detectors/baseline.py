"""What a rate should be now, learnt only from what is past, together with how wrong that has been so far.

Rate = level x time of day x time of week. The level follows slowly and lags behind the buckets under test, so that a
decline under way cannot make itself normal; the profiles are shrunk to those of the place and of all series together; all
stand still for a series under suspicion. The baseline keeps its own record: the relative error of its past blocks widens
the dead band of the evidence, the scatter of its past epochs tempers it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.evidence import Singles
from rollguard.detectors.profile import DayProfile, LocalTimes, WeekProfile
from rollguard.detectors.sums import column_sum

__all__ = ["FAST", "ORDINARY_BILL", "SURELY_BILL", "BaselineError", "Epoch", "Memory", "RateBaseline"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MINUTE_MS = 60_000
DAY_MS = 86_400_000
#: A block is the span over which an error is an error and not scatter: an hour, or a few epochs that are that long.
BLOCK_MS = 60 * MINUTE_MS
LEAST_BLOCK_EPOCHS = 4
#: Half-lives of what is known about errors and scatter, in half-lives of the level.
ERROR_HALF_LIVES = 9.0
SCATTER_HALF_LIVES = 6.0
#: The record starts as if this relative error had been seen for so many blocks: a young baseline is a wide one.
PRIOR_ERROR = 0.08
PRIOR_ERROR_BLOCKS = 6.0
#: Days differ from one another by about so much in their shape; of how many a profile is made says how well the next one is known, whatever the
#: record of the blocks says: it knows the hours of these days, not those of a Sunday.
YOUNG = 0.06
#: Before the week is known, a weekend differs from the days before it, and the day after from it, by about so much.
UNKNOWN_WEEKEND = 0.04
TURNING_DAYS = (5, 6, 0)
#: Half-life, in days, of the level that surges are told by, and how far it sees up: a sale of hours hardly moves it, however large.
USUAL_DAYS, USUAL_REACH = 3.0, 0.25
#: A level that stands higher by so much is that of a busy day; from this factor on it is surely a surge. A bill asks for more before it leaves
#: something out than an alarm does.
ORDINARY, SURELY_SURGE = 0.12, 1.25
ORDINARY_BILL, SURELY_BILL = 0.2, 1.4
#: Days after which a series lets go of a level it remembers from before a long freeze.
REMEMBER_DAYS = 7
#: The record of scatter starts as if so many epochs had scattered as Poisson does.
PRIOR_SCATTER_EPOCHS = 12.0


@dataclass(frozen=True, slots=True)
class Memory:
    """How long a baseline remembers.

    Attributes
    ----------
    half_life_ms : int
        Of the level.
    lag_ms : int
        Between a bucket and the level that may learn from it: longer than most tests run, see the memory law.
    freeze_ms : int
        A frozen level is let go after so long: a new normal must not be an incident for ever.
    """

    half_life_ms: int = 240 * MINUTE_MS
    lag_ms: int = 45 * MINUTE_MS
    freeze_ms: int = 720 * MINUTE_MS


FAST = Memory()


@dataclass(frozen=True, slots=True)
class Epoch:
    """Sums of one epoch of buckets, for every series.

    Attributes
    ----------
    number : int
        Epochs since 1970.
    observed, exposure, expected : (n_series,) float32
        Events, exposure (buckets, or trials of the other kind) and events expected; missing buckets left out.
    suspected : (n_series,) bool
        Series under suspicion at its end.
    """

    number: int
    observed: Singles
    exposure: Singles
    expected: Singles
    suspected: Bools


@dataclass(frozen=True, slots=True)
class BaselineError:
    """How wrong a baseline has been.

    Attributes
    ----------
    relative : (n_series,) float32
        Root mean square of its blocks' relative errors beyond counting noise, >= 0.
    scatter : (n_series,) float32
        Variance of epoch sums relative to Poisson, >= 1.
    """

    relative: Singles
    scatter: Singles


class RateBaseline:
    """Causal baselines of many rates, as columns. Row 0 is the pooled series of the metric.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch in ms; it divides a slot of the day, or is one.
    memory : Memory
        How long it remembers.
    random_exposure : bool
        The exposure is itself a Poisson count (misses): it adds its own noise to what is expected.
    clock : SeriesClock, optional
        Local times of the series.

    Examples
    --------
    >>> baseline = RateBaseline(300_000)
    >>> baseline.grow(np.array([0]))
    >>> for number in range(20):
    ...     events, width = np.array([50.0], dtype=np.float32), np.array([30.0], dtype=np.float32)
    ...     baseline.learn(Epoch(number, events, width, events, np.array([False])))
    >>> baseline.rate(20).round(2)
    array([1.67], dtype=float32)
    """

    #: Arrays with one number a series.
    _COLUMNS: ClassVar[tuple[str, ...]] = (
        "level_events", "level_exposure", "usual", "frozen_epochs", "epochs", "parted", "parted_epochs",
        "block_observed", "block_expected", "block_square", "block_used", "block_exposure",
        "error_sum", "error_weight", "scatter_sum", "scatter_weight",
    )  # fmt: skip

    def __init__(self, epoch_ms: int, memory: Memory = FAST, *, random_exposure: bool = False, clock: SeriesClock | None = None) -> None:
        self.epoch_ms = epoch_ms
        self.lag_epochs = max(1, memory.lag_ms // epoch_ms)
        self.freeze_epochs = max(1, memory.freeze_ms // epoch_ms)
        self.half_life_epochs = max(1.0, memory.half_life_ms / epoch_ms)
        self.decay = 0.5 ** (1.0 / self.half_life_epochs)
        self.usual_decay = 0.5 ** (epoch_ms / (USUAL_DAYS * DAY_MS))
        self.block_epochs = max(LEAST_BLOCK_EPOCHS, BLOCK_MS // epoch_ms)
        self.error_decay = self.decay ** (self.block_epochs / ERROR_HALF_LIVES)
        self.scatter_decay = self.decay ** (self.block_epochs / SCATTER_HALF_LIVES)
        self.random_exposure = random_exposure
        self.n_series = 0
        self.days = 0
        self.epochs_in_day = 0
        self.epochs_in_block = 0
        self.waiting: deque[Epoch] = deque()
        self.columns: dict[str, Singles] = {name: np.zeros(0, dtype=np.float32) for name in self._COLUMNS}
        self.day = DayProfile(epoch_ms)
        self.week = WeekProfile(epoch_ms)
        self.parents: Ints = np.zeros(0, dtype=np.int64)
        self.clock = SeriesClock() if clock is None else clock

    def grow(self, parents: Ints, regions: Sequence[str | None] = ()) -> None:
        """Make room for more series; a new one starts without a past.

        Parameters
        ----------
        parents : (n_series,) int64
            For every series the row whose profiles it borrows from; the pooled row 0 is its own parent.
        regions : sequence of str or None, (n_series,)
            Where each series is; without any, all are on UTC.
        """
        n_series = len(parents)
        extra = n_series - self.n_series
        if extra <= 0:
            return
        self.parents = parents
        self.clock.grow(regions or (None,) * n_series)
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, np.zeros(extra, dtype=column.dtype)])
        self.waiting = deque(
            Epoch(e.number, *(np.concatenate([(c := getattr(e, f.name)), np.zeros(extra, dtype=c.dtype)]) for f in fields(Epoch)[1:])) for e in self.waiting
        )
        self.n_series = n_series
        self.day.grow(parents)
        self.week.grow(parents)

    def rate(self, epoch: int) -> Singles:
        """Events expected per unit of exposure in an epoch; NaN for a series that has learnt nothing.

        Parameters
        ----------
        epoch : int
            Epochs since 1970.

        Returns
        -------
        (n_series,) float32
        """
        return self._level() * self._factor(self.clock.at(epoch * self.epoch_ms))

    def error(self, epoch: int | None = None) -> BaselineError:
        """How wrong the baselines have been, each shrunk to the mean of all series, and how little a few days say of the next one.

        Parameters
        ----------
        epoch : int, optional
            Epoch that is expected; without one, at no time of day in particular.
        """
        c = self.columns
        # A series of less than a day errs for want of a profile; that says nothing of the others.
        grown = c["epochs"] * self.epoch_ms >= DAY_MS
        pooled_sum, pooled_weight = (column_sum(np.where(grown, c[name], 0.0).astype(np.float64)) for name in ("error_sum", "error_weight"))
        pooled = np.float32((PRIOR_ERROR**2 * PRIOR_ERROR_BLOCKS + pooled_sum) / (PRIOR_ERROR_BLOCKS + pooled_weight))
        squared = (pooled * np.float32(PRIOR_ERROR_BLOCKS) + c["error_sum"]) / (np.float32(PRIOR_ERROR_BLOCKS) + c["error_weight"])
        squared = np.maximum(squared, self._sampling(epoch)) + np.float32(YOUNG**2 / max(self.days, 1))
        return BaselineError(np.sqrt(np.maximum(squared, np.float32(1e-6))), self.scatter())

    def surge(self, ordinary: float = ORDINARY, surely: float = SURELY_SURGE) -> Singles:
        """(n_series,) how far the level stands above that of the last days, as a factor >= 1; what a busy day may bring is none.

        A sale that ends takes the counts back to where they came from, which is no loss; nothing but the calendar could tell it
        from one that exactly undoes the surge.
        """
        level, usual = self._level(), self.columns["usual"]
        if self.days < USUAL_DAYS:
            # What is usual is not known yet: the profile still takes an afternoon for a surge.
            return np.ones_like(level)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((usual > 0.0) & (level > usual), level / usual, np.float32(1.0)).astype(np.float32)
        # From one bound to the other as a line, so that no epoch makes a leap.
        steep = np.float32((surely - 1.0) / (surely - 1.0 - ordinary))
        found: Singles = np.clip(np.float32(1.0) + steep * (ratio - np.float32(1.0 + ordinary)), np.float32(1.0), ratio)
        return found

    def scatter(self) -> Singles:
        """(n_series,) variance of epoch sums relative to Poisson, >= 1."""
        c = self.columns
        prior = np.float32(PRIOR_SCATTER_EPOCHS)
        return np.maximum((prior + c["scatter_sum"]) / (prior + c["scatter_weight"]), np.float32(1.0))

    def _sampling(self, epoch: int | None) -> Singles:
        """Relative variance of level and profile from the number of events they are made of: the least error there can be.

        A small series' blocks tell so little that its record alone would take the others' error for its own; and a night is
        known worse than the day.
        """
        # Weights that fall by halves are worth twice their sum.
        level = np.float32(1.0) / (2.0 * self.columns["level_events"] + np.float32(1.0))
        return level if epoch is None else level + self.day.sampling(self.clock.at(epoch * self.epoch_ms))

    def weekend(self, epoch: int | None) -> Singles:
        """(n_series,) relative error of a Saturday, Sunday or Monday of which nothing is known yet. Shares of one moment have no weekend."""
        if epoch is None or self.week.active or self.random_exposure:
            return np.zeros(self.n_series, dtype=np.float32)
        turning = np.isin(self.clock.at(epoch * self.epoch_ms).weekday, TURNING_DAYS)
        return np.where(np.broadcast_to(turning, (self.n_series,)), np.float32(UNKNOWN_WEEKEND), np.float32(0.0)).astype(np.float32)

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
        while len(self.waiting) > (self.lag_epochs if self.days else 0):
            old = self.waiting.popleft()
            self._absorb(old, old.suspected | epoch.suspected)

    def accept(self, rows: Bools) -> None:
        """Take the level of the epochs that wait to be learnt for the normal of these series, at once."""
        c = self.columns
        events, exposure = np.zeros(self.n_series, dtype=np.float32), np.zeros(self.n_series, dtype=np.float32)
        for epoch in self.waiting:
            events += epoch.observed
            exposure += epoch.exposure * self._factor(self.clock.at(epoch.number * self.epoch_ms))
            epoch.suspected[rows] = False
        known = rows & (exposure > 0.0)
        np.copyto(c["level_events"], events, where=known)
        np.copyto(c["level_exposure"], exposure, where=known)
        np.copyto(c["usual"], self._level(), where=known)
        c["frozen_epochs"][rows] = 0.0
        c["parted"][rows] = 0.0

    def exposure(self) -> Singles:
        """(n_series,) exposure of a usual epoch: of those that wait to be learnt, else of those that made the level."""
        total = np.zeros(self.n_series, dtype=np.float32)
        for epoch in self.waiting:
            total += epoch.exposure
        usual = total / np.float32(max(len(self.waiting), 1))
        seen = np.minimum(self.columns["epochs"], np.float32(1.0 / (1.0 - self.decay)))
        return np.where(usual > 0.0, usual, self.columns["level_exposure"] / np.maximum(seen, np.float32(1.0)))

    def waited(self, row: int, buckets_per_epoch: int, rate: float) -> tuple[Ints, npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
        """First bucket, events and exposure of the epochs that wait to be learnt, of one series, and their length in buckets.

        Exposure is told in terms of `rate`, today's, so that a slope of the day is no change.
        """
        first = np.array([epoch.number * buckets_per_epoch for epoch in self.waiting], dtype=np.int64)
        observed = np.array([float(epoch.observed[row]) for epoch in self.waiting])
        exposure = np.array([float(epoch.expected[row]) / rate if rate > 0.0 else 0.0 for epoch in self.waiting])
        return first, observed, exposure, buckets_per_epoch

    def _level(self) -> Singles:
        events, exposure = self.columns["level_events"], self.columns["level_exposure"]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Half an event keeps a series that has been silent so far from being impossible.
            return np.where(exposure > 0.0, (events + np.float32(0.5)) / exposure, np.float32(np.nan))

    def _factor(self, when: LocalTimes) -> Singles:
        return self.day.factor(when) * self.week.factor(when)

    def _absorb(self, epoch: Epoch, suspected: Bools) -> None:
        c = self.columns
        when = self.clock.at(epoch.number * self.epoch_ms)
        frozen = np.where(suspected, c["frozen_epochs"] + np.float32(1.0), np.float32(0.0))
        held = suspected & (frozen <= self.freeze_epochs)
        seen = epoch.exposure > 0.0
        known = seen & (epoch.expected > 0.0)
        # Clipping: one wild epoch moves the level no further than an ordinary bad one.
        reach = np.float32(0.5) * epoch.expected + np.float32(4.0) * np.sqrt(epoch.expected + np.float32(1.0))
        # A suspected series learns what was expected of it: its profile stays in step with the others.
        learnt = np.where(known, np.clip(epoch.observed, epoch.expected - reach, epoch.expected + reach), epoch.observed)
        wild = known & (learnt != epoch.observed)
        day = self.day.factor(when)
        factor = day * self.week.factor(when)
        self._part(epoch, suspected & (c["frozen_epochs"] <= self.freeze_epochs) & ~held, factor, known)
        c["frozen_epochs"] = frozen
        moving = seen & ~held
        decay = np.float32(self.decay)
        np.copyto(c["level_events"], c["level_events"] * decay + learnt, where=moving)
        np.copyto(c["level_exposure"], c["level_exposure"] * decay + epoch.exposure * factor, where=moving)
        # The first day has no profile: its level is that of the hour.
        level, usual = self._level(), c["usual"]
        if self.days:
            step = np.minimum(level - usual, np.float32(USUAL_REACH) * usual)
            level = np.where(usual > 0.0, usual + np.float32(1.0 - self.usual_decay) * step, level)
        np.copyto(c["usual"], level, where=moving)
        c["epochs"] += seen
        # While a series looks for a new level after a long freeze, a wild epoch says nothing of its day.
        astray = wild & (c["parted"] > 0.0)
        teaching = seen & (held | ~astray)
        taught = np.where(held, epoch.expected, learnt)
        self.day.learn(when, np.where(teaching, taught, np.float32(0.0)), np.where(teaching, epoch.exposure, np.float32(0.0)))
        if self.days:
            self.week.learn(when, np.where(teaching, taught, np.float32(0.0)), np.where(teaching, epoch.exposure * day, np.float32(0.0)))
            # Before a day is known, errors are the missing profile's, not the baseline's.
            self._record(epoch, learnt, known & ~held & ~astray)
        self.epochs_in_day += 1
        if self.epochs_in_day * self.epoch_ms >= DAY_MS:
            self._close_day(when)

    def _part(self, epoch: Epoch, leaving: Bools, factor: Singles, known: Bools) -> None:
        """A level let go after a long freeze is remembered: where its counts come back, so does it."""
        c = self.columns
        if leaving.any():
            np.copyto(c["parted"], self._level(), where=leaving)
            np.copyto(c["parted_epochs"], np.float32(REMEMBER_DAYS * DAY_MS / self.epoch_ms), where=leaving)
        if not c["parted"].any():
            return
        before = c["parted"] * factor * epoch.exposure
        noise = np.sqrt(np.maximum(before, epoch.expected) + np.float32(1.0)) * np.sqrt(self.scatter())
        near = np.abs(epoch.observed - before) <= np.float32(0.2) * before + np.float32(2.0) * noise
        apart = np.abs(before - epoch.expected) > np.float32(4.0) * noise
        back = known & (c["parted"] > 0.0) & near & apart
        np.copyto(c["level_events"], c["parted"] * c["level_exposure"], where=back)
        c["parted_epochs"] -= np.float32(1.0)
        c["parted"][back | (c["parted_epochs"] <= 0.0)] = 0.0

    def _record(self, epoch: Epoch, observed: Singles, rows: Bools) -> None:
        c = self.columns
        # Clipped as for the level: one wild epoch must not widen the band or temper the evidence for days.
        seen, expected = np.where(rows, observed, np.float32(0.0)), np.where(rows, epoch.expected, np.float32(0.0))
        c["block_observed"] += seen
        c["block_expected"] += expected
        c["block_square"] += np.where(rows, seen * seen / np.maximum(expected, np.float32(1e-12)), np.float32(0.0))
        c["block_used"] += rows
        c["block_exposure"] += np.where(rows, epoch.exposure, np.float32(0.0))
        self.epochs_in_block += 1
        if self.epochs_in_block < self.block_epochs:
            return
        self.epochs_in_block = 0
        self._record_block()
        for name in ("block_observed", "block_expected", "block_square", "block_used", "block_exposure"):
            c[name][:] = 0.0

    def _record_block(self) -> None:
        c = self.columns
        observed, expected = c["block_observed"], c["block_expected"]
        ready = (expected > 0.0) & (c["block_used"] > 0.5 * self.block_epochs)
        noise = self._noise(expected, c["block_exposure"])
        safe = np.maximum(expected, np.float32(1e-12))
        # Scatter of the epochs around the block's own level: what is slower than a block is error, not scatter.
        level = np.maximum(observed / safe, np.float32(1e-6))
        pearson = np.maximum(c["block_square"] / level - observed, np.float32(0.0)) / noise
        # A block of less than one event an epoch tells little of scatter, and a wild one is an event.
        weight = np.where(ready, np.minimum(observed / np.float32(self.block_epochs), np.float32(1.0)), np.float32(0.0))
        used = np.maximum(c["block_used"] - np.float32(1.0), np.float32(0.0))
        before = self.scatter()
        pearson = np.minimum(pearson, np.float32(4.0) * before * np.maximum(used, np.float32(1.0)))
        c["scatter_sum"] = c["scatter_sum"] * np.float32(self.scatter_decay) + weight * pearson
        c["scatter_weight"] = c["scatter_weight"] * np.float32(self.scatter_decay) + weight * used
        scatter = self.scatter() * noise
        beyond = np.where(ready, ((observed - expected) ** 2 - scatter * expected) / (safe * safe), np.float32(0.0))
        # A block says as much about the error as it outweighs its own counting noise.
        information = np.where(ready, expected / (expected + np.float32(100.0) * scatter), np.float32(0.0))
        c["error_sum"] = c["error_sum"] * np.float32(self.error_decay) + information * np.clip(beyond, np.float32(-0.05), np.float32(0.09))
        c["error_weight"] = c["error_weight"] * np.float32(self.error_decay) + information

    def _noise(self, expected: Singles, exposure: Singles) -> Singles:
        """Variance of (observed - expected) over `expected`, if all were Poisson."""
        if not self.random_exposure:
            return np.ones_like(expected)
        return np.float32(1.0) + np.where(exposure > 0.0, expected / np.maximum(exposure, np.float32(1.0)), np.float32(0.0))

    def _close_day(self, when: LocalTimes) -> None:
        self.days += 1
        self.epochs_in_day = 0
        before = self._past_factor(when)
        self.day.close(self.scatter())
        self.week.close(self.columns["epochs"] * self.epoch_ms, self.error())
        # A new profile must not move the level: its past is weighed by the new factors.
        moved = self._past_factor(when) / before
        self.columns["level_exposure"] *= moved
        self.columns["usual"] /= moved

    def _past_factor(self, when: LocalTimes) -> Singles:
        """Mean factor of the epochs that make the level, up to now, weighed as the level weighs them."""
        per_slot = max(1, self.day.slot_ms // self.epoch_ms)
        slots = min(5 * int(np.ceil(self.half_life_epochs / per_slot)), 7 * self.day.n_slots)
        total = np.zeros(self.n_series, dtype=np.float32)
        mass = 0.0
        for back in range(slots):
            weight = self.decay ** (back * per_slot)
            at = when.earlier(back * self.day.slot_ms)
            total += np.float32(weight) * self.day.middle(at) * self.week.factor(at)
            mass += weight
        return total / np.float32(mass)
