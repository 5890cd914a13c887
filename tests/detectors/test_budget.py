from __future__ import annotations

from math import exp, fsum, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.series import SeriesTree
from tests.detectors.town import settings_of

MONTH = 30 * 8640
SETTINGS = settings_of("")


def tree_of(values: list[tuple[str, str]]) -> SeriesTree:
    tree = SeriesTree("orders", ("service", "region"))
    for each in values:
        tree.rows(each)
    return tree


PLACES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=12)


@given(places=st.lists(PLACES, min_size=1, max_size=4))
def test_the_false_alarms_of_all_series_add_up_to_the_budget(places: list[list[tuple[str, str]]]) -> None:
    """By the union bound: an e-detector with threshold A has one false alarm in A buckets at most."""
    rate = fsum(exp(-nats) for each in places for nats in log_thresholds(SETTINGS, len(places), tree_of(each)).tolist())
    assert rate * MONTH == pytest.approx(1.0)


def test_a_smaller_budget_or_a_longer_period_raises_thresholds() -> None:
    tree = tree_of([("a", "x"), ("b", "y")])
    usual = log_thresholds(settings_of(""), 3, tree)
    assert log_thresholds(settings_of("budget: {false_pages: 0.5}"), 3, tree) - usual == pytest.approx([log(2.0)] * len(usual))
    assert log_thresholds(settings_of("budget: {per: 90d}"), 3, tree) - usual == pytest.approx([log(3.0)] * len(usual))
    assert log_thresholds(settings_of("bucket: 60s"), 3, tree) - usual == pytest.approx([-log(6.0)] * len(usual))


def test_pooled_series_stay_quick_however_many_fine_ones_there_are() -> None:
    few, many = (log_thresholds(settings_of(""), 3, tree_of([("a", str(n)) for n in range(size)])) for size in (2, 50))
    assert few[0] == many[0]
    assert many[-1] - few[-1] == pytest.approx(log(25.0))
