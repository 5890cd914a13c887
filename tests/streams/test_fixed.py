from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.streams.fixed import LIMIT, units

SCALES = st.sampled_from([1, 10, 100, 1000, 10**6])


def by_hand(value: float, scale: int) -> int:
    exact = int((Decimal(repr(value)) * scale).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    return max(-LIMIT, min(LIMIT, exact))


@given(st.floats(-1e12, 1e12, allow_nan=False), SCALES)
def test_units_are_what_one_gets_on_paper(value: float, scale: int) -> None:
    assert units(np.array([value]), scale).tolist() == [by_hand(value, scale)]


@given(st.integers(-(10**9), 10**9), st.integers(0, 4), SCALES)
def test_ties_of_decimals_round_half_to_even(digits: int, places: int, scale: int) -> None:
    value = float(Decimal(10 * digits + 5).scaleb(-places - 1))
    assert units(np.array([value]), scale).tolist() == [by_hand(value, scale)]


@pytest.mark.parametrize(("value", "expected"), [(0.005, 0), (0.015, 2), (0.025, 2), (-0.005, 0), (-0.015, -2), (1.005, 100), (-0.0, 0), (10.72, 1072)])
def test_half_a_cent_goes_to_the_even_one(value: float, expected: int) -> None:
    assert units(np.array([value]), 100).tolist() == [expected]


def test_what_does_not_fit_saturates_instead_of_changing_its_sign() -> None:
    assert units(np.array([1e300, -1e300]), 10**6).tolist() == [LIMIT, -LIMIT]
