"""One watched metric: rows of closed buckets in, e-detector values and accounts out.

`CountWatch`, `RatioWatch` and `ShareWatch` differ in which banks they feed and how several banks' values become one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rollguard.config import Metric, Settings
from rollguard.detectors.bank import Accounts, RateBank
from rollguard.detectors.baseline import Memory
from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.chunk import Chunk, KeyRows, dense
from rollguard.detectors.evidence import Floats, Singles, factors_for
from rollguard.detectors.onset import Onset
from rollguard.detectors.records import SeriesName, Split
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS, OUTER
from rollguard.detectors.siblings import Siblings

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

    def step(self, bucket: int) -> Singles:
        """Value of each series' e-detector after the next bucket."""

    def ahead(self, bucket: int) -> Singles | None:
        """(n_buckets, n_series) what `step` would give for some of the next buckets, as long as nothing starts again. None: step them."""

    def settle(self, bucket: int, value: Singles) -> Singles:
        """Take the buckets up to one that `ahead` has looked at, whose value this is; the value then."""

    def close_epoch(self, suspected: Bools) -> None:
        """Let the baselines learn from the finished epoch."""

    def best(self, row: int, bucket: int) -> tuple[str, Onset]:
        """Direction of a series' best tilt, and when it began."""

    def mass(self, rows: Ints) -> Floats:
        """(n_rows, n_kinds, n_tilts) float64: log of each tilt's statistic."""

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """(n_rows, n_kinds, n_tilts) float64: log likelihood ratios of the bucket just taken."""

    @property
    def ready(self) -> Bools:
        """(n_series,) bool: seen for long enough to speak."""

    @property
    def slack(self) -> Singles:
        """(n_series,) float32: factor on thresholds, for evidence jumps past them."""

    def n_known(self, bucket: int) -> int:
        """How many series, the first ones of the tree, have been seen by the end of a bucket."""

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""

    def temper(self, honesty: Singles) -> None:
        """Multiply the evidence of each series by so much, from the next epoch on."""

    @property
    def honesty(self) -> Singles:
        """(n_series,) float32: what the evidence of the epoch under way is multiplied by."""

    def accept(self, rows: Bools) -> None:
        """Take the level that these series have now for their normal."""

    def split(self, at: int) -> Split | None:
        """The loaded chunk's bucket number `at`, split by every label."""


def _born(rows: KeyRows, chunk: Chunk) -> Floats:
    """(n, n_series) or (n, 1) exposure of counts: 1, or 0 in a missing bucket and before a series was first seen."""
    unborn, missing = rows.unborn(chunk.start, chunk.n), chunk.missing[:, None]
    return np.where(unborn | missing, 0.0, 1.0) if unborn.any() else np.where(missing, 0.0, 1.0)


class _OneBank:
    """A watch with a single bank."""

    bank: RateBank | ShareBank
    rows: KeyRows

    def step(self, bucket: int) -> Singles:
        return self.bank.step(bucket)

    def ahead(self, bucket: int) -> Singles | None:
        return self.bank.ahead(bucket)

    def settle(self, bucket: int, value: Singles) -> Singles:  # noqa: ARG002 - the bank knows it
        return self.bank.settle(bucket)

    def close_epoch(self, suspected: Bools) -> None:
        self.bank.close_epoch(suspected)

    def best(self, row: int, bucket: int) -> tuple[str, Onset]:
        tilt, onset = self.bank.best(row, bucket)
        return self.bank.describe(tilt), onset

    def mass(self, rows: Ints) -> Floats:
        return self.bank.mass(rows)[:, None, :]

    def nats(self, bucket: int, rows: Ints) -> Floats:
        return self.bank.nats(bucket, rows)[:, None, :]

    @property
    def ready(self) -> Bools:
        return self.bank.ready

    @property
    def slack(self) -> Singles:
        return self.bank.slack

    def n_known(self, bucket: int) -> int:
        return self.rows.n_known(bucket)

    def forget(self, rows: Ints) -> None:
        self.bank.forget(rows)

    def temper(self, honesty: Singles) -> None:
        self.bank.honesty = honesty

    @property
    def honesty(self) -> Singles:
        return self.bank.power

    def accept(self, rows: Bools) -> None:
        self.bank.baseline.accept(rows)

    def split(self, at: int) -> Split | None:  # noqa: ARG002 - counts have no trials to split by version
        return None


class CountWatch(_OneBank):
    """Counts and sums: against their own past, and against their siblings where the past shows that it helps."""

    bank: RateBank

    def __init__(self, name: str, settings: Settings) -> None:
        metric = settings.metrics[name]
        self.metric = name
        self.tree = SeriesTree(name, settings.labels.watched)
        self.rows = KeyRows(self.tree)
        self.part = "sum" if metric.kind == "sum" else "count"
        self.bank = _rate_bank(metric, settings, odds=False)
        self.siblings = Siblings(self.bank, _rate_bank(metric, settings, odds=True))

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, _, value = chunk.parts[self.part]
        rows = self.rows.of(bucket, key, chunk.keys)
        if len(self.tree.parents) > self.bank.baseline.n_series:
            parents, regions = np.array(self.tree.parents, dtype=np.int64), self.tree.regions
            self.bank.grow(parents, regions)
            self.siblings.grow(parents, regions)
        observed = dense(chunk.n, len(self.tree.parents), bucket - chunk.start, rows, value)
        observed[chunk.missing] = 0.0
        exposure = _born(self.rows, chunk)
        self.bank.load(chunk.start, observed, exposure, ~chunk.missing)
        self.siblings.load(chunk.start, observed, exposure, ~chunk.missing)
        return self.bank.accounts(observed, exposure)

    def step(self, bucket: int) -> Singles:
        """See `Watch`."""
        return self.siblings.step(bucket, self.bank.step(bucket))

    def ahead(self, bucket: int) -> Singles | None:
        """See `Watch`."""
        own = self.bank.ahead(bucket)
        return None if own is None else self.siblings.ahead(bucket, own)

    def settle(self, bucket: int, value: Singles) -> Singles:
        """See `Watch`."""
        self.bank.settle(bucket)
        self.siblings.settle(bucket)
        return value.copy()

    def close_epoch(self, suspected: Bools) -> None:
        """See `Watch`."""
        self.siblings.close_epoch(suspected, self.bank)
        self.bank.close_epoch(suspected)

    def best(self, row: int, bucket: int) -> tuple[str, Onset]:
        """See `Watch`."""
        loose, share = self.siblings.loose, self.siblings.share
        bank = self.bank
        if self.siblings.used[row]:
            bank = loose if loose.value[row] <= share.value[row] else share
        tilt, onset = bank.best(row, bucket)
        return bank.describe(tilt), onset

    def mass(self, rows: Ints) -> Floats:
        """See `Watch`."""
        siblings = self.siblings
        return siblings.kinds(self.bank.mass(rows), siblings.loose.mass(rows), siblings.share.mass(rows), rows)

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """See `Watch`."""
        siblings = self.siblings
        return siblings.kinds(self.bank.nats(bucket, rows), siblings.loose.nats(bucket, rows), siblings.share.nats(bucket, rows), rows)

    def forget(self, rows: Ints) -> None:
        """See `Watch`."""
        self.bank.forget(rows)
        self.siblings.forget(rows)

    def temper(self, honesty: Singles) -> None:
        """See `Watch`."""
        self.bank.honesty = honesty
        self.siblings.temper(honesty)

    def accept(self, rows: Bools) -> None:
        """See `Watch`."""
        self.bank.baseline.accept(rows)
        self.siblings.share.baseline.accept(rows)


class RatioWatch:
    """Hits judged twice: against their own past and against the traffic of the same moment.

    The smaller of the two e-detectors is itself one, and neither a sale (more of both) nor a fall in traffic (the
    same hits over fewer trials) moves it: only more hits than before *and* more than the traffic explains.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        metric, watched = settings.metrics[name], settings.labels.watched
        self.metric = name
        self.tree = SeriesTree(name, watched)
        self.rows = KeyRows(self.tree)
        self.on = tuple(label for label in watched if label in metric.on)
        self.at = tuple(watched.index(label) for label in self.on)
        self.columns: dict[tuple[str, ...], int] = {}
        #: Column of the other kind's trials that belongs to each row of the tree.
        self.wanted: list[int] = []
        self.count = _rate_bank(metric, settings, odds=False)
        self.odds = _rate_bank(metric, settings, odds=True)

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, _, value = chunk.parts["k"]
        rows = self.rows.of(bucket, key, chunk.keys)
        if len(self.tree.parents) > self.count.baseline.n_series:
            parents, regions = np.array(self.tree.parents, dtype=np.int64), self.tree.regions
            self.count.grow(parents, regions)
            self.odds.grow(parents, regions)
        observed = dense(chunk.n, len(self.tree.parents), bucket - chunk.start, rows, value)
        observed[chunk.missing] = 0.0
        born = _born(self.rows, chunk)
        self.count.load(chunk.start, observed, born, ~chunk.missing)
        both = ~(chunk.missing | chunk.missing_other)
        self.odds.load(chunk.start, observed * both[:, None], self.exposure(chunk) * born * both[:, None], both)
        return self.count.accounts(observed, born)

    def step(self, bucket: int) -> Singles:
        """See `Watch`."""
        return np.minimum(self.count.step(bucket), self.odds.step(bucket))

    def ahead(self, bucket: int) -> Singles | None:
        """See `Watch`."""
        count, odds = self.count.ahead(bucket), self.odds.ahead(bucket)
        return None if count is None or odds is None else np.minimum(count, odds)

    def settle(self, bucket: int, value: Singles) -> Singles:
        """See `Watch`."""
        self.count.settle(bucket)
        self.odds.settle(bucket)
        return value.copy()

    def close_epoch(self, suspected: Bools) -> None:
        """See `Watch`."""
        self.count.close_epoch(suspected)
        self.odds.close_epoch(suspected)

    def best(self, row: int, bucket: int) -> tuple[str, Onset]:
        """See `Watch`."""
        # The one that had to be waited for knows when both began to hold.
        bank = self.count if self.count.value[row] <= self.odds.value[row] else self.odds
        tilt, onset = bank.best(row, bucket)
        return bank.describe(tilt), onset

    def mass(self, rows: Ints) -> Floats:
        """See `Watch`."""
        return np.stack([self.count.mass(rows), self.odds.mass(rows)], axis=1)

    def nats(self, bucket: int, rows: Ints) -> Floats:
        """See `Watch`."""
        return np.stack([self.count.nats(bucket, rows), self.odds.nats(bucket, rows)], axis=1)

    @property
    def ready(self) -> Bools:
        """See `Watch`."""
        return self.count.ready & self.odds.ready

    @property
    def slack(self) -> Singles:
        """See `Watch`."""
        # Both have to pass the threshold, so the one that would be longer without a false alarm sets it.
        return np.minimum(self.count.slack, self.odds.slack)

    def n_known(self, bucket: int) -> int:
        """See `Watch`."""
        return self.rows.n_known(bucket)

    def forget(self, rows: Ints) -> None:
        """See `Watch`."""
        self.count.forget(rows)
        self.odds.forget(rows)

    def temper(self, honesty: Singles) -> None:
        """See `Watch`."""
        self.count.honesty = self.odds.honesty = honesty

    @property
    def honesty(self) -> Singles:
        """See `Watch`."""
        return self.count.power

    def accept(self, rows: Bools) -> None:
        """See `Watch`."""
        self.count.baseline.accept(rows)
        self.odds.baseline.accept(rows)

    def split(self, at: int) -> Split | None:  # noqa: ARG002 - hits and trials come from different sources
        """See `Watch`."""
        return None

    def exposure(self, chunk: Chunk) -> Floats:
        """(n, n_series) trials of the other kind, joined on the labels both have."""
        bucket, key, _, value = chunk.parts["n"]
        column = np.array([self._column(chunk.keys[k]) for k in key.tolist()], dtype=np.int64)
        self.wanted += [self._column_of_row(self.tree.name(row)) for row in range(len(self.wanted), len(self.tree.parents))]
        width = len(self.columns) + 1
        sums = dense(chunk.n, width, bucket - chunk.start, np.stack([np.zeros_like(column), column], axis=1), value)
        return sums[:, self.wanted]

    def _column(self, values: tuple[str, ...]) -> int:
        return self.columns.setdefault(tuple(values[i] for i in self.at), len(self.columns) + 1)

    def _column_of_row(self, name: SeriesName) -> int:
        values = tuple(name.label(label) for label in self.on)
        if not values or None in values:
            return 0
        return self.columns.setdefault(tuple(v for v in values if v is not None), len(self.columns) + 1)


class ShareWatch(_OneBank):
    """Distributions: one bank of quantile bins."""

    _derived = ("part_of", "splits")
    bank: ShareBank
    splits: list[Split]

    def __init__(self, name: str, settings: Settings) -> None:
        self.metric = name
        self.tree = SeriesTree(name, settings.labels.watched)
        self.rows = KeyRows(self.tree)
        self.bank = ShareBank(settings.metrics[name].worse, bucket_ms=settings.bucket_ms, warmup_ms=settings.warmup_ms)
        self._rederive()

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        bucket, key, fine, value = chunk.parts["bins"]
        rows = self.rows.of(bucket, key, chunk.keys)
        if len(self.tree.parents) > self.bank.baseline.n_series:
            self.bank.grow(np.array(self.tree.parents, dtype=np.int64), np.array(self.tree.paths, dtype=np.int64).reshape(-1, self.tree.n_levels))
            self.part_of = self.tree.part_of
        n_parts = len(self.tree.paths)
        counts = np.zeros((chunk.n, N_BINS, n_parts), dtype=np.float32)
        coarse = None
        if self.bank.baseline.cut is None:
            self.bank.baseline.learn_fine(fine, value)
            self.splits = []
        else:
            coarse = self.bank.baseline.coarse(fine)
            part = self.part_of[rows[:, -1]]
            cells = dense(chunk.n, n_parts * N_BINS, bucket - chunk.start, (coarse * n_parts + part)[:, None], value)
            counts = cells.reshape(counts.shape).astype(np.float32)
            counts[chunk.missing] = 0.0
        self.bank.load(chunk.start, counts, ~chunk.missing)
        if coarse is not None:
            self._split(chunk, coarse)
        return self.bank.accounts(counts)

    def split(self, at: int) -> Split | None:
        """See `Watch`."""
        return self.splits[at] if self.splits else None

    def _rederive(self) -> None:
        self.part_of = self.tree.part_of
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


def _rate_bank(metric: Metric, settings: Settings, *, odds: bool) -> RateBank:
    base = settings.baseline
    return RateBank(
        factors_for(metric.worse, metric.smallest),
        bucket_ms=settings.bucket_ms,
        odds=odds,
        warmup_ms=settings.warmup_ms,
        memory=Memory(half_life_ms=base.half_life_ms, lag_ms=base.lag_ms, freeze_ms=base.freeze_ms),
        clock=SeriesClock(settings.places),
    )


def watch_for(name: str, settings: Settings) -> Watch:
    """The watch that fits a metric's kind."""
    kinds: dict[str, type[CountWatch] | type[RatioWatch] | type[ShareWatch]] = {
        "count": CountWatch,
        "sum": CountWatch,
        "ratio": RatioWatch,
        "distribution": ShareWatch,
    }
    return kinds[settings.metrics[name].kind](name, settings)
