"""Which series are added up to see what a change did, and what speaks for it having done harm, bucket by bucket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.config import Settings
from rollguard.detectors import Account, Tick
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change
from rollguard.incidents.ratios import Counted, against_baseline, against_control

__all__ = ["Cell", "Layout", "cells_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A mean within so many of its baseline's own errors, or within the least share, counts as unchanged; of two baselines
#: compared with one another, whose common error cancels, within fewer.
BAND_PER_ERROR, BAND_PER_PAIR, LEAST_BAND = 1.5, 1.0, 0.03
#: Minutes before a change from which is seen what surely (by so many standard errors) hurt already: that is not its doing.
BEFORE_MIN, SURELY = 60, 2.0
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of looking for harm: a metric, in one of the places a change reached or in all of them.

    Attributes
    ----------
    metric : str
    service : str or None
        None: all together.
    region : str or None
        None: all regions that it has reached by then, as one.
    weight : float
        Share of the bet; a trial's cells have 1 together.
    """

    metric: str
    service: str | None
    region: str | None
    weight: float


def cells_of(change: Change, books: Books, settings: Settings, first: int) -> tuple[Cell, ...]:
    """Each watched metric of which something is expected has the same weight; half of it looks at all reached places as one, half at each alone."""
    per_hour = 60 * MINUTE_MS // settings.bucket_ms
    expected = {name: books.window(name, first - per_hour, first - 1).expected for name, metric in settings.metrics.items() if metric.watch}
    metrics = [name for name in sorted(expected) if expected[name].any()]
    regions = [region for region in books.regions if region]
    cells = []
    for metric in metrics:
        services = [None, change.service] if len(books.services_of(metric)) > 1 and change.service in books.services_of(metric) else [None]
        share = 1.0 / len(metrics) / len(services)
        for service in services:
            cells.append(Cell(metric, service, None, share / 2.0 if len(regions) > 1 else share))
            if len(regions) > 1:
                cells += [Cell(metric, service, region, share / 2.0 / len(regions)) for region in regions]
    return tuple(cells)


class Layout:
    """Which series a trial's cells add up, while the change has reached the same places.

    Attributes
    ----------
    reached, control : tuple of str
        Regions that it has reached, and that it has not.
    """

    def __init__(self, cells: tuple[Cell, ...], books: Books, settings: Settings, reached: tuple[str, ...], control: tuple[str, ...]) -> None:
        self.cells, self.reached, self.control = cells, reached, control
        whole = len(reached) == len(books.regions)
        self.columns: dict[str, tuple[list[int], list[int]]] = {}
        self.n_columns = 0
        near, far, traffic = [], [], []
        for cell in cells:
            places: tuple[str, ...] = tuple(region for region in reached if cell.region in {None, region})
            # All of it is one series, whose error is smaller than that of its parts together.
            mine = ("",) if whole and cell.region is None else places
            beside = _traffic(settings, cell.metric)
            near.append(self._numbers(books, cell.metric, cell.service, mine))
            far.append(self._numbers(books, cell.metric, cell.service, control if places else ()))
            traffic.append([] if beside is None else self._numbers(books, beside, None, mine))
        self.near, self.far, self.traffic = (self._table(each) for each in (near, far, traffic))
        ordered = {metric: sorted(zip(*each, strict=True)) for metric, each in self.columns.items()}
        self.taken = {metric: (np.array([row for row, _ in each]), np.array([column for _, column in each])) for metric, each in ordered.items()}
        self.has_far = np.array([bool(each) for each in far], dtype=bool)[None, :, None]
        self.has_traffic = np.array([bool(each) for each in traffic], dtype=bool)[None, :, None]
        self._ahead: tuple[list[Tick], Floats] = ([], np.zeros(0))
        self._place: dict[int, int] = {}

    def log_ratios(self, ticks: list[Tick], factors: Floats, before: Floats, coming: Callable[[], list[Tick]]) -> Floats:
        """(n_buckets, n_cells, 2, n_factors) nats of some buckets; `before` is what `hurt_before` gave, the same in all calls.

        Of the ticks that are known to come they are worked out along with these: each bucket's stand for themselves, and many
        together cost hardly more than one.
        """
        known, nats = self._ahead
        first = self._place.get(ticks[0].bucket, len(known))
        last = first + len(ticks)
        if last > len(known) or any(mine is not tick for mine, tick in zip(known[first:last], ticks, strict=True)):
            known = [*ticks, *coming()]
            nats = self._log_ratios(known, factors, before)
            self._ahead, self._place = (known, nats), {tick.bucket: at for at, tick in enumerate(known)}
            first, last = 0, len(ticks)
        return nats[first:last]

    def _log_ratios(self, ticks: list[Tick], factors: Floats, before: Floats) -> Floats:
        counts = self._counts(ticks)
        near, far, traffic = (_added(counts, table) for table in (self.near, self.far, self.traffic))
        own = against_baseline(near, _leeway(BAND_PER_ERROR * near.error, before[0]), factors)
        if self.has_far.any():
            paired = against_control(near, far, _leeway(BAND_PER_PAIR * np.hypot(near.error, far.error), before[1]), factors)
            own = np.where(self.has_far, paired, own)
        if not self.has_traffic.any():
            return np.stack([own, own], axis=2)
        joined = against_control(near, traffic, _leeway(BAND_PER_PAIR * np.hypot(near.error, traffic.error), before[2]), factors)
        return np.stack([own, np.where(self.has_traffic, joined, own)], axis=2)

    def hurt_before(self, change: Change, books: Books, settings: Settings) -> Floats:
        """(3, n_cells) factors, >= 1, by which each hurt already before the change came: by itself, against control, against traffic."""
        found = np.ones((3, len(self.cells)))
        span = max(BEFORE_MIN * MINUTE_MS // settings.bucket_ms, 1)
        starts = {place: reach.started_ms // settings.bucket_ms for place in self.reached if (reach := change.reach_at(place)) is not None}
        firsts = [min((start for place, start in starts.items() if cell.region in {None, place}), default=None) for cell in self.cells]
        for first in sorted({first for first in firsts if first is not None}):
            ticks = books.between(first - span, first - 1)
            if not ticks:
                continue
            counts = self._counts(ticks)
            total = np.add.accumulate(counts, axis=1)[:, -1:]
            (own, own_variance), (far, far_variance), (flow, flow_variance) = (_off(total, table) for table in (self.near, self.far, self.traffic))
            off = np.stack([own, own - far, own - flow])
            error = np.sqrt(np.stack([own_variance, own_variance + far_variance, own_variance + flow_variance]))
            for at, cell in enumerate(self.cells):
                if firsts[at] == first:
                    surely = np.maximum(_hurting(off[:, at], settings, cell.metric) - SURELY * error[:, at], 0.0)
                    found[:, at] = np.exp(surely)
        return found

    def _numbers(self, books: Books, metric: str, service: str | None, regions: tuple[str, ...]) -> list[int]:
        """Columns of a metric's series in some regions; an empty name is all of them as one."""
        named = {} if service is None else {"service": service}
        found = []
        for region in regions:
            row = books.row(metric, **named, **({"region": region} if region else {}))
            if row is None:
                continue
            rows, columns = self.columns.setdefault(metric, ([], []))
            if row not in rows:
                rows.append(row)
                columns.append(self.n_columns)
                self.n_columns += 1
            found.append(columns[rows.index(row)])
        return found

    def _table(self, columns: list[list[int]]) -> Ints:
        """(n_cells, width) columns of each cell, filled up with the empty one."""
        width = max([1, *map(len, columns)])
        return np.array([[*each, *[self.n_columns] * (width - len(each))] for each in columns], dtype=np.int64).reshape(-1, width)

    def _counts(self, ticks: list[Tick]) -> Floats:
        """(4, n_buckets, n_columns + 1) observed, expected, variance and error in events; the last column is empty.

        In a missing bucket all of them are 0: nothing is said of it.
        """
        counts = np.zeros((4, len(ticks), self.n_columns + 1))
        for metric, (rows, columns) in self.taken.items():
            found = [(t, account) for t, tick in enumerate(ticks) for account in tick.accounts if account.metric == metric and not account.missing]
            # A series that is known by now may not have been by then: buckets that knew as many go together.
            for n, some in _by_width(found).items():
                at, accounts = np.array([t for t, _ in some]), [account for _, account in some]
                here = rows < n
                expected = _stacked([account.expected for account in accounts], n)
                columns_of = (
                    _stacked([account.observed for account in accounts], n),
                    expected,
                    _stacked([account.variance for account in accounts], n),
                    _stacked([account.error for account in accounts], n) * expected,
                )
                for total, each in zip(counts, columns_of, strict=True):
                    total[np.ix_(at, columns[here])] = each[:, rows[here]]
        return counts


def _by_width(found: list[tuple[int, Account]]) -> dict[int, list[tuple[int, Account]]]:
    """Accounts with their places, by how many series they speak of."""
    groups: dict[int, list[tuple[int, Account]]] = {}
    for t, account in found:
        groups.setdefault(len(account.observed), []).append((t, account))
    return groups


def _stacked(columns: list[Floats], n: int) -> Floats:
    return np.concatenate(columns).reshape(-1, n)


def _off(total: Floats, table: Ints) -> tuple[Floats, Floats]:
    """(n_cells,) how far each sum is off its mean, as the logarithm of the ratio, and the variance of that."""
    sums = _added(total, table)
    return np.log((sums.observed[0] + 1.0) / (sums.expected[0] + 1.0)), sums.scatter[0] / (sums.expected[0] + 1.0)


def _hurting(off: Floats, settings: Settings, metric: str) -> Floats:
    """Logarithms of ratios, turned so that positive hurts."""
    kind = settings.metrics[metric]
    if kind.kind == "distribution" or kind.worse == "higher":
        return off
    return -off if kind.worse == "lower" else np.abs(off)


def _leeway(band: Floats, before: Floats) -> Floats:
    """(n_buckets, n_cells) factor within which a mean counts as unchanged."""
    return np.asarray((1.0 + np.maximum(band, LEAST_BAND)) * before, dtype=np.float64)


def _added(counts: Floats, table: Ints) -> Counted:
    """What is counted in the columns of each cell together."""
    total = counts[:, :, table[:, 0]]
    for column in range(1, table.shape[1]):
        total = total + counts[:, :, table[:, column]]
    observed, expected, variance, slack = total
    mean = np.where(expected > 0.0, expected, 1.0)
    return Counted(observed, expected, np.maximum(variance / mean, 1.0), slack / mean)


def _traffic(settings: Settings, metric: str) -> str | None:
    """The count that a ratio's hits are judged against."""
    against = settings.metrics[metric].against
    counts = (name for name, each in sorted(settings.metrics.items()) if each.kind == "count" and each.watch and each.source == against)
    return None if against is None else next(counts, None)
