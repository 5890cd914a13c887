from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from rollguard.replay.scoring.intervals import bootstrap, poisson, wilson


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_shares_interval_is_that_of_scipy_and_contains_it(counted: tuple[int, int]) -> None:
    hits, n = counted
    low, high = wilson(hits, n)
    theirs = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0.0 <= low <= hits / n <= high <= 1.0


@given(st.integers(0, 300))
def test_a_counts_interval_is_that_of_the_chi_square_and_contains_it(count: int) -> None:
    low, high = poisson(count)
    assert low == pytest.approx(0.0 if count == 0 else chi2.ppf(0.025, 2 * count) / 2, rel=1e-6)
    assert high == pytest.approx(chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-6)
    assert low <= count <= high


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.sampled_from([0.5, 0.95]))
def test_a_drawn_interval_contains_its_estimate_and_is_the_same_each_time(values: list[float], at: float) -> None:
    column = np.array(values)
    estimate = float(np.quantile(column, at))
    low, high = bootstrap(len(column), lambda drawn: np.quantile(column[drawn], at, axis=1), estimate)
    assert min(values) <= low <= estimate <= high <= max(values)
    assert (low, high) == bootstrap(len(column), lambda drawn: np.quantile(column[drawn], at, axis=1), estimate)


def test_nineteen_in_twenty_drawn_intervals_hold_the_median_that_is_true() -> None:
    chance = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        column = chance.exponential(1.0, 40)
        low, high = bootstrap(40, lambda drawn, column=column: np.median(column[drawn], axis=1), float(np.median(column)))  # type: ignore[misc]
        held += low <= np.log(2) <= high
    assert 0.90 <= held / 300 <= 0.99
