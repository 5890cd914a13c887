"""What is so in the shop: its regions and versions, what each version promises, and who then orders. Chance comes from outside, time too."""

from __future__ import annotations

import heapq
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["REGIONS", "VISITS_PER_ORDER", "History", "World", "event", "promise"]

#: Share of visitors, by region.
REGIONS = {"eu-west": 0.6, "us-east": 0.4}
SERVICES = ("storefront", "promises", "checkout", "payments")
#: Minutes that a delivery usually takes, and how much that varies (standard deviation of the logarithm).
MINUTES, SPREAD = 30.0, 0.25
#: Versions that are wrong, each in its own way: times too large a promise; the share of orders that fail.
WRONG_PROMISES = {"2.0": 2.5, "4.0": 2.5}
FAILING_CHECKOUTS = {"2.0": 0.2}
#: Share of visits in which something fails as it always does.
USUAL_ERRORS = 0.01
#: Visitors it takes for an order while all is well.
VISITS_PER_ORDER = 1.28
SECOND_MS = 1000
#: A promise of more minutes than that is a long one, and a delivery that takes so many more than were promised is late.
LONG, LATE = 45.0, 10.0
#: After so long every order has surely arrived.
BEFORE_MS = 90 * 60_000

Event = tuple[str, int, dict[str, Any]]


def event(source: str, ts_ms: int, **fields: Any) -> Event:
    """Make an event: its source, its time, and the record as it is written."""
    return source, ts_ms, {"event_id": uuid.uuid4().hex, "ts": ts_ms, **fields}


def promise(ts_ms: int, region: str, version: str, minutes: int) -> Event:
    """Make the event of a promise that a customer saw."""
    pace = "long" if minutes > LONG else "usual"
    return event("promises", ts_ms, service="promises", region=region, version=version, promised_minutes=minutes, pace=pace)


def wants(minutes: float) -> float:
    """Chance that a visitor orders who was promised so many minutes."""
    return 0.85 / (1.0 + math.exp(min((minutes - 60.0) / 12.0, 700.0)))


@dataclass
class World:
    """Versions that are live, by service and region, and what is broken outside.

    Parameters
    ----------
    chance : numpy.random.Generator
    """

    chance: np.random.Generator
    live: dict[tuple[str, str], str] = field(default_factory=lambda: {(service, region): "1.0" for service in SERVICES for region in REGIONS})
    #: Share of payments that the provider refuses, everywhere: nobody's change.
    provider_fails: float = 0.0
    _deliveries: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)
    _orders: int = 0

    def promised(self, region: str) -> int:
        """Minutes that the version of a region promises."""
        minutes = MINUTES * math.exp(SPREAD * self.chance.standard_normal())
        return round(minutes * WRONG_PROMISES.get(self.live["promises", region], 1.0))

    def checkout_fails(self, region: str) -> bool:
        """Whether an order fails in our own code."""
        return bool(self.chance.random() < FAILING_CHECKOUTS.get(self.live["checkout", region], 0.0))

    def payment_fails(self) -> bool:
        """Whether the provider refuses a payment."""
        return bool(self.chance.random() < self.provider_fails)

    def region(self) -> str:
        """Where a visitor comes from."""
        return str(self.chance.choice(list(REGIONS), p=list(REGIONS.values())))

    def orders(self, minutes: float) -> bool:
        """Whether a visitor orders."""
        return bool(self.chance.random() < wants(minutes))

    def fails_anyway(self) -> bool:
        """Whether something fails that always fails now and then."""
        return bool(self.chance.random() < USUAL_ERRORS)

    def send_off(self, region: str, promised: float, at_ms: int) -> None:
        """Deliver an order that was made at a time: it arrives when it arrives, whatever was promised."""
        minutes = MINUTES * math.exp(SPREAD * self.chance.standard_normal())
        self._orders += 1
        came = "late" if minutes > promised + LATE else "in time"
        fields = {"service": "delivery", "region": region, "version": "1.0", "promised_minutes": promised, "actual_minutes": round(minutes), "came": came}
        heapq.heappush(self._deliveries, (at_ms + round(minutes * 60_000), self._orders, fields))

    def delivered(self, until_ms: int) -> Iterator[Event]:
        """What arrives by a time."""
        while self._deliveries and self._deliveries[0][0] <= until_ms:
            at_ms, _, fields = heapq.heappop(self._deliveries)
            yield event("deliveries", at_ms, **fields)


class History:
    """Hours in which all was well, as events in the order of their time.

    Parameters
    ----------
    world : World
        Its deliveries go on after them.
    start_ms, end_ms : int
    orders_per_second : float
    """

    def __init__(self, world: World, start_ms: int, end_ms: int, orders_per_second: float) -> None:
        self.world = world
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.visits_per_second = orders_per_second * VISITS_PER_ORDER

    def order_ahead(self) -> None:
        """Make the orders of the time before that arrive in it: without them deliveries would seem to begin."""
        for second_ms in range(self.start_ms - BEFORE_MS, self.start_ms, SECOND_MS):
            for _ in range(self.world.chance.poisson(self.visits_per_second / VISITS_PER_ORDER)):
                region = self.world.region()
                self.world.send_off(region, self.world.promised(region), second_ms)
        for _ in self.world.delivered(self.start_ms):
            pass

    def second(self, second_ms: int) -> Iterator[Event]:
        """What happens in a second."""
        world, found = self.world, list[Event]()
        for offset in world.chance.integers(0, SECOND_MS, world.chance.poisson(self.visits_per_second)).tolist():
            at_ms, region = second_ms + offset, world.region()
            minutes = world.promised(region)
            found.append(promise(at_ms, region, world.live["promises", region], minutes))
            if world.fails_anyway():
                found.append(event("errors", at_ms, service="storefront", region=region, version=world.live["storefront", region]))
            elif world.orders(minutes):
                found.append(event("orders", at_ms, service="checkout", region=region, version=world.live["checkout", region]))
                world.send_off(region, minutes, at_ms)
        found += world.delivered(second_ms + SECOND_MS - 1)
        yield from sorted(found, key=lambda each: each[1])
