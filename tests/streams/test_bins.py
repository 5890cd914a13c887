import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.streams import bin_middle, bin_of
from rollguard.streams.bins import BINS

VALUES = st.floats(-1e12, 1e12, allow_nan=False)


def one(value: float) -> int:
    return int(bin_of(np.array([value]))[0])


def by_hand(value: float) -> int:
    """Climb from 0.001 in steps of 5 % until the value is passed."""
    if value == 0:
        return 0
    step, edge = 1, 1e-3
    while edge <= abs(value) and step < BINS:
        step, edge = step + 1, edge * 1.05
    return step if value > 0 else -step


@given(VALUES)
def test_a_bin_is_found_by_climbing_the_edges(value: float) -> None:
    assert one(value) == by_hand(value)


@given(VALUES, VALUES)
def test_a_larger_value_never_has_a_smaller_bin(one_value: float, other: float) -> None:
    low, high = sorted([one_value, other])
    assert one(low) <= one(high)


@given(VALUES)
def test_bins_are_mirrored_at_zero(value: float) -> None:
    assert one(-value) == -one(value)


@given(st.floats(1e-3, 9.99e8))
def test_the_middle_of_a_bin_is_within_five_percent_of_what_lies_in_it(value: float) -> None:
    middle = float(bin_middle(bin_of(np.array([value])))[0])
    assert abs(math.log(middle / value)) < math.log(1.05)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0), (-0.0, 0), (5e-324, 1), (0.00099, 1), (-0.00099, -1), (0.001, 2), (1e9, BINS - 1), (1.1e9, BINS), (1e12, BINS), (-1e12, -BINS)],
)
def test_zero_the_smallest_and_the_largest_have_bins_of_their_own(value: float, expected: int) -> None:
    assert one(value) == expected


def test_every_bin_has_a_middle_that_lies_in_it() -> None:
    bins = np.arange(-BINS, BINS + 1, dtype=np.int16)
    middles = bin_middle(bins)
    assert (np.diff(middles) > 0).all()
    # The outermost bins have no end; the edge that begins them stands for them.
    assert bin_of(middles[1:-1]).tolist() == bins[1:-1].tolist()
    assert bin_of(middles[[0, -1]]).tolist() == [-BINS, BINS]


def test_no_values_have_no_bins() -> None:
    assert len(bin_of(np.zeros(0))) == 0
