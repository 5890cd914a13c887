"""Floating sums whose order never depends on an array's shape, so that the same input gives the same bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["column_sum", "row_sums"]

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
