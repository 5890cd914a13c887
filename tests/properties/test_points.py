"""A source of points gives the incidents that its events one by one would have given."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from rollguard.detectors import Detect, Signal, Tick
from rollguard.detectors.watch import CountWatch
from rollguard.streams import Ingest, Merger
from tests.properties.chain import settings_of
from tests.properties.shop import CONFIG, START_MS, Event, Shop, a_shop, replayed

BUCKET_MS = 300_000
EVENTS = f"{CONFIG}bucket: 5m\nbaseline: {{lag: 10m}}\nmetrics: {{revenue: {{kind: sum, source: orders, field: amount, worse: lower}}}}\n"
WITH_AMOUNTS = EVENTS + "sources: {orders: {fields: {amount: amount}}}\n"
POINTS = (
    EVENTS
    + """
sources:
  orders: {points: {every: 5m, weight: n}, fields: {id: null, n: n, amount: amount}}
  errors: {points: {every: 5m, weight: n}, fields: {id: null, n: n}}
  deliveries: {points: {every: 5m, weight: n}, fields: {id: null, n: n}}
"""
)


def with_amounts(shop: Shop) -> Shop:
    """Every order is worth a little something."""
    orders = [replace(event, fields=event.fields | {"amount": 10.25 + at % 7}) for at, event in enumerate(shop.events["orders"])]
    return shop.with_events(orders=orders)


def counted(shop: Shop) -> Shop:
    """The same shop, counted every five minutes by somebody else."""
    found: dict[str, list[Event]] = {}
    for source, events in shop.events.items():
        weights: Counter[tuple[int, str, str, str, float | None]] = Counter()
        amounts: Counter[tuple[int, str, str, str, float | None]] = Counter()
        for event in events:
            fields = event.fields
            span = (event.ts_ms // BUCKET_MS, fields["service"], fields["region"], fields["version"], fields.get("promised_minutes"))
            weights[span] += 1
            amounts[span] += fields.get("amount", 0)
        found[source] = []
        for span in sorted(weights, key=lambda each: tuple(map(str, each))):
            step, service, region, version, minutes = span
            fields = {"service": service, "region": region, "version": version, "n": weights[span]}
            fields |= {"amount": amounts[span]} if source == "orders" else {}
            fields |= {"promised_minutes": minutes} if minutes is not None else {}
            found[source].append(Event(step * BUCKET_MS, step, fields))
    return shop.with_events(**found)


def test_points_give_the_timeline_that_their_events_give(tmp_path: Path) -> None:
    shop = with_amounts(a_shop(hours=27.0, per_second=0.4))
    assert START_MS % BUCKET_MS == 0
    one_by_one = replayed(tmp_path / "events", shop, config=WITH_AMOUNTS)
    in_points = replayed(tmp_path / "points", counted(shop), config=POINTS)
    hurt = {metric for incident in one_by_one.incidents for metric in incident["metrics"]}
    assert {"orders", "revenue"} & hurt, "something has to be found"
    assert in_points.timeline == one_by_one.timeline


def test_how_far_points_scatter_beyond_chance_is_learnt() -> None:
    """A service's calls come in bursts: the variance of its counts is twenty times that of Poisson."""
    config = "bucket: 5m\nsources: {orders: {points: {every: 5m, weight: n}, fields: {id: null, n: n}}, errors: null, deliveries: null}\n"
    config += "metrics: {errors: null, promised_minutes: null, actual_minutes: null, orders: {worse: both}}\n"
    settings = settings_of(config)
    chance = np.random.default_rng(4)
    mean, times = 400, 20
    counts = chance.negative_binomial(mean / (times - 1), 1 / times, (288 * 10, 3)).tolist()
    lines = [
        Event(START_MS + step * BUCKET_MS, 0, {"service": "checkout", "region": f"r{place}", "version": "1", "n": n}).line
        for step, row in enumerate(counts)
        for place, n in enumerate(row)
    ]
    stage, merger, detect = Ingest(settings, "orders", 0, start_ms=START_MS), Merger(settings, [("orders", 0)]), Detect(settings)
    signals: list[Signal | Tick] = []
    for block in (stage.feed(lines, 0).block, stage.silence(START_MS // BUCKET_MS + len(counts))):
        closed = None if block is None else merger.feed(block)
        signals += detect.feed(closed) if closed is not None else []
    scatter = [watched.watch.bank.baseline.scatter()[1:] for watched in (detect.metrics[0].fast,) if isinstance(watched.watch, CountWatch)]
    assert np.all((scatter[0] > times / 2) & (scatter[0] < times * 2))
    assert [each for each in signals if isinstance(each, Signal)] == []


def test_points_that_are_refused_are_told_with_what_to_do(tmp_path: Path) -> None:
    shop = counted(a_shop())
    broken = [replace(event, fields=event.fields | {"n": event.fields["n"] + 0.25}) for event in shop.events["orders"][:3]]
    run = replayed(tmp_path / "broken", shop.with_events(orders=[*broken, *shop.events["orders"][3:]]), config=POINTS)
    assert run.summary["sources"]["orders"]["refused"] == {"weight": 3}
    [note] = [note for note in run.summary["notes"] if "event refused" in note]
    assert note.startswith("orders.jsonl:1: event refused: n is ")
    assert "rounded" in note
    assert "2 more like it" in note
