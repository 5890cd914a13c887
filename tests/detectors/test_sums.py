from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.sums import column_sum, row_sums, sums_by_row

NUMBERS = st.floats(-1e12, 1e12, width=64)


def one_by_one(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


@given(values=st.lists(NUMBERS, max_size=300))
def test_a_sum_is_that_of_adding_one_after_the_other(values: list[float]) -> None:
    assert column_sum(np.array(values)) == one_by_one(values)


@given(row=st.lists(NUMBERS, min_size=1, max_size=40), copies=st.integers(1, 30))
def test_a_row_has_the_same_sum_among_any_number_of_rows(row: list[float], copies: int) -> None:
    found = row_sums(np.tile(np.array(row), (copies, 1)))
    assert found.tolist() == [one_by_one(row)] * copies


@given(data=st.data(), n_buckets=st.integers(1, 4), n_parts=st.integers(0, 6), n=st.integers(1, 3))
def test_parts_are_added_up_by_row_in_their_order(data: st.DataObject, n_buckets: int, n_parts: int, n: int) -> None:
    flat = data.draw(st.lists(NUMBERS, min_size=n_buckets * n_parts * n, max_size=n_buckets * n_parts * n))
    values = np.array(flat, dtype=np.float64).reshape(n_buckets, n_parts, n)
    rows = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n_parts, max_size=n_parts)), dtype=np.int64)
    found = sums_by_row(values, rows, 4)
    for bucket in range(n_buckets):
        for row in range(4):
            for at in range(n):
                assert found[bucket, row, at] == one_by_one(values[bucket, rows == row, at].tolist())


@given(values=st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=8))
def test_whole_numbers_are_added_exactly(values: list[int]) -> None:
    assert Fraction(column_sum(np.array(values, dtype=np.float64))) == sum(values)
