from __future__ import annotations

from math import exp, inf, lgamma, log

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rollguard.detectors.evidence import CEILING, LOUDEST_NATS, DetectorState, Floats, Tilts, bin_tilts, binomial_tilts, count_tilts, ratios_above, ratios_below

FACTORS = np.array([0.1, 0.5, 0.9, 1.1, 2.0, 8.0])
MEANS = st.floats(0.01, 200.0)
BANDS = st.floats(0.0, 0.5)
ALPHAS = st.sampled_from([0.0, 0.05, 0.5, 2.0])
TEMPERS = st.sampled_from([1.0, 1.3, 4.0])


def log_count(x: int, mean: float, alpha: float) -> float:
    """Log probability of a negative binomial count; a Poisson one without overdispersion."""
    if alpha == 0.0:
        return x * log(mean) - mean - lgamma(x + 1)
    r = 1.0 / alpha
    return lgamma(x + r) - lgamma(r) - lgamma(x + 1) + r * log(r / (r + mean)) + x * log(mean / (r + mean))


def log_hits(k: int, n: int, odds: float) -> float:
    """Log probability of k hits in n trials."""
    p = odds / (1.0 + odds)
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1.0 - p)


def shifted(value: float, band: float, factor: float) -> float:
    """The edge of the dead band that lies towards a factor."""
    return value * (1.0 + band) if factor > 1.0 else value / (1.0 + band)


def one(value: float) -> Floats:
    return np.array([value])


def counted(tilts: Tilts, x: int) -> Floats:
    nats: Floats = tilts.log_ratios((np.array([[float(x)]]),))[0, 0]
    return nats


@given(x=st.integers(0, 300), mean=MEANS, band=BANDS, alpha=ALPHAS, temper=TEMPERS)
def test_counts_give_the_ratio_of_two_negative_binomials(x: int, mean: float, band: float, alpha: float, temper: float) -> None:
    found = counted(count_tilts(one(mean), one(band), one(alpha), one(temper), FACTORS), x)
    nulls = [shifted(mean, band, factor) for factor in FACTORS.tolist()]
    exact = [(log_count(x, m * f, alpha) - log_count(x, m, alpha)) / temper for m, f in zip(nulls, FACTORS.tolist(), strict=True)]
    # What is louder is scaled as a whole.
    assume(max(exact) < LOUDEST_NATS)
    assert found.tolist() == pytest.approx([max(nats, -LOUDEST_NATS) for nats in exact], rel=1e-4, abs=1e-4)


@given(k=st.integers(0, 50), misses=st.integers(0, 300), odds=st.floats(0.001, 3.0), band=BANDS, temper=TEMPERS)
def test_ratios_give_the_ratio_of_two_binomials(k: int, misses: int, odds: float, band: float, temper: float) -> None:
    tilts = binomial_tilts(one(odds), one(band), one(temper), FACTORS)
    found = tilts.log_ratios((np.array([[float(k)]]), np.array([[float(misses)]])))[0, 0]
    nulls = [shifted(odds, band, factor) for factor in FACTORS.tolist()]
    exact = [(log_hits(k, k + misses, o * f) - log_hits(k, k + misses, o)) / temper for o, f in zip(nulls, FACTORS.tolist(), strict=True)]
    assume(max(exact) < LOUDEST_NATS)
    assert found.tolist() == pytest.approx([max(nats, -LOUDEST_NATS) for nats in exact], rel=1e-9, abs=1e-8)


SHARES = st.lists(st.integers(1, 50), min_size=4, max_size=4).map(lambda weights: np.array(weights) / sum(weights))
LEANS = st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4).map(np.array)
BIN_COUNTS = st.lists(st.integers(0, 6), min_size=4, max_size=4)


def leant(shares: Floats, tilt: Floats, by: float) -> list[float]:
    weights = [share * exp(by * t) for share, t in zip(shares.tolist(), tilt.tolist(), strict=True)]
    return [weight / sum(weights) for weight in weights]


@given(shares=SHARES, tilt=LEANS, counts=BIN_COUNTS, band=st.floats(0.0, 1.0), temper=TEMPERS)
def test_bins_give_the_ratio_of_two_multinomials(shares: Floats, tilt: Floats, counts: list[int], band: float, temper: float) -> None:
    tilts = bin_tilts(shares[None], tilt[None], np.array([[band]]), one(temper))
    found = float(tilts.log_ratios(tuple(np.array([[float(c)]]) for c in counts))[0, 0, 0])
    null, other = leant(shares, tilt, band), leant(shares, tilt, band + 1.0)
    exact = sum(c * log(q / p) for c, p, q in zip(counts, null, other, strict=True)) / temper
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


def within(band: float, part: float) -> float:
    """A factor between the two edges of the dead band; part in -1..1."""
    return float((1.0 + band) ** part)


@given(mean=st.floats(0.01, 30.0), band=BANDS, alpha=ALPHAS, temper=TEMPERS, part=st.floats(-1.0, 1.0))
def test_counts_within_the_dead_band_have_no_evidence_on_average(mean: float, band: float, alpha: float, temper: float, part: float) -> None:
    """The sum over the whole null: E0[L] <= 1, which is all that the run length to a false alarm rests on."""
    tilts = count_tilts(one(mean), one(band), one(alpha), one(temper), FACTORS)
    true = mean * within(band, part)
    ratios = np.exp(tilts.log_ratios((np.arange(800.0)[:, None],))[:, 0])
    chances = np.array([exp(log_count(x, true, alpha)) for x in range(800)])
    assert (chances @ ratios <= 1.0 + 1e-5).all()


@given(n=st.integers(0, 60), odds=st.floats(0.001, 3.0), band=BANDS, temper=TEMPERS, part=st.floats(-1.0, 1.0))
def test_ratios_within_the_dead_band_have_no_evidence_on_average(n: int, odds: float, band: float, temper: float, part: float) -> None:
    tilts = binomial_tilts(one(odds), one(band), one(temper), FACTORS)
    hits = np.arange(n + 1.0)[:, None]
    ratios = np.exp(tilts.log_ratios((hits, n - hits))[:, 0])
    chances = np.array([exp(log_hits(k, n, odds * within(band, part))) for k in range(n + 1)])
    assert (chances @ ratios <= 1.0 + 1e-9).all()


@given(shares=SHARES, tilt=LEANS, band=st.floats(0.0, 1.0), temper=TEMPERS, part=st.floats(-1.0, 1.0))
def test_bins_within_the_dead_band_have_no_evidence_on_average(shares: Floats, tilt: Floats, band: float, temper: float, part: float) -> None:
    """Of one event, and so of any number of them: the factors of independent events multiply."""
    tilts = bin_tilts(shares[None], tilt[None], np.array([[band]]), one(temper))
    total = 0.0
    for j, p in enumerate(leant(shares, tilt, band * part)):
        seen = tuple(np.array([[float(i == j)]]) for i in range(4))
        total += p * exp(float(tilts.log_ratios(seen)[0, 0, 0]))
    assert total <= 1.0 + 1e-9


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=40), missing=st.sets(st.integers(0, 39)))
def test_the_recursions_are_those_of_the_books(counts: list[int], missing: set[int]) -> None:
    """Shiryaev-Roberts and Page, by a loop over plain numbers; a missing bucket is as if it had never been."""
    tilts = count_tilts(one(10.0), one(0.05), one(0.0), one(1.0), FACTORS)
    state = DetectorState(1, len(FACTORS))
    r, w, onset = [0.0] * len(FACTORS), [0.0] * len(FACTORS), [0] * len(FACTORS)
    for bucket, x in enumerate(counts):
        nats = counted(tilts, x)
        absent = bucket in missing
        value = state.step(bucket, nats[None], np.exp(nats)[None], np.array([0] if absent else [], dtype=np.int64))
        for k, each in enumerate(nats.tolist()):
            if not absent:
                r[k] = min((1.0 + r[k]) * exp(each), CEILING)
                onset[k] = bucket if w[k] <= 0.0 else onset[k]
                w[k] = max(w[k], 0.0) + each
        assert value[0] == pytest.approx(sum(r) / len(r), rel=1e-9)
        assert state.cusum[0].tolist() == pytest.approx(w, rel=1e-9, abs=1e-9)
        assert state.onset[0].tolist() == onset


def test_a_missing_bucket_leaves_the_state_as_it_was() -> None:
    state = DetectorState(2, 3)
    nats = np.array([[0.5, -0.5, 1.0], [0.2, 0.1, 0.3]])
    state.step(1, nats, np.exp(nats))
    before = [column[1].tobytes() for column in (state.sr, state.cusum, state.onset)]
    for bucket in range(2, 5000):
        state.step(bucket, np.zeros((2, 3)), np.ones((2, 3)), np.array([1]))
    assert [column[1].tobytes() for column in (state.sr, state.cusum, state.onset)] == before


@pytest.mark.parametrize(("seed", "factor"), [(1, 1.5), (2, 0.5), (3, 3.0), (4, 0.0)])
def test_the_onset_of_a_planted_change_is_found_within_a_few_buckets(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([rng.poisson(20.0, 300), rng.poisson(20.0 * factor, 10)])
    factors = np.concatenate([ratios_below(0.1), ratios_above(0.1)])
    tilts = count_tilts(one(20.0), one(0.05), one(0.0), one(1.0), factors)
    state = DetectorState(1, len(factors))
    for bucket, x in enumerate(counts.tolist()):
        nats = counted(tilts, x)[None]
        state.step(bucket, nats, np.exp(nats))
    best = int(state.cusum[0].argmax())
    assert abs(int(state.onset[0, best]) - 300) <= 2
    assert (factors[best] > 1.0) == (factor > 1.0)


@pytest.mark.parametrize("x", [10**6, 10**12])
def test_an_absurd_count_stays_finite_however_often_it_comes(x: int) -> None:
    tilts = count_tilts(one(1.0), one(0.0), one(0.0), one(1.0), FACTORS)
    state = DetectorState(1, len(FACTORS))
    for bucket in range(50):
        nats = counted(tilts, x)[None]
        assert np.abs(nats).max() <= LOUDEST_NATS
        assert np.isfinite(state.step(bucket, nats, np.exp(nats))).all()
    assert (state.sr <= CEILING).all()
    # And one ordinary bucket is enough for the tilts it speaks against.
    quiet = counted(tilts, 0)[None]
    state.step(50, quiet, np.exp(quiet))
    assert np.isfinite(state.sr).all()


def test_after_an_absurd_count_the_tilt_that_fits_best_is_still_the_best() -> None:
    tilts = count_tilts(one(5.0), one(0.0), one(0.0), one(1.0), ratios_above(0.1))
    nats = counted(tilts, 10**6)
    assert nats.argmax() == len(nats) - 1
    assert (np.diff(nats) > 0.0).all()


def test_the_grids_run_from_the_smallest_change_to_the_largest() -> None:
    assert ratios_above(0.1)[[0, -1]].tolist() == pytest.approx([1.1, 8.0])
    assert ratios_below(0.25)[[0, -1]].tolist() == pytest.approx([0.8, 0.03])
    assert ratios_above(10.0)[-1] == pytest.approx(21.0)
    assert all(min(inf, *np.diff(grid)) > 0.0 for grid in (ratios_above(0.1), ratios_below(0.1)[::-1]))


def test_forgetting_one_series_leaves_the_others() -> None:
    state = DetectorState(2, 2)
    nats = np.ones((2, 2))
    state.step(0, nats, np.exp(nats))
    state.forget(np.array([0]))
    assert state.sr[0].tolist() == state.cusum[0].tolist() == [0.0, 0.0]
    assert (state.sr[1] > 0.0).all()
