from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.sums import Grouping, column_sum, totals

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
def test_a_row_has_the_same_total_among_any_number_of_rows(row: list[float], copies: int) -> None:
    found = totals(np.tile(np.array(row), (copies, 1)))
    assert found.tobytes() == np.repeat(totals(np.array([row])), copies).tobytes()
    assert found[0] == pytest.approx(float(sum(map(Fraction, row))), rel=1e-12, abs=1e-3)


@given(seed=st.integers(0, 2**16), n=st.sampled_from([0, 1, 7, 1023, 1024, 1025, 2048, 3000]), extra=st.integers(0, 2100), single=st.booleans())
def test_zeros_at_the_end_change_no_total(seed: int, n: int, extra: int, single: bool) -> None:
    """As of series that have just begun, however many."""
    values = np.random.default_rng(seed).normal(size=(2, n)).astype(np.float32 if single else np.float64)
    longer = np.concatenate([values, np.zeros((2, extra), dtype=values.dtype)], axis=1)
    assert totals(longer).tobytes() == totals(values).tobytes()


@given(data=st.data(), n_buckets=st.integers(1, 4), n_parts=st.integers(1, 8))
def test_parts_are_added_up_by_group_in_their_order(data: st.DataObject, n_buckets: int, n_parts: int) -> None:
    flat = data.draw(st.lists(NUMBERS, min_size=n_buckets * n_parts, max_size=n_buckets * n_parts))
    values = np.array(flat, dtype=np.float64).reshape(n_buckets, n_parts)
    rows = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n_parts, max_size=n_parts)), dtype=np.int64)
    grouping = Grouping(rows)
    found = grouping.sums(values)
    assert grouping.rows.tolist() == sorted(set(rows.tolist()))
    for bucket in range(n_buckets):
        for at, row in enumerate(grouping.rows.tolist()):
            mine = values[bucket, rows == row]
            exact = one_by_one(mine.tolist()) if len(grouping.rows) > 1 else float(totals(mine[None])[0])
            assert found[bucket, at] == exact


@given(rows=st.lists(st.integers(0, 9), max_size=9))
def test_a_span_is_said_only_of_groups_that_stand_one_after_another(rows: list[int]) -> None:
    grouping = Grouping(np.array(rows, dtype=np.int64))
    if grouping.span is None:
        assert not rows or rows != list(range(rows[0], rows[0] + len(rows)))
    else:
        assert list(range(*grouping.span.indices(100))) == rows == grouping.rows.tolist()


@given(values=st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=8))
def test_whole_numbers_are_added_exactly(values: list[int]) -> None:
    assert Fraction(column_sum(np.array(values, dtype=np.float64))) == sum(values)
