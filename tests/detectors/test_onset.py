from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.evidence import count_coefficients, ratios_above, ratios_below
from rollguard.detectors.onset import Onset, Recent, onset_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
WEIGHT = np.log([0.5, 1.5, 3.0])
CONSTANT = np.array([-5.0, 5.0, 20.0])
LENGTH = 5
NOTHING: tuple[Ints, Floats, Floats, int] = (np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), LENGTH)
HITS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def brute(spans: list[tuple[int, int, float, float]]) -> tuple[int, Onset]:
    """Posterior by enumeration: each start and tilt with its likelihood, a loop inside a loop.

    A span is its first bucket, how many buckets it holds, its hits and its exposure.
    """
    weights: dict[tuple[int, int], float] = {}
    for tilt, (w, c) in enumerate(zip(WEIGHT.tolist(), CONSTANT.tolist(), strict=True)):
        for start in range(len(spans)):
            weights[tilt, start] = sum(hits * w - exposure * c for _, _, hits, exposure in spans[start:])
    top = max(weights.values())
    best = next(tilt for (tilt, _), nats in weights.items() if nats == top)
    density = [sum(exp(weights[tilt, start] - top) for tilt in range(len(WEIGHT))) for start in range(len(spans))]
    middle = [first + (n - 1) / 2 for first, n, _, _ in spans]
    mode = middle[density.index(max(density))]
    total = square = 0.0
    for each, (first, n, _, _) in zip(density, spans, strict=True):
        for bucket in range(first, first + n):
            total += each
            square += each * (bucket - mode) ** 2
    return best, Onset(mode, max(0.5, sqrt(square / total)), top)


@given(hits=HITS, old=st.lists(st.integers(0, 100), max_size=4))
def test_the_posterior_is_that_of_all_starts_and_sizes_by_enumeration(hits: list[int], old: list[int]) -> None:
    """An epoch that waits holds as many starts as buckets, all alike."""
    first = np.arange(len(old)) * LENGTH
    buckets = len(old) * LENGTH + np.arange(len(hits))
    recent = (buckets, np.array(hits, dtype=np.float64), np.ones(len(hits)))
    waited = (first, np.array(old, dtype=np.float64), np.full(len(old), float(LENGTH)), LENGTH)
    spans = [(int(at), LENGTH, float(each), float(LENGTH)) for at, each in zip(first, old, strict=True)]
    spans += [(int(at), 1, float(each), 1.0) for at, each in zip(buckets, hits, strict=True)]
    tilt, found = onset_of(recent, waited, WEIGHT, CONSTANT)
    best, exact = brute(spans)
    assert found.nats == pytest.approx(exact.nats, rel=1e-9, abs=1e-9)
    assert (tilt, found.bucket) == (best, exact.bucket) or len(set(hits)) < len(hits)
    if found.bucket == exact.bucket:
        assert found.error == pytest.approx(exact.error, rel=1e-6)


def test_without_a_bucket_there_is_no_onset_and_no_mistake() -> None:
    tilt, found = onset_of((np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)), NOTHING, WEIGHT, CONSTANT)
    assert (tilt, found.nats) == (0, 0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("factor", [1.5, 0.5, 3.0, 0.0])
def test_the_onset_of_a_planted_change_is_found_within_a_few_buckets(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([rng.poisson(20.0, 300), rng.poisson(20.0 * factor, 10)]).astype(np.float64)
    factors = np.concatenate([ratios_below(0.1), ratios_above(0.1)])
    c = count_coefficients(np.array([20.0]), np.array([0.05]), np.array([0.0]), factors)
    tilt, found = onset_of((np.arange(310), counts, np.ones(310)), NOTHING, c.weight[:, 0].astype(np.float64), c.constant[:, 0].astype(np.float64))
    assert abs(found.bucket - 300.0) <= 2.0
    assert (factors[tilt] > 1.0) == (factor > 1.0)


def test_the_error_is_as_large_as_the_onset_has_been_wrong() -> None:
    """Over many planted changes, small ones among them: the root mean square of both is about the same."""
    rng = np.random.default_rng(4)
    wrong, said = [], []
    for _ in range(200):
        factor = float(rng.choice(WEIGHT))
        counts = np.concatenate([rng.poisson(10.0, 60), rng.poisson(10.0 * exp(factor), 40)]).astype(np.float64)
        _, found = onset_of((np.arange(100), counts, np.ones(100)), NOTHING, WEIGHT, 10.0 * (np.exp(WEIGHT) - 1.0))
        wrong.append(found.bucket - 60.0)
        said.append(found.error)
    assert 0.6 < sqrt(float(np.mean(np.square(wrong)))) / sqrt(float(np.mean(np.square(said)))) < 1.6


def test_a_change_within_an_epoch_that_waits_has_its_middle_and_its_width() -> None:
    first = np.array([0, 5, 10])
    waited = (first, np.array([50.0, 50.0, 150.0]), np.full(3, 5.0), 5)
    recent = (np.arange(15, 18), np.full(3, 30.0), np.ones(3))
    tilt, found = onset_of(recent, waited, WEIGHT, 10.0 * (np.exp(WEIGHT) - 1.0))
    assert (tilt, found.bucket) == (2, 12.0)
    assert found.error == pytest.approx(sqrt(2.0), rel=0.05)


def recent(*, exposure: bool = False) -> Recent:
    made = Recent(LENGTH, exposure=exposure)
    made.grow(2)
    return made


def rows(*values: float) -> npt.NDArray[np.float32]:
    """The same for two series, the second with twice as many."""
    return np.array([[value, 2.0 * value] for value in values], dtype=np.float32)


def test_buckets_of_the_epoch_under_way_are_kept_in_their_order() -> None:
    kept = recent()
    kept.take(20, rows(1.0, 2.0), rows(1.0, 1.0), np.array([True, True]))
    kept.take(22, rows(3.0), rows(1.0), np.array([True]))
    buckets, hits, exposure = kept.of(1, 22)
    assert (buckets.tolist(), hits.tolist(), exposure.tolist()) == ([20, 21, 22], [2.0, 4.0, 6.0], [1.0, 1.0, 1.0])
    assert kept.of(0, 21)[0].tolist() == [20, 21]


def test_buckets_of_an_older_epoch_and_missing_ones_are_not_kept() -> None:
    kept = recent(exposure=True)
    kept.take(15, rows(9.0, 9.0, 9.0, 9.0, 9.0), rows(9.0, 9.0, 9.0, 9.0, 9.0), np.full(5, True))
    kept.take(20, rows(1.0, 2.0, 3.0), rows(10.0, 20.0, 30.0), np.array([True, False, True]))
    buckets, hits, exposure = kept.of(0, 22)
    assert (buckets.tolist(), hits.tolist(), exposure.tolist()) == ([20, 22], [1.0, 3.0], [10.0, 30.0])


def test_a_series_that_begins_has_no_buckets_with_events() -> None:
    kept = recent(exposure=True)
    kept.take(20, rows(1.0), rows(10.0), np.array([True]))
    kept.grow(1)
    assert [each.tolist() for each in kept.of(2, 20)] == [[20], [0.0], [0.0]]


def test_the_likeliest_size_is_the_one_that_was_planted() -> None:
    assert onset_of((np.arange(20), np.full(20, 30.0), np.ones(20)), NOTHING, WEIGHT, CONSTANT)[0] == 2
    assert onset_of((np.arange(20), np.full(20, 10.0 * 1.5), np.ones(20)), NOTHING, WEIGHT, CONSTANT)[0] == 1
    assert onset_of((np.arange(20), np.full(20, 10.0 * exp(log(0.5))), np.ones(20)), NOTHING, WEIGHT, CONSTANT)[0] == 0
