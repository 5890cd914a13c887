"""Floating sums whose order never depends on an array's shape, so that the same input gives the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Grouping", "column_sum", "down", "totals"]

Floats = npt.NDArray[np.float64]

#: Columns added up pairwise.
_BLOCK = 1024
#: So many of them numpy adds up without halving.
_LEAST = 128
#: Up to so many numbers their groups are added up in one call.
_FLAT = 1 << 16


def column_sum(values: Floats) -> float:
    """Sum of a vector in index order; 0 for an empty one."""
    return float(np.add.accumulate(values)[-1]) if len(values) else 0.0


def down(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sum over the first axis, one after the other: pairwise sums may differ with the number of columns.

    Parameters
    ----------
    values : (n, ...) float32
        n >= 1.

    Returns
    -------
    (...) float32

    Examples
    --------
    >>> down(np.array([[1.0, 2.0], [4.0, 8.0]], dtype=np.float32))
    array([ 5., 10.], dtype=float32)
    """
    total: npt.NDArray[np.float32] = values[0].copy()
    for each in values[1:]:
        total += each
    return total


def totals(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Sums over the columns of each row; appended zeros change nothing.

    Blocks of a fixed length are added up pairwise, and blocks one after the other: quick, and the same however many columns there are.

    Parameters
    ----------
    values : (k, n) float

    Returns
    -------
    (k,) float64

    Examples
    --------
    >>> totals(np.array([[1.0, 2.0, 4.0], [0.5, 0.0, 0.0]]))
    array([7. , 0.5])
    """
    k, n = values.shape
    whole = n // _BLOCK * _BLOCK
    # A sum in pairs halves its columns again and again: as long as the last halves hold but zeros they change nothing, and few columns need few of them.
    width = _LEAST
    while width <= n - whole:
        width *= 2
    rest = np.zeros((k, width), dtype=values.dtype)
    rest[:, : n - whole] = values[:, whole:]
    sums = np.concatenate([np.add.reduce(values[:, :whole].reshape(k, -1, _BLOCK), axis=2), np.add.reduce(rest, axis=1)[:, None]], axis=1)
    total: Floats = np.add.accumulate(sums, axis=1, dtype=np.float64)[:, -1]
    return total


class Grouping:
    """Which group each part belongs to, and how to add the parts of a group up, in the order of the parts.

    Parameters
    ----------
    rows : (n_parts,) int64
        Group of each part.

    Examples
    --------
    >>> grouping = Grouping(np.array([0, 2, 0]))
    >>> grouping.rows, grouping.sums(np.array([[1.0, 2.0, 4.0]]))
    (array([0, 2]), array([[5., 2.]]))
    """

    def __init__(self, rows: npt.NDArray[np.int64]) -> None:
        self.rows, self.inverse = np.unique(rows, return_inverse=True)
        self.alone = len(self.rows) == len(rows)
        #: Where groups of one part each stand one after another, no copy of millions of numbers is needed.
        self.span = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) and (np.diff(rows) == 1).all() else None

    def sums(self, values: npt.NDArray[np.floating[Any]]) -> Floats:
        """Sums of each group.

        Parameters
        ----------
        values : (k, n_parts) float

        Returns
        -------
        (k, n_groups) float64
            Of the groups in `rows`.
        """
        if len(self.rows) == 1:
            return totals(values)[:, None]
        found = np.zeros((len(values), len(self.rows)))
        if self.alone:
            found[:, self.inverse] = values
            return found
        # bincount adds one after the other; a product with a matrix of zeros and ones would not.
        if values.size <= _FLAT:
            flat = np.arange(len(values))[:, None] * len(self.rows) + self.inverse
            added: Floats = np.bincount(flat.ravel(), weights=values.ravel(), minlength=found.size).astype(np.float64)
            return added.reshape(found.shape)
        for k, each in enumerate(values):
            found[k] = np.bincount(self.inverse, weights=each, minlength=len(self.rows))
        return found
