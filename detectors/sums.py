"""Floating sums whose order never depends on an array's shape, so that the same input gives the same bytes."""

from __future__ import annotations

from typing import Any

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


def sums_by_row(values: npt.NDArray[np.floating[Any]], rows: npt.NDArray[np.int64], n_rows: int) -> Floats:
    """Sum over the parts that belong to the same row, in index order.

    Parameters
    ----------
    values : (k, n_parts) float64 or float32
    rows : (n_parts,) int64
        Row of each part, in 0..n_rows.
    n_rows : int

    Returns
    -------
    (k, n_rows) float64
        Zero for a row without parts.

    Examples
    --------
    >>> sums_by_row(np.array([[1.0, 2.0, 4.0]]), np.array([0, 2, 0]), 3)
    array([[5., 0., 2.]])
    """
    total = np.zeros((len(values), n_rows))
    for k, each in enumerate(values):
        # bincount adds one after the other; a product with a matrix of zeros and ones would not.
        total[k] = np.bincount(rows, weights=each, minlength=n_rows)
    return total
