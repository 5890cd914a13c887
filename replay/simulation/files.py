"""The files of a case: what stands in them, and how they get onto the disk."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rollguard.config import rfc3339
from rollguard.replay.simulation.lines import Cents, Part, Texts, Whole, blocks_of_lines
from rollguard.replay.simulation.shop import REGIONS, SERVICES, Change, Events, Floats, Ints, Rng

__all__ = ["arrival", "change_record", "delivery_parts", "error_parts", "order_parts", "write_case_file", "write_changes", "write_events", "write_labels"]

#: Share of events that arrive twice, and too late.
DOUBLED, LATE = 0.0005, 0.001


def order_parts(events: Events, versions: Texts, cents: Ints) -> list[Part]:
    """Pieces of the lines of orders."""
    rest: list[Part] = ['","status":"placed","amount":', Cents(cents), ',"currency":"USD"}\n']
    return [*_head("o", events, "checkout"), *_place(events, versions), *rest]


def delivery_parts(events: Events, versions: Texts, promised_minutes: Ints) -> list[Part]:
    """Pieces of the lines of deliveries."""
    return [*_head("d", events, "delivery-promise"), *_place(events, versions), '","promised_minutes":', Whole(promised_minutes), "}\n"]


def error_parts(events: Events, versions: Texts, codes: Ints) -> list[Part]:
    """Pieces of the lines of errors."""
    return [*_head("e", events, Texts(SERVICES, events.service)), *_place(events, versions), '","code":', Whole(codes), "}\n"]


def _head(letter: str, events: Events, service: str | Texts) -> list[Part]:
    ids = Whole(np.arange(len(events), dtype=np.int64))
    return [f'{{"event_id":"{letter}', ids, '","ts":', Whole(events.ts_ms), ',"service":"', service]


def _place(events: Events, versions: Texts) -> list[Part]:
    return ['","region":"', Texts(REGIONS, events.region), '","version":"', versions]


def arrival(rng: Rng, ts_ms: Ints) -> tuple[Floats, Ints]:
    """When events arrive, a few of them twice, a few of them late.

    Parameters
    ----------
    rng : Rng
    ts_ms : (n,) int64

    Returns
    -------
    at_ms : (m,) float64
        Moments of arrival, m >= n.
    which : (m,) int64
        Which event it is, 0..n-1.
    """
    n = len(ts_ms)
    delay_ms = rng.exponential(1_500.0, n).clip(max=15_000.0)
    late = rng.random(n) < LATE
    delay_ms[late] += rng.uniform(15_000.0, 40_000.0, late.sum())
    again = np.flatnonzero(rng.random(n) < DOUBLED)
    at_ms: Floats = np.concatenate([ts_ms + delay_ms, ts_ms[again] + delay_ms[again] + rng.uniform(0.0, 5_000.0, len(again))])
    return at_ms, np.concatenate([np.arange(n), again])


def write_events(path: Path, parts: Sequence[Part], rows: Ints) -> None:
    """Write events in an order of arrival, gzipped; the same bytes for the same events."""
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
        for block in blocks_of_lines(parts, rows):
            file.write(block)


def change_record(change: Change, number: int) -> dict[str, Any]:
    """Record of one wave of a change."""
    region, began_ms, done_ms = change.reach[number]
    return {
        "deploy_id": change.deploy_id,
        "service": change.service,
        "region": region,
        "environment": "production",
        "change_kind": change.kind,
        "from_version": change.from_version,
        "version": change.version,
        "started_at": rfc3339(began_ms),
        "finished_at": rfc3339(done_ms),
        "author": change.authors[number % len(change.authors)],
        "approvals": change.approvals,
        "ai_assisted": change.ai_assisted,
        "rollback": {"supported": change.reversible, "to_version": change.from_version},
    }


def write_changes(folder: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write `deploys.jsonl`."""
    (folder / "deploys.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))


def write_labels(folder: Path, labels: dict[str, Any]) -> None:
    """Write `labels.json`."""
    (folder / "labels.json").write_bytes(msgspec.json.format(msgspec.json.encode(labels), indent=1) + b"\n")


def write_case_file(folder: Path, *, name: str, start_ms: int, end_ms: int) -> None:
    """Write `case.yaml`."""
    (folder / "case.yaml").write_text(f"name: {name}\nstart: {rfc3339(start_ms)}\nend: {rfc3339(end_ms)}\n", encoding="utf-8")
