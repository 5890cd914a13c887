"""The March story: wrong promises behind HTTP 200 everywhere at once, orders fall, errors follow."""

from __future__ import annotations

import numpy as np

from rollguard.replay.simulation.shop import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    REGIONS,
    SERVICES,
    SHARE,
    Change,
    Events,
    Ints,
    Rng,
    arrivals,
    background_changes,
    demand,
    versions_of,
)
from rollguard.replay.simulation.story import Story

__all__ = ["march_story"]

#: Onset: 2 March 2026, 10:00 UTC.
MARCH_MS = 1_772_445_600_000
LOST_ORDERS, EXTRA_ERRORS = 120_000, 1_600_000
CULPRIT = "chg-302"
#: Share of customers with a wrong promise who leave, about, once word has got round.
LOSS_IF_WRONG = 0.67
#: Errors to an order, normally.
ERROR_RATE = 0.3
#: How errors spread over services, normally and in the story.
ERRORS_USUAL = np.array([0.18, 0.08, 0.12, 0.18, 0.24, 0.12, 0.08])
ERRORS_MARCH = np.array([0.45, 0.30, 0.20, 0.02, 0.01, 0.01, 0.01])


def march_story(*, seed: int, scale: float, days_before: float = 2.5, hours_of_incident: float = 4.0) -> Story:
    """The story of 2 March: wrong promises behind HTTP 200 everywhere at once, orders fall, errors follow.

    Parameters
    ----------
    seed : int
    scale : float
        Share of 120,000 lost orders and 1.6 million extra errors.
    days_before : float
        Days of ordinary business before it.
    hours_of_incident : float
        How long it takes until somebody undoes the change.

    Returns
    -------
    Story

    Notes
    -----
    Each order met by the new version is promised a wrong time with a chance of nine in ten: at once, or in weeks. Customers
    who see it leave, six of ten, within minutes. Errors begin after 25 minutes, as carts and payments time out.
    """
    rng = np.random.default_rng(seed)
    onset_ms = MARCH_MS
    start_ms = onset_ms - round(days_before * DAY_MS)
    undone_ms = onset_ms + round(hours_of_incident * HOUR_MS)
    end_ms = undone_ms + HOUR_MS
    changes = background_changes(rng, start_ms, end_ms)
    began_ms = onset_ms - 10_000
    changes = [c for c in changes if c.service != "delivery-promise" or c.reach[-1][2] < onset_ms - 2 * HOUR_MS]
    culprit = Change(
        deploy_id=CULPRIT,
        service="delivery-promise",
        kind="code",
        from_version=_last_version(changes),
        version="5.0.0",
        reach=tuple((region, began_ms, began_ms + 90_000) for region in REGIONS),
        authors=("dev7",),
        approvals=1,
        ai_assisted="unknown",
        reversible=True,
    )
    changes.append(culprit)

    visitors = arrivals(rng, start_ms, end_ms, _rate(scale, onset_ms, hours_of_incident))
    met = versions_of(rng, visitors, SERVICES.index("delivery-promise"), changes)
    harmed = (met == culprit.version) & (visitors.ts_ms < undone_ms) & (visitors.ts_ms >= onset_ms)
    wrong = harmed & (rng.random(len(visitors)) < 0.9)
    # Word gets round within minutes; the share that leaves makes the bill what the scale asks for, whatever the day's level.
    leaves = wrong * -np.expm1(-((visitors.ts_ms - onset_ms) / (1.5 * MINUTE_MS)).clip(min=0.0))
    share = min(LOST_ORDERS * scale / float(np.add.accumulate(leaves)[-1]), 0.95)
    lost = rng.random(len(visitors)) < share * leaves
    stays = ~lost
    orders = Events(visitors.ts_ms[stays], visitors.region[stays], visitors.service[stays])
    promised = np.where(wrong, _wrong_promises(rng, len(visitors)), _promises(rng, len(visitors)))[stays]
    errors, extra = _errors(rng, visitors, scale, onset_ms, undone_ms)
    versions = {
        "orders": versions_of(rng, orders, SERVICES.index("checkout"), changes).tolist(),
        "deliveries": met[stays].tolist(),
        "errors": _error_versions(rng, errors, changes),
    }
    return Story(
        name="march",
        start_ms=start_ms,
        end_ms=end_ms,
        onset_ms=int(visitors.ts_ms[wrong].min()),
        undone_ms=undone_ms,
        culprit=CULPRIT,
        metrics=("promised_minutes", "orders", "errors"),
        services=("delivery-promise", "checkout", "cart"),
        changes=tuple(changes),
        orders=orders,
        errors=errors,
        promised_minutes=promised,
        wrong=wrong[stays],
        lost_ms=visitors.ts_ms[lost],
        extra_errors=extra,
        versions=versions,
        amounts=np.round(rng.lognormal(3.2, 0.6, len(orders)), 2),
        codes=rng.choice(np.array([500, 502, 503, 504]), len(errors)),
        arrival_seed=seed,
    )


def _rate(scale: float, onset_ms: int, hours: float) -> float:
    """Orders a second on an average day, so that the incident loses its share of 120,000."""
    minutes = onset_ms + np.arange(round(hours * 60), dtype=np.int64) * MINUTE_MS
    busy = sum(float(SHARE[place] * demand(minutes, place).mean()) for place in range(len(REGIONS)))
    return LOST_ORDERS * scale / (hours * 3600.0 * busy * 0.9 * LOSS_IF_WRONG * 0.99)


def _last_version(changes: list[Change]) -> str:
    mine = [c for c in changes if c.service == "delivery-promise"]
    return max(mine, key=lambda c: c.reach[0][1]).version if mine else "4.1.0"


def _promises(rng: Rng, n: int) -> Ints:
    """Minutes until delivery that an order is normally promised."""
    return np.round(rng.lognormal(np.log(2880.0), 0.45, n)).astype(np.int64)


def _wrong_promises(rng: Rng, n: int) -> Ints:
    """Promises of the bad version: within the minute, or in weeks."""
    return rng.choice(np.array([0, 1, 20_160, 43_200]), n)


def _errors(rng: Rng, visitors: Events, scale: float, onset_ms: int, undone_ms: int) -> tuple[Events, int]:
    """Website errors: a share of the traffic, and in the story many more, growing from 25 minutes after the onset."""
    usual = rng.random(len(visitors)) < ERROR_RATE
    usual_ts = visitors.ts_ms[usual] + rng.integers(-5_000, 5_000, usual.sum())
    began_ms = onset_ms + 25 * MINUTE_MS
    extra = rng.poisson(EXTRA_ERRORS * scale)
    # The root of a uniform number grows linearly: errors pile up as the day goes on.
    extra_ts = (began_ms + np.sqrt(rng.random(extra)) * (undone_ms - began_ms)).astype(np.int64)
    ts = np.concatenate([usual_ts, extra_ts])
    region = np.concatenate([visitors.region[usual], rng.choice(len(REGIONS), extra, p=SHARE)])
    service = np.concatenate(
        [rng.choice(len(SERVICES), usual.sum(), p=ERRORS_USUAL / ERRORS_USUAL.sum()), rng.choice(len(SERVICES), extra, p=ERRORS_MARCH / ERRORS_MARCH.sum())]
    )
    order = np.argsort(ts, kind="stable")
    return Events(ts[order], region[order], service[order]), int(extra)


def _error_versions(rng: Rng, errors: Events, changes: list[Change]) -> list[str]:
    out = np.empty(len(errors), dtype=object)
    for service in range(len(SERVICES)):
        mine = errors.service == service
        part = Events(errors.ts_ms[mine], errors.region[mine], errors.service[mine])
        out[mine] = versions_of(rng, part, service, changes)
    found: list[str] = out.tolist()
    return found
