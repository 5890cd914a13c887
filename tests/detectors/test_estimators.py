from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from river import base, compose

from rollguard.detectors.bank import RateBank
from rollguard.detectors.estimators import SUSPICION_NATS, CountDetector, CountDriftDetector, DistributionDetector, RatioDetector, _Detector
from rollguard.detectors.evidence import Floats, ratios_above, ratios_below
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS
from rollguard.streams import bin_of

MINUTE = 60_000
FIVE = 300_000
HOUR = 3_600_000
FACTORS = np.concatenate([ratios_below(0.1), ratios_above(0.1)])
#: Several series, each with another mean; the last begins to hurt.
MEANS = [40.0, 12.0, 3.0]


def learnt(detector: _Detector, rows: list[dict[Any, Any]]) -> list[float]:
    """Nats after each bucket; each was scored first, and the score is what learning then gives."""
    found = []
    for x in rows:
        score = detector.score_one(x)
        detector.learn_one(x)
        assert score == detector.series.nats
        found.append(score)
    return found


def of_bank(bank: RateBank | ShareBank, n: int, per_epoch: int, load: Callable[[int], None]) -> list[list[float]]:
    """Nats of every series of a bank after each bucket, fed as an estimator feeds its own."""
    found = []
    for at in range(n):
        load(at)
        value = bank.step(at)
        nats = [math.log(float(each)) if float(each) > 1.0 and ready else 0.0 for each, ready in zip(value, bank.ready, strict=True)]
        if at % per_epoch == per_epoch - 1:
            bank.close_epoch(np.array(nats) >= SUSPICION_NATS)
        found.append(nats)
    return found


def counts_of(n: int) -> Floats:
    counts = np.random.default_rng(3).poisson(MEANS, (n, len(MEANS))).astype(np.float64)
    counts[-30:, 0] = counts[-30:, 0] // 2
    counts[-20:, 2] += 4.0
    counts[100:107] = np.nan
    return counts


def test_counts_are_judged_as_in_a_bank_of_several_series_bit_for_bit() -> None:
    counts = counts_of(600)
    bank = RateBank(FACTORS, bucket_ms=MINUTE, odds=False, warmup_ms=HOUR)
    bank.grow(np.zeros(3, dtype=np.int64))
    # A series borrows its profile of the day from the pooled one, row 0, once a day is over; these know none yet.
    expected = of_bank(bank, 600, 5, lambda at: bank.load(at, counts[at : at + 1], np.ones((1, 1)), ~np.isnan(counts[at : at + 1, 0])))
    for row in range(3):
        found = learnt(CountDetector(bucket_ms=MINUTE, warmup_ms=HOUR), [{"count": each} for each in counts[:, row].tolist()])
        assert found == [nats[row] for nats in expected]
    assert max(nats[0] for nats in expected) > SUSPICION_NATS


def test_days_later_the_only_series_of_a_bank_has_the_same_numbers() -> None:
    n = 3 * 288
    season = 1.0 + 0.5 * np.sin(2.0 * np.pi * np.arange(n) / 288.0)
    counts = np.random.default_rng(4).poisson(100.0 * season).astype(np.float64)
    counts[-3:] //= 3.0
    bank = RateBank(FACTORS, bucket_ms=FIVE, odds=False, warmup_ms=HOUR)
    bank.grow(np.zeros(1, dtype=np.int64))
    expected = of_bank(bank, n, 1, lambda at: bank.load(at, counts[at : at + 1, None], np.ones((1, 1)), np.array([True])))
    detector = CountDetector(bucket_ms=FIVE, warmup_ms=HOUR)
    for x in counts.tolist():
        detector.learn_one({"count": x})
    assert detector.series.nats == expected[-1][0] > SUSPICION_NATS


def test_ratios_are_judged_as_in_a_bank_of_several_series_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    trials = rng.poisson(300.0, (400, 3)).astype(np.float64)
    hits = rng.binomial(trials.astype(np.int64), [0.02, 0.1, 0.3]).astype(np.float64)
    hits[-20:, 1] += 25.0
    bank = RateBank(ratios_above(0.1), bucket_ms=MINUTE, odds=True, warmup_ms=HOUR)
    bank.grow(np.zeros(3, dtype=np.int64))
    expected = of_bank(bank, 400, 5, lambda at: bank.load(at, hits[at : at + 1], (trials - hits)[at : at + 1], np.array([True])))
    for row in range(3):
        rows = [{"hits": k, "trials": n} for k, n in zip(hits[:, row].tolist(), trials[:, row].tolist(), strict=True)]
        assert learnt(RatioDetector(bucket_ms=MINUTE, warmup_ms=HOUR), rows) == [nats[row] for nats in expected]
    assert max(nats[1] for nats in expected) > SUSPICION_NATS


def test_distributions_are_judged_as_in_a_bank_bit_for_bit() -> None:
    rng = np.random.default_rng(6)
    minutes = rng.normal(35.0, 6.0, (500, 40)).round(1)
    minutes[-6:] += 9.0
    detector = DistributionDetector(on="minutes", bucket_ms=FIVE, warmup_ms=0)
    bank = ShareBank("both", bucket_ms=FIVE, warmup_ms=0)
    bank.grow(np.zeros(1, dtype=np.int64), np.zeros((1, 1), dtype=np.int64))

    def load(at: int) -> None:
        fine = bin_of(minutes[at]).astype(np.int64)
        counts = np.zeros((1, N_BINS, 1), dtype=np.float32)
        if bank.baseline.cut is None:
            bank.baseline.learn_fine(fine, np.ones(40, dtype=np.int64))
        else:
            counts[0, :, 0] = np.bincount(bank.baseline.coarse(fine), minlength=N_BINS)
        bank.load(at, counts, np.array([True]))

    expected = [nats for (nats,) in of_bank(bank, 500, 1, load)]
    for at, row in enumerate(minutes):
        detector.learn_one({"minutes": row})
        assert detector.series.nats == expected[at]
    assert expected[-1] > SUSPICION_NATS > max(expected[:-6])


def test_a_distribution_may_be_given_as_values_one_value_or_how_often_each_came() -> None:
    made = [DistributionDetector(bucket_ms=FIVE, warmup_ms=0) for _ in range(3)]
    rng = np.random.default_rng(7)
    for value in rng.normal(35.0, 6.0, 420).round(0).tolist():
        for detector, given in zip(made, ([value], value, {value: 1}), strict=True):
            detector.learn_one({"values": given})
    assert [detector.score_one({"values": [60.0] * 3}) for detector in made] == [made[0].score_one({"values": {60.0: 3}})] * 3
    assert pickle.dumps(made[0].series.bank.baseline) == pickle.dumps(made[1].series.bank.baseline)


@pytest.mark.parametrize("x", [{}, {"count": None}, {"count": math.nan}, {"count": math.inf}, {"other": 3}])
def test_a_bucket_without_its_feature_is_missing_and_evidence_of_nothing(x: dict[Any, Any]) -> None:
    detector = CountDetector(bucket_ms=FIVE, warmup_ms=HOUR)
    for count in np.random.default_rng(8).poisson(20.0, 40).tolist():
        detector.learn_one({"count": count})
    detector.learn_one({"count": 45})
    before = detector.series.nats
    assert before > 0.0
    for _ in range(30):
        detector.learn_one(x)
        assert detector.score_one(x) == before
    assert detector.series.bucket == 71


def test_missing_values_and_trials_are_known_from_empty_ones() -> None:
    ratio, shares = RatioDetector(bucket_ms=FIVE, warmup_ms=HOUR), DistributionDetector(bucket_ms=FIVE, warmup_ms=0)
    rows: tuple[dict[Any, Any], ...] = (
        {"hits": 3},
        {"trials": 3},
        {"hits": math.nan, "trials": 3},
        {"values": None},
        {"values": [math.nan]},
        {"values": []},
        {"hits": 0, "trials": 0},
    )
    for x in rows:
        ratio.learn_one(x)
        shares.learn_one(x)
    assert ratio.series.bucket == shares.series.bucket == 7
    assert ratio.score_one({"hits": 1, "trials": 5}) == 0.0


@pytest.mark.parametrize(
    ("detector", "x", "said"),
    [
        (CountDetector(), {"count": -1}, "count: -1 is no count"),
        (RatioDetector(), {"hits": 5, "trials": 3}, "hits: 5 hits among 3 trials"),
        (RatioDetector(), {"hits": 5, "trials": -3}, "trials: -3 is no count"),
    ],
)
def test_what_cannot_be_counted_is_refused(detector: base.AnomalyDetector, x: dict[Any, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        detector.learn_one(x)


@pytest.mark.parametrize("make", [CountDetector, RatioDetector, DistributionDetector, CountDriftDetector])
def test_a_direction_that_does_not_exist_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="worse: 'up' is none of higher, lower, both"):
        make(worse="up")


def test_a_smallest_change_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest: 0"):
        CountDetector(smallest=0.0)


def test_scoring_changes_nothing() -> None:
    detector = CountDetector(bucket_ms=FIVE, warmup_ms=HOUR)
    for count in [20] * 30:
        detector.learn_one({"count": count})
    before = pickle.dumps(detector)
    assert [detector.score_one({"count": count}) for count in (0, 90, 20)] == [detector.score_one({"count": count}) for count in (0, 90, 20)]
    assert pickle.dumps(detector) == before


def test_a_clone_has_no_past_and_a_pickled_one_all_of_it() -> None:
    detector = RatioDetector("errors", "all", bucket_ms=FIVE, warmup_ms=HOUR)
    rows = [{"errors": int(k), "all": 200} for k in np.random.default_rng(9).binomial(200, 0.1, 60)]
    whole = learnt(detector.clone(), rows)
    half = detector.clone()
    assert learnt(half, rows[:40]) == whole[:40]
    assert learnt(pickle.loads(pickle.dumps(half)), rows[40:]) == whole[40:]  # noqa: S301 - our own bytes
    assert learnt(half.clone(), rows) == whole
    assert repr(half) == repr(detector)


def test_a_detector_is_the_last_step_of_a_pipeline() -> None:
    pipeline = compose.Select("count", "weather") | CountDetector(bucket_ms=FIVE, warmup_ms=HOUR)
    alone = CountDetector(bucket_ms=FIVE, warmup_ms=HOUR)
    for count in [20] * 30:
        for each in (pipeline, alone):
            each.learn_one({"count": count, "weather": "rain", "price": 3})
    assert pipeline.score_one({"count": 60, "weather": "sun", "price": 3}) == alone.score_one({"count": 60}) > 0.0


@pytest.mark.parametrize(("worse", "after", "found"), [("higher", 60.0, True), ("higher", 5.0, False), ("lower", 5.0, True), ("both", 60.0, True)])
def test_only_the_direction_that_is_looked_for_is_evidence(worse: str, after: float, found: bool) -> None:
    detector = CountDriftDetector(10_000.0, worse=worse, bucket_ms=FIVE, warmup_ms=HOUR)
    drifts = []
    for count in [*np.random.default_rng(10).poisson(20.0, 60).tolist(), *[after] * 5]:
        detector.update(count)
        drifts.append(detector.drift_detected)
    assert any(drifts[60:]) is found
    assert not any(drifts[:60])


def test_after_a_drift_the_evidence_starts_again() -> None:
    detector = CountDriftDetector(1000.0, bucket_ms=FIVE, warmup_ms=HOUR)
    found = []
    for count in [*[20] * 60, 90, 20]:
        detector.update(count)
        found.append((detector.drift_detected, detector.series.nats > SUSPICION_NATS - 1.0))
    assert found == [(False, False)] * 60 + [(True, True), (False, False)]
