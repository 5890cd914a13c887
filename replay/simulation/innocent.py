"""Kinds in which no change is guilty: customers who come or stay away, others' failures, and data that are not what they seem."""

from __future__ import annotations

from rollguard.replay.simulation.casting import EVERYWHERE, Casting
from rollguard.replay.simulation.history import Wanted
from rollguard.replay.simulation.plan import SOURCES, Fault, Plan, Surge
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, REGIONS

__all__ = [
    "doubled_events",
    "late_telemetry",
    "odd_day",
    "older_symptom",
    "pipe_all",
    "pipe_region",
    "pipe_source",
    "provider",
    "quiet",
    "sale",
    "skewed_clocks",
]


def sale(cast: Casting) -> Plan:
    """More customers than usual, everywhere or in one region."""
    regions = EVERYWHERE if cast.chance(0.7) else (cast.region(),)
    since_ms = cast.moment()
    surge = Surge(regions=regions, since_ms=since_ms, until_ms=since_ms + cast.minutes(90, 480), factor=cast.between(1.4, 3.0), grows_ms=cast.minutes(2, 30))
    return Plan(changes=tuple(cast.ordinary()), surges=(surge,))


def provider(cast: Casting) -> Plan:
    """Payments fail at somebody else's, for all or for some regions."""
    some = sorted(cast.rng.choice(len(REGIONS), 2, replace=False).tolist())
    harm = cast.shared_harm(
        cast.moment(),
        regions=EVERYWHERE if cast.chance(0.7) else some,
        lasts_ms=cast.minutes(30, 180),
        errors=cast.errors_of("payments", 4.0, 20.0),
        loss=cast.between(0.15, 0.7),
    )
    return Plan(changes=tuple(cast.ordinary()), harms=(harm,), culprits=(None,), note="A provider failed: no change is guilty.")


def older_symptom(cast: Casting) -> Plan:
    """It hurt before the change that everybody looks at began."""
    changes, (accused,) = cast.guilty(Wanted())
    places = sorted({REGIONS.index(name) for name, _, _ in accused.reach})
    sizes = cast.sizes(accused.service)
    harm = cast.shared_harm(accused.reach[0][1] - cast.minutes(3, 40), regions=places, lasts_ms=cast.minutes(60, 240), **sizes)
    note = f"It hurt before {accused.deploy_id} began, which is of the same service and went to the same places: no change is guilty."
    return Plan(changes=tuple(changes), harms=(harm,), culprits=(None,), accused=accused, note=note)


def _fault(cast: Casting, fault: Fault, note: str) -> Plan:
    return Plan(changes=tuple(cast.ordinary()), faults=(fault,), note=note)


def pipe_region(cast: Casting) -> Plan:
    """Nothing arrives from one region any more, and orders go on."""
    since_ms = cast.moment()
    fault = Fault(how="lost", regions=(cast.region(),), since_ms=since_ms, until_ms=since_ms + cast.minutes(10, 90))
    return _fault(cast, fault, "Data of one region were lost on their way; no order was.")


def pipe_source(cast: Casting) -> Plan:
    """Nothing arrives of one source any more."""
    since_ms = cast.moment()
    source = SOURCES[int(cast.rng.integers(len(SOURCES)))]
    fault = Fault(how="lost", sources=(source,), regions=EVERYWHERE, since_ms=since_ms, until_ms=since_ms + cast.minutes(10, 90))
    return _fault(cast, fault, "Data of one source were lost on their way; no order was.")


def pipe_all(cast: Casting) -> Plan:
    """Nothing arrives any more at all, and orders go on."""
    since_ms = cast.moment()
    fault = Fault(how="lost", regions=EVERYWHERE, since_ms=since_ms, until_ms=since_ms + cast.minutes(10, 90))
    return _fault(cast, fault, "All data were lost on their way; no order was.")


def late_telemetry(cast: Casting) -> Plan:
    """Data of one region, or of one source, arrive minutes late."""
    since_ms = cast.moment()
    of_region = cast.chance(0.5)
    fault = Fault(
        how="late",
        sources=SOURCES if of_region else (SOURCES[int(cast.rng.integers(len(SOURCES)))],),
        regions=(cast.region(),) if of_region else EVERYWHERE,
        since_ms=since_ms,
        until_ms=since_ms + cast.minutes(20, 180),
        size=cast.minutes(2, 15),
    )
    return _fault(cast, fault, "Data arrived late; nothing was wrong.")


def doubled_events(cast: Casting) -> Plan:
    """Events arrive twice for hours, as their producer tries again."""
    since_ms = cast.moment()
    fault = Fault(how="doubled", regions=EVERYWHERE, since_ms=since_ms, until_ms=since_ms + cast.minutes(60, 230), size=cast.between(0.2, 1.0))
    return _fault(cast, fault, "Events came twice, with the same id; nothing was wrong.")


def skewed_clocks(cast: Casting) -> Plan:
    """The clock of a host is off, by minutes or by hours."""
    since_ms = cast.moment()
    shift_ms = cast.minutes(1, 120) * (1 if cast.chance(0.5) else -1)
    fault = Fault(
        how="skewed", regions=(cast.region(),), since_ms=since_ms, until_ms=since_ms + cast.minutes(60, 230), size=cast.between(0.02, 0.1), shift_ms=shift_ms
    )
    return _fault(cast, fault, f"The clock of one host was off by {shift_ms / MINUTE_MS:.1f} minutes; nothing was wrong.")


def odd_day(cast: Casting) -> Plan:
    """Weather or a holiday: one region or more are busier or quieter all day."""
    some = sorted(cast.rng.choice(len(REGIONS), int(cast.rng.integers(1, len(REGIONS) + 1)), replace=False).tolist())
    begins_ms = cast.last_day_ms - 2 * HOUR_MS
    surges = [
        Surge(
            regions=(region,),
            since_ms=begins_ms,
            until_ms=begins_ms + DAY_MS + 8 * HOUR_MS,
            factor=cast.between(0.75, 0.92) if cast.chance(0.5) else cast.between(1.08, 1.3),
            grows_ms=cast.minutes(120, 300),
        )
        for region in some
    ]
    return Plan(changes=tuple(cast.ordinary()), surges=tuple(surges))


def quiet(cast: Casting) -> Plan:
    """Nothing happens but what happens every day."""
    return Plan(changes=tuple(cast.ordinary()))
