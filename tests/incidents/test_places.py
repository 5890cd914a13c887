"""Where it hurts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors import Signal
from rollguard.incidents.books import Books, Sums
from rollguard.incidents.incident import Incident, locate
from rollguard.incidents.places import CAP_NATS, Effect, Symptom, effect_of, hurt_evidence, region_row
from tests.incidents.scenes import MINUTE, ONSET, START, Hurt, Shop

SYMPTOM = Symptom("orders", None, -1.0, 0.1)


def books_of(shop: Shop, last: int = ONSET + 2 * MINUTE) -> Books:
    books = Books(1000)
    for bucket in range(START - MINUTE, last + 1):
        books.add(shop.tick(bucket))
    return books


effects = st.builds(lambda relative, error: Effect(100.0 * (1.0 + relative), 100.0, relative, error), st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))


@given(effects, st.floats(1e-3, 10.0))
def test_evidence_is_finite_and_capped(effect: Effect, least: float) -> None:
    nats = hurt_evidence(effect, least)
    assert math.isfinite(nats)
    assert -CAP_NATS <= nats <= CAP_NATS


@given(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), st.floats(0.01, 1.0), st.floats(0.05, 0.5))
def test_a_larger_effect_is_never_less_evidence(one: float, other: float, error: float, least: float) -> None:
    small, large = sorted((one, other))
    assert hurt_evidence(Effect(0.0, 1.0, small, error), least) <= hurt_evidence(Effect(0.0, 1.0, large, error), least) + 1e-9


def test_what_is_not_known_says_nothing() -> None:
    assert hurt_evidence(None, 0.1) == 0.0
    sums = Sums(2)
    assert effect_of(sums, None, 1.0) is None
    assert effect_of(sums, 5, 1.0) is None
    assert effect_of(sums, 0, 1.0) is None


def test_a_clear_fall_hurts_a_level_count_is_well_and_a_vague_one_says_little() -> None:
    assert hurt_evidence(Effect(60.0, 100.0, 0.4, 0.05), 0.1) == CAP_NATS
    assert hurt_evidence(Effect(100.0, 100.0, 0.0, 0.02), 0.1) == -CAP_NATS
    assert abs(hurt_evidence(Effect(95.0, 100.0, 0.05, 0.5), 0.1)) < 1.0


def test_an_effect_is_turned_so_that_positive_hurts() -> None:
    sums = Sums(1)
    sums.observed += 60.0
    sums.expected += 100.0
    sums.variance += 99.0
    lower, higher = effect_of(sums, 0, -1.0), effect_of(sums, 0, 1.0)
    assert lower is not None
    assert higher is not None
    assert (lower.relative, higher.relative, lower.error) == (0.4, -0.4, 0.1)


def test_the_row_of_a_region_is_the_finest_that_fits() -> None:
    shop = Shop()
    books = books_of(shop)
    names = shop.series["orders"]

    def row(symptom: Symptom, region: str) -> str:
        at = region_row(books, symptom, region)
        return "" if at is None else str(names[at])

    of_checkout = Symptom("orders", "checkout", -1.0, 0.1)
    assert row(SYMPTOM, "") == "orders"
    assert row(SYMPTOM, "eu-west") == "orders{region=eu-west}"
    assert row(of_checkout, "eu-west") == "orders{service=checkout,region=eu-west}"
    assert row(of_checkout, "") == "orders{service=checkout}"
    assert row(Symptom("orders", "unheard-of", -1.0, 0.1), "eu-west") == "orders{region=eu-west}"
    assert row(SYMPTOM, "nowhere") == ""
    assert region_row(books, Symptom("latency", None, 1.0, 0.1), "eu-west") is None


def test_a_pooled_signal_is_located_where_the_counts_fell() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.5, ONSET, where={"region": "eu-west"})])
    signal = shop.left("orders", ONSET + 3, ONSET)
    found = locate(books_of(shop), shop.settings, {signal.series: signal})
    assert found["eu-west"] == CAP_NATS
    assert found["us-east"] < -2.0


def test_metrics_are_sources_of_their_own_and_add_up_to_the_cap() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.97, ONSET, where={"region": "eu-west"}), Hurt("errors", 0.97, ONSET)])
    one, two = shop.left("orders", ONSET + 3, ONSET), shop.left("errors", ONSET + 3, ONSET)
    books = books_of(shop, ONSET + 20 * MINUTE)
    parts = [locate(books, shop.settings, {signal.series: signal})["us-east"] for signal in (one, two)]
    both = locate(books, shop.settings, {one.series: one, two.series: two})["us-east"]
    assert both == pytest.approx(max(-CAP_NATS, sum(parts)))


def test_before_the_first_tick_nothing_is_known() -> None:
    shop = Shop()
    signal = shop.left("orders", ONSET + 3, ONSET)
    assert locate(Books(10), shop.settings, {signal.series: signal}) == {"": 0.0}


def test_a_region_that_another_incident_hurts_says_nothing_here() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.5, ONSET)])
    signal = shop.left("orders", ONSET + 3, ONSET, region="eu-west")
    incident = Incident.opened_by(signal)
    incident.take(signal, frozenset({"eu-west"}))
    regions = []
    for elsewhere in ((), ("us-east", "eu-west")):
        incident.look(books_of(shop), shop.settings, elsewhere=frozenset(elsewhere))
        regions.append(incident.regions)
    assert regions == [("eu-west", "us-east"), ("eu-west",)]
    assert incident.evidence["us-east"] == 0.0


def test_a_region_with_a_signal_of_its_own_hurts_whatever_its_counts_say() -> None:
    shop = Shop()
    signal = shop.left("orders", ONSET + 3, ONSET, region="eu-west")
    incident = Incident.opened_by(signal)
    incident.take(signal, frozenset({"eu-west"}))
    incident.look(books_of(shop), shop.settings)
    assert incident.regions == ("eu-west",)


def at(signal: Signal, onset: int, error: float) -> Signal:
    return Signal(
        kind="left",
        series=signal.series,
        bucket=signal.bucket,
        onset=onset,
        onset_error=error,
        direction=signal.direction,
        evidence=signal.evidence,
        threshold=signal.threshold,
    )


def test_the_onset_of_a_region_is_its_own_signals_unless_the_whole_shows_it_sharper() -> None:
    shop = Shop()
    pooled = at(shop.left("orders", ONSET + 9, ONSET), ONSET, 0.5)
    close = at(shop.left("orders", ONSET + 9, ONSET, region="eu-west"), ONSET + 3, 4.0)
    later = at(shop.left("orders", ONSET + 60, ONSET, region="us-east"), ONSET + 50, 4.0)
    incident = Incident.opened_by(pooled)
    for signal in (pooled, close, later):
        incident.take(signal, frozenset())
    assert incident.onset_in("eu-west") == (ONSET, 0.5)
    assert incident.onset_in("us-east") == (ONSET + 50, 4.0)
    assert incident.onset_in("ap-south") == (ONSET, 0.5)
    assert incident.measured == {"eu-west", "us-east"}
    assert np.isclose(incident.onset_error, 0.5)
