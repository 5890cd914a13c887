from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.replay.scoring import Guess
from rollguard.replay.scoring.calibration import brier, calibration_error, chance_error, guesses_of, reliability


def guesses(*said: tuple[float, int]) -> list[Guess]:
    return [Guess(probability=probability, is_true=bool(true)) for probability, true in said]


def test_the_table_says_what_was_called_and_what_was_true() -> None:
    [low, high] = reliability(guesses((0.12, 0), (0.18, 1), (0.95, 1), (1.0, 1)))
    assert (low.low, low.n, low.hits, low.mean, low.share) == pytest.approx((0.1, 2, 1, 0.15, 0.5))
    assert (high.high, high.n, high.share) == (1.0, 2, 1.0)
    assert high.share_low <= high.share <= high.share_high


def test_the_error_is_how_far_the_rows_are_off() -> None:
    # A row of 0.8 of which half is true, one of 0.6 of which all are: (2 * 0.3 + 1 * 0.4) / 3.
    found = calibration_error([guesses((0.8, 1), (0.8, 0)), guesses((0.6, 1))])
    assert found is not None
    assert (found[0], found[3]) == pytest.approx((1 / 3, 3))


def test_what_is_called_less_than_five_per_cent_thins_nothing_out() -> None:
    found = calibration_error([guesses((0.8, 0), *[(0.01, 0)] * 1000)])
    assert found is not None
    assert (found[0], found[3]) == pytest.approx((0.8, 1))
    assert calibration_error([guesses((0.01, 0))]) is None


def test_probabilities_that_mean_what_they_say_have_hardly_an_error() -> None:
    chance = np.random.default_rng(5)
    said = [guesses((p := float(chance.random()), int(chance.random() < p))) for _ in range(4_000)]
    found = calibration_error(said)
    assert found is not None
    assert found[0] <= 0.03


@pytest.mark.parametrize("n", [6, 30, 120, 1_000])
def test_by_chance_alone_probabilities_that_are_right_are_off_by_what_is_told(n: int) -> None:
    chance = np.random.default_rng(n)
    said = chance.beta(0.4, 0.4, n)
    errors = [calibration_error([guesses(*zip(said.tolist(), (chance.random(n) < said).tolist(), strict=True))]) for _ in range(300)]
    told = chance_error([guesses((each, 0)) for each in said.tolist()])
    assert told == pytest.approx(np.mean([each[0] for each in errors if each is not None]), rel=0.1)
    assert chance_error([guesses((0.01, 0))]) is None


def test_two_guesses_of_one_incident_exclude_each_other() -> None:
    # In one row they are one guess of 95 %: |1 - 0.95| 0.95 + 0.95 (1 - 0.95), over two guesses.
    assert chance_error([guesses((0.48, 0), (0.47, 0))]) == pytest.approx(0.0475)
    # Of two incidents both, one or none may be true: four ways, over two guesses.
    ways = [(p * q, abs(a + b - 0.95)) for a, p in ((1, 0.48), (0, 0.52)) for b, q in ((1, 0.47), (0, 0.53))]
    assert chance_error([guesses((0.48, 0)), guesses((0.47, 0))]) == pytest.approx(sum(share * off for share, off in ways) / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 5))
def test_a_brier_score_lies_between_none_and_two_and_truth_is_the_best_answer(weights: list[float], at: int) -> None:
    total = sum(weights) + 1e-9
    suspects = [(f"chg-{number}", weight / total) for number, weight in enumerate(weights)]
    causes = frozenset([f"chg-{at}"]) if at < len(weights) else frozenset[str]()
    assert -1e-9 <= brier(suspects, 0.0, causes) <= 2.0 + 1e-9
    assert brier([(name, float(name in causes)) for name, _ in suspects], float(not causes), causes) == 0.0


def test_no_change_is_a_guess_like_any_other() -> None:
    assert guesses_of([("a", 0.3)], 0.7, frozenset()) == (Guess(probability=0.3, is_true=False), Guess(probability=0.7, is_true=True))
    assert brier([("a", 0.3)], 0.7, frozenset()) == pytest.approx(0.18)
