"""What an oracle needs, against formulas worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rollguard.replay.simulation.plan import Fault, Harm
from rollguard.replay.simulation.shop import HOUR_MS, MINUTE_MS
from rollguard.replay.simulation.truth import BUCKET_MS, ENOUGH_NATS, gap_oracle_s, oracle_s
from rollguard.replay.simulation.world import ERROR_RATE, ERRORS_USUAL, PROMISED

#: Customers a minute, everywhere and always.
RATE = 36.0
RATES = np.full((4, 300), RATE)
A_BUCKET = RATE * BUCKET_MS / MINUTE_MS


def harm(regions: tuple[int, ...] = (0,), **sizes: object) -> Harm:
    return Harm(change=None, regions=regions, since_ms=dict.fromkeys(regions, 0), end_ms=4 * HOUR_MS, **sizes)  # type: ignore[arg-type]


def seconds(nats_a_bucket: float) -> int:
    return math.ceil(ENOUGH_NATS / nats_a_bucket) * BUCKET_MS // 1000


def test_enough_is_one_false_alarm_in_thirty_days_of_buckets() -> None:
    assert round(ENOUGH_NATS, 2) == 12.47


@pytest.mark.parametrize("loss", [0.1, 0.5, 0.99])
def test_lost_orders_take_the_divergence_of_poisson_counts(loss: float) -> None:
    left = 1.0 - loss
    assert oracle_s(harm(loss=loss), RATES, 0, 0) == seconds(A_BUCKET * (left * math.log(left) - left + 1.0))


def test_a_complete_stop_takes_the_orders_that_do_not_come() -> None:
    assert oracle_s(harm(loss=1.0), RATES, 0, 0) == seconds(A_BUCKET)


def test_errors_take_the_divergence_of_their_own_counts() -> None:
    usual = A_BUCKET * ERROR_RATE * ERRORS_USUAL[2]
    more = usual + A_BUCKET * 0.05
    assert oracle_s(harm(errors={2: 0.05}), RATES, 0, 0) == seconds(more * math.log(more / usual) - more + usual)


def test_promises_that_slip_take_the_divergence_of_two_lognormals() -> None:
    nats = math.log(1.25) ** 2 / (2.0 * PROMISED[1] ** 2)
    found = oracle_s(harm(wrong=1.0, slip=1.25), RATES, 0, 0)
    assert found is not None
    assert abs(found - seconds(A_BUCKET * nats)) <= 10


def test_absurd_promises_take_a_bucket() -> None:
    assert oracle_s(harm(wrong=0.9), RATES, 0, 0) == 10


def test_evidence_of_places_and_metrics_adds_up() -> None:
    one = A_BUCKET * (0.8 * math.log(0.8) - 0.8 + 1.0)
    assert oracle_s(harm(regions=(0, 1, 3), loss=0.2), RATES, 0, 0) == seconds(3.0 * one)


def test_what_is_too_small_is_never_sure() -> None:
    assert oracle_s(harm(loss=0.001), RATES, 0, 0) is None


def test_what_grows_takes_longer_than_what_is_there_at_once() -> None:
    at_once, growing = (oracle_s(harm(loss=0.5, grows_ms=grows_ms), RATES, 0, 0) for grows_ms in (0, HOUR_MS))
    assert at_once is not None
    assert growing is not None
    assert growing > 3 * at_once


def test_missing_data_take_the_events_that_do_not_come() -> None:
    fault = Fault(how="lost", sources=("orders", "errors"), regions=(1,), since_ms=0, until_ms=HOUR_MS)
    assert gap_oracle_s(fault, RATES, 0) == seconds(A_BUCKET * (1.0 + ERROR_RATE))


def test_an_oracle_gathers_so_much_evidence_as_chance_gives_it() -> None:
    """The mean log likelihood ratio of counts drawn at random, at the time that the oracle names, is what it waits for."""
    rng = np.random.default_rng(5)
    needed = oracle_s(harm(loss=0.3, errors={4: 0.1}), RATES, 0, 0)
    assert needed is not None
    buckets = needed * 1000 // BUCKET_MS
    usual_errors = A_BUCKET * ERROR_RATE * ERRORS_USUAL[4]
    total = np.zeros(4000)
    for usual, changed in ((A_BUCKET, 0.7 * A_BUCKET), (usual_errors, usual_errors + 0.1 * A_BUCKET)):
        counts = rng.poisson(changed * buckets, 4000)
        total += counts * math.log(changed / usual) - buckets * (changed - usual)
    each = ENOUGH_NATS / buckets
    assert ENOUGH_NATS - 0.5 <= total.mean() <= ENOUGH_NATS + each + 0.5
