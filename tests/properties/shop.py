"""A small shop for property tests: harmless changes, and one that makes promises, orders and errors go wrong in one region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rollguard.config import rfc3339
from rollguard.replay import Run, open_case, run_case

#: 2 March 2026, 06:00 UTC.
START_MS = 1_772_431_200_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
LATENESS_MS = 20_000
CULPRIT = "chg-7"
HURT, *WELL = REGIONS = ("eu-west", "us-east", "ap-south")
SERVICES = ("checkout", "search", "payments")
#: A short warm-up; all else is as shipped.
CONFIG = "warmup: 2h\n"


@dataclass(frozen=True, slots=True)
class Event:
    """An event on its way: when it happened, when it arrived, and what it says."""

    ts_ms: int
    arrival_ms: int
    fields: dict[str, Any]

    @property
    def line(self) -> bytes:
        return msgspec.json.encode({"ts": self.ts_ms} | self.fields)


@dataclass(frozen=True, slots=True)
class Shop:
    """Events of every source in order of arrival, and change records.

    The last half hour begins with the onset; twelve minutes later somebody undoes the culprit by hand.
    """

    hours: float
    events: dict[str, list[Event]]
    deploys: list[bytes]

    @property
    def end_ms(self) -> int:
        return START_MS + round(self.hours * HOUR_MS)

    @property
    def onset_ms(self) -> int:
        return self.end_ms - 30 * MINUTE_MS

    def with_events(self, **events: list[Event]) -> Shop:
        """The same shop, other events of some sources."""
        return replace(self, events=self.events | events)


@cache
def a_shop(*, hours: float = 3.0, per_second: float = 2.5, seed: int = 1) -> Shop:
    """A shop's morning; with more than 26 hours also its promises are watched."""
    shop = Shop(hours, {}, [])
    chance = np.random.default_rng(seed)
    n = round(per_second * hours * 3600)
    ts = np.sort(chance.integers(START_MS, shop.end_ms, n))
    place = chance.integers(0, len(REGIONS), n)
    harmed = (place == 0) & (ts >= shop.onset_ms) & (ts < shop.onset_ms + 12 * MINUTE_MS)
    lost = harmed & (chance.random(n) < 0.6)
    minutes = np.where(harmed, chance.choice([0, 40_000], n), np.round(chance.lognormal(np.log(2880), 0.45, n)))
    failing = (chance.random(n) < 0.2) | (harmed & (chance.random(n) < 0.5))
    service = chance.integers(0, len(SERVICES), n)
    found: dict[str, list[Event]] = {"orders": [], "deliveries": [], "errors": []}
    for at, when in enumerate(ts.tolist()):
        region = REGIONS[int(place[at])]
        common = {"region": region, "version": "2.0" if harmed[at] else "1.0"}
        if not lost[at]:
            fields = common | {"event_id": f"d{at}", "service": "delivery-promise", "promised_minutes": int(minutes[at])}
            found["deliveries"].append(Event(when, when, fields))
            found["orders"].append(Event(when, when, {"event_id": f"o{at}", "service": "checkout", "region": region, "version": "3.1"}))
        if failing[at]:
            found["errors"].append(Event(when, when, common | {"event_id": f"e{at}", "service": "checkout" if harmed[at] else SERVICES[int(service[at])]}))
    for source, events in found.items():
        delays = chance.exponential(1500, len(events)).clip(max=15_000).astype(np.int64).tolist()
        shop.events[source] = arrived(replace(event, arrival_ms=event.ts_ms + delay) for event, delay in zip(events, delays, strict=True))
    shop.deploys.extend(
        [
            *_change("chg-5", "search", REGIONS, START_MS + 20 * MINUTE_MS),
            *_change(CULPRIT, "delivery-promise", [HURT], shop.onset_ms - 2 * MINUTE_MS),
            *_change("chg-8", "payments", WELL[:1], shop.onset_ms + 5 * MINUTE_MS, kind="flag"),
        ]
    )
    return shop


def _change(deploy_id: str, service: str, regions: Sequence[str], began_ms: int, *, kind: str = "code") -> list[bytes]:
    record = {
        "deploy_id": deploy_id,
        "service": service,
        "environment": "production",
        "change_kind": kind,
        "from_version": "1.0",
        "version": "2.0",
        "started_at": rfc3339(began_ms),
        "finished_at": rfc3339(began_ms + MINUTE_MS),
        "author": "dev1",
        "approvals": 1,
        "rollback": {"supported": True, "to_version": "1.0"},
    }
    return [msgspec.json.encode(record | {"region": region}) for region in regions]


def everywhere(shop: Shop, began_ms: int) -> Shop:
    """The same shop, with a change that goes everywhere at once besides."""
    return replace(shop, deploys=[*shop.deploys, *_change("chg-9", "checkout", REGIONS, began_ms)])


def arrived(events: Iterable[Event]) -> list[Event]:
    """Events in order of arrival."""
    return sorted(events, key=lambda event: event.arrival_ms)


def shuffled(events: Sequence[Event], seed: int) -> list[Event]:
    """The same events in another order of arrival, each within the lateness, so that none is late."""
    delays = np.random.default_rng(seed).integers(0, LATENESS_MS, len(events)).tolist()
    return arrived(replace(event, arrival_ms=event.ts_ms + delay) for event, delay in zip(events, delays, strict=True))


def ms_of(when: str) -> int:
    """A moment of a result, as epoch ms."""
    return round(datetime.fromisoformat(when).timestamp() * 1000)


def write(folder: Path, shop: Shop, *, end_ms: int | None, config: str = CONFIG) -> Path:
    """Write a case; without an end nothing is said about the time after the last event."""
    folder.mkdir(parents=True)
    end = "" if end_ms is None else f"end: {rfc3339(end_ms)}\n"
    (folder / "case.yaml").write_text(f"name: shop\nstart: {rfc3339(START_MS)}\n{end}{config}", encoding="utf-8")
    for source, events in shop.events.items():
        (folder / f"{source}.jsonl").write_bytes(b"".join(event.line + b"\n" for event in events))
    (folder / "deploys.jsonl").write_bytes(b"".join(line + b"\n" for line in shop.deploys))
    return folder


def replayed(folder: Path, shop: Shop, *, config: str = CONFIG) -> Run:
    """What the replay of a shop gives."""
    return run_case(open_case(write(folder, shop, end_ms=shop.end_ms, config=config)))


def replayed_open(folder: Path, shop: Shop) -> Run:
    """What it gives when nothing is said about the time after the last event."""
    return run_case(open_case(write(folder, shop, end_ms=None)))
