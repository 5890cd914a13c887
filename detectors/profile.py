"""What a series' day and week look like: factors around one, shrunk to those of its place and of all series together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Singles
from rollguard.detectors.sums import down

if TYPE_CHECKING:
    from rollguard.detectors.baseline import BaselineError

__all__ = ["DayProfile", "LocalTimes", "WeekProfile"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
#: Shortest slot of the day.
SLOT_MS = 1_800_000
#: Events of its own a series needs in a slot of the day before its own profile weighs as much as the borrowed one, if
#: its counts scatter as Poisson does.
PRIOR_EVENTS = 60.0
#: The same for what borrows from all together: places have days of their own, and what is borrowed for their night is somebody's noon.
PLACE_PRIOR_EVENTS = 15.0
DAY_DECAY = 0.8
#: Columns worked on at a time when a day closes.
COLUMNS = 4096
#: A cell of the week is six hours.
CELLS_PER_DAY = 4
WEEK_DECAY = 0.7
#: How much weeks may differ from days, as a relative variance, and of how many times their noise that has to be more.
WEEK_VARIANCE = 0.04
NOISE_OF_WEEKS = 2.0
#: A week counts once it has been seen twice.
WEEKS_SEEN_MS = 14 * DAY_MS


@dataclass(frozen=True, slots=True)
class LocalTimes:
    """Time of the day and the week, where each series is.

    Attributes
    ----------
    ms : int or (n_series,) int64
        Milliseconds since local midnight.
    weekday : int or (n_series,) int64
        0 is a Monday. A public holiday counts as a Sunday.
    """

    ms: int | Ints
    weekday: int | Ints

    @classmethod
    def utc(cls, ms: int) -> LocalTimes:
        """Of a moment in UTC, for all series.

        Examples
        --------
        >>> LocalTimes.utc(1_772_409_600_000)
        LocalTimes(ms=0, weekday=0)
        """
        # 1 January 1970 was a Thursday.
        return cls(ms % DAY_MS, (ms // DAY_MS + 3) % 7)

    def earlier(self, by_ms: int) -> LocalTimes:
        """So much earlier, as if no clock had been changed and no day were a holiday in between."""
        since = self.ms - by_ms
        return LocalTimes(since % DAY_MS, (self.weekday + since // DAY_MS) % 7)


class DayProfile:
    """Factors by time of day.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch; slots are half hours, or epochs where those are longer.
    """

    def __init__(self, epoch_ms: int) -> None:
        self.epoch_ms = epoch_ms
        self.slot_ms = max(SLOT_MS, epoch_ms)
        self.n_slots = DAY_MS // self.slot_ms
        self.events: Singles = np.zeros((self.n_slots, 0), dtype=np.float32)
        self.exposure: Singles = np.zeros((self.n_slots, 0), dtype=np.float32)
        self.factors: Singles = np.ones((self.n_slots, 0), dtype=np.float32)
        self.scatter: Singles = np.zeros(0, dtype=np.float32)
        self.parents: Ints = np.zeros(0, dtype=np.int64)

    def grow(self, parents: Ints) -> None:
        """Make room for more series: they borrow from their parents."""
        extra = len(parents) - self.events.shape[1]
        more = np.zeros((self.n_slots, extra), dtype=np.float32)
        self.parents = parents
        self.events = np.concatenate([self.events, more], axis=1)
        self.exposure = np.concatenate([self.exposure, more], axis=1)
        self.scatter = np.concatenate([self.scatter, more[0] + np.float32(1.0)])
        fresh = np.ones((self.n_slots, len(parents)), dtype=np.float32)
        known = self.factors.shape[1]
        fresh[:, :known] = self.factors
        # Parents come before their children.
        for row in range(max(known, 1), len(parents)):
            fresh[:, row] = fresh[:, parents[row]]
        self.factors = fresh

    def middle(self, when: LocalTimes) -> Singles:
        """(n_series,) factors of the slot in which a moment lies."""
        return _at(self.factors, when.ms // self.slot_ms)

    def factor(self, when: LocalTimes) -> Singles:
        """(n_series,) factors of the middle of an epoch that begins at a moment, interpolated between the middles of slots."""
        at = when.ms + self.epoch_ms // 2
        if self.slot_ms == self.epoch_ms:
            return _at(self.factors, when.ms // self.slot_ms)
        low = (at - self.slot_ms // 2) // self.slot_ms
        part = np.asarray((at - self.slot_ms // 2) % self.slot_ms / self.slot_ms, dtype=np.float32)
        factor: Singles = _at(self.factors, low % self.n_slots) * (np.float32(1.0) - part) + _at(self.factors, (low + 1) % self.n_slots) * part
        return factor

    def learn(self, when: LocalTimes, events: Singles, exposure: Singles) -> None:
        """Add an epoch; what is older than a day loses weight as its slot is met again."""
        slot = when.ms // self.slot_ms
        first = when.ms % self.slot_ms < self.epoch_ms
        _add(self.events, slot, events, first=first, decay=DAY_DECAY)
        _add(self.exposure, slot, exposure, first=first, decay=DAY_DECAY)

    def close(self, scatter: Singles) -> None:
        """A day is over: make the factors anew.

        Parameters
        ----------
        scatter : (n_series,) float32
            Variance relative to Poisson: events that scatter tell less.
        """
        self.scatter = scatter
        n = self.events.shape[1]
        if not n:
            return
        flat = np.ones((self.n_slots, 1), dtype=np.float32)
        pooled = _shrunk(*self._counted(np.zeros(1, dtype=np.int64)), np.float32(5.0), flat)
        # A leaf borrows from its place, and the place from all together.
        places = np.unique(self.parents)
        borrowed = _shrunk(*self._counted(places), np.float32(PLACE_PRIOR_EVENTS) * scatter[places], pooled)
        borrowed[:, places == 0] = pooled
        # So many columns at a time: a copy of all slots of all series would double the memory of a bank.
        for low in range(0, n, COLUMNS):
            part = np.arange(low, min(low + COLUMNS, n))
            events, exposure = self._counted(part)
            prior = self._prior(part)
            self.factors[:, part] = _shrunk(events, exposure, prior, borrowed[:, np.searchsorted(places, self.parents[part])])
        self.factors[:, :1] = pooled

    def sampling(self, when: LocalTimes) -> Singles:
        """(n_series,) relative variance of the factors of a moment, from the number of events they are made of."""
        # Smoothing over neighbours and the decay of days leave so much of a slot's variance.
        slot = np.float32(SMOOTHED) * _at(self.events, when.ms // self.slot_ms)
        prior = self._prior(np.arange(len(slot)))
        return np.asarray(np.float32(0.4) * slot * self.scatter / (slot + prior) ** 2, dtype=np.float32)

    def _prior(self, rows: Ints) -> Singles:
        """(n_rows,) events that the borrowed profile is worth."""
        return np.where(self.parents[rows] > 0, np.float32(PRIOR_EVENTS), np.float32(PLACE_PRIOR_EVENTS)) * self.scatter[rows]

    def _counted(self, rows: Ints) -> tuple[Singles, Singles]:
        """(n_slots, n_rows) events and exposure, smoothed over neighbouring half hours."""
        events, exposure = self.events[:, rows], self.exposure[:, rows]
        return (events, exposure) if self.slot_ms > SLOT_MS else (_smooth(events), _smooth(exposure))


class WeekProfile:
    """Factors by six hours of the week, on top of the day's.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch.
    """

    def __init__(self, epoch_ms: int) -> None:
        self.epoch_ms = epoch_ms
        self.cell_ms = DAY_MS // CELLS_PER_DAY
        self.n_cells = 7 * CELLS_PER_DAY
        self.events: Singles = np.zeros((self.n_cells, 0), dtype=np.float32)
        self.exposure: Singles = np.zeros((self.n_cells, 0), dtype=np.float32)
        self.level: Singles = np.zeros(0, dtype=np.float32)
        self.own: Singles = np.zeros(0, dtype=np.float32)
        self.active = False

    def grow(self, parents: Ints) -> None:
        """Make room for more series."""
        extra = len(parents) - self.events.shape[1]
        more = np.zeros((self.n_cells, extra), dtype=np.float32)
        self.events = np.concatenate([self.events, more], axis=1)
        self.exposure = np.concatenate([self.exposure, more], axis=1)
        self.level = np.concatenate([self.level, more[0]])
        self.own = np.concatenate([self.own, more[0]])

    def factor(self, when: LocalTimes) -> Singles:
        """(n_series,) factors; 1 before the pooled series has seen two weeks."""
        if not self.active:
            return np.ones(len(self.level), dtype=np.float32)
        cell = self._cell(when)
        pooled = self._raw(cell, 0)
        place = self.own * _at(self.events, cell) / np.maximum(self.level * _at(self.exposure, cell), np.float32(1e-12))
        known = _at(self.exposure, cell) > 0.0
        factor: Singles = np.where(known, place + (np.float32(1.0) - self.own) * pooled, pooled)
        return factor

    def learn(self, when: LocalTimes, events: Singles, exposure: Singles) -> None:
        """Add an epoch; `exposure` is weighed by the day's factor."""
        first = when.ms % self.cell_ms < self.epoch_ms
        cell = self._cell(when)
        _add(self.events, cell, events, first=first, decay=WEEK_DECAY)
        _add(self.exposure, cell, exposure, first=first, decay=WEEK_DECAY)

    def close(self, age_ms: Singles, error: BaselineError) -> None:
        """A day is over: say how much a series' own weeks weigh against those of all together.

        Parameters
        ----------
        age_ms : (n_series,) float32
            For how long each has been seen; a week that was not seen twice does not count.
        error : BaselineError
            Of the level: what a cell of one week may be off by.
        """
        if not len(age_ms):
            return
        self.active = bool(age_ms[0] >= WEEKS_SEEN_MS)
        events = down(self.events)
        self.level = np.divide(events, np.maximum(down(self.exposure), np.float32(1e-12)))
        cell = np.maximum(events / np.float32(self.n_cells), np.float32(1e-6))
        noise = error.relative**2 + error.scatter / cell
        # How much weeks really differ from days is asked of all series together: what their cells vary beyond their noise.
        exposure = self.exposure[:, 0]
        known = exposure > 0.0
        apart = np.where(known, self.events[:, 0] / np.maximum(self.level[0] * exposure, np.float32(1e-12)) - np.float32(1.0), np.float32(0.0))
        seen = float(np.add.accumulate(apart * apart)[-1]) / max(int(np.count_nonzero(known)), 1)
        variance = np.float32(min(max(seen - NOISE_OF_WEEKS * float(noise[0]), 0.0), WEEK_VARIANCE))
        self.own = np.where(age_ms >= WEEKS_SEEN_MS, variance / np.maximum(variance + noise, np.float32(1e-12)), np.float32(0.0))

    def _cell(self, when: LocalTimes) -> int | Ints:
        return when.weekday * CELLS_PER_DAY + when.ms // self.cell_ms

    def _raw(self, cell: int | Ints, row: int) -> Singles:
        """Factor of one series in the cells of all, shrunk to one."""
        exposure = self.exposure[cell, row]
        raw = self.events[cell, row] / np.maximum(self.level[row] * exposure, np.float32(1e-12))
        return np.asarray(np.where(exposure > 0.0, 1.0 + self.own[row] * (raw - 1.0), 1.0), dtype=np.float32)


#: Triangular kernel over half-hour slots; an hour to each side.
_KERNEL = (1.0, 0.5)
SMOOTHED = 2.0


def _smooth(values: Singles) -> Singles:
    total: Singles = np.multiply(values, np.float32(_KERNEL[0]))
    for shift, weight in enumerate(_KERNEL[1:], start=1):
        total += np.float32(weight) * (np.roll(values, shift, axis=0) + np.roll(values, -shift, axis=0))
    return total


def _shrunk(events: Singles, exposure: Singles, prior: Singles | np.float32, borrowed: Singles) -> Singles:
    """Rates of slots relative to the series' own level, shrunk to `borrowed` by so many events."""
    # By what is known of the borrowed day: a series that began at noon does not take its afternoon for a whole day.
    level = down(events) / np.maximum(down(exposure * borrowed), np.float32(1e-12))
    shrunk: Singles = np.divide(events + prior * borrowed, exposure * level + prior)
    return shrunk


def _at(table: Singles, slot: int | Ints) -> Singles:
    found: Singles = table[slot] if isinstance(slot, int) else table[slot, np.arange(table.shape[1])]
    return found


def _add(table: Singles, slot: int | Ints, values: Singles, *, first: bool | Bools, decay: float) -> None:
    if isinstance(slot, int):
        if first:
            table[slot] *= np.float32(decay)
        table[slot] += values
        return
    series = np.arange(table.shape[1])
    table[slot, series] = table[slot, series] * np.where(first, np.float32(decay), np.float32(1.0)) + values
