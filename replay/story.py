"""A story with the whole truth about it, and how it becomes a case: the files that anyone could hand over."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from rollguard.config import rfc3339
from rollguard.replay.shop import MINUTE_MS, REGIONS, SERVICES, Change, Events, Floats, Ints, Rng

__all__ = ["Story", "write_case"]

#: Share of events that arrive twice, and too late.
DOUBLED, LATE = 0.0005, 0.001


@dataclass(frozen=True, slots=True)
class Story:
    """A case before it is written, with the whole truth about it.

    Attributes
    ----------
    name : str
    start_ms, end_ms : int
        Span of the case.
    onset_ms, undone_ms : int
        When the first customer was hurt, and when somebody undid the change.
    culprit : str
        Deploy id of the change that did it.
    metrics, services : tuple of str
        What it hurt, the first symptom first.
    changes : tuple of Change
    orders, errors : Events
    promised_minutes : (n_orders,) int64
        What each order was promised.
    wrong : (n_orders,) bool
        Which of those promises were wrong.
    lost_ms : (n,) int64
        When each lost order would have come.
    extra_errors : int
        Errors that came on top of the usual ones.
    versions : dict
        Version of a service at each order (and error), as lists of text.
    amounts : (n_orders,) float64
        In the currency's major unit.
    codes : (n_errors,) int64
        HTTP status.
    arrival_seed : int
        Of the order in which the events arrive.
    """

    name: str
    start_ms: int
    end_ms: int
    onset_ms: int
    undone_ms: int
    culprit: str
    metrics: tuple[str, ...]
    services: tuple[str, ...]
    changes: tuple[Change, ...]
    orders: Events
    errors: Events
    promised_minutes: Ints
    wrong: npt.NDArray[np.bool_]
    lost_ms: Ints
    extra_errors: int
    versions: dict[str, list[str]]
    amounts: Floats
    codes: Ints
    arrival_seed: int

    @property
    def lost_orders(self) -> int:
        """Orders lost in all."""
        return len(self.lost_ms)

    def lost_until(self, when_ms: int) -> int:
        """Orders lost before a moment."""
        return int(np.searchsorted(self.lost_ms, when_ms))

    def orders_in_minute(self, minute: int) -> tuple[int, int]:
        """Orders that would have come in a minute after the onset, and those that came."""
        low, high = self.onset_ms + minute * MINUTE_MS, self.onset_ms + (minute + 1) * MINUTE_MS
        came = int(np.diff(np.searchsorted(self.orders.ts_ms, [low, high]))[0])
        return came + int(np.diff(np.searchsorted(self.lost_ms, [low, high]))[0]), came


def write_case(story: Story, path: Path, *, on_progress: Callable[[float], None] | None = None) -> None:
    """Write a story as a case: events in order of arrival, some doubled, some late.

    Parameters
    ----------
    story : Story
    path : Path
        Folder; it is made if need be, its case files are overwritten.
    on_progress : callable, optional
        Called with the share that is done, 0..1.
    """
    path.mkdir(parents=True, exist_ok=True)
    writers: tuple[tuple[str, Callable[[Story], Iterator[str]], Events], ...] = (
        ("orders", _order_lines, story.orders),
        ("deliveries", _delivery_lines, story.orders),
        ("errors", _error_lines, story.errors),
    )
    for number, (name, lines, events) in enumerate(writers):
        # An order and its promise take different ways, so each file has an order of arrival of its own.
        arrived = _arrival(np.random.default_rng([story.arrival_seed, number]), events)
        made = list(lines(story))
        with gzip.GzipFile(path / f"{name}.jsonl.gz", "wb", compresslevel=1, mtime=0) as file:
            for start in range(0, len(arrived), 50_000):
                file.write("".join([made[i] for i in arrived[start : start + 50_000]]).encode())
        if on_progress is not None:
            on_progress((number + 1) / len(writers))
    (path / "case.yaml").write_text(f"name: {story.name}\nstart: {rfc3339(story.start_ms)}\nend: {rfc3339(story.end_ms)}\n", encoding="utf-8")
    records = sorted(_change_records(story), key=lambda record: (record["started_at"], record["deploy_id"], record["region"]))
    (path / "deploys.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    (path / "labels.json").write_bytes(msgspec.json.format(msgspec.json.encode(_labels(story)), indent=1) + b"\n")


def _arrival(rng: Rng, events: Events) -> list[int]:
    """Places of the events in order of arrival, a few of them twice, a few of them late."""
    n = len(events)
    delay_ms = rng.exponential(1_500.0, n).clip(max=15_000.0)
    late = rng.random(n) < LATE
    delay_ms[late] += rng.uniform(15_000.0, 40_000.0, late.sum())
    again = np.flatnonzero(rng.random(n) < DOUBLED)
    at = np.concatenate([events.ts_ms + delay_ms, events.ts_ms[again] + delay_ms[again] + rng.uniform(0.0, 5_000.0, len(again))])
    which = np.concatenate([np.arange(n), again])
    found: list[int] = which[np.argsort(at, kind="stable")].tolist()
    return found


def _order_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.orders.region.tolist()]
    for i, (ts, region, version, amount) in enumerate(zip(story.orders.ts_ms.tolist(), regions, story.versions["orders"], story.amounts.tolist(), strict=True)):
        head = f'"event_id":"o{i}","ts":{ts},"service":"checkout","region":"{region}","version":"{version}"'
        yield f'{{{head},"status":"placed","amount":{amount},"currency":"USD"}}\n'


def _delivery_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.orders.region.tolist()]
    columns = zip(story.orders.ts_ms.tolist(), regions, story.versions["deliveries"], story.promised_minutes.tolist(), strict=True)
    for i, (ts, region, version, minutes) in enumerate(columns):
        yield f'{{"event_id":"d{i}","ts":{ts},"service":"delivery-promise","region":"{region}","version":"{version}","promised_minutes":{minutes}}}\n'


def _error_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.errors.region.tolist()]
    services = [SERVICES[i] for i in story.errors.service.tolist()]
    columns = zip(story.errors.ts_ms.tolist(), services, regions, story.versions["errors"], story.codes.tolist(), strict=True)
    for i, (ts, service, region, version, code) in enumerate(columns):
        yield f'{{"event_id":"e{i}","ts":{ts},"service":"{service}","region":"{region}","version":"{version}","code":{code}}}\n'


def _change_records(story: Story) -> Iterator[dict[str, object]]:
    for change in story.changes:
        for number, (region, began, done) in enumerate(change.reach):
            yield {
                "deploy_id": change.deploy_id,
                "service": change.service,
                "region": region,
                "environment": "production",
                "change_kind": change.kind,
                "from_version": change.from_version,
                "version": change.version,
                "started_at": rfc3339(began),
                "finished_at": rfc3339(done),
                "author": change.authors[number % len(change.authors)],
                "approvals": change.approvals,
                "ai_assisted": change.ai_assisted,
                "rollback": {"supported": change.reversible, "to_version": change.from_version},
            }


def _labels(story: Story) -> dict[str, object]:
    incident = {
        "id": "i1",
        "onset": rfc3339(story.onset_ms),
        "end": rfc3339(story.undone_ms),
        "culprit": story.culprit,
        "metrics": story.metrics,
        "regions": list(REGIONS),
        "services": story.services,
        "page": True,
        "rollback": True,
    }
    return {"incidents": [incident], "lost_orders": story.lost_orders}
