"""A plan and some chance in, the events of a shop out, with what became of every customer.

Each piece of chance has a stream of its own, named after it. So two plans of one case that differ in what goes wrong have the same customers,
and what was lost can be counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.replay.simulation.lines import Texts
from rollguard.replay.simulation.plan import Harm, Plan, Surge
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, OFFSET_H, REGIONS, SERVICES, SHARE, Change, Events, Floats, Ints, Rng, demand, wander

__all__ = ["ABSURD", "ERRORS_USUAL", "ERROR_RATE", "PROMISED", "Dice", "Made", "make_events", "usual_rates"]

Bools = npt.NDArray[np.bool_]

#: Errors to a customer, normally, and how they spread over services.
ERROR_RATE = 0.3
ERRORS_USUAL = np.array([0.18, 0.08, 0.12, 0.18, 0.24, 0.12, 0.08])
#: Promised minutes, normally: the median, and the spread of their logarithm.
PROMISED = (2880.0, 0.45)
#: What absurd promises say.
ABSURD = np.array([0, 1, 20_160, 43_200])
#: Demand on each day of the week, from Monday, and how much single days differ.
WEEK = np.array([0.97, 0.96, 0.98, 1.0, 1.05, 1.08, 0.96])
DAY_SPREAD = 0.04
#: Epoch day 0 was a Thursday.
THURSDAY = 3


@dataclass(frozen=True, slots=True)
class Dice:
    """The chance of a case: a stream for each name, whoever asks first."""

    kind: str
    seed: int

    def __call__(self, name: str) -> Rng:
        """The stream of that name, from its beginning."""
        return np.random.default_rng([zlib.crc32(self.kind.encode()), self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True, slots=True)
class Made:
    """What happened in a case, before any of it is lost on its way.

    Attributes
    ----------
    orders, errors : Events
    promised_minutes, cents : (n_orders,) int64
    codes : (n_errors,) int64
    order_versions, delivery_versions, error_versions : Texts
    lost : tuple of int
        Orders that each harm cost.
    first_ms : tuple of (int or None)
        When each harm hurt its first customer; None: it hurt nobody.
    """

    orders: Events
    errors: Events
    promised_minutes: Ints
    cents: Ints
    codes: Ints
    order_versions: Texts
    delivery_versions: Texts
    error_versions: Texts
    lost: tuple[int, ...]
    first_ms: tuple[int | None, ...]


def usual_rates(dice: Dice, surges: Sequence[Surge], start_ms: int, end_ms: int, per_second: float) -> Floats:
    """Customers to be expected: days of the week and hours in local time, the level of the day, noise with a memory, and what brings more of them.

    Parameters
    ----------
    per_second : float
        On an average day.

    Returns
    -------
    (n_regions, n_minutes) float64
        In each minute from `start_ms` on.
    """
    middle = np.arange(start_ms, end_ms, MINUTE_MS, dtype=np.int64) + MINUTE_MS // 2
    shared = wander(dice("wander"), len(middle))
    rates = np.empty((len(REGIONS), len(middle)))
    for region in range(len(REGIONS)):
        rng = dice(f"demand {region}")
        local_ms = middle + round(OFFSET_H[region] * HOUR_MS)
        # From the day before to the day after: a level is that of noon, and one day's goes over into the next one's.
        days = np.arange(local_ms[0] // DAY_MS - 1, local_ms[-1] // DAY_MS + 2)
        levels = WEEK[(days + THURSDAY) % 7] * np.exp(rng.normal(0.0, DAY_SPREAD, len(days)))
        level = np.interp(local_ms, days * DAY_MS + DAY_MS // 2, levels)
        own = wander(rng, len(middle), spread=0.02, memory_min=90.0)
        rates[region] = per_second * 60.0 * SHARE[region] * demand(middle, region) * level * own * shared
        for surge in surges:
            if region in surge.regions:
                rates[region] *= surge.at(middle)
    return rates


def make_events(dice: Dice, plan: Plan, start_ms: int, end_ms: int, per_second: float) -> Made:
    """Let a plan happen.

    Parameters
    ----------
    dice : Dice
    plan : Plan
    start_ms, end_ms : int
        Whole minutes.
    per_second : float
        Customers, on an average day.
    """
    visitors = _visitors(dice, usual_rates(dice, plan.surges, start_ms, end_ms, per_second), start_ms)
    n = len(visitors)
    # By which luck a customer meets a new version; of services whose versions nobody sees and which hurt nobody it is not asked for.
    asked = {"checkout", "delivery-promise"} | {harm.change.service for harm in plan.harms if harm.change is not None}
    luck = {service: dice(f"luck {service}").random(n) for service in asked}
    chance = {name: dice(name).random(n) for name in ("leaves", "is misled")}
    promised = np.round(dice("promises").lognormal(np.log(PROMISED[0]), PROMISED[1], n)).astype(np.int64)
    absurd = dice("absurd promises").choice(ABSURD, n)
    leaves, lost, hurt_ms = np.zeros(n, dtype=bool), [], []
    extra: list[tuple[Events, Floats]] = []
    for number, harm in enumerate(plan.harms):
        rows, met = _met(visitors, harm, luck)
        gone = rows[met & (chance["leaves"][rows] < _by_region(visitors, rows, harm.leaving)) & ~leaves[rows]]
        leaves[gone] = True
        lost.append(len(gone))
        misled = rows[met & (chance["is misled"][rows] < _by_region(visitors, rows, harm.misled))]
        promised[misled] = absurd[misled] if harm.slip is None else np.round(promised[misled] * harm.slip).astype(np.int64)
        more, their_luck = _extra_errors(dice(f"extra errors {number}"), visitors, rows[met], harm, luck)
        extra.append((more, their_luck))
        told = misled[~leaves[misled]]
        first = [int(ts.min()) for ts in (visitors.ts_ms[gone], visitors.ts_ms[told], more.ts_ms) if len(ts)]
        hurt_ms.append(min(first, default=None))
    stays = np.flatnonzero(~leaves)
    orders = _some(visitors, stays)
    errors, errors_luck = _errors(dice, visitors, extra, start_ms, end_ms)
    versions = _Versions(plan.changes)
    error_versions = np.empty(len(errors), dtype=np.int64)
    for place, service in enumerate(SERVICES):
        mine = np.flatnonzero(errors.service == place)
        error_versions[mine] = versions.of(service, _some(errors, mine), errors_luck[mine])
    return Made(
        orders=orders,
        errors=errors,
        promised_minutes=promised[stays],
        cents=np.round(dice("amounts").lognormal(3.2, 0.6, n) * 100.0).astype(np.int64)[stays],
        codes=dice("codes").choice(np.array([500, 502, 503, 504]), len(errors)),
        order_versions=versions.texts(versions.of("checkout", orders, luck["checkout"][stays])),
        delivery_versions=versions.texts(versions.of("delivery-promise", orders, luck["delivery-promise"][stays])),
        error_versions=versions.texts(error_versions),
        lost=tuple(lost),
        first_ms=tuple(hurt_ms),
    )


def _visitors(dice: Dice, rates: Floats, start_ms: int) -> Events:
    ts, region = [], []
    minutes = start_ms + np.arange(rates.shape[1], dtype=np.int64) * MINUTE_MS
    for place in range(len(REGIONS)):
        rng = dice(f"visitors {place}")
        counts = rng.poisson(rates[place])
        ts.append(np.repeat(minutes, counts) + rng.integers(0, MINUTE_MS, counts.sum()))
        region.append(np.full(counts.sum(), place, dtype=np.int64))
    all_ts = np.concatenate(ts)
    order = np.argsort(all_ts, kind="stable")
    return Events(all_ts[order], np.concatenate(region)[order], np.zeros(len(order), dtype=np.int64))


def _some(events: Events, rows: Ints) -> Events:
    return Events(events.ts_ms[rows], events.region[rows], events.service[rows])


def _met(visitors: Events, harm: Harm, luck: dict[str, Floats]) -> tuple[Ints, Bools]:
    """Customers of its span, and which of them met a harm."""
    low, high = np.searchsorted(visitors.ts_ms, [harm.onset_ms, harm.end_ms])
    rows = np.arange(low, high)
    mine = luck[harm.change.service][rows] if harm.change is not None else np.zeros(len(rows))
    return rows, mine < _by_region(visitors, rows, harm.met)


def _by_region(visitors: Events, rows: Ints, share: Callable[[int, Ints], Floats]) -> Floats:
    out = np.zeros(len(rows))
    regions, ts_ms = visitors.region[rows], visitors.ts_ms[rows]
    for region in range(len(REGIONS)):
        here = regions == region
        out[here] = share(region, ts_ms[here])
    return out


def _extra_errors(rng: Rng, visitors: Events, rows: Ints, harm: Harm, luck: dict[str, Floats]) -> tuple[Events, Floats]:
    """Errors that a harm adds, a few seconds after the customer came, and the luck by which each met its version."""
    share = _by_region(visitors, rows, harm.failing)
    found, lucks = [], []
    for service, each in sorted(harm.errors.items()):
        whose = np.repeat(rows, rng.poisson(each * share))
        ts = visitors.ts_ms[whose] + rng.integers(0, 5_000, len(whose))
        found.append(Events(ts, visitors.region[whose], np.full(len(whose), service, dtype=np.int64)))
        same = harm.change is not None and harm.change.service == SERVICES[service]
        lucks.append(luck[SERVICES[service]][whose] if same else rng.random(len(whose)))
    return _joined(found), np.concatenate([np.empty(0), *lucks])


def _joined(events: list[Events]) -> Events:
    none = np.empty(0, dtype=np.int64)
    return Events(*(np.concatenate([none, *(getattr(each, name) for each in events)]) for name in ("ts_ms", "region", "service")))


def _errors(dice: Dice, visitors: Events, extra: list[tuple[Events, Floats]], start_ms: int, end_ms: int) -> tuple[Events, Floats]:
    """All errors in order of time: the usual share of the traffic, and what harms add."""
    rng = dice("errors")
    rows = np.flatnonzero(rng.random(len(visitors)) < ERROR_RATE)
    usual = Events(
        visitors.ts_ms[rows] + rng.integers(-5_000, 5_000, len(rows)),
        visitors.region[rows],
        rng.choice(len(SERVICES), len(rows), p=ERRORS_USUAL / ERRORS_USUAL.sum()),
    )
    both = _joined([usual, *(events for events, _ in extra)])
    luck = np.concatenate([rng.random(len(rows)), *(each for _, each in extra)])
    ts = both.ts_ms.clip(start_ms, end_ms - 1)
    order = np.argsort(ts, kind="stable")
    return Events(ts[order], both.region[order], both.service[order]), luck[order]


class _Versions:
    """Which version of a service an event meets: mixed while a change rolls through its place, the last one to begin there after that."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.names = tuple(dict.fromkeys(["4.1.0", *(version for change in changes for version in (change.from_version, change.version))]))
        self.places = {name: place for place, name in enumerate(self.names)}

    def texts(self, codes: Ints) -> Texts:
        return Texts(self.names, codes)

    def of(self, service: str, events: Events, luck: Floats) -> Ints:
        mine = [change for change in self.changes if change.service == service]
        first = min(mine, key=lambda change: change.reach[0][1]).from_version if mine else self.names[0]
        out = np.full(len(events), self.places[first], dtype=np.int64)
        for region, name in enumerate(REGIONS):
            rows = np.flatnonzero(events.region == region)
            ts, chances, codes = events.ts_ms[rows], luck[rows], out[rows]
            waves = [(began, done, change) for change in mine if change.version != change.from_version for where, began, done in change.reach if where == name]
            for began, done, change in sorted(waves, key=lambda wave: wave[:2]):
                low, high = np.searchsorted(ts, [began, done])
                mixed = codes[low:high]
                mixed[chances[low:high] < (ts[low:high] - began) / max(done - began, 1)] = self.places[change.version]
                codes[high:] = self.places[change.version]
            out[rows] = codes
        return out
