from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.conformal import KAPPAS, Calibration, correlation_time

SCORES = st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 1.0, 7.5]), min_size=1, max_size=40)


def calibrated(scores: list[float], size: int = 100) -> Calibration:
    calibration = Calibration(size)
    for score in scores:
        calibration.add(score)
    return calibration


@given(SCORES)
def test_over_all_places_that_a_score_can_take_each_bet_pays_one_on_average(scores: list[float]) -> None:
    """Exchangeable: each of the scores was as likely to be the last."""
    paid = np.zeros(len(KAPPAS))
    for at in range(len(scores)):
        paid += np.exp(calibrated(scores[:at] + scores[at + 1 :]).bets(scores[at]))
    assert (paid / len(scores)).tolist() == pytest.approx([1.0] * len(KAPPAS))


@given(SCORES)
def test_a_p_value_is_small_no_more_often_than_it_says(scores: list[float]) -> None:
    found = [calibrated(scores[:at] + scores[at + 1 :]).p_value(scores[at]) for at in range(len(scores))]
    assert all(sum(p <= bound for p in found) <= bound * len(found) + 1e-9 for bound in found)


@given(SCORES, st.integers(1, 10))
def test_only_the_last_scores_count(scores: list[float], size: int) -> None:
    whole, last = calibrated(scores, size), calibrated(scores[-size:], size)
    assert len(whole) == min(size, len(scores))
    assert [whole.bets(score) for score in (-2.0, 0.0, 9.0)] == [last.bets(score) for score in (-2.0, 0.0, 9.0)]


@given(SCORES)
def test_a_higher_score_is_never_less_evidence_for_the_boldest_bet(scores: list[float]) -> None:
    calibration = calibrated(scores)
    bold = [calibration.bets(score)[0] for score in sorted([*scores, -5.0, 3.0, 100.0])]
    assert all(one <= other + 1e-12 for one, other in pairwise(bold))


def test_a_score_that_is_always_the_same_is_evidence_of_nothing() -> None:
    assert calibrated([0.0] * 50).bets(0.0) == (0.0,) * len(KAPPAS)


def test_nothing_is_made_of_a_first_score() -> None:
    assert Calibration(10).bets(3.0) == (0.0,) * len(KAPPAS)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_correlation_time_of_an_autoregression_is_near_the_true_one(phi: float) -> None:
    rng = np.random.default_rng(5)
    series = [0.0]
    for shock in rng.normal(size=20_000).tolist():
        series.append(phi * series[-1] + shock)
    assert correlation_time(series) == pytest.approx((1.0 + phi) / (1.0 - phi), rel=0.2)


def test_what_has_no_order_to_speak_of_has_a_time_of_one() -> None:
    assert correlation_time([]) == 1.0
    assert correlation_time([1.0] * 40) == 1.0
    assert correlation_time([3.0, 1.0, 2.0]) == 1.0
