"""A story with the whole truth about it, and how it becomes a case: the files that anyone could hand over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rollguard.config import rfc3339
from rollguard.replay.simulation.files import (
    arrival,
    change_record,
    delivery_parts,
    error_parts,
    order_parts,
    write_case_file,
    write_changes,
    write_events,
    write_labels,
)
from rollguard.replay.simulation.lines import Part, Texts
from rollguard.replay.simulation.shop import MINUTE_MS, REGIONS, Change, Events, Floats, Ints

__all__ = ["Story", "write_case"]


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
    versions = {name: _texts(versions) for name, versions in story.versions.items()}
    files: tuple[tuple[str, list[Part], Events], ...] = (
        ("orders", order_parts(story.orders, versions["orders"], np.rint(story.amounts * 100.0).astype(np.int64)), story.orders),
        ("deliveries", delivery_parts(story.orders, versions["deliveries"], story.promised_minutes), story.orders),
        ("errors", error_parts(story.errors, versions["errors"], story.codes), story.errors),
    )
    for number, (name, parts, events) in enumerate(files):
        # An order and its promise take different ways, so each file has an order of arrival of its own.
        at_ms, which = arrival(np.random.default_rng([story.arrival_seed, number]), events.ts_ms)
        write_events(path / f"{name}.jsonl.gz", parts, which[np.argsort(at_ms, kind="stable")])
        if on_progress is not None:
            on_progress((number + 1) / len(files))
    write_case_file(path, name=story.name, start_ms=story.start_ms, end_ms=story.end_ms)
    records = [change_record(change, number) for change in story.changes for number in range(len(change.reach))]
    write_changes(path, sorted(records, key=lambda record: (record["started_at"], record["deploy_id"], record["region"])))
    write_labels(path, _labels(story))


def _texts(column: list[str]) -> Texts:
    places = {text: place for place, text in enumerate(dict.fromkeys(column))}
    return Texts(tuple(places), np.array([places[text] for text in column], dtype=np.int64))


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
