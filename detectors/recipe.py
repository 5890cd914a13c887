"""River models by name: which there are, what may be told them, and how one is made.

Only what river itself ships can be named. River is loaded when the first model is made, not before: that takes a second.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from rollguard.config import RollguardError, near_match, printable

__all__ = ["ModelError", "Recipe", "model_names", "refusal_of", "span_of"]

#: Modules whose public classes may watch a metric.
WATCHING = ("river.anomaly", "river.drift", "river.drift.binary", "river.time_series")
#: Modules, with those below them, whose public classes may be arguments of such a model.
ARGUMENTS = (
    *WATCHING, "river.compose", "river.linear_model", "river.neighbors", "river.optim", "river.preprocessing", "river.stats",
)  # fmt: skip
#: Models that never look at what they are shown.
BLIND = {"river.drift.NoDrift", "river.drift.DummyDriftDetector"}
_SEEDED = "seed"


class ModelError(RollguardError):
    """A river model that was named in a config cannot be used.

    Parameters
    ----------
    model : str
        Its name, as written.
    problem : str
        What is wrong, without a full stop.
    expected : str
        What would have been right; may be empty.
    near : str or None
        The known word that was probably meant.
    """

    code = "model"

    def __init__(self, model: str, problem: str, expected: str = "", near: str | None = None) -> None:
        self.model = model
        self.problem = problem
        self.expected = expected
        self.near = near
        text = f"{model}: {problem}."
        text += f" Expected: {expected}." if expected else ""
        text += f" Did you mean '{near}'?" if near else ""
        super().__init__(printable(text))

    def __reduce__(self) -> tuple[type[ModelError], tuple[str, str, str, str | None]]:
        return type(self), (self.model, self.problem, self.expected, self.near)


class Recipe:
    """What a river model is made from; the same model each time.

    Parameters
    ----------
    name : str
        Dotted name of a public class of river, as `river.anomaly.GaussianScorer`.
    arguments : mapping of str to object
        Arguments of its constructor. A mapping with the key `name`, and perhaps `arguments`, is itself a model, or what one is
        built with (`river.preprocessing`, `river.stats`, ...); its `arguments` may be a list, given by position.

    Raises
    ------
    ModelError
        If there is no such model, if it cannot watch a metric, or if its arguments will not do.

    Notes
    -----
    A model that uses chance and was given no `seed` gets the seed 0.

    Examples
    --------
    >>> Recipe("river.time_series.HoltWinters", {"alpha": 0.3}).make()
    HoltWinters (
      alpha=0.3
      beta=None
      gamma=None
      seasonality=0
      multiplicative=False
    )
    >>> Recipe("river.anomaly.GaussScorer", {})
    Traceback (most recent call last):
    ...
    rollguard.detectors.recipe.ModelError: river.anomaly.GaussScorer: no such model. Expected: a class of river.anomaly, river.drift,
    river.drift.binary, river.time_series. Did you mean 'river.anomaly.GaussianScorer'?
    """

    def __init__(self, name: str, arguments: Mapping[str, object]) -> None:
        self.name = name
        self.arguments: dict[str, Any] = _plain(arguments)
        cls = _class_of(name, WATCHING)
        refusal = refusal_of(cls, name)
        if refusal is not None:
            raise ModelError(name, f"cannot watch a metric: {refusal}", "an anomaly detector, a drift detector or a forecaster")
        self.make()

    def make(self) -> Any:
        """A model that has seen nothing."""
        return _made(self.name, self.arguments, WATCHING)


def model_names() -> list[str]:
    """Names of all models that can watch a metric.

    Examples
    --------
    >>> [name for name in model_names() if name.startswith("river.time_series")]
    ['river.time_series.HoltWinters', 'river.time_series.SNARIMAX']
    """
    return [name for module in WATCHING for name in _classes_in(module) if refusal_of(_class_of(name, WATCHING), name) is None]


def refusal_of(cls: type, name: str) -> str | None:
    """Why a public class of the watching modules cannot watch a metric; None: it can."""
    from river import base, time_series  # noqa: PLC0415 - takes a second, and most configs name no model

    kinds = (
        base.AnomalyDetector, base.SupervisedAnomalyDetector, base.AnomalyFilter,
        base.DriftDetector, base.BinaryDriftDetector, time_series.base.Forecaster,
    )  # fmt: skip
    if name in BLIND:
        return "it does not look at its values"
    if not issubclass(cls, kinds):
        parent = next((each.__name__ for each in cls.__mro__[1:] if each.__module__.startswith("river.")), "nothing of river's")
        return f"it is a {parent}"
    return None


def span_of(model: Any) -> int:
    """Longest span of values that a model was told of, its windows, seasons and grace periods: the largest whole number among its parameters.

    Examples
    --------
    >>> span_of(Recipe("river.anomaly.GaussianScorer", {"window_size": 400}).make())
    400
    """
    return _largest(model._get_params())  # noqa: SLF001 - river's own way to read parameters; it has no public one


def _largest(parameters: object) -> int:
    if isinstance(parameters, bool):
        return 0
    if isinstance(parameters, int):
        return parameters
    if isinstance(parameters, dict):
        return max((_largest(value) for name, value in parameters.items() if name != _SEEDED), default=0)
    if isinstance(parameters, tuple):
        return max(map(_largest, parameters), default=0)
    own = getattr(parameters, "_get_params", None)
    return 0 if own is None or inspect.isclass(parameters) else _largest(own())


def _made(name: str, arguments: Any, modules: Iterable[str]) -> Any:
    cls = _class_of(name, modules)
    positional, named = ([], arguments) if isinstance(arguments, dict) else (arguments, {})
    positional = [_argument(value) for value in positional]
    named = {key: _argument(value) for key, value in named.items()}
    signature = inspect.signature(cls)
    known = {key: each for key, each in signature.parameters.items() if each.kind is not each.VAR_POSITIONAL}
    if _SEEDED in known and named.get(_SEEDED) is None and not positional:
        named[_SEEDED] = 0
    _check_arguments(name, positional, named, signature, known)
    try:
        return cls(*positional, **named)
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        raise ModelError(name, f"its arguments will not do ({error})", ", ".join(known)) from error


def _check_arguments(name: str, positional: list[Any], named: dict[str, Any], signature: inspect.Signature, known: dict[str, inspect.Parameter]) -> None:
    open_ended = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for key in named:
        if key not in known and not open_ended:
            raise ModelError(name, f"unknown argument '{key}'", ", ".join(known) or "no argument", near_match(key, known))
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ModelError(name, str(error), ", ".join(known) or "no argument") from error


def _argument(value: Any) -> Any:
    if isinstance(value, list):
        return [_argument(each) for each in value]
    if not isinstance(value, dict):
        return value
    name = value.get("name")
    if isinstance(name, str) and value.keys() <= {"name", "arguments"}:
        return _made(name, value.get("arguments") or {}, ARGUMENTS)
    return {key: _argument(each) for key, each in value.items()}


def _plain(value: Any) -> Any:
    """Mappings as dicts and sequences as lists, so that a snapshot can hold them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _class_of(name: str, modules: Iterable[str]) -> type:
    allowed = tuple(modules)
    module, _, word = name.rpartition(".")
    below = allowed is not WATCHING and any(module.startswith(f"{each}.") for each in allowed)
    found = getattr(_module(module), word, None) if (module in allowed or below) and not word.startswith("_") else None
    if not inspect.isclass(found) or not found.__module__.startswith("river."):
        known = [each for module in allowed for each in _classes_in(module)]
        what = "model" if allowed == WATCHING else "part of a model"
        raise ModelError(name, f"no such {what}", f"a class of {', '.join(allowed)}", near_match(name, known))
    return found


def _module(name: str) -> Any:
    if any(part.startswith("_") for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _classes_in(module: str) -> list[str]:
    found = vars(importlib.import_module(module))
    return sorted(f"{module}.{word}" for word, each in found.items() if inspect.isclass(each) and not word.startswith("_"))
