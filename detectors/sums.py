"""Floating sums whose order never depends on an array's shape, so that the same input gives the same bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["column_sum", "row_sums", "sums_by_row"]

Floats = npt.NDArray[np.float64]


def row_sums(values: Floats) -> Floats:
    """Sum over the last axis, column by column.

    Parameters
    ----------
    values : (..., n) float64
        n >= 1.

    Returns
    -------
    (...) float64
    """
    total = values[..., 0].copy()
    for k in range(1, values.shape[-1]):
        total += values[..., k]
    return total


def column_sum(values: Floats) -> float:
    """Sum of a vector in index order; 0 for an empty one."""
    return float(np.add.accumulate(values)[-1]) if len(values) else 0.0


def sums_by_row(values: Floats, rows: npt.NDArray[np.int64], n_rows: int) -> Floats:
    """Sum over the parts that belong to the same row, in index order.

    Parameters
    ----------
    values : (n_buckets, n_parts, n) float64
    rows : (n_parts,) int64
        Row of each part, in 0..n_rows.
    n_rows : int

    Returns
    -------
    (n_buckets, n_rows, n) float64
        Zero for a row without parts.

    Examples
    --------
    >>> sums_by_row(np.array([[[1.0], [2.0], [4.0]]]), np.array([0, 2, 0]), 3).ravel()
    array([5., 0., 2.])
    """
    n_buckets, _, n = values.shape
    cell = (np.arange(n_buckets)[:, None, None] * n_rows + rows[:, None]) * n + np.arange(n)
    # bincount adds one after the other; a product with a matrix of zeros and ones would not.
    total: Floats = np.bincount(cell.ravel(), weights=values.ravel(), minlength=n_buckets * n_rows * n).astype(np.float64)
    return total.reshape(n_buckets, n_rows, n)
