from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.series import SeriesTree

LABELS = [(), ("region",), ("service", "region"), ("service", "shop", "region")]


def values_for(watched: tuple[str, ...]) -> st.SearchStrategy[list[tuple[str, ...]]]:
    return st.lists(st.tuples(*(st.sampled_from(["a", "b", "c"]) for _ in watched)), max_size=12)


@pytest.mark.parametrize(("watched", "levels"), list(zip(LABELS, [1, 2, 4, 5], strict=True)))
def test_an_event_counts_once_in_every_way_of_pooling(watched: tuple[str, ...], levels: int) -> None:
    tree = SeriesTree("orders", watched)
    rows = tree.rows(("a",) * len(watched))
    assert len(set(rows)) == len(rows) == tree.n_levels == levels
    assert rows[0] == 0
    assert [len(tree.name(row).labels) for row in rows] == [0] + [1] * len(watched) + ([len(watched)] if len(watched) > 1 else [])


@given(data=st.data(), watched=st.sampled_from(LABELS))
def test_rows_stay_where_they_are_and_say_what_they_are(data: st.DataObject, watched: tuple[str, ...]) -> None:
    tree = SeriesTree("orders", watched)
    asked = data.draw(values_for(watched))
    first = [tree.rows(values) for values in asked]
    assert [tree.rows(values) for values in asked] == first
    for values, rows in zip(asked, first, strict=True):
        for row in rows:
            assert set(tree.name(row).labels) <= set(zip(watched, values, strict=True))
    assert len(set(tree.names)) == len(tree.names) == len(tree.parents) == len(tree.levels)


@given(data=st.data(), watched=st.sampled_from(LABELS[1:]))
def test_every_finest_series_has_one_path_that_ends_in_it(data: st.DataObject, watched: tuple[str, ...]) -> None:
    tree = SeriesTree("orders", watched)
    asked = data.draw(values_for(watched))
    assert sorted({tree.rows(values) for values in asked}) == sorted(tree.paths)
    assert len({path[-1] for path in tree.paths}) == len(tree.paths)


@given(data=st.data(), watched=st.sampled_from(LABELS[1:]))
def test_a_level_knows_how_many_series_share_it(data: st.DataObject, watched: tuple[str, ...]) -> None:
    tree = SeriesTree("orders", watched)
    for values in data.draw(values_for(watched)):
        tree.rows(values)
    shapes = [tuple(key for key, _ in name.labels) for name in tree.names]
    assert tree.level_sizes().tolist() == [shapes.count(shape) for shape in shapes]


def test_the_finest_series_borrow_their_day_from_their_place() -> None:
    tree = SeriesTree("orders", ("service", "region"))
    rows = tree.rows(("checkout", "eu"))
    assert [str(tree.name(tree.parents[row])) for row in rows] == ["orders", "orders", "orders", "orders{region=eu}"]


def test_the_names_of_the_first_rows_are_one_object_until_a_row_is_added() -> None:
    tree = SeriesTree("orders", ("region",))
    tree.rows(("eu",))
    assert tree.first_names(2) is tree.first_names(2) is tree.names
    assert tree.first_names(1) == tree.names[:1]
    tree.rows(("us",))
    assert len(tree.names) == 3
