"""Figures of many cases, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from rollguard.replay.scoring.calibration import calibration_error
from rollguard.replay.scoring.intervals import Floats, bootstrap, poisson, wilson
from rollguard.replay.scoring.records import CaseOutcome, LabelOutcome

__all__ = ["MEASURES", "Measure", "Measured", "measure"]

Form = Literal["share", "signed", "seconds", "times", "count", "number"]
Outcomes = Sequence[CaseOutcome]
MONTH_MS = 30 * 86_400_000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One figure.

    Attributes
    ----------
    name : str
        Of its measure.
    value : float or None
        None: there is nothing to measure it on.
    low, high : float or None
        95 % interval; None where there is none.
    n : float
        What it was measured on: incidents, pages, months.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: float = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is measured.

    Attributes
    ----------
    name, title : str
    form : {"share", "signed", "seconds", "times", "count", "number"}
        How it is written.
    better : {"higher", "lower", "nearer to 0"}
    of : str
        What it is measured on, in plural.
    take : callable
        From outcomes to value, bounds and what it was measured on; None: there is nothing to measure.
    by_case : bool
        Whether it says something of one case by itself.
    """

    name: str
    title: str
    form: Form
    better: Literal["higher", "lower", "nearer to 0"]
    of: str
    take: Callable[[Outcomes], tuple[float, float | None, float | None, float] | None]
    by_case: bool = True


def measure(outcomes: Outcomes) -> tuple[Measured, ...]:
    """Measure everything on some cases; their order makes no difference.

    Parameters
    ----------
    outcomes : sequence of CaseOutcome

    Returns
    -------
    tuple of Measured
        In the order of `MEASURES`.
    """
    ordered = sorted(outcomes, key=lambda each: each.name)
    return tuple(_measured(each, ordered) for each in MEASURES)


def _measured(each: Measure, outcomes: Outcomes) -> Measured:
    taken = each.take(outcomes)
    if taken is None:
        return Measured(name=each.name)
    value, low, high, n = taken
    return Measured(name=each.name, value=value, low=low, high=high, n=n)


Taken = tuple[float, float | None, float | None, float] | None


def _labels(outcomes: Outcomes) -> list[LabelOutcome]:
    return [label for outcome in outcomes for label in outcome.labels]


def _told(outcomes: Outcomes) -> list[LabelOutcome]:
    """Labelled incidents that somebody was told of."""
    return [label for label in _labels(outcomes) if label.paged_s is not None]


def _due(outcomes: Outcomes) -> list[LabelOutcome]:
    return [label for label in _labels(outcomes) if label.rollback_due and label.can_be_missed]


def _share(hits: int, n: int) -> Taken:
    return None if n == 0 else (hits / n, *wilson(hits, n), n)


def _share_of(labels: Sequence[LabelOutcome], is_hit: Callable[[LabelOutcome], bool]) -> Taken:
    return _share(sum(map(is_hit, labels)), len(labels))


def _drawn(n: int, statistic: Callable[[NDArray[np.int64]], Floats], estimate: float) -> tuple[float | None, float | None]:
    # Of one alone nobody knows how far it can be trusted; drawn again it would look certain.
    return bootstrap(n, statistic, estimate) if n > 1 else (None, None)


def _quantile(values: Sequence[float], at: float) -> Taken:
    if not values:
        return None
    found = np.sort(np.array(values, float))
    estimate = float(np.quantile(found, at))
    return (estimate, *_drawn(len(found), lambda drawn: np.asarray(np.quantile(found[drawn], at, axis=1)), estimate), len(found))


def _ratio(parts: Sequence[tuple[float, float]]) -> Taken:
    """Sum of the first by sum of the second."""
    columns = np.array(sorted(parts), float).reshape(-1, 2)
    if not columns[:, 1].sum():
        return None
    estimate = float(columns[:, 0].sum() / columns[:, 1].sum())

    def drawn_ratio(drawn: NDArray[np.int64]) -> Floats:
        totals: Floats = columns[drawn].sum(axis=1)
        return np.asarray(np.divide(totals[:, 0], totals[:, 1], out=np.full(len(totals), np.nan), where=totals[:, 1] > 0))

    return (estimate, *_drawn(len(columns), drawn_ratio, estimate), len(columns))


def _mean(values: Sequence[float]) -> Taken:
    return _ratio([(value, 1.0) for value in values])


def _recall(outcomes: Outcomes) -> Taken:
    return _share_of([label for label in _labels(outcomes) if label.can_be_missed], lambda label: label.paged_s is not None)


def _precision(outcomes: Outcomes) -> Taken:
    right, false = sum(each.right_pages for each in outcomes), sum(len(each.false_pages) for each in outcomes)
    return _share(right, right + false)


def _false_pages_month(outcomes: Outcomes) -> Taken:
    months = sum(each.watched_ms for each in outcomes) / MONTH_MS
    false = sum(len(each.false_pages) for each in outcomes)
    if months <= 0:
        return None
    low, high = poisson(false)
    return false / months, low / months, high / months, round(months, 2)


def _repeats(outcomes: Outcomes) -> Taken:
    told = _told(outcomes)
    repeats = sum(label.repeats for label in told)
    if not told:
        return None
    low, high = (10.0 * bound / len(told) for bound in poisson(repeats))
    return 10.0 * repeats / len(told), low, high, len(told)


def _delays(outcomes: Outcomes) -> list[float]:
    return [label.paged_s for label in _labels(outcomes) if label.paged_s is not None]


def _delays_by_oracle(outcomes: Outcomes) -> list[float]:
    return [label.paged_s / label.oracle_s for label in _labels(outcomes) if label.paged_s is not None and label.oracle_s and isfinite(label.oracle_s)]


def _with_culprit(outcomes: Outcomes) -> list[LabelOutcome]:
    return [label for label in _told(outcomes) if label.culprit is not None]


def _top(outcomes: Outcomes, most: int) -> Taken:
    return _share_of(_with_culprit(outcomes), lambda label: label.rank is not None and label.rank <= most)


def _convicted(outcomes: Outcomes) -> Taken:
    return _share_of(_with_culprit(outcomes), lambda label: label.blamed is not None and label.rank == 1)


def _wrong_blame(outcomes: Outcomes) -> Taken:
    return _share_of(_with_culprit(outcomes), lambda label: label.wrongly_blamed)


def _false_blame(outcomes: Outcomes) -> Taken:
    return _share(sum(len(each.falsely_blamed) for each in outcomes), sum(each.innocent for each in outcomes))


def _wrong_rollbacks(outcomes: Outcomes) -> Taken:
    wrong, n = sum(len(each.wrong_rollbacks) for each in outcomes), sum(each.rollbacks for each in outcomes)
    if n == 0:
        return 0.0, None, None, 0
    low, high = wilson(wrong, n)
    return float(wrong), low * n, high * n, n


def _missed_rollbacks(outcomes: Outcomes) -> Taken:
    return _share_of(_due(outcomes), lambda label: not label.rolled_back)


def _saved(outcomes: Outcomes) -> Taken:
    due = _due(outcomes)
    return (sum(_kept_from(label) for label in due), None, None, len(due)) if due else None


def _kept_from(label: LabelOutcome) -> float:
    """Orders saved, by the money clock; what it counts beyond what was lost is saved by nobody."""
    return label.saved if label.lost is None else min(label.saved, label.lost)


def _saved_share(outcomes: Outcomes) -> Taken:
    return _ratio([(_kept_from(label), label.lost) for label in _due(outcomes) if label.lost])


def _bill_errors(outcomes: Outcomes) -> list[float]:
    return [(label.billed - label.lost) / label.lost for label in _told(outcomes) if label.lost and label.billed is not None]


def _brier(outcomes: Outcomes) -> Taken:
    return _mean([value for each in outcomes for value in each.briers])


def _calibration(outcomes: Outcomes) -> Taken:
    return calibration_error([[guess for said in each.guesses for guess in said] for each in outcomes]) if outcomes else None


#: All that is measured, in the order in which it is told.
MEASURES: tuple[Measure, ...] = (
    Measure("recall", "page recall", "share", "higher", "incidents", _recall),
    Measure("precision", "page precision", "share", "higher", "pages", _precision),
    Measure("false_pages_month", "false pages a month", "number", "lower", "months", _false_pages_month),
    Measure("repeats", "duplicates in ten incidents", "number", "lower", "incidents", _repeats),
    Measure("delay", "delay, median", "seconds", "lower", "incidents", lambda each: _quantile(_delays(each), 0.5)),
    Measure("delay_p95", "delay, 95 %", "seconds", "lower", "incidents", lambda each: _quantile(_delays(each), 0.95)),
    Measure("delay_oracle", "delay by oracle's, median", "times", "lower", "incidents", lambda each: _quantile(_delays_by_oracle(each), 0.5)),
    Measure("top1", "culprit is the first suspect", "share", "higher", "incidents", lambda each: _top(each, 1)),
    Measure("top3", "culprit is among the first three", "share", "higher", "incidents", lambda each: _top(each, 3)),
    Measure("convicted", "culprit is called guilty", "share", "higher", "incidents", _convicted),
    Measure("wrong_blame", "another is called guilty", "share", "lower", "incidents", _wrong_blame),
    Measure("false_blame", "false blame where none is guilty", "share", "lower", "incidents", _false_blame),
    Measure("wrong_rollbacks", "wrong rollbacks", "count", "lower", "rollbacks", _wrong_rollbacks),
    Measure("missed_rollbacks", "missed rollbacks", "share", "lower", "incidents", _missed_rollbacks),
    Measure("saved", "orders saved", "count", "higher", "incidents", _saved),
    Measure("saved_share", "orders saved, of those lost", "share", "higher", "incidents", _saved_share),
    Measure("bill", "error of the bill, median", "signed", "nearer to 0", "incidents", lambda each: _quantile(_bill_errors(each), 0.5)),
    Measure("bill_size", "error of the bill, median size", "share", "lower", "incidents", lambda each: _quantile([abs(x) for x in _bill_errors(each)], 0.5)),
    Measure("brier", "Brier score (0 to 2)", "number", "lower", "incidents", _brier),
    Measure("calibration", "calibration error", "number", "lower", "guesses", _calibration, by_case=False),
)
