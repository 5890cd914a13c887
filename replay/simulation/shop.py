"""A shop made of chance numbers: its customers and its ordinary changes.

Demand, arrivals and changes are separate pieces, so that any story can be told with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "DAY_MS",
    "HOUR_MS",
    "MINUTE_MS",
    "OFFSET_H",
    "REGIONS",
    "SERVICES",
    "SHARE",
    "Change",
    "Events",
    "Floats",
    "Ints",
    "Rng",
    "arrivals",
    "background_changes",
    "demand",
    "first_versions",
    "ordinary_changes",
    "versions_of",
    "wander",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
REGIONS = ("eu-west", "us-east", "us-west", "ap-south")
#: Share of demand and hours ahead of UTC, by region.
SHARE = np.array([0.34, 0.30, 0.20, 0.16])
OFFSET_H = np.array([1.0, -5.0, -8.0, 5.5])
SERVICES = ("checkout", "delivery-promise", "cart", "payments", "search", "catalog", "accounts")
CHANGES_A_DAY = 25


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the simulated shop, with the places it reaches and when."""

    deploy_id: str
    service: str
    kind: str
    from_version: str
    version: str
    reach: tuple[tuple[str, int, int], ...]
    authors: tuple[str, ...]
    approvals: int
    ai_assisted: str
    reversible: bool


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind, in order of time.

    Attributes
    ----------
    ts_ms : (n,) int64
    region, service : (n,) int64
        Places in `REGIONS` and `SERVICES`.
    """

    ts_ms: Ints
    region: Ints
    service: Ints

    def __len__(self) -> int:
        return len(self.ts_ms)


def demand(ts_ms: Ints, region: int) -> Floats:
    """Relative demand of a region at some moments: a daily curve in its own local time, 1 on average.

    Examples
    --------
    >>> times = np.arange(0, DAY_MS, HOUR_MS)
    >>> bool(abs(demand(times, 0).mean() - 1.0) < 0.01)
    True
    """
    local_h = (ts_ms / HOUR_MS + OFFSET_H[region]) % 24.0
    # Low at night, a shoulder in the morning, a peak in the evening.
    curve: Floats = 1.0 + 0.45 * np.cos((local_h - 18.0) * np.pi / 12.0) + 0.15 * np.cos((local_h - 11.0) * np.pi / 6.0)
    return curve


def day_levels(rng: Rng, n_days: int) -> Floats:
    """Level of each day: weekdays and weather move a shop by some per cent."""
    return np.exp(rng.normal(0.0, 0.05, n_days))


def arrivals(rng: Rng, start_ms: int, end_ms: int, per_second: float) -> Events:
    """Customers' arrivals in all regions: Poisson, with the daily curve and the level of the day."""
    n_minutes = (end_ms - start_ms) // MINUTE_MS
    middle = start_ms + np.arange(n_minutes, dtype=np.int64) * MINUTE_MS + MINUTE_MS // 2
    level = day_levels(rng, int(n_minutes * MINUTE_MS // DAY_MS) + 2)[(middle - start_ms) // DAY_MS]
    noise = wander(rng, int(n_minutes))
    ts, region = [], []
    for place in range(len(REGIONS)):
        mean = per_second * 60.0 * SHARE[place] * demand(middle, place) * level * noise
        counts = rng.poisson(mean)
        ts.append(np.repeat(middle - MINUTE_MS // 2, counts) + rng.integers(0, MINUTE_MS, counts.sum()))
        region.append(np.full(counts.sum(), place, dtype=np.int64))
    all_ts = np.concatenate(ts)
    order = np.argsort(all_ts, kind="stable")
    return Events(all_ts[order], np.concatenate(region)[order], np.zeros(len(order), dtype=np.int64))


def wander(rng: Rng, n_minutes: int, *, spread: float = 0.02, memory_min: float = 30.0) -> Floats:
    """Autocorrelated noise of demand, as a factor: two per cent, with a memory of half an hour."""
    keep = np.exp(-1.0 / memory_min)
    steps = rng.normal(0.0, spread * np.sqrt(1.0 - keep**2), n_minutes)
    out = np.empty(n_minutes)
    state = 0.0
    for i, step in enumerate(steps.tolist()):
        state = state * keep + step
        out[i] = state
    return np.exp(out)


def background_changes(rng: Rng, start_ms: int, end_ms: int) -> list[Change]:
    """Ordinary changes of a shop, all harmless: at once or in waves, with all kinds of papers."""
    n = rng.poisson(CHANGES_A_DAY * (end_ms - start_ms) / DAY_MS)
    versions = first_versions(rng)
    return ordinary_changes(rng, np.sort(rng.integers(start_ms, end_ms, n)), versions)


def first_versions(rng: Rng) -> dict[str, int]:
    """Minor version of each service before its first change."""
    return {service: int(rng.integers(1, 60)) for service in SERVICES}


def ordinary_changes(rng: Rng, began_ms: Ints, versions: dict[str, int]) -> list[Change]:
    """Draw a change for each moment. `versions` moves on with what ships new code."""
    found = []
    for number, began in enumerate(began_ms.tolist()):
        service = SERVICES[int(rng.integers(len(SERVICES)))]
        kind = str(rng.choice(["code", "code", "code", "flag", "config", "infra", "migration"]))
        before = f"4.{versions[service]}.0"
        if kind in {"code", "migration"}:
            versions[service] += 1
        found.append(
            Change(
                deploy_id=f"chg-{100 + number}",
                service=service,
                kind=kind,
                from_version=before,
                version=f"4.{versions[service]}.0",
                reach=_reach(rng, int(began)),
                authors=tuple(f"dev{i}" for i in rng.integers(1, 40, 2)),
                approvals=int(rng.choice([2, 2, 2, 1, 0])),
                ai_assisted=str(rng.choice(["yes", "no", "unknown", "advised"])),
                reversible=kind != "migration",
            )
        )
    return found


def _reach(rng: Rng, began_ms: int) -> tuple[tuple[str, int, int], ...]:
    """Waves half an hour apart, all places at once, or one place alone."""
    width_ms = int(rng.integers(2, 9)) * MINUTE_MS
    order = rng.permutation(len(REGIONS)).tolist()
    how = int(rng.integers(4))
    if how == 0:
        order = order[:1]
    step_ms = 0 if how == 1 else int(rng.choice([10, 30])) * MINUTE_MS
    return tuple((REGIONS[place], began_ms + wave * step_ms, began_ms + wave * step_ms + width_ms) for wave, place in enumerate(order))


def versions_of(rng: Rng, events: Events, service: int, changes: list[Change]) -> npt.NDArray[np.object_]:
    """Version of a service that each event met: mixed while a change rolls through its place."""
    mine = sorted((c for c in changes if c.service == SERVICES[service]), key=lambda c: c.reach[0][1])
    first = mine[0].from_version if mine else "4.1.0"
    out = np.full(len(events), first, dtype=object)
    luck = rng.random(len(events))
    for change in mine:
        for region, began, done in change.reach:
            # A place that an event lies in has the new version with a chance that grows from start to finish.
            chance = np.clip((events.ts_ms - began) / max(done - began, 1), 0.0, 1.0)
            out[(events.region == REGIONS.index(region)) & (luck < chance)] = change.version
    return out
