"""A watched metric whose evidence comes from a river model named in the config."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.bank import Accounts
from rollguard.detectors.chunk import Chunk
from rollguard.detectors.evidence import Floats
from rollguard.detectors.foreign import ForeignBank
from rollguard.detectors.records import Split
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.watch import CountWatch, RatioWatch

__all__ = ["ModelWatch"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class ModelWatch:
    """A `Watch` that asks river models instead of our banks. Baselines and accounts stay ours: a model says that something is wrong, not how much.

    What a model is shown of a bucket is one value: the count or sum; of a ratio k / (k + n).
    A bucket without a trial has no ratio: it is missing to the model.

    Parameters
    ----------
    usual : CountWatch or RatioWatch
        The watch the metric would have without a model; it is stepped no more, but keeps series, baselines and accounts.
    model : ForeignBank
        Without series yet.
    """

    def __init__(self, usual: CountWatch | RatioWatch, model: ForeignBank) -> None:
        self.metric: str = usual.metric
        self.tree: SeriesTree = usual.tree
        self.usual = usual
        self.model = model

    def load(self, chunk: Chunk) -> Accounts:
        """See `Watch`."""
        accounts = self.usual.load(chunk)
        self.model.grow(len(self.tree.parents))
        values = self._values(chunk, accounts)
        values[chunk.missing | (chunk.missing_other & isinstance(self.usual, RatioWatch))] = np.nan
        values[self.usual.rows.unborn(chunk.start, chunk.n)] = np.nan
        self.model.load(chunk.start, values)
        return accounts

    def step(self, bucket: int) -> Floats:
        """See `Watch`."""
        return self.model.step(bucket)

    def close_epoch(self, suspected: Bools) -> None:
        """See `Watch`."""
        self.usual.close_epoch(suspected)
        self.model.close_epoch(suspected)

    def best(self, row: int) -> tuple[str, int, float]:
        """See `Watch`."""
        bet, onset, nats = self.model.best(row)
        return self.model.describe(bet), onset, nats

    @property
    def lead(self) -> Floats:
        """See `Watch`."""
        return self.model.lead

    @property
    def suspicion(self) -> Floats:
        """See `Watch`."""
        suspicion: Floats = self.model.lead.max(axis=1)
        return suspicion

    @property
    def n_ready(self) -> int:
        """See `Watch`."""
        return int(np.count_nonzero(self.model.ready))

    def n_known(self, bucket: int) -> int:
        """See `Watch`."""
        return self.usual.n_known(bucket)

    def forget(self, rows: Ints) -> None:
        """See `Watch`."""
        self.model.forget(rows)

    def split(self, at: int) -> Split | None:
        """See `Watch`."""
        return self.usual.split(at)

    def _values(self, chunk: Chunk, accounts: Accounts) -> Floats:
        """(n_buckets, n_series) float64; NaN where there is nothing to divide by."""
        hits = np.array(accounts.observed, dtype=np.float64)
        if isinstance(self.usual, CountWatch):
            return hits
        trials = hits + self.usual._exposure(chunk)  # noqa: SLF001 - becomes `exposure`
        values: Floats = np.full(hits.shape, np.nan)
        np.divide(hits, trials, out=values, where=trials > 0.0)
        return values
