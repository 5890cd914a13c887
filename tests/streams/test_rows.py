from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from rollguard.streams.bins import BINS
from rollguard.streams.rows import Rows, renumbered

Cell = tuple[int, int, int, int, int]
CELLS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2), st.integers(0, 4), st.integers(-2, 2), st.integers(-(10**6), 10**6)), max_size=30)


def rows_of(cells: Sequence[Cell]) -> Rows:
    columns = list(zip(*cells, strict=True)) or [()] * 5
    kinds = (np.int64, np.int16, np.int32, np.int16, np.int64)
    return Rows(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def cells_of(rows: Rows) -> list[Cell]:
    return list(zip(*(column.tolist() for column in (rows.bucket, rows.measure, rows.key, rows.bin, rows.value)), strict=True))


def by_hand(cells: Sequence[Cell]) -> list[Cell]:
    sums: Counter[tuple[int, int, int, int]] = Counter()
    for *cell, value in cells:
        sums[tuple(cell)] += value  # type: ignore[index]
    return [(*cell, value) for cell, value in sorted(sums.items())]


def merged(*parts: Rows) -> Rows:
    return Rows.together(parts).summed()


@given(CELLS)
@example([(0, 0, 0, 0, 1), (2**61, 1, 3, 1, 2), (0, 0, 0, 0, 3), (2**61, 1, 3, -1, 4)])
@example([(0, 0, 0, -BINS, 1), (0, 0, 0, BINS, 1), (0, 0, 1, -BINS, 1), (0, 1, 0, 0, 1)])
def test_equal_cells_add_up_and_stand_in_order(cells: list[Cell]) -> None:
    assert cells_of(rows_of(cells).summed()) == by_hand(cells)


@given(CELLS, CELLS, CELLS)
def test_merging_is_associative_and_commutative(one: list[Cell], other: list[Cell], third: list[Cell]) -> None:
    a, b, c = rows_of(one), rows_of(other), rows_of(third)
    expected = cells_of(merged(a, b, c))
    assert cells_of(merged(merged(a, b), c)) == cells_of(merged(a, merged(b, c))) == expected
    assert cells_of(merged(c, a, b)) == cells_of(merged(b, merged(c, a))) == expected


@given(CELLS, st.integers(-5, 5))
def test_a_cut_loses_nothing(cells: list[Cell], bucket: int) -> None:
    before, after = rows_of(cells).summed().cut(bucket)
    assert cells_of(before) + cells_of(after) == by_hand(cells)
    assert all(each < bucket for each in before.bucket.tolist())
    assert all(each >= bucket for each in after.bucket.tolist())


@given(CELLS)
def test_numbers_of_keys_follow_their_values_alone(cells: list[Cell]) -> None:
    names = [("b",), ("a",), ("c",), ("a",), ("unused",)]
    rows, keys = renumbered(rows_of(cells), names)
    assert list(keys) == sorted({names[key] for _, _, key, _, _ in cells})
    by_name = [(bucket, measure, keys[key], bin_, value) for bucket, measure, key, bin_, value in cells_of(rows)]
    expected: Counter[tuple[int, int, tuple[str], int]] = Counter()
    for bucket, measure, key, bin_, value in cells:
        expected[bucket, measure, names[key], bin_] += value
    assert by_name == [(*cell, value) for cell, value in sorted(expected.items())]


def test_sums_beyond_64_bits_saturate_instead_of_changing_their_sign() -> None:
    top = 2**63 - 1
    assert rows_of([(0, 0, 0, 0, 2**62)] * 3).summed().value.tolist() == [top]
    assert rows_of([(0, 0, 0, 0, -(2**62))] * 3 + [(0, 0, 1, 0, 5)]).summed().value.tolist() == [-top, 5]


def test_large_sums_are_exact_as_long_as_they_fit() -> None:
    assert rows_of([(0, 0, 0, 0, 2**62), (0, 0, 0, 0, 2**62 - 1), (0, 0, 0, 0, -1)]).summed().value.tolist() == [2**63 - 2]
