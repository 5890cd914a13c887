"""What time it is where a series lives: the slot of its local day, the day of its week, and whether that day is a public holiday."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from rollguard.config import Place, split_holidays
from rollguard.detectors.profile import LocalTimes

if TYPE_CHECKING:
    from holidays import HolidayBase

__all__ = ["SLOTS_PER_DAY", "SUNDAY", "Calendar", "LocalTime", "SeriesClock"]

Ints = npt.NDArray[np.int64]

#: Half hours.
SLOTS_PER_DAY = 48
SUNDAY = 6
MINUTES_PER_DAY = 1440
MINUTE_MS = 60_000
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class LocalTime:
    """Time at a place.

    Attributes
    ----------
    slot : int
        Slot of the local day by the clock on the wall, 0..47 for half hours. Where a clock is set forward slots are left out, where it is
        set back they come twice.
    weekday : int
        Day of the local week, Monday 0 to Sunday 6.
    holiday : bool
        Whether the local date is a public holiday.
    """

    slot: int
    weekday: int
    holiday: bool

    @property
    def kind_of_day(self) -> int:
        """Day of the week for a profile: a holiday counts as a Sunday."""
        return SUNDAY if self.holiday else self.weekday


class _Clock:
    """The clock and the calendar of one place."""

    def __init__(self, place: Place) -> None:
        self.zone = ZoneInfo(place.time_zone)
        self.holidays = None if place.holidays is None else _holidays(place.holidays)
        #: The date asked for last, and whether it is a holiday: nearly always the next one asked for.
        self.day = (0, False)

    def at(self, seconds: int, n_slots: int) -> tuple[int, int, bool]:
        # The zone's own offset, whatever it is at that moment; it costs a microsecond, so nothing is remembered that could go stale.
        local = datetime.fromtimestamp(seconds, self.zone)
        slot = (local.hour * 3600 + local.minute * 60 + local.second) * n_slots // DAY_S
        if self.holidays is None:
            return slot, local.weekday(), False
        number = local.toordinal()
        if number != self.day[0]:
            self.day = (number, local.date() in self.holidays)
        return slot, local.weekday(), self.day[1]


def _holidays(name: str) -> HolidayBase:
    from holidays import country_holidays  # noqa: PLC0415 - 70 ms that only a config with holidays pays

    country, part = split_holidays(name)
    return country_holidays(country, subdiv=part)


class Calendar:
    """Local times of places; a place that is not named has UTC and no holidays.

    The same moment gives the same answer whatever was asked before. Zones and holidays are data of libraries; no clock is read.

    Parameters
    ----------
    places : mapping of str to Place
        By region; names are known to be good (`rollguard.config` checks them).

    Examples
    --------
    >>> calendar = Calendar({"eu": Place(time_zone="Europe/Berlin", holidays="DE"), "in": Place(time_zone="Asia/Kolkata")})
    >>> calendar.at("eu", 1_772_431_200_000)
    LocalTime(slot=14, weekday=0, holiday=False)
    >>> calendar.slots(["eu", None, "in"], 1_772_431_200_000, 48)[0]
    array([14, 12, 23])
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.clocks: list[_Clock] = [_Clock(Place())]
        self.place: dict[str | None, int] = {}
        known: dict[tuple[str, str | None], int] = {("UTC", None): 0}
        for region, place in sorted(places.items()):
            # Regions that share a clock are asked for once.
            number = known.setdefault((place.time_zone, place.holidays), len(self.clocks))
            if number == len(self.clocks):
                self.clocks.append(_Clock(place))
            self.place[region] = number

    def at(self, region: str | None, ms: int) -> LocalTime:
        """Local time of a region.

        Parameters
        ----------
        region : str or None
            Value of the label `region`; None: a series that has none.
        ms : int
            Epoch ms.

        Returns
        -------
        LocalTime
            With the slot of half an hour.
        """
        return LocalTime(*self.clocks[self.place.get(region, 0)].at(ms // 1000, SLOTS_PER_DAY))

    def slots(self, regions: Sequence[str | None], ms: int, n_slots: int) -> tuple[Ints, Ints, Ints]:
        """Local times of many series at one moment.

        Parameters
        ----------
        regions : sequence of str or None, (n_series,)
            Region of each series; None: it has none.
        ms : int
            Epoch ms.
        n_slots : int
            Slots of a day, 1..86400.

        Returns
        -------
        slot, weekday, holiday : (n_series,) int64
            As in `LocalTime`; `holiday` is 0 or 1.
        """
        table = np.array([clock.at(ms // 1000, n_slots) for clock in self.clocks], dtype=np.int64)
        place = self.place
        rows = np.fromiter((place.get(region, 0) for region in regions), dtype=np.int64, count=len(regions))
        return table[rows, 0], table[rows, 1], table[rows, 2]


class SeriesClock:
    """Local times of the series of one metric, all at once.

    Parameters
    ----------
    places : mapping of str to Place, optional
        By region; without any, all series are on UTC.

    Examples
    --------
    >>> clock = SeriesClock({"in": Place(time_zone="Asia/Kolkata")})
    >>> clock.grow([None, "in"])
    >>> clock.at(1_772_409_600_000)
    LocalTimes(ms=array([       0, 19800000]), weekday=array([0, 0]))
    """

    _derived = ("calendar",)

    def __init__(self, places: Mapping[str, Place] | None = None) -> None:
        self.places = {region: (place.time_zone, place.holidays) for region, place in sorted((places or {}).items())}
        self.regions: list[str | None] = []
        self._rederive()

    def _rederive(self) -> None:
        self.calendar = Calendar({region: Place(time_zone=zone, holidays=days) for region, (zone, days) in self.places.items()})

    def grow(self, regions: Sequence[str | None]) -> None:
        """Name the regions of all series; None: a series that pools over them."""
        self.regions = list(regions)

    def at(self, ms: int) -> LocalTimes:
        """Time of the day and the week where each series is. A public holiday is a Sunday."""
        if not self.places:
            return LocalTimes.utc(ms)
        minute, weekday, holiday = self.calendar.slots(self.regions, ms, MINUTES_PER_DAY)
        return LocalTimes(minute * MINUTE_MS + ms % MINUTE_MS, np.where(holiday > 0, SUNDAY, weekday))
