"""What was counted beside what was expected, minute by minute, for whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rollguard.detectors import Account, SeriesName, Tick

__all__ = ["EVERYWHERE", "MINUTE_MS", "Curve", "Minutes", "Place", "Span"]

MINUTE_MS = 60_000
#: A label and its value: the part of a metric that is drawn.
Place = tuple[str, str]
EVERYWHERE: Place = ("", "")
#: Labels by whose values a metric is drawn.
DRAWN = ("region", "service")
#: A shorter gap is no news: a file ends in one.
LEAST_GAP_MS = 2 * MINUTE_MS
#: Columns of the sums: observed, expected, variance, error in events.
OBSERVED, EXPECTED, VARIANCE, ERROR = range(4)


@dataclass(frozen=True, slots=True)
class Curve:
    """Some series together over some time, in equal steps.

    Attributes
    ----------
    start_ms, step_ms : int
        Beginning of the first step, and their length.
    observed, expected, spread : list of float or None
        Of each step: events, what the baseline expected, and one standard deviation of the difference, the baseline's own error included. None: nothing
        is known of it.
    """

    start_ms: int
    step_ms: int
    observed: list[float | None] = field(default_factory=list)
    expected: list[float | None] = field(default_factory=list)
    spread: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which little was known of a metric.

    Attributes
    ----------
    metric : str
    kind : {"missing", "silent"}
        Nothing could be read; or not one event came.
    start_ms, end_ms : int
    """

    metric: str
    kind: str
    start_ms: int
    end_ms: int


class _Metric:
    """Sums of one metric: rows are steps, columns are places."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.places: dict[Place, int] = {EVERYWHERE: 0}
        self.sums: npt.NDArray[np.float64] = np.zeros((1440, 1, 4))
        #: By step: buckets without knowledge, buckets closed by silence, buckets in all.
        self.known: npt.NDArray[np.int64] = np.zeros((1440, 3), dtype=np.int64)
        self.last = first - 1
        self._series: Sequence[SeriesName] = ()
        self._take = np.zeros(0, dtype=np.int64)
        self._into = np.zeros(0, dtype=np.int64)

    def add(self, step: int, account: Account) -> None:
        if account.series is not self._series:
            self._look_at(account.series)
        row = step - self.first
        if row >= len(self.sums):
            more = max(row + 1 - len(self.sums), len(self.sums))
            self.sums = np.concatenate([self.sums, np.zeros((more, *self.sums.shape[1:]))])
            self.known = np.concatenate([self.known, np.zeros((more, 3), dtype=np.int64)])
        self.last = max(self.last, step)
        self.known[row] += (account.missing, account.silent, 1)
        if account.missing:
            return
        take = self._take[self._take < len(account.observed)]
        into = self._into[: len(take)]
        expected = account.expected[take]
        columns = (account.observed[take], expected, account.variance[take], account.error[take] * expected)
        self.sums[row, into] += np.stack(columns, axis=1)

    def _look_at(self, series: Sequence[SeriesName]) -> None:
        self._series = series
        drawn = [(place, at) for at, name in enumerate(series) if (place := _place(name)) is not None]
        for place, _ in drawn:
            self.places.setdefault(place, len(self.places))
        if len(self.places) > self.sums.shape[1]:
            new = np.zeros((len(self.sums), len(self.places) - self.sums.shape[1], 4))
            self.sums = np.concatenate([self.sums, new], axis=1)
        self._take = np.array([at for _, at in drawn], dtype=np.int64)
        self._into = np.array([self.places[place] for place, _ in drawn], dtype=np.int64)


class Minutes:
    """Adds ticks up: every metric, everywhere, by region and by service.

    Parameters
    ----------
    bucket_ms : int
    """

    def __init__(self, bucket_ms: int) -> None:
        self.bucket_ms = bucket_ms
        #: Buckets longer than a minute are steps of their own.
        self.step_ms = max(MINUTE_MS, bucket_ms)
        self._metrics: dict[str, _Metric] = {}

    def add(self, tick: Tick) -> None:
        """Take a bucket; they come in order."""
        step = tick.bucket * self.bucket_ms // self.step_ms
        for account in tick.accounts:
            metric = self._metrics.get(account.metric)
            if metric is None:
                metric = self._metrics[account.metric] = _Metric(step)
            metric.add(step, account)

    @property
    def metrics(self) -> list[str]:
        """Names of what was counted."""
        return sorted(self._metrics)

    def places(self, metric: str, label: str) -> list[str]:
        """Values of a label for which a metric was counted."""
        known = self._metrics.get(metric)
        return [] if known is None else sorted(value for name, value in known.places if name == label)

    def curve(self, metric: str, places: Sequence[Place], since_ms: int, until_ms: int, *, most: int) -> Curve:
        """Some series together between two moments, in steps of as many minutes as it takes to stay at or below `most` of them."""
        first, last = since_ms // self.step_ms, -(-until_ms // self.step_ms)
        width = max(1, -(-(last - first) // most))
        n_steps = max(-(-(last - first) // width), 0)
        curve = Curve(first * self.step_ms, width * self.step_ms)
        known = self._metrics.get(metric)
        columns = [] if known is None else [known.places[place] for place in places if place in known.places]
        if known is None or not columns:
            for values in (curve.observed, curve.expected, curve.spread):
                values.extend([None] * n_steps)
            return curve
        rows = np.zeros((n_steps * width, 4))
        low, high = max(first, known.first), min(first + len(rows), known.last + 1)
        if high > low:
            rows[low - first : high - first] = known.sums[low - known.first : high - known.first, columns].sum(axis=1)
        # Where nothing is expected yet, the baseline knows nothing: counts without a comparison would look like a fall from nowhere.
        rows[rows[:, EXPECTED] <= 0.0] = 0.0
        steps = rows.reshape(n_steps, width, 4).sum(axis=1)
        for observed, expected, variance, error in steps.tolist():
            blank = expected <= 0.0
            curve.observed.append(None if blank else round(observed, 2))
            curve.expected.append(None if blank else round(expected, 2))
            curve.spread.append(None if blank else round((variance + error**2) ** 0.5, 2))
        return curve

    def lost(self, metric: str, place: Place, since_ms: int, until_ms: int) -> float:
        """Events that were expected and did not come, in the steps that begin between two moments; what came beyond the expected counts against it."""
        whole = self.curve(metric, [place], since_ms, until_ms, most=1)
        return sum((expected or 0.0) - (observed or 0.0) for observed, expected in zip(whole.observed, whole.expected, strict=True))

    def gaps(self) -> list[Span]:
        """Times in which nothing could be read of a metric, or not one event came."""
        found = []
        for name, metric in sorted(self._metrics.items()):
            known = metric.known[: metric.last - metric.first + 1]
            for column, kind in enumerate(("missing", "silent")):
                # A step is one of them when most of its buckets are: a lone quiet bucket at night is no news.
                bad = np.concatenate([[False], 2 * known[:, column] > known[:, 2], [False]])
                edges = np.flatnonzero(np.diff(bad.astype(np.int8)))
                for begin, end in edges.reshape(-1, 2).tolist():
                    if (end - begin) * self.step_ms < LEAST_GAP_MS:
                        continue
                    found.append(Span(name, kind, (metric.first + begin) * self.step_ms, (metric.first + end) * self.step_ms))
        return found


def _place(name: SeriesName) -> Place | None:
    if not name.labels:
        return EVERYWHERE
    return name.labels[0] if len(name.labels) == 1 and name.labels[0][0] in DRAWN else None
