"""Sums in fixed point: a value becomes a whole number of units of 1/scale, so that adding in any order gives the same."""

from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import numpy.typing as npt

__all__ = ["LIMIT", "units"]

#: Where units saturate: two of them still add up in an int64.
LIMIT = 2**62
#: Relative distance to a tie below which the product of two floats may have rounded across it.
_NEAR = 2.0**-50
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def units(values: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.int64]:
    """Round each value to whole units, half to even, as one would on paper with the digits that were sent.

    Parameters
    ----------
    values : (n,) float64
        Finite.
    scale : int
        Units in one, > 0.

    Returns
    -------
    (n,) int64
        Clipped to ±2⁶².

    Examples
    --------
    1.115 is stored as 1.11499999999999999 and its product with 100 as 111.50000000000001; on paper it is a tie.

    >>> units(np.array([10.72, 1.115, 1.125, -1.125, 0.285]), 100)
    array([1072,  112,  112, -112,   28])
    """
    product = values * float(scale)
    whole = np.rint(product)
    tie = np.abs(np.abs(product - np.trunc(product)) - 0.5) <= np.abs(product) * _NEAR
    result = np.clip(whole, -float(LIMIT), float(LIMIT)).astype(np.int64)
    for at in np.flatnonzero(tie).tolist():
        exact = int(_EXACT.multiply(Decimal(repr(float(values[at]))), Decimal(scale)).to_integral_value(context=_EXACT))
        result[at] = max(-LIMIT, min(LIMIT, exact))
    return result
