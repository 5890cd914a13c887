"""What really happened, for scorers alone: labels, and what somebody would have needed to see it who knew everything but the day."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rollguard.config import rfc3339
from rollguard.replay.simulation.plan import SOURCES, Fault, Harm, Plan
from rollguard.replay.simulation.shop import MINUTE_MS, REGIONS, SERVICES, Floats, Ints
from rollguard.replay.simulation.world import ABSURD, ERROR_RATE, ERRORS_USUAL, PROMISED, Made

__all__ = ["BUCKET_MS", "ENOUGH_NATS", "gap_oracle_s", "labels", "oracle_s"]

BUCKET_MS = 10_000
#: Log evidence at which an oracle is sure: one false alarm in 30 days of buckets.
ENOUGH_NATS = math.log(30 * 86_400_000 / BUCKET_MS)
#: What nobody was ever promised before is at least so probable.
LEAST = 1e-12


def labels(plan: Plan, made: Made, rates: Floats, *, kind: str, seed: int, start_ms: int) -> dict[str, Any]:
    """Labels of a case, in the form of the case format.

    Parameters
    ----------
    plan : Plan
    made : Made
    rates : (n_regions, n_minutes) float64
        Customers to be expected without any harm.
    kind, seed : str, int
    start_ms : int
        Of the first minute of `rates`.
    """
    incidents = [
        _incident(plan, made, number, first_ms, oracle_s(harm, rates, start_ms, first_ms))
        for number, (harm, first_ms) in enumerate(zip(plan.harms, made.first_ms, strict=True))
        if first_ms is not None
    ]
    incidents += [_gap(fault, number, rates, start_ms) for number, fault in enumerate(plan.faults) if fault.how in ("lost", "late")]
    for number, incident in enumerate(sorted(incidents, key=lambda each: str(each["onset"]))):
        incident["id"] = f"i{number + 1}"
    found = {"kind": kind, "seed": seed, "incidents": sorted(incidents, key=lambda each: str(each["id"])), "lost_orders": sum(made.lost)}
    return found | ({"note": plan.note} if plan.note else {})


def _incident(plan: Plan, made: Made, number: int, first_ms: int, needed_s: int | None) -> dict[str, Any]:
    harm, culprit = plan.harms[number], plan.culprits[number]
    known = culprit is not None and culprit.deploy_id not in plan.unrecorded
    services = [SERVICES[service] for service in sorted(harm.errors)]
    services += [service for service, size in (("checkout", harm.loss), ("delivery-promise", harm.wrong)) if size > 0.0 and service not in services]
    found: dict[str, Any] = {
        "id": "",
        "onset": rfc3339(first_ms),
        "end": rfc3339(harm.end_ms),
        "culprit": culprit.deploy_id if culprit is not None and known else None,
        "metrics": list(harm.metrics),
        "regions": [REGIONS[region] for region in sorted(harm.since_ms)],
        "services": services,
        "page": True,
        "rollback": culprit is not None and known and culprit.reversible,
        "lost_orders": made.lost[number],
        "oracle_s": needed_s,
    }
    if culprit is not None and culprit.deploy_id in plan.carriers:
        found["carriers"] = [plan.carriers[culprit.deploy_id]]
    if plan.accused is not None:
        found["accused"] = plan.accused.deploy_id
    return found


def _gap(fault: Fault, number: int, rates: Floats, start_ms: int) -> dict[str, Any]:
    # What comes late has not come until then, and nobody can know that it will: to say so is right, though nobody has to be woken.
    metrics = {"orders": "orders", "deliveries": "promised_minutes", "errors": "errors"}
    return {
        "id": f"gap{number}",
        "onset": rfc3339(fault.since_ms),
        "end": rfc3339(fault.until_ms),
        "culprit": None,
        "metrics": [metrics[source] for source in fault.sources],
        "regions": [REGIONS[region] for region in fault.regions],
        "services": [],
        "page": fault.how == "lost",
        "rollback": False,
        "data": True,
        "lost_orders": 0,
        "oracle_s": gap_oracle_s(fault, rates, start_ms),
    }


def _buckets(since_ms: int, until_ms: int) -> Ints:
    """Middles of the buckets of a span, counted from its beginning."""
    return np.arange(since_ms, until_ms, BUCKET_MS, dtype=np.int64) + BUCKET_MS // 2


def _usual(rates: Floats, region: int, start_ms: int, middles: Ints) -> Floats:
    """Customers to be expected in buckets."""
    minute = ((middles - start_ms) // MINUTE_MS).clip(0, rates.shape[1] - 1)
    usual: Floats = rates[region, minute] * (BUCKET_MS / MINUTE_MS)
    return usual


def _sure_s(nats: Floats) -> int | None:
    """Seconds until evidence that is gathered by buckets is enough; None: it never is."""
    total = np.add.accumulate(nats)
    if not len(total) or total[-1] < ENOUGH_NATS:
        return None
    return (int(np.argmax(total >= ENOUGH_NATS)) + 1) * BUCKET_MS // 1000


def oracle_s(harm: Harm, rates: Floats, start_ms: int, onset_ms: int) -> int | None:
    """Time that somebody needs to be sure of a harm who knows its onset, and the rates with it and without it.

    The expected log likelihood ratio of what is counted in buckets, summed over places, services and metrics, has to pass `ENOUGH_NATS`.

    Parameters
    ----------
    harm : Harm
    rates : (n_regions, n_minutes) float64
        Customers to be expected without it.
    start_ms : int
        Of their first minute.
    onset_ms : int
        When the first customer was hurt.

    Returns
    -------
    int or None
        Seconds from the onset, whole buckets; None: never while it lasts.
    """
    middles = _buckets(onset_ms, harm.end_ms)
    nats = np.zeros(len(middles))
    for region in harm.since_ms:
        usual = _usual(rates, region, start_ms, middles)
        met = harm.met(region, middles)
        orders = usual * (1.0 - met * harm.leaving(region, middles))
        nats += _poisson_nats(orders, usual) + orders * _promise_nats(met * harm.misled(region, middles), harm.slip)
        for service, each in harm.errors.items():
            errors = usual * ERROR_RATE * ERRORS_USUAL[service] / ERRORS_USUAL.sum()
            nats += _poisson_nats(errors + usual * met * each * harm.failing(region, middles), errors)
    return _sure_s(nats)


def gap_oracle_s(fault: Fault, rates: Floats, start_ms: int) -> int | None:
    """The same of data that do not come any more."""
    middles = _buckets(fault.since_ms, fault.until_ms)
    each = {"orders": 1.0, "deliveries": 1.0, "errors": ERROR_RATE}
    size = sum(each[source] for source in SOURCES if source in fault.sources)
    nats = np.zeros(len(middles))
    for region in fault.regions:
        nats += size * _usual(rates, region, start_ms, middles)
    return _sure_s(nats)


def _poisson_nats(changed: Floats, usual: Floats) -> Floats:
    """Kullback-Leibler divergence of Poisson counts."""
    share = changed / np.maximum(usual, 1e-300)
    nats: Floats = changed * np.log(np.maximum(share, 1e-300)) - changed + usual
    return nats


def _promise_nats(wrong: Floats, slip: float | None) -> Floats:
    """Divergence of one promise, of which a share is wrong, from a usual one."""
    edges = np.linspace(0.0, 12.0, 481)
    usual = np.maximum(np.diff([_below((edge - math.log(PROMISED[0])) / PROMISED[1]) for edge in edges]), LEAST)
    if slip is None:
        changed = np.histogram(np.log(np.maximum(ABSURD, 1.0)), bins=edges)[0] / len(ABSURD)
    else:
        changed = np.diff([_below((edge - math.log(PROMISED[0] * slip)) / PROMISED[1]) for edge in edges])
    grid = np.linspace(0.0, 1.0, 65)
    mixed = np.maximum((1.0 - grid[:, None]) * usual + grid[:, None] * changed, LEAST)
    nats: Floats = np.interp(wrong, grid, (mixed * np.log(mixed / usual)).sum(axis=1))
    return nats


def _below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
