"""River's own checks of our estimators, each by its name, and the same of what a drift detector keeps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from river import base, checks

from rollguard.detectors.estimators import CountDetector, CountDriftDetector, DistributionDetector, RatioDetector

Rows = list[tuple[dict[str, Any], bool]]
#: One bucket an epoch and an hour's warm-up, so that the checks see scores and not only zeros.
QUICK: dict[str, Any] = {"bucket_ms": 300_000, "warmup_ms": 3_600_000}
ESTIMATORS: dict[str, base.AnomalyDetector] = {
    "CountDetector": CountDetector(),
    "RatioDetector": RatioDetector(),
    "DistributionDetector": DistributionDetector(),
    "CountDetector of five minutes": CountDetector(**QUICK),
    "RatioDetector of five minutes": RatioDetector(**QUICK),
    "DistributionDetector of five minutes": DistributionDetector(**QUICK),
}
#: Of one estimator and one dataset, in river 0.26.1. Another list means that river checks more or less than before.
CHECKED = [
    "check_repr",
    "check_str",
    "check_tags",
    "check_clone_same_class",
    "check_clone_is_idempotent",
    "check_init_has_default_params_for_tests",
    "check_init_default_params_are_not_mutable",
    "check_doc",
    "check_clone_changes_memory_addresses",
    "check_mutate_can_be_idempotent",
    "check_pickling_supports_roundtrip",
    "check_repr_roundtrips_clone",
    "check_clone_with_new_params_applies",
    "check_get_params_matches_signature",
    "check_learn_one",
    "check_pickling",
    "check_shuffle_features_no_impact",
    "check_emerging_features",
    "check_disappearing_features",
    "check_radically_disappearing_features",
    "check_predict_one_pure",
    "check_predict_one_before_any_learn",
    "check_no_state_aliasing_with_input",
    "check_clone_is_independent",
    "check_roc_auc",
    "check_bounded_memory_growth",
]


@cache
def shop(n: int) -> Rows:
    """Orders, errors and minutes of some buckets, with features that are no concern of ours; one in eight of the last is out of order."""
    rng = np.random.default_rng(7)
    rows: Rows = []
    for at in range(n):
        odd = at >= n // 2 and at % 8 == 0
        trials = int(rng.poisson(200.0))
        minutes = rng.normal(55.0 if odd else 35.0, 5.0, 12).round(1).tolist()
        hits = int(rng.binomial(trials, 0.2 if odd else 0.05))
        x = {"count": int(rng.poisson(60.0 if odd else 20.0)), "hits": hits, "trials": trials, "values": minutes, "weather": "rain", "price": float(at)}
        rows.append((x, odd))
    return rows


def datasets(_: base.Base, scale: int = 1) -> Iterator[Rows]:
    """In place of river's, which for anomaly detectors is a download of credit card payments without a count in them."""
    yield shop(120 * scale)


def checks_of(estimator: base.AnomalyDetector, patch: pytest.MonkeyPatch) -> list[Any]:
    patch.setattr(checks, "_yield_datasets", datasets)
    return list(checks.yield_checks(estimator))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_an_estimator_passes_all_of_rivers_checks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = ESTIMATORS[name]
    found = checks_of(estimator, monkeypatch)
    assert [check.__name__ for check in found] == CHECKED
    assert not estimator._unit_test_skips()
    for check in found:
        check(estimator.clone())


class Forgetful(CountDetector):
    """Keeps no parameter, and alters what it is shown."""

    def __init__(self, on: str = "count", *, shift: float = 0.0) -> None:
        super().__init__(on)
        self.moved = shift

    def score_one(self, x: dict[Any, Any]) -> float:
        return float(x.pop("count", 0.0))


@pytest.mark.parametrize("check", ["check_get_params_matches_signature", "check_predict_one_pure", "check_clone_is_idempotent"])
def test_the_checks_see_a_broken_estimator(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {each.__name__: each for each in checks_of(CountDetector(), monkeypatch)}
    with pytest.raises((AssertionError, AttributeError)):
        found[check](Forgetful())


# `river.checks` does not know drift detectors: they are no estimators (0.26.1 raises AttributeError), so what they keep is checked here.


def drifted(detector: CountDriftDetector, counts: list[float]) -> list[bool]:
    found = []
    for count in counts:
        detector.update(count)
        found.append(detector.drift_detected)
    return found


def counts() -> list[float]:
    rng = np.random.default_rng(8)
    return [float(count) for count in [*rng.poisson(20.0, 60), *rng.poisson(60.0, 10)]]


def test_river_still_does_not_check_drift_detectors() -> None:
    with pytest.raises(AttributeError):
        checks.check_estimator(CountDriftDetector())  # type: ignore[arg-type] # that is the point


def test_a_drift_detector_is_cloned_without_its_past_and_pickled_with_it() -> None:
    detector = CountDriftDetector(500.0, **QUICK)
    whole = drifted(detector, counts())
    assert any(whole)
    assert not any(whole[:60])
    assert drifted(detector.clone(), counts()) == whole
    half = CountDriftDetector(500.0, **QUICK)
    assert drifted(half, counts()[:62]) == whole[:62]
    for twin in (pickle.loads(pickle.dumps(half)), copy.deepcopy(half)):  # noqa: S301 - our own bytes
        assert drifted(twin, counts()[62:]) == whole[62:]


def test_a_drift_detector_says_what_it_was_made_with() -> None:
    assert repr(CountDriftDetector(500.0, worse="lower").clone()) == repr(CountDriftDetector(500.0, worse="lower"))
    assert isinstance(CountDriftDetector(), base.DriftDetector)
    assert all(CountDriftDetector(**arguments) for arguments in CountDriftDetector._unit_test_params())
