"""What a kind leaves to chance: the hour, the change that did it, how much it hurts, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rollguard.replay.simulation.history import LOOKBACK_MS, Wanted, change_history
from rollguard.replay.simulation.plan import Harm
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, REGIONS, SERVICES, Change
from rollguard.replay.simulation.world import ERROR_RATE, ERRORS_USUAL, Dice

__all__ = ["EVERYWHERE", "Casting"]

EVERYWHERE = tuple(range(len(REGIONS)))
#: Changes that ship in the three days before an onset, at least: twenty, and some more, as a few are never recorded.
FEWEST = 24
#: What goes wrong on the last day leaves so much of it for its consequences.
ROOM_MS = 4 * HOUR_MS
#: Share of faults that hurt as soon as their change is there, the mean lag of the others, and the longest.
AT_ONCE, LAG_MIN, LONGEST_LAG_MIN = 0.7, 6.0, 45.0
#: An incident is over so long before its case ends.
LEFT_MS = 10 * MINUTE_MS


class Casting:
    """Chance for one case.

    Parameters
    ----------
    dice : Dice
    start_ms, end_ms : int
        Span of the case.
    """

    def __init__(self, dice: Dice, start_ms: int, end_ms: int) -> None:
        self.dice = dice
        self.rng = dice("plan")
        self.start_ms, self.end_ms = start_ms, end_ms
        self.last_day_ms = end_ms - DAY_MS

    def between(self, least: float, most: float) -> float:
        """Any number between two, all alike."""
        return float(self.rng.uniform(least, most))

    def about(self, least: float, most: float) -> float:
        """Any number between two, small ones as often as large ones."""
        return float(np.exp(self.rng.uniform(np.log(least), np.log(most))))

    def minutes(self, least: float, most: float) -> int:
        """A span in ms, of so many minutes; short ones as often as long ones."""
        return round(self.about(least, most) * MINUTE_MS)

    def chance(self, share: float) -> bool:
        """Whether something happens that does so in a share of cases."""
        return bool(self.rng.random() < share)

    def moment(self, room_ms: int = ROOM_MS) -> int:
        """A moment of the last day, at whatever hour."""
        return int(self.rng.integers(self.last_day_ms + HOUR_MS, self.end_ms - room_ms))

    def region(self) -> int:
        """A place."""
        return int(self.rng.integers(len(REGIONS)))

    def ordinary(self) -> list[Change]:
        """Changes of a case in which none is guilty."""
        return next(self.tries())[0]

    def guilty(self, *wanted: Wanted, room_ms: int = ROOM_MS, busy: bool = False) -> tuple[list[Change], tuple[Change, ...]]:
        """Draw the changes of a case, and which of them did it.

        Parameters
        ----------
        *wanted : Wanted
            What each of the guilty must be like.
        room_ms : int
            How much of the last day they leave.
        busy : bool
            The guilty one is among many that ship in the same hour.

        Returns
        -------
        tuple of list of Change, tuple of Change
        """
        return next(self.tries(*wanted, room_ms=room_ms, busy=busy))

    def tries(self, *wanted: Wanted, room_ms: int = ROOM_MS, busy: bool = False) -> Iterator[tuple[list[Change], tuple[Change, ...]]]:
        """All such draws, one after another, for who has yet another condition."""
        attempt = 0
        while True:
            # Whole histories are drawn until one holds a change that could have done it: so the guilty one is like any other.
            rng = self.dice(f"changes {attempt}")
            attempt += 1
            low_ms, high_ms = self.last_day_ms + HOUR_MS, self.end_ms - room_ms
            if busy:
                low_ms = int(rng.integers(low_ms, high_ms - HOUR_MS))
                high_ms = low_ms + HOUR_MS
            history = change_history(rng, self.start_ms, self.end_ms, busy_ms=low_ms if busy else None)
            picked = _picked(rng, [change for change in history if low_ms <= change.reach[0][1] < high_ms], wanted)
            if picked is None:
                continue
            if self._many(history):
                yield history, picked

    def _many(self, history: list[Change]) -> bool:
        """Whether many changes ship in the look-back of whatever hour of the last day."""
        began_ms = np.array([change.reach[0][1] for change in history])
        hours = np.arange(self.last_day_ms, self.end_ms, HOUR_MS)
        # From the next hour's look-back to this hour: whatever lies between them has at least as many.
        within = np.searchsorted(began_ms, hours) - np.searchsorted(began_ms, hours + HOUR_MS - LOOKBACK_MS)
        return bool(within.min() >= FEWEST)

    def harm(self, change: Change, *, lasts_ms: int | None = None, regions: Sequence[int] = EVERYWHERE, **sizes: Any) -> Harm:
        """A harm that a change does where it is: at once, or after a while.

        Parameters
        ----------
        change : Change
        lasts_ms : int, optional
            Until it is undone; else one to four hours.
        regions : sequence of int
            Only there, of the places that it reaches.
        **sizes
            Other attributes of `Harm`.
        """
        lag_ms = 0 if self.chance(AT_ONCE) else round(min(float(self.rng.exponential(LAG_MIN)), LONGEST_LAG_MIN) * MINUTE_MS)
        since = {REGIONS.index(name): began_ms + lag_ms for name, began_ms, _ in change.reach}
        since = {region: since_ms for region, since_ms in since.items() if region in regions}
        end_ms = min(min(since.values()) + (lasts_ms or self.minutes(60, 240)), self.end_ms - LEFT_MS)
        since = {region: since_ms for region, since_ms in since.items() if since_ms < end_ms}
        return Harm(change=change, regions=tuple(sorted(since)), since_ms=since, end_ms=end_ms, **sizes)

    def shared_harm(self, since_ms: int, *, regions: Sequence[int] = EVERYWHERE, lasts_ms: int | None = None, **sizes: Any) -> Harm:
        """A harm that no change did."""
        end_ms = min(since_ms + (lasts_ms or self.minutes(60, 240)), self.end_ms - LEFT_MS)
        return Harm(change=None, regions=tuple(regions), since_ms=dict.fromkeys(regions, since_ms), end_ms=end_ms, **sizes)

    def errors_of(self, service: str, least: float, most: float) -> dict[int, float]:
        """Errors of a service, so many times as usual, as what comes on top for each customer."""
        place = SERVICES.index(service)
        usual = ERROR_RATE * float(ERRORS_USUAL[place] / ERRORS_USUAL.sum())
        return {place: (self.about(least, most) - 1.0) * usual}

    def sizes(self, service: str) -> dict[str, Any]:
        """How a fault of a service shows: in its errors and in orders, in orders alone, or in promises, where it makes them."""
        if service == "delivery-promise" and self.chance(0.5):
            slip = None if self.chance(0.5) else self.slip()
            return {"wrong": self.between(0.4, 0.95), "slip": slip, "loss": self.between(0.1, 0.5), "loss_grows_ms": self.minutes(1, 5)}
        if self.chance(0.3):
            return {"loss": self.between(0.15, 0.5)}
        return {"errors": self.errors_of(service, 4.0, 20.0), "loss": self.between(0.1, 0.5)}

    def slip(self) -> float:
        """What a promise that is wrong, but not absurd, is of the right one."""
        return self.between(0.55, 0.8) if self.chance(0.5) else self.between(1.25, 1.8)


def _picked(rng: np.random.Generator, eligible: list[Change], wanted: Sequence[Wanted]) -> tuple[Change, ...] | None:
    """One change of each kind that is wanted, of different services; None: there is none."""
    out: list[Change] = []
    for each in wanted:
        found = [change for change in eligible if each.fits(change) and all(change.service != other.service for other in out)]
        if not found:
            return None
        out.append(found[int(rng.integers(len(found)))])
    return tuple(out)
