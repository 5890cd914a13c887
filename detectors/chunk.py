"""Closed buckets of one epoch as columns, and which series each of their rows counts in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats
from rollguard.detectors.series import SeriesTree

__all__ = ["Chunk", "KeyRows", "dense"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Chunk:
    """Closed buckets of one epoch, as columns.

    Attributes
    ----------
    start, n : int
        First bucket and number of buckets.
    keys : tuple of tuple of str
        Label values, watched then compare; append-only from chunk to chunk.
    bucket, key, bin, value : (n_rows,) int64
        Rows of each measure of the metric, by the measure's part.
    missing, silent, unsettled : (n,) bool
        By the metric's source (and, for `missing_other`, the source it is measured against; for `unsettled` by either).
    events, doubtful : (n,) float64
        Events of the metric's source, and late events and refused lines of it.
    """

    __slots__ = ("doubtful", "events", "keys", "missing", "missing_other", "n", "parts", "silent", "start", "unsettled")

    def __init__(
        self,
        start: int,
        n: int,
        keys: tuple[tuple[str, ...], ...],
        parts: dict[str, tuple[Ints, Ints, Ints, Ints]],
        *,
        missing: Bools,
        missing_other: Bools,
        silent: Bools,
        doubtful: Floats,
        unsettled: Bools | None = None,
    ) -> None:
        self.start = start
        self.n = n
        self.keys = keys
        self.parts = parts
        self.missing = missing
        self.missing_other = missing_other
        self.silent = silent
        self.unsettled: Bools = np.zeros(n, dtype=bool) if unsettled is None else unsettled
        self.doubtful = doubtful
        bucket, _, _, value = parts[next(part for part in ("count", "k", "bins") if part in parts)]
        self.events: Floats = np.bincount(bucket - start, weights=value, minlength=n).astype(np.float64)


class KeyRows:
    """Which rows of a tree each key counts in, looked up once a key; and in which bucket each row was first seen."""

    def __init__(self, tree: SeriesTree) -> None:
        self.tree = tree
        self.n_watched = len(tree.watched)
        self.table: Ints = np.zeros((0, tree.n_levels), dtype=np.int64)
        self.known: Bools = np.zeros(0, dtype=bool)
        # All together exist from the beginning: no event at all is a true zero for them.
        self.born: Ints = np.full(len(tree.parents), np.iinfo(np.int64).min)

    def of(self, bucket: Ints, key: Ints, keys: tuple[tuple[str, ...], ...]) -> Ints:
        """(n_rows, n_levels) rows of the tree; new series are added in the order in which they appear.

        Parameters
        ----------
        bucket, key : (n_rows,) int64
            Sorted by bucket, then key. The order of the keys' numbers alone would not do: a key may be numbered for
            another measure's sake, so that it would depend on the batch which of two comes first.
        keys : tuple of tuple of str
            Label values that `key` indexes.
        """
        if len(self.table) < len(keys):
            extra = len(keys) - len(self.table)
            self.table = np.concatenate([self.table, np.full((extra, self.tree.n_levels), -1, dtype=np.int64)])
            self.known = np.concatenate([self.known, np.zeros(extra, dtype=bool)])
        new = np.flatnonzero(~self.known[key])
        born: list[int] = []
        for at in new[np.sort(np.unique(key[new], return_index=True)[1])].tolist():
            number = int(key[at])
            self.table[number] = self.tree.rows(keys[number][: self.n_watched])
            self.known[number] = True
            born += [int(bucket[at])] * (len(self.tree.parents) - len(self.born) - len(born))
        if born:
            self.born = np.concatenate([self.born, np.array(born, dtype=np.int64)])
        return self.table[key]

    def unborn(self, start: int, n: int) -> Bools:
        """(n, n_series) bool: buckets before a series was first seen. They say nothing of it, however they are batched."""
        unborn: Bools = np.arange(start, start + n)[:, None] < self.born
        return unborn

    def n_known(self, bucket: int) -> int:
        """Rows seen by the end of a bucket; they are numbered in the order in which they appeared."""
        return int(np.searchsorted(self.born, bucket, side="right"))


def dense(n: int, width: int, at: Ints, rows: Ints, value: Ints) -> Floats:
    """(n, width) sums of `value` over (bucket, row); integers below 2**53, so exact in any order."""
    flat = (at[:, None] * width + rows).ravel()
    weights = np.repeat(value, rows.shape[1]).astype(np.float64)
    sums: Floats = np.bincount(flat, weights=weights, minlength=n * width).astype(np.float64)
    return sums.reshape(n, width)
