"""Kinds in which a change is guilty: each draws the changes of its case and says what one of them does."""

from __future__ import annotations

from rollguard.replay.simulation.casting import Casting
from rollguard.replay.simulation.history import Wanted
from rollguard.replay.simulation.plan import Harm, Plan
from rollguard.replay.simulation.shop import HOUR_MS, MINUTE_MS, REGIONS, SERVICES, Change

__all__ = [
    "complete_stop",
    "conversion_drop",
    "decoys",
    "dependent_service",
    "dormant_trigger",
    "error_burst",
    "errors_only",
    "flag",
    "migration",
    "one_region",
    "operator_config",
    "promise_gross",
    "promise_subtle",
    "slow_decline",
    "two_culprits",
    "unrecorded_change",
    "waves",
]

PROMISES = frozenset({"delivery-promise"})
#: How long a fault sleeps before its trigger.
ASLEEP_MS = (30 * MINUTE_MS, 48 * HOUR_MS)


def _one(changes: list[Change], harm: Harm, *, note: str = "") -> Plan:
    return Plan(changes=tuple(changes), harms=(harm,), culprits=(harm.change,), note=note)


def promise_gross(cast: Casting) -> Plan:
    """Absurd promises: customers leave within minutes, errors follow."""
    changes, (culprit,) = cast.guilty(Wanted(services=PROMISES))
    later_ms = cast.minutes(10, 40)
    harm = cast.harm(
        culprit,
        wrong=cast.between(0.4, 0.95),
        loss=cast.between(0.2, 0.65),
        loss_grows_ms=cast.minutes(1, 5),
        errors=cast.errors_of("checkout", 3.0, 12.0) | cast.errors_of("cart", 3.0, 12.0),
        errors_after_ms=later_ms,
        errors_grow_ms=cast.minutes(20, 90),
    )
    return _one(changes, harm)


def promise_subtle(cast: Casting) -> Plan:
    """Promises that are off by a third, say: nothing fails, some customers leave."""
    changes, (culprit,) = cast.guilty(Wanted(services=PROMISES))
    harm = cast.harm(culprit, wrong=cast.between(0.5, 1.0), slip=cast.slip(), loss=cast.between(0.03, 0.12), loss_grows_ms=cast.minutes(5, 20))
    return _one(changes, harm)


def one_region(cast: Casting) -> Plan:
    """A change that reaches one region alone."""
    changes, (culprit,) = cast.guilty(Wanted(reach="one"))
    return _one(changes, cast.harm(culprit, **cast.sizes(culprit.service)))


def waves(cast: Casting) -> Plan:
    """Region after region begins to hurt as a change reaches it."""
    changes, (culprit,) = cast.guilty(Wanted(reach="waves"))
    return _one(changes, cast.harm(culprit, lasts_ms=cast.minutes(120, 240), **cast.sizes(culprit.service)))


def slow_decline(cast: Casting) -> Plan:
    """It gets worse for hours: a leak, a cache that goes stale."""
    changes, (culprit,) = cast.guilty(Wanted(reach="all"), room_ms=6 * HOUR_MS)
    grows_ms = cast.minutes(100, 240)
    errors = cast.errors_of(culprit.service, 2.0, 8.0) if cast.chance(0.5) else {}
    return _one(changes, cast.harm(culprit, lasts_ms=grows_ms + cast.minutes(30, 90), grows_ms=grows_ms, loss=cast.between(0.2, 0.6), errors=errors))


def error_burst(cast: Casting) -> Plan:
    """Minutes of errors after a deploy, which end by themselves."""
    changes, (culprit,) = cast.guilty(Wanted())
    harm = cast.harm(culprit, lasts_ms=cast.minutes(6, 25), errors=cast.errors_of(culprit.service, 8.0, 40.0), loss=cast.between(0.05, 0.2))
    return _one(changes, harm)


def errors_only(cast: Casting) -> Plan:
    """Customers see errors and order all the same."""
    changes, (culprit,) = cast.guilty(Wanted())
    return _one(changes, cast.harm(culprit, errors=cast.errors_of(culprit.service, 3.0, 12.0)))


def conversion_drop(cast: Casting) -> Plan:
    """A button that cannot be pressed: no error anywhere."""
    changes, (culprit,) = cast.guilty(Wanted())
    return _one(changes, cast.harm(culprit, loss=cast.between(0.15, 0.5)))


def operator_config(cast: Casting) -> Plan:
    """One operator's setting, everywhere at once."""
    changes, (culprit,) = cast.guilty(Wanted(kinds=frozenset({"config"}), reach="at once", one_author=True))
    return _one(changes, cast.harm(culprit, lasts_ms=cast.minutes(30, 120), loss=0.99, errors=cast.errors_of(culprit.service, 2.0, 10.0)))


def flag(cast: Casting) -> Plan:
    """A feature flag: no version changes."""
    changes, (culprit,) = cast.guilty(Wanted(kinds=frozenset({"flag"})))
    return _one(changes, cast.harm(culprit, **cast.sizes(culprit.service)))


def dormant_trigger(cast: Casting) -> Plan:
    """A deploy carries a fault that a flag or a setting wakes up, hours or days later."""
    for changes, (trigger,) in cast.tries(Wanted(kinds=frozenset({"flag", "config"}))):
        carriers = [change for change in changes if _may_carry(change, trigger)]
        if carriers:
            carrier = carriers[int(cast.rng.integers(len(carriers)))]
            harm = cast.harm(trigger, **cast.sizes(trigger.service))
            return Plan(changes=tuple(changes), harms=(harm,), culprits=(trigger,), carriers={trigger.deploy_id: carrier.deploy_id})
    raise AssertionError("there is always another try")


def _may_carry(change: Change, trigger: Change) -> bool:
    """Whether a deploy was there before a trigger, half an hour to two days, wherever that went."""
    asleep_ms = trigger.reach[0][1] - max(done_ms for _, _, done_ms in change.reach)
    there = {name for name, _, _ in trigger.reach} <= {name for name, _, _ in change.reach}
    return change.service == trigger.service and change.kind == "code" and there and ASLEEP_MS[0] <= asleep_ms <= ASLEEP_MS[1]


def decoys(cast: Casting) -> Plan:
    """Eight to twenty more changes within the hour."""
    changes, (culprit,) = cast.guilty(Wanted(), busy=True)
    return _one(changes, cast.harm(culprit, **cast.sizes(culprit.service)))


def two_culprits(cast: Casting) -> Plan:
    """Two changes of different services go wrong within the hour: both hurt at the same time."""
    for changes, (first, second) in cast.tries(Wanted(), Wanted()):
        if abs(first.reach[0][1] - second.reach[0][1]) <= HOUR_MS:
            harms = (
                cast.harm(first, lasts_ms=cast.minutes(130, 230), errors=cast.errors_of(first.service, 6.0, 20.0)),
                cast.harm(second, lasts_ms=cast.minutes(130, 230), loss=cast.between(0.2, 0.6)),
            )
            return Plan(changes=tuple(changes), harms=harms, culprits=(first, second))
    raise AssertionError("there is always another try")


def dependent_service(cast: Casting) -> Plan:
    """The service that was changed is well; one that depends on it fails."""
    changes, (culprit,) = cast.guilty(Wanted())
    others = [service for service in SERVICES if service != culprit.service]
    hurt = others[int(cast.rng.integers(len(others)))]
    return _one(changes, cast.harm(culprit, errors=cast.errors_of(hurt, 4.0, 20.0), loss=cast.between(0.1, 0.5)))


def migration(cast: Casting) -> Plan:
    """A migration that cannot be undone."""
    changes, (culprit,) = cast.guilty(Wanted(kinds=frozenset({"migration"})))
    return _one(changes, cast.harm(culprit, **cast.sizes(culprit.service)))


def complete_stop(cast: Casting) -> Plan:
    """No order at all comes any more."""
    changes, (culprit,) = cast.guilty(Wanted(reach="at once"))
    errors = cast.errors_of(culprit.service, 2.0, 10.0) if cast.chance(0.5) else {}
    return _one(changes, cast.harm(culprit, lasts_ms=cast.minutes(20, 90), loss=1.0, errors=errors))


def unrecorded_change(cast: Casting) -> Plan:
    """Somebody changed something, and no feed knows of it."""
    changes, (culprit,) = cast.guilty(Wanted())
    places = ", ".join(REGIONS[region] for region in sorted({REGIONS.index(name) for name, _, _ in culprit.reach}))
    harm = cast.harm(culprit, **cast.sizes(culprit.service))
    note = f"A {culprit.kind} change of {culprit.service} in {places} did it, of which there is no record: nobody who is recorded is guilty."
    return Plan(changes=tuple(changes), harms=(harm,), culprits=(culprit,), unrecorded=frozenset({culprit.deploy_id}), note=note)
