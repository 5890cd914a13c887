"""One watched metric: rows of closed buckets in, e-detector values and accounts out.

`CountWatch`, `RatioWatch` and `ShareWatch` differ in which banks they feed and how several banks' values become one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rollguard.config import Metric
from rollguard.detectors.bank import Accounts, RateBank, ShareBank
from rollguard.detectors.chunk import Chunk, KeyRows, dense
from rollguard.detectors.evidence import Floats, ratios_above, ratios_below
from rollguard.detectors.records import SeriesName, Split
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.shares import N_BINS, OUTER

__all__ = ["CountWatch", "RatioWatch", "ShareWatch", "Watch", "watch_for"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_IS_OUTER = np.isin(np.arange(N_BINS), OUTER)


class Watch(Protocol):
    """What the detect stage asks of a watched metric."""

    metric: str
    tree: SeriesTree

    def load(self, chunk: Chunk) -> Accounts:
        """Take in the buckets of a chunk."""

    def step(self, bucket: int) -> Floats:
        """Value of each series' e-detector after the next bucket."""

    def close_epoch(self, suspected: Bools) -> None:
        """Let the baselines learn from the finished epoch."""

    def best(self, row: int) -> tuple[str, int, float]:
        """Direction, onset and nats of a series' best tilt."""

    @property
    def lead(self) -> Floats:
        """(n_series, n_tilts) nats since onset."""

    @property
    def suspicion(self) -> Floats:
        """(n_series,) nats that speak for a change by now."""

    @property
    def n_ready(self) -> int:
        """Series that have been seen for long enough."""

    def n_known(self, bucket: int) -> int:
        """How many series, the first ones of the tree, have been seen by the end of a bucket."""

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""

    def split(self, at: int) -> Split | None:
        """The loaded chunk's bucket number `at`, split by every label."""


def _factors(metric: Metric) -> Floats:
    if metric.worse == "lower":
        return ratios_below(metric.smallest)
    if metric.worse == "higher":
        return ratios_above(metric.smallest)
    return np.concatenate([ratios_below(metric.smallest), ratios_above(metric.smallest)])


class _OneBank:
    """A watch with a single bank."""

    bank: RateBank | ShareBank
    rows: KeyRows

    def step(self, bucket: int) -> Floats:
        return self.bank.step(bucket)

    def close_epoch(self, suspected: Bools) -> None:
        self.bank.close_epoch(suspected)

    def best(self, row: int) -> tuple[str, int, float]:
        tilt, onset, nats = self.bank.best(row)
        return self.bank.describe(tilt), onset, nats

    @property
    def lead(self) -> Floats:
        return self.bank.lead

    @property
    def suspicion(self) -> Floats:
        suspicion: Floats = self.bank.lead.max(axis=1)
        return suspicion

    def n_known(self, bucket: int) -> int:
        return self.rows.n_known(bucket)

    @property
    def n_ready(self) -> int:
        return int(np.count_nonzero(self.bank.ready))

    def forget(self, rows: Ints) -> None:
        self.bank.forget(rows)

    def split(self, at: int) -> Split | None:  # noqa: ARG002 - counts have no trials to split by version
        return None


class CountWatch(_OneBank):
    """Counts and sums: one bank, exposure one a bucket."""

    bank: RateBank

    def __init__(self, name: str, metric: Metric, watched: tuple[str, ...], *, bucket_ms: int, warmup_ms: int) -> None:
        self.metric = name
        self.tree = SeriesTree(name, watched)
        self.rows = KeyRows(self.tree)
        self.part = "sum" if metric.kind == "sum" else "count"
        self.bank = RateBank(_factors(metric), bucket_ms=bucket_ms, odds=False, warmup_ms=warmup_ms)

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, _, value = chunk.parts[self.part]
        rows = self.rows.of(bucket, key, chunk.keys)
        self.bank.grow(np.array(self.tree.parents, dtype=np.int64))
        observed = dense(chunk.n, len(self.tree.parents), bucket - chunk.start, rows, value)
        observed[chunk.missing] = np.nan
        observed[self.rows.unborn(chunk.start, chunk.n)] = np.nan
        return self.bank.load(chunk.start, observed, np.ones_like(observed))


class RatioWatch:
    """Hits judged twice: against their own past and against the traffic of the same moment.

    The smaller of the two e-detectors is itself one, and neither a sale (more of both) nor a fall in traffic (the
    same hits over fewer trials) moves it: only more hits than before *and* more than the traffic explains.
    """

    def __init__(self, name: str, metric: Metric, watched: tuple[str, ...], *, bucket_ms: int, warmup_ms: int) -> None:
        self.metric = name
        self.tree = SeriesTree(name, watched)
        self.rows = KeyRows(self.tree)
        self.on = tuple(label for label in watched if label in metric.on)
        self.at = tuple(watched.index(label) for label in self.on)
        self.columns: dict[tuple[str, ...], int] = {}
        factors = _factors(metric)
        self.count = RateBank(factors, bucket_ms=bucket_ms, odds=False, warmup_ms=warmup_ms)
        self.odds = RateBank(factors, bucket_ms=bucket_ms, odds=True, warmup_ms=warmup_ms)

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, _, value = chunk.parts["k"]
        rows = self.rows.of(bucket, key, chunk.keys)
        parents = np.array(self.tree.parents, dtype=np.int64)
        self.count.grow(parents)
        self.odds.grow(parents)
        observed = dense(chunk.n, len(parents), bucket - chunk.start, rows, value)
        observed[chunk.missing] = np.nan
        observed[self.rows.unborn(chunk.start, chunk.n)] = np.nan
        against = np.where(chunk.missing_other[:, None], np.nan, observed)
        self.odds.load(chunk.start, against, self._exposure(chunk))
        return self.count.load(chunk.start, observed, np.ones_like(observed))

    def step(self, bucket: int) -> Floats:
        """See `Watch`."""
        return np.minimum(self.count.step(bucket), self.odds.step(bucket))

    def close_epoch(self, suspected: Bools) -> None:
        """See `Watch`."""
        self.count.close_epoch(suspected)
        self.odds.close_epoch(suspected)

    def best(self, row: int) -> tuple[str, int, float]:
        """See `Watch`."""
        tilt, onset, nats = self.count.best(row)
        return self.count.describe(tilt), onset, nats

    @property
    def lead(self) -> Floats:
        """See `Watch`."""
        return self.count.lead

    @property
    def suspicion(self) -> Floats:
        """See `Watch`."""
        suspicion: Floats = np.minimum(self.count.lead.max(axis=1), self.odds.lead.max(axis=1))
        return suspicion

    def n_known(self, bucket: int) -> int:
        """See `Watch`."""
        return self.rows.n_known(bucket)

    @property
    def n_ready(self) -> int:
        """See `Watch`."""
        return int(np.count_nonzero(self.count.ready & self.odds.ready))

    def forget(self, rows: Ints) -> None:
        """See `Watch`."""
        self.count.forget(rows)
        self.odds.forget(rows)

    def split(self, at: int) -> Split | None:  # noqa: ARG002 - hits and trials come from different sources
        """See `Watch`."""
        return None

    def _exposure(self, chunk: Chunk) -> Floats:
        """(n, n_series) trials of the other kind, joined on the labels both have."""
        bucket, key, _, value = chunk.parts["n"]
        column = np.array([self._column(chunk.keys[k]) for k in key.tolist()], dtype=np.int64)
        wanted = [self._column_of_row(name) for name in self.tree.names]
        width = len(self.columns) + 1
        sums = dense(chunk.n, width, bucket - chunk.start, np.stack([np.zeros_like(column), column], axis=1), value)
        return sums[:, wanted]

    def _column(self, values: tuple[str, ...]) -> int:
        return self.columns.setdefault(tuple(values[i] for i in self.at), len(self.columns) + 1)

    def _column_of_row(self, name: SeriesName) -> int:
        values = tuple(name.label(label) for label in self.on)
        if not values or None in values:
            return 0
        return self.columns.setdefault(tuple(v for v in values if v is not None), len(self.columns) + 1)


class ShareWatch(_OneBank):
    """Distributions: one bank of quantile bins."""

    _derived = ("splits",)
    bank: ShareBank
    splits: list[Split]

    def __init__(self, name: str, metric: Metric, watched: tuple[str, ...], *, bucket_ms: int, warmup_ms: int) -> None:
        self.metric = name
        self.tree = SeriesTree(name, watched)
        self.rows = KeyRows(self.tree)
        self.bank = ShareBank(metric.worse, bucket_ms=bucket_ms, warmup_ms=warmup_ms)
        self._rederive()

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, fine, value = chunk.parts["bins"]
        rows = self.rows.of(bucket, key, chunk.keys)
        n_series = len(self.tree.parents)
        paths = np.array(self.tree.paths, dtype=np.int64).reshape(-1, self.tree.n_levels)
        self.bank.grow(np.array(self.tree.parents, dtype=np.int64), paths)
        present = np.repeat(~chunk.missing[:, None], n_series, axis=1)
        counts = np.zeros((chunk.n, n_series, N_BINS))
        if self.bank.baseline.cut is None:
            self.bank.baseline.learn_fine(fine, value)
            self.splits = []
        else:
            coarse = self.bank.baseline.coarse(fine)
            width = n_series * N_BINS
            flat = dense(chunk.n, width, bucket - chunk.start, rows * N_BINS + coarse[:, None], value)
            counts = flat.reshape(chunk.n, n_series, N_BINS)
            accounts = self.bank.load(chunk.start, counts, present)
            self._split(chunk, coarse)
            return accounts
        return self.bank.load(chunk.start, counts, present)

    def split(self, at: int) -> Split | None:
        """See `Watch`."""
        return self.splits[at] if self.splits else None

    def _rederive(self) -> None:
        self.splits = []

    def _split(self, chunk: Chunk, coarse: Ints) -> None:
        """Hits and trials of every (bucket, key) of the chunk at once."""
        bucket, key, _, value = chunk.parts["bins"]
        width = len(chunk.keys)
        cell, inverse = np.unique((bucket - chunk.start) * width + key, return_inverse=True)
        weight = value.astype(np.float64)
        trials: Floats = np.bincount(inverse, weights=weight, minlength=len(cell)).astype(np.float64)
        hits: Floats = np.bincount(inverse, weights=weight * _IS_OUTER[coarse], minlength=len(cell)).astype(np.float64)
        key_of_cell = cell % width if width else cell
        expected = trials * self.bank.outer_share[self.rows.table[key_of_cell, -1]]
        edges = np.searchsorted(cell, np.arange(chunk.n + 1) * width)
        self.splits = [
            Split(keys=chunk.keys, key=key_of_cell[low:high], hits=hits[low:high], trials=trials[low:high], expected=expected[low:high])
            for low, high in pairwise(edges.tolist())
        ]


def watch_for(name: str, metric: Metric, watched: tuple[str, ...], *, bucket_ms: int, warmup_ms: int) -> Watch:
    """The watch that fits a metric's kind."""
    kinds: dict[str, type[CountWatch] | type[RatioWatch] | type[ShareWatch]] = {
        "count": CountWatch,
        "sum": CountWatch,
        "ratio": RatioWatch,
        "distribution": ShareWatch,
    }
    return kinds[metric.kind](name, metric, watched, bucket_ms=bucket_ms, warmup_ms=warmup_ms)
