from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.evidence import Singles, count_coefficients, quietened, ratios_above, ratios_below
from rollguard.detectors.recursion import CEILING, Recursion

FACTORS = np.array([0.1, 0.5, 0.9, 1.1, 2.0, 8.0])
#: So few that nothing comes near the ceiling.
COUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=15)


def grown(n_series: int, n_tilts: int = len(FACTORS)) -> Recursion:
    made = Recursion(n_tilts)
    made.grow(n_series)
    return made


def nats_of(counts: list[int], mean: float = 10.0) -> Singles:
    """(n_buckets, n_tilts, 1) nats, as a bank has them."""
    c = count_coefficients(np.array([mean]), np.array([0.05]), np.array([0.0]), FACTORS)
    return np.stack([quietened((np.float32(x) * c.weight - c.constant).astype(np.float32)) for x in counts])


@given(counts=COUNTS)
def test_the_recursion_is_that_of_the_books(counts: list[int]) -> None:
    """Shiryaev-Roberts by a loop over plain numbers."""
    recursion, r = grown(1), [0.0] * len(FACTORS)
    for nats in nats_of(counts):
        value = recursion.step(np.exp(nats))
        r = [(1.0 + each) * exp(float(add)) for each, add in zip(r, nats[:, 0], strict=True)]
        assert value[0] == pytest.approx(sum(r) / len(r), rel=1e-4)


@given(counts=COUNTS)
def test_the_value_is_the_sum_over_all_starts_of_the_likelihood_ratio_since(counts: list[int]) -> None:
    """By its definition, without a recursion."""
    nats = nats_of(counts).astype(np.float64)[:, :, 0]
    recursion = grown(1)
    for each in nats_of(counts):
        recursion.step(np.exp(each))
    since = np.cumsum(nats[::-1], axis=0)[::-1]
    assert recursion.value()[0] == pytest.approx(float(np.exp(since).sum(axis=0).mean()), rel=1e-3)


@given(data=st.data(), n_series=st.integers(1, 20), n_tilts=st.integers(1, 20))
def test_a_series_has_the_same_value_alone_and_among_others_bit_for_bit(data: st.DataObject, n_series: int, n_tilts: int) -> None:
    seed = data.draw(st.integers(0, 2**16))
    ratios = np.exp(np.random.default_rng(seed).normal(0.0, 3.0, (30, n_tilts, n_series))).astype(np.float32)
    many = grown(n_series, n_tilts)
    alone = [grown(1, n_tilts) for _ in range(n_series)]
    for ratio in ratios:
        value = many.step(ratio)
        assert value.tobytes() == b"".join(one.step(ratio[:, [row]]).tobytes() for row, one in enumerate(alone))
        assert many.value().tobytes() == value.tobytes()


@given(seed=st.integers(0, 2**16), n_series=st.integers(1, 20), n_tilts=st.integers(1, 20))
def test_many_buckets_looked_at_together_give_the_bytes_of_one_after_another(seed: int, n_series: int, n_tilts: int) -> None:
    ratios = np.exp(np.random.default_rng(seed).normal(-0.1, 1.0, (30, n_tilts, n_series))).astype(np.float32)
    looking, stepping = grown(n_series, n_tilts), grown(n_series, n_tilts)
    states = np.empty_like(ratios)
    values = looking.through(ratios, states)
    assert values is not None
    assert not looking.sr.any()
    for ratio, state, value in zip(ratios, states, values, strict=True):
        assert stepping.step(ratio).tobytes() == value.tobytes()
        assert stepping.sr.tobytes() == state.tobytes()


@pytest.mark.parametrize("nats", [25.0, 88.0])
def test_what_comes_to_the_ceiling_has_to_be_stepped(nats: float) -> None:
    ratios = np.exp(np.full((50, 3, 2), nats, dtype=np.float32))
    # Nothing at all after something without end is no number.
    ratios[40:] = 0.0
    assert grown(2, 3).through(ratios, np.empty_like(ratios)) is None


def test_evidence_of_nothing_lets_a_series_wait_for_longer_and_nothing_else() -> None:
    recursion = grown(1, 2)
    for bucket in range(1, 100):
        assert recursion.step(np.ones((2, 1), dtype=np.float32)).tolist() == [float(bucket)]


@pytest.mark.parametrize("nats", [25.0, 88.0])
def test_evidence_without_end_stays_finite_and_can_fall_again(nats: float) -> None:
    recursion = grown(2, 3)
    ratio = np.exp(np.full((3, 2), nats, dtype=np.float32))
    for _ in range(50):
        value = recursion.step(ratio)
        assert (value <= CEILING).all()
        assert (recursion.sr <= 3.0 * CEILING).all()
    for _ in range(10):
        recursion.step(np.exp(np.full((3, 2), -25.0, dtype=np.float32)))
    assert (recursion.value() < 1.0).all()


def test_evidence_against_without_end_is_nothing_and_not_less() -> None:
    recursion = grown(2, 3)
    for _ in range(50):
        assert (recursion.step(np.zeros((3, 2), dtype=np.float32)) == 0.0).all()
    assert (recursion.step(np.full((3, 2), 2.0, dtype=np.float32)) == 2.0).all()


def test_forgetting_one_series_leaves_the_others() -> None:
    recursion = grown(2, 2)
    recursion.step(np.full((2, 2), 2.0, dtype=np.float32))
    recursion.forget(np.array([0]))
    assert recursion.value().tolist() == [0.0, 2.0]
    recursion.forget(np.array([False, True]))
    assert recursion.value().tolist() == [0.0, 0.0]


def test_a_series_that_begins_has_no_evidence_yet() -> None:
    recursion = grown(1, 2)
    recursion.step(np.full((2, 1), 2.0, dtype=np.float32))
    recursion.grow(2)
    assert recursion.value().tolist() == [2.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_stop_takes_as_long_as_promised_if_nothing_changes(seed: int) -> None:
    """A threshold of A buckets: half of all series are stopped by then at most, for an e-detector is at most the time on average."""
    rng = np.random.default_rng(seed)
    c = count_coefficients(np.full(400, 5.0), np.zeros(400), np.zeros(400), np.concatenate([ratios_below(0.1), ratios_above(0.1)]))
    recursion, most = grown(400, c.weight.shape[0]), np.zeros(400, dtype=np.float32)
    values = []
    for x in rng.poisson(5.0, (300, 400)).astype(np.float32):
        values.append(recursion.step(np.exp(np.minimum(x, c.loudest) * c.weight - c.constant)))
        most = np.maximum(most, values[-1])
    # E[value after t] <= t, so that few pass 20 t at all.
    assert (most >= 20.0 * 300).mean() <= 1.0 / 20.0
