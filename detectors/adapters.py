"""River's three contracts behind one: show a model a value, get a score that is higher the more the value hurts.

An adapter raises what its model raises; `ForeignBank` counts it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rollguard.detectors.recipe import ModelError, Recipe, span_of

__all__ = ["CLIP", "FEATURE", "HARMLESS", "Adapter", "Frame", "adapter_of", "tried"]

#: A model is shown no value that is further from the median than so many robust standard deviations (Huber's clip).
CLIP = 8.0
#: Name of the one feature that an anomaly detector is given.
FEATURE = "value"
#: Score of what does not hurt: below all others.
HARMLESS = -math.inf


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the values of a series lay when its model was built; what a model sees is measured by it.

    Attributes
    ----------
    centre : float
        Their median.
    scale : float
        Their robust standard deviation, > 0: 1.4826 times the median deviation; where that is zero the mean deviation, a
        hundredth of the median, or 1.
    """

    centre: float
    scale: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Frame:
        """The frame of some values.

        Examples
        --------
        >>> Frame.of([9.0, 10.0, 11.0, 1e6])
        Frame(centre=10.5, scale=1.4826)
        """
        centre = _median(values)
        away = [abs(value - centre) for value in values]
        mean = min(math.fsum(away) / len(away), 1e300) if away else 0.0
        return cls(centre, 1.4826 * _median(away) or 1.2533 * mean or 0.01 * abs(centre) or 1.0)

    def clipped(self, value: float) -> float:
        """The value, or the end of the clip that it lies beyond."""
        return min(max(value, self.centre - CLIP * self.scale), self.centre + CLIP * self.scale)

    def deviation(self, value: float) -> float:
        """Robust standard deviations from the median."""
        return (value - self.centre) / self.scale

    def standing(self, value: float) -> float:
        """Place between the two ends of the clip, 0 to 1; the median is 0.5."""
        return min(max(0.5 + self.deviation(value) / (2.0 * CLIP), 0.0), 1.0)

    def relative(self, value: float) -> float:
        """Multiple of the median; of the scale, where that is larger."""
        return value / max(abs(self.centre), self.scale)


class Adapter(Protocol):
    """A river model that watches one series."""

    def score(self, frame: Frame, value: float) -> float:
        """How much the next value hurts, seen from what the model knows by now; called once a value, before `learn`. NaN: the model cannot say."""

    def learn(self, frame: Frame, value: float) -> None:
        """Take the value in."""

    def hold(self, buckets: int) -> None:
        """Let buckets pass whose values are not to be learnt."""


class _Anomaly:
    """An anomaly detector: of features, or of a target (`GaussianScorer`)."""

    def __init__(self, model: Any, worse: str, *, of_target: bool, forecaster: Any) -> None:
        self.model = model
        self.worse = worse
        self.of_target = of_target
        self.forecaster = forecaster

    def score(self, frame: Frame, value: float) -> float:
        """See `Adapter`."""
        score = float(self.model.score_one({}, frame.relative(value)) if self.of_target else self.model.score_one({FEATURE: frame.standing(value)}))
        # A detector of this kind knows no direction: orders that rise are as strange to it as orders that fall.
        return _if_it_hurts(score, frame.deviation(value), self.worse)

    def learn(self, frame: Frame, value: float) -> None:
        """See `Adapter`."""
        if self.of_target:
            self.model.learn_one({}, frame.relative(value))
        else:
            self.model.learn_one({FEATURE: frame.standing(value)})

    def hold(self, buckets: int) -> None:
        """See `Adapter`."""
        if self.forecaster is not None:
            _keep_in_step(self.forecaster, buckets)


class _Forecast:
    """A forecaster, scored by the error of its forecast of the next value, over the root of the forecast: counts scatter so."""

    def __init__(self, model: Any, worse: str) -> None:
        self.model = model
        self.worse = worse

    def score(self, frame: Frame, value: float) -> float:
        """See `Adapter`."""
        expected = float(self.model.forecast(1)[0])
        error = (frame.relative(value) - expected) / math.sqrt(max(abs(expected), 0.05))
        return _finite({"lower": -error, "higher": error}.get(self.worse, abs(error)))

    def learn(self, frame: Frame, value: float) -> None:
        """See `Adapter`."""
        self.model.learn_one(frame.relative(value))

    def hold(self, buckets: int) -> None:
        """See `Adapter`."""
        _keep_in_step(self.model, buckets)


class _Drift:
    """A drift detector: 1 for a value at which it saw a drift, else 0. It cannot score without learning."""

    def __init__(self, model: Any, worse: str, *, binary: bool) -> None:
        self.model = model
        self.worse = worse
        self.binary = binary
        # River's FHDDM looks for fewer ones, though it says like the others that a one is an error (0.26.1).
        self.error = type(model).__name__ != "FHDDM"

    def score(self, frame: Frame, value: float) -> float:
        """See `Adapter`."""
        deviation = frame.deviation(value)
        # The bit says that the value lies on the side that hurts; either side: further out than half of all do.
        bit = {"lower": deviation < 0.0, "higher": deviation > 0.0}.get(self.worse, abs(deviation) > 0.6745)
        self.model.update(bit == self.error if self.binary else deviation)
        return _if_it_hurts(1.0, deviation, self.worse) if self.model.drift_detected else 0.0

    def learn(self, frame: Frame, value: float) -> None:
        """See `Adapter`."""

    def hold(self, buckets: int) -> None:
        """See `Adapter`."""


def adapter_of(model: Any, worse: str) -> Adapter:
    """The adapter that fits a model.

    Parameters
    ----------
    model : object
        Of river, fresh from `Recipe.make`; the adapter keeps it.
    worse : {"higher", "lower", "both"}
        Direction that hurts.

    Raises
    ------
    ModelError
        If it is no model that watches, which a filter around another may turn out to be.
    """
    from river import base, time_series  # noqa: PLC0415 - see `recipe`

    if isinstance(model, time_series.base.Forecaster):
        return _Forecast(model, worse)
    if isinstance(model, (base.DriftDetector, base.BinaryDriftDetector)):
        return _Drift(model, worse, binary=isinstance(model, base.BinaryDriftDetector))
    inner = model
    while isinstance(inner, base.AnomalyFilter):
        inner = inner.anomaly_detector
    last = list(inner.steps.values())[-1] if hasattr(inner, "steps") else inner
    of_target = isinstance(last, base.SupervisedAnomalyDetector)
    if of_target and last is not inner:
        raise ModelError(type(last).__name__, "a pipeline cannot end in a detector of a target", "the detector alone")
    if not isinstance(last, (base.AnomalyDetector, base.SupervisedAnomalyDetector)):
        raise ModelError(type(last).__name__, "no anomaly detector", "an anomaly detector inside a filter")
    below = getattr(last, "predictive_model", None)
    return _Anomaly(model, worse, of_target=of_target, forecaster=below if isinstance(below, time_series.base.Forecaster) else None)


def tried(recipe: Recipe, worse: str) -> int:
    """Show a model plain values until it can live with one; a wrong type among its arguments shows only now.

    Returns
    -------
    int
        How many values it needed.

    Raises
    ------
    ModelError
        If it fails at twice its span and more.

    Examples
    --------
    >>> tried(Recipe("river.time_series.HoltWinters", {"alpha": 0.3}), "lower")
    3
    """
    model = recipe.make()
    adapter = adapter_of(model, worse)
    frame = Frame(10.0, 1.0)
    said = ""
    for at in range(2 * span_of(model) + 16):
        value = 10.0 + (at * 7 % 11 - 5) / 4.0
        try:
            score = adapter.score(frame, value)
            adapter.learn(frame, value)
        except Exception as error:  # noqa: BLE001 - a model of somebody else's may raise anything; it is told below
            said = repr(error)
            # A forecaster cannot forecast before it has learnt.
            with contextlib.suppress(Exception):
                adapter.learn(frame, value)
            continue
        if not math.isnan(score):
            return at + 1
        said = "its score is not a finite number"
    raise ModelError(recipe.name, f"it fails on plain values ({said})", "arguments of the right types")


def _if_it_hurts(score: float, deviation: float, worse: str) -> float:
    harmless = (worse == "lower" and deviation >= 0.0) or (worse == "higher" and deviation <= 0.0)
    return HARMLESS if harmless and math.isfinite(score) else _finite(score)


def _finite(score: float) -> float:
    """The score; NaN where it is no number that can be compared."""
    return score if math.isfinite(score) else math.nan


def _keep_in_step(forecaster: Any, buckets: int) -> None:
    """A forecaster with a season learns its own forecasts of what it is not shown, but no season as a whole: it would only teach itself."""
    season = max(int(getattr(forecaster, name, 1) or 1) for name in ("seasonality", "m"))
    for _ in range(buckets % season):
        forecaster.learn_one(float(forecaster.forecast(1)[0]))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return 0.0
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])
