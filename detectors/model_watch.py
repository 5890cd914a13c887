"""A watched metric whose evidence comes from a river model named in the config."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.bank import Accounts
from rollguard.detectors.chunk import Chunk
from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.foreign import ForeignBank
from rollguard.detectors.onset import Onset
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

    def step(self, bucket: int) -> Singles:
        """See `Watch`."""
        # Models may be surer than a float32 can say.
        return np.minimum(self.model.step(bucket), 1e36).astype(np.float32)

    def ahead(self, bucket: int) -> Singles | None:  # noqa: ARG002 - a model learns from each bucket
        """See `Watch`."""
        return None

    def settle(self, bucket: int, value: Singles) -> Singles:  # noqa: ARG002 - nothing was looked at
        """See `Watch`."""
        return value

    def close_epoch(self, suspected: Bools) -> None:
        """See `Watch`."""
        self.usual.close_epoch(suspected)
        self.model.close_epoch(suspected)

    def best(self, row: int, bucket: int) -> tuple[str, Onset]:
        """See `Watch`."""
        bet, onset, nats = self.model.best(row)
        # As of shares: a change point is known to about the number of buckets that give one nat or two.
        return self.model.describe(bet), Onset(float(onset), max(0.5, 2.0 * (bucket - onset + 1.0) / max(nats, 1.0)), nats)

    def mass(self, rows: Ints) -> Floats:
        """See `Watch`."""
        return self.model.mass(rows)[:, None, :]

    def nats(self, bucket: int, rows: Ints) -> Floats:  # noqa: ARG002 - a model cannot be asked twice: those of the last bucket
        """See `Watch`."""
        return self.model.nats(rows)[:, None, :]

    @property
    def ready(self) -> Bools:
        """See `Watch`."""
        return self.model.ready

    @property
    def slack(self) -> Singles:
        """See `Watch`."""
        # Nobody knows how a model's scores jump.
        return np.ones(len(self.tree.parents), dtype=np.float32)

    def n_known(self, bucket: int) -> int:
        """See `Watch`."""
        return self.usual.n_known(bucket)

    def forget(self, rows: Ints) -> None:
        """See `Watch`."""
        self.model.forget(rows)

    def temper(self, honesty: Singles) -> None:
        """A model's bets are tempered by its own correlation time."""

    @property
    def honesty(self) -> Singles:
        """See `Watch`."""
        return np.ones(len(self.ready), dtype=np.float32)

    def accept(self, rows: Bools) -> None:
        """See `Watch`. A model learns what it is shown; the accounts' baseline starts anew."""
        self.usual.accept(rows)

    def split(self, at: int) -> Split | None:
        """See `Watch`."""
        return self.usual.split(at)

    def _values(self, chunk: Chunk, accounts: Accounts) -> Floats:
        """(n_buckets, n_series) float64; NaN where there is nothing to divide by."""
        hits = np.array(accounts.observed, dtype=np.float64)
        if isinstance(self.usual, CountWatch):
            return hits
        trials = hits + self.usual.exposure(chunk)
        values: Floats = np.full(hits.shape, np.nan)
        np.divide(hits, trials, out=values, where=trials > 0.0)
        return values
