"""A small shop whose log is written by hand: what was counted, which series left, what was deployed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.detectors import Account, SeriesName, Signal, Split, Tick
from rollguard.incidents import ChangeSeen, Decision, Desk, Entry, IncidentState, LogRecord, sightings

BUCKET_MS = 10_000
MINUTE_MS = 60_000
MINUTE = MINUTE_MS // BUCKET_MS
HOUR_MS = 60 * MINUTE_MS
#: 2 March 2026, 09:00 UTC, as a time and as a bucket.
START_MS = 1_772_442_000_000
START = START_MS // BUCKET_MS
LATENESS_MS = 20_000
#: Events expected in a bucket of one finest series; of promises, those outside the usual range.
USUAL = {"orders": 60.0, "paid": 30.0, "errors": 6.0, "promised_minutes": 3.0, "actual_minutes": 3.0}
TRIALS = 60.0


def settings_with(text: str = "") -> Settings:
    """The shipped default in mode `auto`, with a config text over it."""
    return load_layers([Layer(default_text(), "default.yaml"), Layer("mode: auto\n", "auto.yaml"), Layer(text, "test.yaml")])


def at_ms(bucket: int) -> int:
    """When a bucket is known."""
    return (bucket + 1) * BUCKET_MS + LATENESS_MS


@dataclass(frozen=True)
class Hurt:
    """A metric is a factor of its usual in some places, from one bucket until before another.

    Attributes
    ----------
    where : dict of str to str
        Label values, the compare label included; what is left out is everywhere.
    """

    metric: str
    factor: float
    since: int
    until: int = 1 << 60
    where: Mapping[str, str] = field(default_factory=dict)

    def at(self, bucket: int, leaf: Mapping[str, str]) -> float:
        hit = self.since <= bucket < self.until and all(leaf.get(name) == value for name, value in self.where.items())
        return self.factor if hit else 1.0


@dataclass
class Shop:
    """Writes ticks, signals and changes.

    Attributes
    ----------
    labels : dict of str to tuple of str
        Values of the watched labels, in the config's order.
    versions : tuple of str
        Versions that are live beside one another, with equal shares.
    error : float
        Relative error of every baseline.
    """

    settings: Settings = field(default_factory=settings_with)
    labels: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"service": ("checkout", "payments"), "region": ("eu-west", "us-east")},
    )
    versions: tuple[str, ...] = ("1.0", "2.0")
    metrics: tuple[str, ...] = ("orders", "errors", "promised_minutes")
    error: float = 0.01
    hurts: list[Hurt] = field(default_factory=list)
    missing: dict[str, range] = field(default_factory=dict)
    silent: dict[str, range] = field(default_factory=dict)
    #: Buckets in which half as many events again come too late or are refused.
    doubtful: dict[str, range] = field(default_factory=dict)
    #: Label values, the version last, that are counted for the first time, by bucket.
    appeared: dict[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leaves = [dict(zip(self.labels, values, strict=True)) for values in itertools.product(*self.labels.values())]
        self.series = {metric: self._series(metric) for metric in self.metrics}

    def tick(self, bucket: int) -> Tick:
        """What was counted in a bucket."""
        accounts = tuple(self._account(metric, bucket) for metric in self.metrics)
        return Tick(bucket=bucket, accounts=accounts, ready=True, appeared=self.appeared.get(bucket, ()))

    def left(self, metric: str, bucket: int, onset: int, **labels: str) -> Signal:
        """A series left its baseline."""
        return self._signal("left", metric, bucket, onset, 1.0, labels)

    def returned(self, metric: str, bucket: int, onset: int, **labels: str) -> Signal:
        """A series is back."""
        return self._signal("returned", metric, bucket, onset, 0.5, labels)

    def log(self, first: int, last: int, records: Iterable[ChangeSeen | Signal] = ()) -> Iterator[LogRecord]:
        """All records of buckets first..last in the order of the signals log; a change is kept until it is known."""
        changes = sorted((r for r in records if isinstance(r, ChangeSeen)), key=lambda c: (c.seen_ms, c.id))
        signals = sorted((r for r in records if isinstance(r, Signal)), key=lambda s: (s.bucket, s.id))
        before = at_ms(first - 1)
        for bucket in range(first, last + 1):
            after = at_ms(bucket)
            yield from (c for c in changes if (bucket == first or before < c.seen_ms) and c.seen_ms <= after)
            yield from (s for s in signals if s.bucket == bucket)
            yield self.tick(bucket)
            before = after

    def _series(self, metric: str) -> tuple[SeriesName, ...]:
        alone = [((name, value),) for name, values in self.labels.items() for value in values]
        finest = [tuple(leaf.items()) for leaf in self.leaves] if len(self.labels) > 1 else []
        return tuple(SeriesName(metric=metric, labels=labels) for labels in [(), *alone, *finest])

    def _account(self, metric: str, bucket: int) -> Account:
        series = self.series[metric]
        missing, silent = (bucket in spans.get(metric, range(0)) for spans in (self.missing, self.silent))
        split = {
            (*leaf.values(), version): USUAL[metric] / len(self.versions) * self._factor(metric, bucket, leaf | {"version": version})
            for leaf in self.leaves
            for version in self.versions
        }
        observed, expected = np.zeros(len(series)), np.zeros(len(series))
        if not missing:
            for row, name in enumerate(series):
                inside = [leaf for leaf in self.leaves if all(leaf[label] == value for label, value in name.labels)]
                expected[row] = USUAL[metric] * len(inside)
                observed[row] = 0.0 if silent else sum(split[*leaf.values(), version] for leaf in inside for version in self.versions)
        is_distribution = self.settings.metrics[metric].kind == "distribution" and not missing and not silent
        keys = tuple(split)
        return Account(
            metric=metric,
            series=series,
            observed=observed,
            expected=expected,
            variance=expected * 1.2,
            error=np.full(len(series), self.error),
            missing=missing,
            silent=silent,
            events=float(observed[0]),
            doubtful=float(observed[0]) / 2.0 if bucket in self.doubtful.get(metric, range(0)) else 0.0,
            split=Split(
                keys=keys,
                key=np.arange(len(keys), dtype=np.int64),
                hits=np.array(list(split.values())),
                trials=np.full(len(keys), TRIALS / len(self.versions)),
                expected=np.full(len(keys), USUAL[metric] / len(self.versions)),
            )
            if is_distribution
            else None,
        )

    def _factor(self, metric: str, bucket: int, leaf: Mapping[str, str]) -> float:
        factor = 1.0
        for hurt in self.hurts:
            if hurt.metric == metric:
                factor *= hurt.at(bucket, leaf)
        return factor

    def _signal(self, kind: str, metric: str, bucket: int, onset: int, onset_error: float, labels: Mapping[str, str]) -> Signal:
        return Signal(
            kind="left" if kind == "left" else "returned",
            series=SeriesName(metric=metric, labels=tuple((name, labels[name]) for name in self.labels if name in labels)),
            bucket=bucket,
            onset=onset,
            onset_error=onset_error,
            direction="lower" if metric == "orders" else "higher",
            evidence=20.0,
            threshold=14.0,
        )


def big_shop(text: str = "") -> Shop:
    """Three regions: one to hurt, one to hurt besides, one to stay well."""
    return Shop(settings=settings_with(text), labels={"service": ("checkout", "payments"), "region": ("eu-west", "us-east", "ap-south")})


def states(entries: Iterable[Entry]) -> dict[str, list[IncidentState]]:
    """States of each incident, in order."""
    found: dict[str, list[IncidentState]] = {}
    for entry in entries:
        if entry.incident is not None:
            found.setdefault(entry.incident_id, []).append(entry.incident)
    return found


def deploy(
    deploy_id: str = "chg-1",
    *,
    started: int = START_MS,
    minutes: float | None = 4.0,
    regions: Iterable[str | None] = ("eu-west",),
    environment: str = "production",
    **fields: Any,
) -> list[ChangeSeen]:
    """Sightings of a deploy of checkout from 1.0 to 2.0, declared reversible; one record a region."""
    out: list[ChangeSeen] = []
    for region in regions:
        record: dict[str, Any] = {
            "deploy_id": deploy_id,
            "service": "checkout",
            "region": region,
            "environment": "production",
            "change_kind": "code",
            "from_version": "1.0",
            "version": "2.0",
            "started_at": started,
            "finished_at": None if minutes is None else started + round(minutes * MINUTE_MS),
            "author": "ann",
            "approvals": 1,
            "rollback": {"supported": True, "to_version": "1.0"},
        }
        out += sightings(msgspec.json.encode(record | fields), environment=environment)
    return out


#: The usual story: a deploy to eu-west in minute 0, orders and promises there wrong from minute 1 on.
ONSET = START + MINUTE
KNOWN = ONSET + 3


def regional(shop: Shop, *, region: str = "eu-west", onset: int = ONSET) -> list[ChangeSeen | Signal]:
    """Orders of one region fall by two fifths at an onset; the signal comes three buckets later."""
    shop.hurts.append(Hurt("orders", 0.6, onset, where={"region": region}))
    return [shop.left("orders", onset + 3, onset, region=region)]


def everywhere(shop: Shop, *, onset: int = ONSET) -> list[ChangeSeen | Signal]:
    """Promises of checkout go wrong everywhere, orders fall two minutes later."""
    shop.hurts.append(Hurt("promised_minutes", 6.0, onset, where={"service": "checkout"}))
    shop.hurts.append(Hurt("orders", 0.6, onset + 2 * MINUTE, where={"service": "checkout"}))
    return [
        shop.left("promised_minutes", onset + 3, onset, service="checkout"),
        shop.left("orders", onset + 2 * MINUTE + 3, onset + 2 * MINUTE, service="checkout"),
    ]


def decisions(entries: Iterable[Entry], action: str | None = None) -> list[Decision]:
    """Decisions among entries, of one kind if asked for."""
    return [e.decision for e in entries if e.decision is not None and (action is None or e.decision.action == action)]


def of_harm(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that speak of harm, not of a gap in the data."""
    return [entry for entry in entries if not entry.incident_id.startswith("gap/")]


def played(shop: Shop, records: Iterable[ChangeSeen | Signal], last: int = START + 20 * MINUTE) -> list[Entry]:
    """What a fresh desk says of ten minutes before the start, and until a bucket."""
    return Desk(shop.settings).feed(shop.log(START - 10 * MINUTE, last, records))
