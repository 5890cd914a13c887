"""What was counted against what was expected, kept for as long as an incident may look back."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors import Account, SeriesName, Split, Tick

__all__ = ["Books", "Floats", "Sums", "VersionSums"]

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

#: Sums that nobody has asked for in so many buckets are not carried on: an open incident asks once a minute.
UNASKED = 720


class Sums:
    """Sums of one metric over some buckets.

    Attributes
    ----------
    observed, expected, variance, slack : (n_series,) float64
        As in `Account`, added up; `slack` is the baseline's own error over the span, in events: it does not average out.
    buckets, missing, silent, unsettled : int
        Buckets in the span, and how many of them are missing, silent or unsettled.
    events, doubtful : float
        As in `Account`, added up.
    """

    __slots__ = ("buckets", "doubtful", "events", "expected", "missing", "observed", "silent", "slack", "unsettled", "variance")

    def __init__(self, n_series: int) -> None:
        self.observed: Floats = np.zeros(n_series)
        self.expected: Floats = np.zeros(n_series)
        self.variance: Floats = np.zeros(n_series)
        self.slack: Floats = np.zeros(n_series)
        self.buckets = 0
        self.missing = 0
        self.silent = 0
        self.unsettled = 0
        self.events = 0.0
        self.doubtful = 0.0

    def add(self, account: Account) -> None:
        """Add a bucket."""
        n = len(account.observed)
        if n > len(self.observed):
            for name in ("observed", "expected", "variance", "slack"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros(n - len(column))]))
        self.observed[:n] += account.observed
        self.expected[:n] += account.expected
        self.variance[:n] += account.variance
        self.slack[:n] += account.error * account.expected
        self.buckets += 1
        self.missing += account.missing
        self.silent += account.silent
        self.unsettled += account.unsettled
        self.events += account.events
        self.doubtful += account.doubtful


class VersionSums:
    """Events outside the usual range by every label, the compare labels included.

    Attributes
    ----------
    hits, trials, expected : dict of tuple of str to float
        By label values, watched then compare.
    """

    __slots__ = ("expected", "hits", "trials")

    def __init__(self) -> None:
        self.hits: dict[tuple[str, ...], float] = {}
        self.trials: dict[tuple[str, ...], float] = {}
        self.expected: dict[tuple[str, ...], float] = {}

    def add(self, split: Split) -> None:
        """Add a bucket."""
        for key, hits, trials, expected in zip(split.key.tolist(), split.hits.tolist(), split.trials.tolist(), split.expected.tolist(), strict=True):
            name = split.keys[key]
            self.hits[name] = self.hits.get(name, 0.0) + hits
            self.trials[name] = self.trials.get(name, 0.0) + trials
            self.expected[name] = self.expected.get(name, 0.0) + expected


class Books:
    """The last ticks, and the series they speak of.

    Parameters
    ----------
    keep_buckets : int
        How many ticks to keep.
    """

    def __init__(self, keep_buckets: int) -> None:
        self.ticks: deque[Tick] = deque(maxlen=keep_buckets)
        #: Series known so far, of all metrics.
        self.n_series = 0
        self._series: dict[str, tuple[SeriesName, ...]] = {}
        self._rows: dict[str, dict[tuple[tuple[str, str], ...], int]] = {}
        #: In which bucket each combination of all labels was counted first.
        self.appeared: dict[tuple[str, ...], int] = {}
        self._regions: set[str] = set()
        self._services: dict[str, set[str]] = {}
        self._running: dict[tuple[str, int], tuple[Sums, int]] = {}
        self._running_versions: dict[tuple[str, int], tuple[VersionSums, int]] = {}

    @property
    def now(self) -> int | None:
        """The last bucket; None before the first tick."""
        return self.ticks[-1].bucket if self.ticks else None

    def add(self, tick: Tick) -> None:
        """Take a tick; it must be later than the last one."""
        self.ticks.append(tick)
        for key in tick.appeared:
            self.appeared.setdefault(key, tick.bucket)
        for account in tick.accounts:
            if self._series.get(account.metric) is not account.series:
                self._learn(account)

    def forget_before(self, bucket: int, n_watched: int) -> None:
        """Drop versions that came before a bucket, but for the last of those in each place: what came since came after it."""
        newest: dict[tuple[str, ...], int] = {}
        for key, first in self.appeared.items():
            if first < bucket:
                newest[key[:n_watched]] = max(first, newest.get(key[:n_watched], first))
        self.appeared = {key: first for key, first in self.appeared.items() if first >= bucket or first == newest[key[:n_watched]]}

    def row(self, metric: str, **labels: str) -> int | None:
        """Row of the series with exactly these labels, None when there is none."""
        wanted = tuple(sorted(labels.items()))
        return self._rows.get(metric, {}).get(wanted)

    def series(self, metric: str) -> tuple[SeriesName, ...]:
        """Series of a metric, in the order of the columns."""
        return self._series.get(metric, ())

    @property
    def regions(self) -> tuple[str, ...]:
        """All regions any metric has been seen in, sorted; one empty name where there are none."""
        return tuple(sorted(self._regions)) or ("",)

    @property
    def services(self) -> tuple[str, ...]:
        """All services any metric has been seen of, sorted."""
        return tuple(sorted(set().union(*self._services.values())))

    def services_of(self, metric: str) -> frozenset[str]:
        """Services a metric has been seen of."""
        return frozenset(self._services.get(metric, ()))

    def window(self, metric: str, first: int, last: int) -> Sums:
        """Sums over buckets first..last, both included, as far as they are kept."""
        sums = Sums(len(self.series(metric)))
        self._add_up(sums, metric, first, last)
        return sums

    def history(self, metric: str, rows: tuple[int, ...], span: range) -> tuple[Floats, Floats, Floats]:
        """(n_buckets, n_rows) observed, expected and variance of some series in some buckets; 0 where nothing is kept."""
        columns = np.zeros((3, len(span), len(rows)))
        wanted = np.array(rows, dtype=np.int64)
        for tick in self.between(span.start, span.stop - 1):
            for account in tick.accounts:
                if account.metric == metric:
                    at = np.flatnonzero(wanted < len(account.observed))
                    for column, values in zip(columns, (account.observed, account.expected, account.variance), strict=True):
                        column[tick.bucket - span.start, at] = values[wanted[at]]
        return columns[0], columns[1], columns[2]

    def since(self, metric: str, first: int) -> Sums:
        """Sums from a bucket until now. They are carried on from call to call, also past what is kept; do not alter."""
        now = self.now
        if now is None:
            return Sums(0)
        sums, last = self._running.pop((metric, first), (Sums(0), first - 1))
        self._add_up(sums, metric, last + 1, now)
        self._running[metric, first] = (sums, max(now, first - 1))
        _forget(self._running, now - UNASKED)
        return sums

    def versions_since(self, metric: str, first: int) -> VersionSums:
        """Splits of a distribution from a bucket until now, carried on like `since`."""
        now = self.now
        if now is None:
            return VersionSums()
        sums, last = self._running_versions.pop((metric, first), (VersionSums(), first - 1))
        for tick in self.between(last + 1, now):
            for account in tick.accounts:
                if account.metric == metric and account.split is not None:
                    sums.add(account.split)
        self._running_versions[metric, first] = (sums, max(now, first - 1))
        _forget(self._running_versions, now - UNASKED)
        return sums

    def _add_up(self, sums: Sums, metric: str, first: int, last: int) -> None:
        for tick in self.between(first, last):
            for account in tick.accounts:
                if account.metric == metric:
                    sums.add(account)

    def between(self, first: int, last: int) -> list[Tick]:
        """Ticks of buckets first..last, both included, as far as they are kept."""
        if not self.ticks:
            return []
        oldest = self.ticks[0].bucket
        if self.ticks[-1].bucket - oldest + 1 != len(self.ticks):
            return [tick for tick in self.ticks if first <= tick.bucket <= last]
        low, high = max(first - oldest, 0), max(min(last - oldest + 1, len(self.ticks)), 0)
        return list(islice(self.ticks, low, high)) if low < len(self.ticks) // 2 else [self.ticks[i] for i in range(low, high)]

    def _learn(self, account: Account) -> None:
        known = len(self._series.get(account.metric, ()))
        self._series[account.metric] = account.series
        self.n_series += len(account.series) - known
        rows, services = self._rows.setdefault(account.metric, {}), self._services.setdefault(account.metric, set())
        # Series are only ever added, at the end.
        for row, name in enumerate(account.series[known:], known):
            rows[tuple(sorted(name.labels))] = row
            region, service = name.label("region"), name.label("service")
            if region:
                self._regions.add(region)
            if service:
                services.add(service)


def _forget(running: dict[tuple[str, int], tuple[T, int]], oldest: int) -> None:
    """Drop what was last asked for before a bucket; what was asked for longest ago stands first."""
    while running:
        key = next(iter(running))
        if running[key][1] >= oldest:
            return
        del running[key]
