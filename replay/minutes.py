"""What was counted beside what was expected, minute by minute, for whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rollguard.detectors import Account, SeriesName, Tick

__all__ = ["Curve", "Minutes"]

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Curve:
    """One series over some time.

    Attributes
    ----------
    at_ms : list of int
        Beginnings of equal steps, epoch ms.
    observed, expected, spread : list of float or None
        Of each step: events, what the baseline expected, and one standard deviation of the difference, the baseline's own error included. None: nothing
        is known of it.
    """

    at_ms: list[int] = field(default_factory=list)
    observed: list[float | None] = field(default_factory=list)
    expected: list[float | None] = field(default_factory=list)
    spread: list[float | None] = field(default_factory=list)


class Minutes:
    """Adds ticks up: every metric, everywhere and by region.

    Parameters
    ----------
    bucket_ms : int
    """

    def __init__(self, bucket_ms: int) -> None:
        self.bucket_ms = bucket_ms
        #: By metric and place (empty: everywhere), then minute: observed, expected, variance, error in events, buckets that are known.
        self.sums: dict[tuple[str, str], dict[int, list[float]]] = {}
        self._columns: dict[str, tuple[Sequence[SeriesName], list[tuple[str, int]]]] = {}

    def add(self, tick: Tick) -> None:
        """Take a bucket."""
        minute = tick.bucket * self.bucket_ms // MINUTE_MS
        for account in tick.accounts:
            if account.missing:
                continue
            for place, column in self._places(account):
                sums = self.sums.setdefault((account.metric, place), {}).setdefault(minute, [0.0] * 5)
                expected = float(account.expected[column])
                sums[0] += float(account.observed[column])
                sums[1] += expected
                sums[2] += float(account.variance[column])
                sums[3] += float(account.error[column]) * expected
                sums[4] += 1.0

    def places(self, metric: str) -> list[str]:
        """Regions in which a metric was counted."""
        return sorted(place for name, place in self.sums if name == metric and place)

    def lost(self, metric: str, place: str, since_ms: int, until_ms: int) -> float:
        """Events that were expected and did not come, in the minutes that begin between two moments; what came beyond the expected counts against it."""
        first, last = since_ms // MINUTE_MS, -(-until_ms // MINUTE_MS)
        return sum(row[1] - row[0] for minute, row in self.sums.get((metric, place), {}).items() if first <= minute < last)

    def curve(self, metric: str, place: str, since_ms: int, until_ms: int, *, most: int) -> Curve:
        """One series between two moments, in steps of as many minutes as it takes to stay below `most` of them."""
        sums = self.sums.get((metric, place), {})
        first, last = since_ms // MINUTE_MS, -(-until_ms // MINUTE_MS)
        step = max(1, -(-(last - first) // most))
        found = Curve()
        for begin in range(first, last, step):
            rows = [row for minute in range(begin, begin + step) if (row := sums.get(minute)) is not None and row[1] > 0.0]
            found.at_ms.append(begin * MINUTE_MS)
            found.observed.append(round(sum(row[0] for row in rows), 2) if rows else None)
            found.expected.append(round(sum(row[1] for row in rows), 2) if rows else None)
            found.spread.append(round((sum(row[2] for row in rows) + sum(row[3] for row in rows) ** 2) ** 0.5, 2) if rows else None)
        return found

    def _places(self, account: Account) -> list[tuple[str, int]]:
        known = self._columns.get(account.metric)
        if known is None or known[0] is not account.series:
            columns = [(name.labels[0][1] if name.labels else "", at) for at, name in enumerate(account.series) if _is_place(name)]
            known = self._columns[account.metric] = (account.series, columns)
        return [(place, at) for place, at in known[1] if at < len(account.observed)]


def _is_place(name: SeriesName) -> bool:
    return not name.labels or (len(name.labels) == 1 and name.labels[0][0] == "region")
