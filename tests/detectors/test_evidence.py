from __future__ import annotations

from math import exp, inf, isfinite, lgamma, log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rollguard.detectors.evidence import (
    LOUDEST_NATS,
    MOST_NATS,
    Coefficients,
    Floats,
    Singles,
    bin_constants,
    count_coefficients,
    odds_coefficients,
    overshoot,
    quietened,
    ratios_above,
    ratios_below,
)

FACTORS = np.array([0.1, 0.5, 0.9, 1.1, 2.0, 8.0])
MEANS = st.floats(0.01, 200.0)
BANDS = st.floats(0.0, 0.5)
ALPHAS = st.sampled_from([0.0, 0.05, 0.5, 2.0])
TEMPERS = st.sampled_from([1.0, 1.3, 4.0])
#: Digits of float32, a few operations long.
SINGLE = 4e-6


def log_count(x: int, mean: float, alpha: float) -> float:
    """Log probability of a negative binomial count; a Poisson one without overdispersion."""
    if alpha == 0.0:
        return x * log(mean) - mean - lgamma(x + 1)
    r = 1.0 / alpha
    return lgamma(x + r) - lgamma(r) - lgamma(x + 1) - r * log1p(alpha * mean) - x * log1p(1.0 / (alpha * mean))


def log_hits(k: int, n: int, odds: float) -> float:
    """Log probability of k hits in n trials."""
    p = odds / (1.0 + odds)
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1.0 - p)


def shifted(value: float, band: float, factor: float) -> float:
    """The edge of the dead band that lies towards a factor."""
    return value * (1.0 + band) if factor > 1.0 else value / (1.0 + band)


def power_of(nats_at_zero: float) -> float:
    """Evidence so loud, if not a single hit is seen, that digits are lost is scaled down as a whole: a power of the likelihood ratio."""
    return min(1.0, MOST_NATS / max(abs(nats_at_zero), 1e-12))


def one(value: float) -> Floats:
    return np.array([value])


def counted(c: Coefficients, x: float) -> Floats:
    """Nats of each tilt, as a bank has them; sums in float64, so that only the coefficients are under test."""
    return np.asarray(min(max(x, float(c.quietest[0])), float(c.loudest[0])) * c.weight[:, 0].astype(np.float64) - c.constant[:, 0])


def hit(c: Coefficients, k: float, misses: float) -> Floats:
    return np.asarray(k * c.weight[:, 0].astype(np.float64) - misses * c.constant[:, 0].astype(np.float64))


@given(x=st.integers(0, 300), mean=MEANS, band=BANDS, alpha=ALPHAS)
def test_counts_give_the_ratio_of_two_negative_binomials(x: int, mean: float, band: float, alpha: float) -> None:
    found = counted(count_coefficients(one(mean), one(band), one(alpha), FACTORS), x)
    exact = []
    for factor in FACTORS.tolist():
        null = shifted(mean, band, factor)
        quiet = log_count(0, null * factor, alpha) - log_count(0, null, alpha)
        exact.append(power_of(quiet) * (log_count(x, null * factor, alpha) - log_count(x, null, alpha)))
    # What is louder is cut where it is known to be.
    assume(max(exact) < LOUDEST_NATS * (1.0 - 1e-5))
    assert found.tolist() == pytest.approx(exact, rel=SINGLE, abs=SINGLE * (1.0 + x))


@given(mean=MEANS, band=BANDS, part=st.floats(0.0, 1.0))
def test_counts_tend_to_poisson_as_their_dispersion_goes_to_zero(mean: float, band: float, part: float) -> None:
    """Without a step anywhere: nothing, next to nothing, and little give the same but for that little."""
    poisson = count_coefficients(one(mean), one(band), one(0.0), FACTORS)
    for alpha in (1e-30, 1e-13, 1e-11, 1e-9, 1e-7):
        near = count_coefficients(one(mean), one(band), one(alpha * (0.5 + part)), FACTORS)
        assert near.weight == pytest.approx(poisson.weight, rel=1e-5 + 8.0 * alpha * mean * 20.0)
        assert near.constant == pytest.approx(poisson.constant, rel=1e-5 + 8.0 * alpha * mean * 20.0)


@pytest.mark.parametrize("mean", [1e4, 1e5, 1e6, 1e7])
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("away", [0.9, 1.0, 1.3])
def test_large_counts_keep_their_digits(mean: float, spread: float, away: float) -> None:
    """Of the order of a million events a bucket, of any dispersion: alpha may be tiny, its product with the mean need not."""
    alpha, x = spread / mean, away * mean
    c = count_coefficients(one(mean), one(0.0), one(alpha), FACTORS)
    for k, factor in enumerate(FACTORS.tolist()):
        weight = -log1p((1.0 / factor - 1.0) / (1.0 + spread))
        constant = log1p((factor - 1.0) * spread / (1.0 + spread)) / alpha if alpha else (factor - 1.0) * mean
        power = power_of(constant)
        found = x * float(c.weight[k, 0]) - float(c.constant[k, 0])
        assert found == pytest.approx(power * (x * weight - constant), rel=1e-6, abs=1e-3)


@given(k=st.integers(0, 50), misses=st.integers(0, 300), odds=st.floats(0.001, 3.0), band=BANDS, temper=TEMPERS, usual=st.floats(0.1, 1000.0))
def test_ratios_give_the_ratio_of_two_binomials(k: int, misses: int, odds: float, band: float, temper: float, usual: float) -> None:
    found = hit(odds_coefficients(one(odds), one(band), one(temper), FACTORS, one(usual)), k, misses)
    exact = []
    for factor in FACTORS.tolist():
        null = shifted(odds, band, factor)
        quiet = -usual * log1p((factor - 1.0) * null / (1.0 + null)) / temper
        exact.append(power_of(quiet) * (log_hits(k, k + misses, null * factor) - log_hits(k, k + misses, null)) / temper)
    assert found.tolist() == pytest.approx(exact, rel=SINGLE, abs=SINGLE * (1.0 + 3.0 * (k + misses)))


@pytest.mark.parametrize("odds", [1e-6, 1e-3, 1.0, 1e3, 1e5])
def test_ratios_of_rare_and_of_nearly_all_keep_their_digits(odds: float) -> None:
    """A hundred misses beside a hundred thousand times as many hits, or the other way round."""
    misses = 100.0 / min(odds, 1.0)
    c = odds_coefficients(one(odds), one(0.0), one(1.0), FACTORS, one(misses))
    for k, factor in enumerate(FACTORS.tolist()):
        weight, constant = -log1p((1.0 / factor - 1.0) / (1.0 + odds)), log1p((factor - 1.0) * odds / (1.0 + odds))
        power = power_of(misses * constant)
        found = misses * odds * float(c.weight[k, 0]) - misses * float(c.constant[k, 0])
        assert found == pytest.approx(power * misses * (odds * weight - constant), rel=1e-6, abs=1e-3)


SHARES = st.lists(st.integers(1, 50), min_size=4, max_size=4).map(lambda weights: np.array(weights) / sum(weights))
LEANS = st.lists(st.floats(-3.0, 3.0).map(lambda lean: 0.0 if abs(lean) < 0.2 else lean), min_size=4, max_size=4).map(np.array)
BIN_COUNTS = st.lists(st.integers(0, 6), min_size=4, max_size=4)


def leant(shares: Floats, tilt: Floats, by: float) -> list[float]:
    weights = [share * exp(by * t) for share, t in zip(shares.tolist(), tilt.tolist(), strict=True)]
    return [weight / sum(weights) for weight in weights]


def binned(shares: Floats, tilt: Floats, band: float) -> float:
    return float(bin_constants(shares[:, None], tilt[None], np.array([[band]]))[0, 0])


@given(shares=SHARES, tilt=LEANS, counts=BIN_COUNTS, band=st.floats(0.0, 1.0))
def test_bins_give_the_ratio_of_two_multinomials(shares: Floats, tilt: Floats, counts: list[int], band: float) -> None:
    found = sum(c * t for c, t in zip(counts, tilt.tolist(), strict=True)) - sum(counts) * binned(shares, tilt, band)
    null, other = leant(shares, tilt, band), leant(shares, tilt, band + 1.0)
    exact = sum(c * log(q / p) for c, p, q in zip(counts, null, other, strict=True))
    assert found == pytest.approx(exact, rel=SINGLE, abs=SINGLE * 4.0 * (1 + sum(counts)))


def within(band: float, part: float) -> float:
    """A factor between the two edges of the dead band; part in -1..1."""
    return float((1.0 + band) ** part)


@given(mean=st.floats(0.01, 30.0), band=BANDS, alpha=ALPHAS, part=st.floats(-1.0, 1.0))
def test_counts_within_the_dead_band_have_no_evidence_on_average(mean: float, band: float, alpha: float, part: float) -> None:
    """The sum over the whole null: E0[L] <= 1, which is all that the run length to a false alarm rests on."""
    c = count_coefficients(one(mean), one(band), one(alpha), FACTORS)
    true = mean * within(band, part)
    ratios = np.exp(np.stack([counted(c, x) for x in range(800)]))
    chances = np.array([exp(log_count(x, true, alpha)) for x in range(800)])
    assert (chances @ ratios <= 1.0 + 1e-5).all()


@given(n=st.integers(0, 60), odds=st.floats(0.001, 3.0), band=BANDS, temper=TEMPERS, part=st.floats(-1.0, 1.0), usual=st.floats(0.1, 1000.0))
def test_ratios_within_the_dead_band_have_no_evidence_on_average(n: int, odds: float, band: float, temper: float, part: float, usual: float) -> None:
    c = odds_coefficients(one(odds), one(band), one(temper), FACTORS, one(usual))
    ratios = np.exp(np.stack([hit(c, k, n - k) for k in range(n + 1)]))
    chances = np.array([exp(log_hits(k, n, odds * within(band, part))) for k in range(n + 1)])
    assert (chances @ ratios <= 1.0 + 1e-4).all()


@given(shares=SHARES, tilt=LEANS, band=st.floats(0.0, 1.0), part=st.floats(-1.0, 1.0))
def test_bins_within_the_dead_band_have_no_evidence_on_average(shares: Floats, tilt: Floats, band: float, part: float) -> None:
    """Of one event, and so of any number of them: the factors of independent events multiply."""
    constant = binned(shares, tilt, band)
    total = sum(p * exp(t - constant) for p, t in zip(leant(shares, tilt, band * part), tilt.tolist(), strict=True))
    assert total <= 1.0 + 1e-5


@given(mean=st.floats(1e-6, 1e7), alpha=st.floats(0.0, 10.0), band=BANDS)
@example(mean=1e-6, alpha=0.0, band=0.0)
@example(mean=1e7, alpha=0.0, band=0.0)
def test_not_a_single_event_is_never_louder_than_a_bucket_may_be(mean: float, alpha: float, band: float) -> None:
    c = count_coefficients(one(mean), one(band), one(alpha), FACTORS)
    assert counted(c, 0.0).max() <= LOUDEST_NATS * (1.0 + 1e-5)


@given(mean=st.floats(1e-6, 1e7), alpha=st.floats(0.0, 10.0), band=BANDS, x=st.sampled_from([1.0, 1e3, 1e6, 1e12]))
def test_an_absurd_count_is_never_louder_than_a_bucket_may_be(mean: float, alpha: float, band: float, x: float) -> None:
    found = counted(count_coefficients(one(mean), one(band), one(alpha), FACTORS), x)
    assert found.max() <= LOUDEST_NATS * (1.0 + 1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("mean", [1.0, 5.0, 100.0, 1e4, 1e6])
def test_after_an_absurd_count_the_tilt_that_fits_best_is_one_that_falls_again_soon(mean: float) -> None:
    """Cut off at one height for all, the smallest would be as likely as any, and that one takes hours to fall."""
    c = count_coefficients(one(mean), one(0.0), one(0.0), ratios_above(0.1))
    found, usual = counted(c, 1e9), counted(c, mean)
    best = int(found.argmax())
    assert found[best] == pytest.approx(LOUDEST_NATS, rel=1e-4)
    assert found[best] <= -60.0 * usual[best]
    assert mean > 5.0 or best >= len(found) - 2


NATS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3)


@given(columns=st.lists(NATS, min_size=1, max_size=5))
def test_what_is_quietened_keeps_its_order_and_what_speaks_against(columns: list[list[float]]) -> None:
    before = np.array(columns, dtype=np.float32).T
    after = quietened(before.copy())
    assert float(after.max()) <= LOUDEST_NATS * (1.0 + 1e-6)
    assert (after[before <= 0.0] == before[before <= 0.0]).all()
    for old, new in zip(before.T, after.T, strict=True):
        assert old.max() > LOUDEST_NATS or old.tobytes() == new.tobytes()
        assert (np.diff(new[np.argsort(old, kind="stable")]) >= 0.0).all()


def test_nothing_to_quieten_is_no_mistake() -> None:
    assert quietened(np.zeros((0, 3), dtype=np.float32)).shape == (0, 3)
    assert quietened(np.zeros((3, 0), dtype=np.float32)).shape == (3, 0)


def singles(*values: float) -> Singles:
    return np.array(values, dtype=np.float32)


@given(gain=st.floats(-1e6, 1e6), jump=st.floats(-1.0, 1e6))
@example(gain=0.0, jump=0.0)
@example(gain=1e6, jump=1e6)
def test_overshoot_is_a_factor_up_to_one_and_no_less_than_that_of_the_loudest_bucket(gain: float, jump: float) -> None:
    """However many events a bucket has: a threshold lowered without end would be passed by any."""
    for found in (overshoot(singles(gain), None), overshoot(singles(gain), singles(jump))):
        assert exp(-0.583 * sqrt(2.0 * LOUDEST_NATS)) * (1.0 - 1e-6) <= found[0] <= 1.0
    assert overshoot(singles(gain), singles(jump))[0] <= overshoot(singles(gain), None)[0]


def test_overshoot_falls_as_a_bucket_says_more() -> None:
    found = overshoot(singles(0.0, 0.001, 0.1, 1.0, 10.0), None)
    assert found[0] == 1.0
    assert (np.diff(found) < 0.0).all()


@pytest.mark.parametrize("gain", [0.02, 0.045, 0.125, 0.5])
def test_overshoot_of_normal_steps_is_that_of_a_walk(gain: float) -> None:
    """A likelihood ratio under its own hypothesis, simulated: normal steps whose variance is twice their mean, over a far threshold."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(gain, sqrt(2.0 * gain), (2000, int(25.0 / gain))), axis=1)
    over = walk > 5.0
    passed = np.flatnonzero(over.any(axis=1))
    assert len(passed) > 1980
    beyond = walk[passed, over[passed].argmax(axis=1)] - 5.0
    assert overshoot(singles(gain), None)[0] == pytest.approx(float(np.exp(-beyond).mean()), abs=0.02)


@given(mean=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4), band=BANDS, alpha=ALPHAS)
def test_slack_is_a_factor_that_only_lowers_a_threshold(mean: list[float], band: float, alpha: float) -> None:
    n = len(mean)
    means, bands, full = np.array(mean), np.full(n, band), np.full(n, alpha)
    for c in (count_coefficients(means, bands, full, FACTORS), odds_coefficients(means, bands, full + 1.0, FACTORS, np.full(n, 50.0))):
        assert (c.slack > 0.0).all()
        assert (c.slack <= 1.0).all()


@given(mean=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=9), at=st.data())
def test_a_series_has_the_same_coefficients_alone_and_among_others(mean: list[float], at: st.DataObject) -> None:
    row = at.draw(st.integers(0, len(mean) - 1))
    n = len(mean)
    means, rest = np.array(mean), np.full(n, 0.1)
    for many, alone in (
        (count_coefficients(means, rest, rest, FACTORS), count_coefficients(means[[row]], rest[:1], rest[:1], FACTORS)),
        (odds_coefficients(means, rest, rest + 1.0, FACTORS, means), odds_coefficients(means[[row]], rest[:1], rest[:1] + 1.0, FACTORS, means[[row]])),
    ):
        assert [each[..., row].tobytes() for each in (many.weight, many.constant, many.loudest, many.quietest, many.widest, many.slack)] == [
            each.tobytes() for each in (alone.weight, alone.constant, alone.loudest, alone.quietest, alone.widest, alone.slack)
        ]


@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("band", [0.0, 1.0])
def test_no_rate_gives_a_coefficient_that_is_not_a_number(rate: float, band: float) -> None:
    with np.errstate(all="raise"):
        counts = count_coefficients(one(rate), one(band), one(0.0), FACTORS)
        odds = odds_coefficients(one(rate), one(band), one(1.0), FACTORS, one(rate))
    for c in (counts, odds):
        assert all(np.isfinite(each).all() for each in (c.weight, c.constant, c.slack))
        assert isfinite(float(c.loudest[0])) or c.loudest[0] == inf


def test_the_grids_run_from_the_smallest_change_to_the_largest() -> None:
    assert ratios_above(0.1)[[0, -1]].tolist() == pytest.approx([1.1, 8.0])
    assert ratios_below(0.25)[[0, -1]].tolist() == pytest.approx([0.8, 0.03])
    assert ratios_above(10.0)[-1] == pytest.approx(21.0)
    assert all(min(inf, *np.diff(grid)) > 0.0 for grid in (ratios_above(0.1), ratios_below(0.1)[::-1]))
