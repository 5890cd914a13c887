"""The money clock."""

from __future__ import annotations

import numpy as np
import pytest

from rollguard.incidents.books import Sums
from rollguard.incidents.cost import bill_of
from tests.incidents.scenes import MINUTE, ONSET, START, Hurt, Shop, deploy, played, regional

#: A place's hour: buckets, expected events in each, extra variance of its counts, and relative error of its baseline.
BUCKETS, MEAN, SCATTER, ERROR = 360, 20.0, 1.5, 0.03


def an_hour(random: np.random.Generator, lost_share: float, n_places: int) -> tuple[Sums, float]:
    """Sums as they come to be counted, and what was truly lost."""
    sums = Sums(n_places)
    # Baselines err together, as the clock takes it: by one factor for all places of an hour.
    truth = MEAN * (1.0 + ERROR * random.standard_normal())
    would_be = random.negative_binomial(truth / (SCATTER - 1.0), 1.0 / SCATTER, (n_places, BUCKETS)).astype(np.float64)
    sums.observed += would_be.sum(axis=1) * (1.0 - lost_share)
    sums.expected += MEAN * BUCKETS
    sums.variance += MEAN * SCATTER * BUCKETS
    sums.slack += ERROR * MEAN * BUCKETS
    return sums, float(lost_share * would_be.sum())


@pytest.mark.parametrize(("lost_share", "n_places"), [(0.0, 1), (0.0, 3), (0.3, 1), (0.3, 3)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(lost_share: float, n_places: int) -> None:
    random = np.random.default_rng([7, round(10 * lost_share), n_places])
    n, covered = 2000, 0
    for _ in range(n):
        sums, truth = an_hour(random, lost_share, n_places)
        bill = bill_of(sums, tuple(range(n_places)))
        covered += bill.low <= truth <= bill.high
    # Nominal 95 %; what was lost shares its luck with what was not, so a lossy hour is covered a little less.
    assert 0.93 <= covered / n <= 0.97


def test_the_bill_is_expected_less_observed_over_the_rows_asked_for() -> None:
    sums = Sums(3)
    sums.observed += np.array([60.0, 90.0, 5.0])
    sums.expected += np.array([100.0, 100.0, 7.0])
    assert bill_of(sums, (0, 1)).lost == 50.0
    assert bill_of(sums, (1, 0)) == bill_of(sums, (0, 1))
    assert bill_of(sums, ()).lost == 0.0
    assert bill_of(sums, (0, 9)) == bill_of(sums, (0,))


def test_more_than_expected_is_a_negative_loss() -> None:
    sums = Sums(1)
    sums.observed += 120.0
    sums.expected += 100.0
    assert bill_of(sums, (0,)).lost == -20.0


def test_errors_of_baselines_add_up_while_counting_noise_averages_out() -> None:
    def reach(n: int, *, variance: float, slack: float) -> float:
        sums = Sums(n)
        sums.expected += 100.0
        sums.variance += variance
        sums.slack += slack
        bill = bill_of(sums, tuple(range(n)))
        return bill.high - bill.lost

    assert reach(4, variance=100.0, slack=0.0) == pytest.approx(2.0 * reach(1, variance=100.0, slack=0.0))
    assert reach(4, variance=0.0, slack=5.0) == pytest.approx(4.0 * reach(1, variance=0.0, slack=5.0))


def test_the_clock_of_an_incident_counts_its_places_from_the_onset() -> None:
    shop = Shop()
    entries = played(shop, [*regional(shop), *deploy()], last=ONSET + 10 * MINUTE - 1)
    last = next(entry.incident for entry in reversed(entries) if entry.incident is not None)
    # 48 of 120 orders are lost in a bucket.
    told = (entries[-1].at_ms - 20_000) // 10_000 - 1
    assert last.orders_lost == pytest.approx(48.0 * (told - ONSET + 1))
    assert last.orders_lost_per_minute == pytest.approx(48.0 * MINUTE)
    low, high = last.orders_lost_interval
    assert low < last.orders_lost < high
    low, high = last.orders_lost_per_minute_interval
    assert low < last.orders_lost_per_minute < high
    # 58 minutes of the next hour, if a rollback now takes two to work.
    assert last.saved_by_rollback == pytest.approx(58 * 48.0 * MINUTE)
    assert last.saved_by_rollback_interval == pytest.approx((58 * low, 58 * high), rel=0.001)
    assert "each further minute costs 288.0" in last.cost
    assert "a rollback now, effective in 2 min, saves 16704" in last.cost


def test_the_rate_is_of_the_last_minutes() -> None:
    shop = Shop()
    signals = regional(shop)
    shop.hurts[0] = Hurt("orders", 0.6, ONSET, ONSET + 5 * MINUTE, {"region": "eu-west"})
    entries = played(shop, [*signals, *deploy()], last=START + 16 * MINUTE)
    last = next(entry.incident for entry in reversed(entries) if entry.incident is not None)
    assert last.orders_lost_per_minute == 0.0
    assert (last.saved_by_rollback, last.saved_by_rollback_interval[0]) == (0.0, 0.0)
    assert last.cost.endswith("none are being lost now")
    assert last.orders_lost == pytest.approx(48.0 * 5 * MINUTE)


def test_what_it_costs_is_not_known_while_orders_are_missing() -> None:
    shop = Shop(missing={"orders": range(ONSET, START + 30 * MINUTE)})
    entries = played(shop, [shop.left("errors", ONSET + 3, ONSET, region="eu-west"), *deploy()])
    assert entries[0].incident is not None
    assert entries[0].incident.cost == "cost: not known, for nothing is known of orders lately"
    assert entries[0].incident.saved_by_rollback == 0.0
    (hold, *_) = [entry.decision for entry in entries if entry.decision is not None and entry.decision.action == "hold"]
    assert "the data of orders is missing or uncertain" in hold.blocked_by
