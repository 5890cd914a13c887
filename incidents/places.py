"""Where it hurts: for each metric and region, how much likelier its counts are if it is hurt than if it is well."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollguard.incidents.books import Books, Sums

__all__ = ["Effect", "Symptom", "effect_of", "hurt_evidence"]

#: One region's evidence is worth no more than so many nats: normal tails are not to be trusted further.
CAP_NATS = 8.0
#: What it costs a region to have an effect size of its own.
SIZE_NATS = 0.5


@dataclass(frozen=True, slots=True)
class Symptom:
    """A metric that hurts.

    Attributes
    ----------
    metric : str
    service : str or None
        Service its signals single out; None: all together.
    direction : float
        -1 when lower hurts, 1 otherwise.
    smallest : float
        Smallest relative change worth a page.
    """

    metric: str
    service: str | None
    direction: float
    smallest: float


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a series is from its baseline.

    Attributes
    ----------
    observed, expected : float
        Events over the span.
    relative : float
        (observed - expected) / expected, turned so that positive hurts.
    error : float
        Standard error of `relative`.
    """

    observed: float
    expected: float
    relative: float
    error: float


def effect_of(sums: Sums, row: int | None, direction: float) -> Effect | None:
    """Effect of one series over a span; None where nothing was expected.

    Parameters
    ----------
    sums : Sums
    row : int or None
        None: there is no such series.
    direction : float
        -1 or 1, see `Symptom`.
    """
    if row is None or row >= len(sums.expected):
        return None
    expected = float(sums.expected[row])
    if expected <= 0.0:
        return None
    observed = float(sums.observed[row])
    error = math.sqrt(float(sums.variance[row]) + float(sums.slack[row]) ** 2 + 1.0) / expected
    return Effect(observed, expected, direction * (observed - expected) / expected, error)


def region_row(books: Books, symptom: Symptom, region: str) -> int | None:
    """Row of a symptom's series in one region; the pooled one where the metric has no regions."""
    if region == "":
        if symptom.service is not None:
            return books.row(symptom.metric, service=symptom.service)
        return books.row(symptom.metric)
    if symptom.service is not None:
        row = books.row(symptom.metric, region=region, service=symptom.service)
        if row is not None:
            return row
    return books.row(symptom.metric, region=region)


def hurt_evidence(effect: Effect | None, least: float) -> float:
    """Nats for "hurt" against "well", of one series in one region.

    Parameters
    ----------
    effect : Effect or None
        None: nothing is known, 0 nats.
    least : float
        Relative effect from which on it counts as hurt.

    Returns
    -------
    float
        Positive when hurt is likelier; at most `CAP_NATS` either way.

    Examples
    --------
    >>> round(hurt_evidence(Effect(55.0, 100.0, 0.45, 0.1), 0.2), 1)
    8.0
    >>> round(hurt_evidence(Effect(101.0, 100.0, -0.01, 0.1), 0.2), 1)
    -2.7
    """
    if effect is None:
        return 0.0
    size = max(effect.relative, least)
    well = effect.relative**2
    hurt = (effect.relative - size) ** 2
    nats = (well - hurt) / (2.0 * effect.error**2) - SIZE_NATS
    return max(-CAP_NATS, min(CAP_NATS, nats))
