from __future__ import annotations

import copy
import importlib
import inspect
import pickle

import pytest

from rollguard.config import RollguardError
from rollguard.detectors.adapters import tried
from rollguard.detectors.recipe import BLIND, WATCHING, ModelError, Recipe, model_names, refusal_of, span_of

#: Every public class of the three modules: what it needs to be built, or why it cannot watch. A new river version shows here.
SUPPORTED: dict[str, dict[str, object]] = {
    "river.anomaly.GaussianScorer": {},
    "river.anomaly.HalfSpaceTrees": {},
    "river.anomaly.LODA": {},
    "river.anomaly.LocalOutlierFactor": {},
    "river.anomaly.OneClassSVM": {},
    "river.anomaly.PredictiveAnomalyDetection": {},
    "river.anomaly.QuantileFilter": {"anomaly_detector": {"name": "river.anomaly.GaussianScorer"}, "q": 0.99},
    "river.anomaly.StandardAbsoluteDeviation": {},
    "river.anomaly.ThresholdFilter": {"anomaly_detector": {"name": "river.anomaly.HalfSpaceTrees", "arguments": {"n_trees": 5}}, "threshold": 0.9},
    "river.drift.ADWIN": {},
    "river.drift.KSWIN": {},
    "river.drift.PageHinkley": {},
    "river.drift.binary.DDM": {},
    "river.drift.binary.EDDM": {},
    "river.drift.binary.FHDDM": {},
    "river.drift.binary.HDDMA": {},
    "river.drift.binary.HDDMW": {},
    "river.time_series.HoltWinters": {"alpha": 0.3},
    "river.time_series.SNARIMAX": {"p": 2, "d": 0, "q": 1},
}
NOT_SUPPORTED = {
    "river.drift.DriftRetrainingClassifier": "it is a Wrapper",
    "river.drift.DummyDriftDetector": "it does not look at its values",
    "river.drift.NoDrift": "it does not look at its values",
    "river.time_series.ForecastingMetric": "it is a Base",
    "river.time_series.HorizonAggMetric": "it is a HorizonMetric",
    "river.time_series.HorizonMetric": "it is a ForecastingMetric",
}


def test_every_public_class_of_river_is_known_to_be_supported_or_not() -> None:
    found = {
        f"{module}.{word}": each
        for module in WATCHING
        for word, each in vars(importlib.import_module(module)).items()
        if inspect.isclass(each) and not word.startswith("_")
    }
    assert sorted(found) == sorted([*SUPPORTED, *NOT_SUPPORTED])
    assert {name: why for name, each in found.items() if (why := refusal_of(each, name))} == NOT_SUPPORTED
    assert sorted(model_names()) == sorted(SUPPORTED)
    assert set(NOT_SUPPORTED) >= BLIND


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_every_supported_model_lives_with_plain_values(name: str) -> None:
    recipe = Recipe(name, SUPPORTED[name])
    assert all(tried(recipe, worse) <= 3 for worse in ("lower", "higher", "both"))


@pytest.mark.parametrize("name", sorted(NOT_SUPPORTED))
def test_what_cannot_watch_a_metric_says_why(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        Recipe(name, {})
    assert caught.value.problem == f"cannot watch a metric: {NOT_SUPPORTED[name]}"


@pytest.mark.parametrize(
    "name",
    ["os.system", "river.utils.Rolling", "river.anomaly._Base", "river.anomaly.gaussian.GaussianScorer", "GaussianScorer", "", "river.anomaly.base",
     "river.stats.Mean", "river.linear_model.LinearRegression", "river.anomaly.__init__.GaussianScorer"],
)  # fmt: skip
def test_nothing_but_public_models_of_three_modules_can_be_named(name: str) -> None:
    with pytest.raises(ModelError, match="no such model"):
        Recipe(name, {})


@pytest.mark.parametrize(
    "part", ["os.system", "subprocess.Popen", "river.datasets.Bikes", "river.optim._x.Y", "river.stats.base", "river.opt.SGD", "builtins.dict"]
)
def test_nothing_but_parts_of_models_can_be_an_argument(part: str) -> None:
    with pytest.raises(ModelError, match="no such part of a model"):
        Recipe("river.anomaly.StandardAbsoluteDeviation", {"sub_stat": {"name": part}})


def test_a_mistyped_model_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(RollguardError) as caught:
        Recipe("river.anomaly.HalfSpaceTree", {})
    error = caught.value
    assert isinstance(error, ModelError)
    assert (error.code, error.model, error.near) == ("model", "river.anomaly.HalfSpaceTree", "river.anomaly.HalfSpaceTrees")
    assert str(error).endswith("Did you mean 'river.anomaly.HalfSpaceTrees'?")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_an_unknown_argument_names_those_there_are() -> None:
    with pytest.raises(ModelError) as caught:
        Recipe("river.anomaly.GaussianScorer", {"window": 5, "grace_period": 3})
    assert caught.value.problem == "unknown argument 'window'"
    assert caught.value.expected == "window_size, grace_period"
    assert caught.value.near == "window_size"


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ModelError, match="missing a required argument: 'alpha'"):
        Recipe("river.time_series.HoltWinters", {})


def test_what_the_constructor_says_is_passed_on() -> None:
    with pytest.raises(ModelError, match="gamma must be set if seasonality is set"):
        Recipe("river.time_series.HoltWinters", {"alpha": 0.3, "seasonality": 12})


def test_a_wrong_type_that_the_constructor_takes_is_found_by_trying() -> None:
    recipe = Recipe("river.anomaly.HalfSpaceTrees", {"n_trees": "many"})
    with pytest.raises(ModelError, match="it fails on plain values"):
        tried(recipe, "both")


def test_a_filter_around_something_else_than_a_detector_is_refused() -> None:
    recipe = Recipe("river.anomaly.QuantileFilter", {"anomaly_detector": {"name": "river.stats.Mean"}, "q": 0.9})
    with pytest.raises(ModelError, match="Mean: no anomaly detector"):
        tried(recipe, "both")


def test_what_uses_chance_has_a_seed_wherever_it_stands() -> None:
    inner = {"name": "river.anomaly.HalfSpaceTrees"}
    assert Recipe("river.anomaly.QuantileFilter", {"anomaly_detector": inner, "q": 0.9}).make().anomaly_detector.seed == 0
    assert Recipe("river.drift.KSWIN", {"seed": None}).make().seed == 0
    assert Recipe("river.drift.KSWIN", {"seed": 7}).make().seed == 7


def test_models_stand_in_models_with_arguments_by_name_or_place() -> None:
    steps = [{"name": "river.preprocessing.StandardScaler"}, {"name": "river.linear_model.LinearRegression", "arguments": {"l2": 0.1}}]
    regressor = {"name": "river.compose.Pipeline", "arguments": steps}
    arima = {"name": "river.time_series.SNARIMAX", "arguments": {"p": 2, "d": 1, "q": 1, "regressor": regressor}}
    model = Recipe("river.anomaly.PredictiveAnomalyDetection", {"predictive_model": arima, "n_std": 2.5}).make()
    assert model.predictive_model.regressor["LinearRegression"].l2 == 0.1
    assert model.n_std == 2.5


def test_a_recipe_keeps_nothing_of_the_arguments_it_was_given() -> None:
    given: dict[str, object] = {"limits": {"value": [0.0, 1.0]}}
    recipe = Recipe("river.anomaly.HalfSpaceTrees", given)
    before = copy.deepcopy(recipe.arguments)
    given["limits"] = None
    one, other = recipe.make(), recipe.make()
    one.limits["value"] = (3.0, 4.0)
    assert other.limits["value"] == [0.0, 1.0]
    assert recipe.arguments == before


@pytest.mark.parametrize(
    ("name", "arguments", "span"),
    [
        ("river.anomaly.GaussianScorer", {}, 100),
        ("river.anomaly.LocalOutlierFactor", {}, 1000),
        ("river.anomaly.HalfSpaceTrees", {"seed": 10**9}, 250),
        ("river.time_series.HoltWinters", {"alpha": 0.1, "beta": 0.1, "gamma": 0.1, "seasonality": 1440}, 1440),
        ("river.anomaly.PredictiveAnomalyDetection",
         {"predictive_model": {"name": "river.time_series.SNARIMAX", "arguments": {"p": 1, "d": 0, "q": 0, "m": 288, "sp": 1}}}, 288),
        ("river.anomaly.OneClassSVM", {}, 0),
    ],
)  # fmt: skip
def test_the_span_of_a_model_is_the_longest_that_it_was_told(name: str, arguments: dict[str, object], span: int) -> None:
    assert span_of(Recipe(name, arguments).make()) == span
