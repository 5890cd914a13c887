"""The one histogram of all distributions: fixed bins, 5 % wide, from 0.001 to 10⁹ on both sides of zero.

The edges are made by repeated multiplication and found by comparison: no logarithm, whose last digit differs between
processors, decides in which bin a value lies.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "bin_middle", "bin_of"]

RATIO = 1.05
SMALLEST = 1e-3
LARGEST = 1e9


def _edges() -> npt.NDArray[np.float64]:
    edges = [SMALLEST]
    while edges[-1] < LARGEST:
        edges.append(edges[-1] * RATIO)
    return np.array(edges, dtype=np.float64)


_EDGES = _edges()
#: Bins run from -BINS to BINS: 0 is zero itself, ±1 what is smaller than the first edge, ±BINS what is beyond the last.
BINS = len(_EDGES) + 1
_MIDDLES = np.concatenate([[0.0, SMALLEST / 2], np.sqrt(_EDGES[:-1] * _EDGES[1:]), [_EDGES[-1]]])


def bin_of(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """Bin of each value.

    Parameters
    ----------
    values : (n,) float64
        Finite.

    Returns
    -------
    (n,) int16
        Larger for larger values; the bin of -x is minus the bin of x.

    Examples
    --------
    >>> bin_of(np.array([-1.0, 0.0, 0.0001, 1.0, 1.05, 1e12]))
    array([-143,    0,    1,  143,  144,  569], dtype=int16)
    """
    size = np.searchsorted(_EDGES, np.abs(values), side="right") + 1
    return (size * np.sign(values)).astype(np.int16)


def bin_middle(bins: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Geometric middle of each bin, in the unit of the values.

    Parameters
    ----------
    bins : (n,) int16
        As `bin_of` gives them.

    Returns
    -------
    (n,) float64
        The last bin has no end; its lower edge stands for it.

    Examples
    --------
    >>> bin_middle(bin_of(np.array([-30.0, 0.0, 30.0]))).round(2)
    array([-30.31,   0.  ,  30.31])
    """
    wide = bins.astype(np.int64)
    return np.asarray(np.sign(wide) * _MIDDLES[np.abs(wide)], dtype=np.float64)
