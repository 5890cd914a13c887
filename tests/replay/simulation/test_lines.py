"""Lines made by columns are those that one would write by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.replay.simulation import lines
from rollguard.replay.simulation.lines import Cents, Part, Texts, Whole, blocks_of_lines

NAMES = ("eu-west", "é", "", "ap-south-1")
ROWS = st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**9), st.integers(0, len(NAMES) - 1)), min_size=1, max_size=60)


def columns(rows: list[tuple[int, int, int]]) -> list[Part]:
    number, cents, name = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return ['{"n":', Whole(number), ',"paid":', Cents(cents), ',"name":"', Texts(NAMES, name), '"}\n']


@given(rows=ROWS, order=st.randoms())
def test_numbers_amounts_and_texts_are_written_as_json_would_write_them(rows: list[tuple[int, int, int]], order: object) -> None:
    which = list(range(len(rows))) * 2
    order.shuffle(which)  # type: ignore[attr-defined]
    made = b"".join(blocks_of_lines(columns(rows), np.array(which, dtype=np.int64))).decode()
    expected = [json.dumps({"n": n, "paid": c / 100, "name": NAMES[p]}, separators=(",", ":"), ensure_ascii=False) for n, c, p in (rows[i] for i in which)]
    assert made.splitlines() == expected


def test_a_block_ends_between_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 3)
    blocks = list(blocks_of_lines(['{"n":', Whole(np.arange(8)), "}\n"], np.arange(8)))
    assert [block.count(b"\n") for block in blocks] == [3, 3, 2]
    assert all(block.endswith(b"}\n") for block in blocks)


def test_a_negative_number_is_refused_rather_than_written_wrong() -> None:
    with pytest.raises(ValueError, match="-3 is negative"):
        list(blocks_of_lines([Whole(np.array([-3]))], np.array([0])))


def test_no_rows_give_no_lines() -> None:
    assert not list(blocks_of_lines([Whole(np.empty(0, dtype=np.int64)), "\n"], np.empty(0, dtype=np.int64)))
