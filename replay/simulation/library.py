"""A recipe in, a case on the disk out: the same recipe gives the same bytes, alone or among others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rollguard.replay.simulation.casting import Casting
from rollguard.replay.simulation.files import (
    arrival,
    delivery_parts,
    error_parts,
    order_parts,
    write_case_file,
    write_changes,
    write_events,
    write_labels,
)
from rollguard.replay.simulation.history import recorded
from rollguard.replay.simulation.kinds import KINDS
from rollguard.replay.simulation.lines import Part
from rollguard.replay.simulation.plan import Fault, Plan
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, Events, Floats, Ints, Rng
from rollguard.replay.simulation.truth import labels
from rollguard.replay.simulation.world import Dice, make_events, usual_rates

Bools = npt.NDArray[np.bool_]

__all__ = ["Recipe", "Simulated", "simulate_case"]

#: Cases begin at any hour of the year from here on: 1 January 2026.
FIRST_DAY_MS, DAYS = 1_767_225_600_000, 365
#: A doubled event comes again after so long, in the mean, and at most: most within `lateness`, some beyond it.
AGAIN_MS, LONGEST_AGAIN_MS = 15_000.0, 10.0 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that it takes to make a case.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        >= 0.
    days : int
        >= 1; the incident lies in the last one.
    rate : float
        Orders a second on an average day, > 0. Errors are three in ten of them, promises as many.
    """

    kind: str
    seed: int
    days: int = 4
    rate: float = 2.0

    @property
    def name(self) -> str:
        """Of its case, and of the case's folder."""
        return f"{self.kind}-{self.seed}"

    @property
    def dice(self) -> Dice:
        """Its chance."""
        return Dice(self.kind, self.seed)

    @property
    def span_ms(self) -> tuple[int, int]:
        """When the case begins and ends: whole hours."""
        start_ms = FIRST_DAY_MS + int(self.dice("calendar").integers(DAYS * 24)) * HOUR_MS
        return start_ms, start_ms + self.days * DAY_MS

    def plan(self) -> Plan:
        """What happens in the case."""
        return KINDS[self.kind].plan(Casting(self.dice, *self.span_ms))


@dataclass(frozen=True, slots=True)
class Simulated:
    """A case that was made.

    Attributes
    ----------
    recipe : Recipe
    events : int
        Lines that were written of events.
    labels : dict
        What is in `labels.json`.
    """

    recipe: Recipe
    events: int
    labels: dict[str, Any]


def simulate_case(recipe: Recipe, folder: Path) -> Simulated:
    """Make a case.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Where its folder is made, which must not be there yet.

    Returns
    -------
    Simulated

    Raises
    ------
    FileExistsError
        If there is a folder of its name.
    """
    path = folder / recipe.name
    if path.exists():
        raise FileExistsError(path)
    # A case that is not whole must not look like one: it gets its name at the end.
    part = folder / f".{recipe.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        made = _write(recipe, part)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return made


def _write(recipe: Recipe, folder: Path) -> Simulated:
    dice, (start_ms, end_ms), plan = recipe.dice, recipe.span_ms, recipe.plan()
    made = make_events(dice, plan, start_ms, end_ms, recipe.rate)
    files: tuple[tuple[str, Events, Callable[[Events], list[Part]]], ...] = (
        ("orders", made.orders, lambda events: order_parts(events, made.order_versions, made.cents)),
        ("deliveries", made.orders, lambda events: delivery_parts(events, made.delivery_versions, made.promised_minutes)),
        ("errors", made.errors, lambda events: error_parts(events, made.error_versions, made.codes)),
    )
    written = 0
    for source, events, parts_of in files:
        seen, rows = _on_its_way(dice, source, events, plan.faults)
        write_events(folder / f"{source}.jsonl.gz", parts_of(seen), rows)
        written += len(rows)
    rates = usual_rates(dice, plan.surges, start_ms, end_ms, recipe.rate)
    told = labels(plan, made, rates, kind=recipe.kind, seed=recipe.seed, start_ms=start_ms)
    write_changes(folder, recorded(dice("records"), plan.changes, unrecorded=plan.unrecorded, never=plan.named))
    write_labels(folder, told)
    write_case_file(folder, name=recipe.name, start_ms=start_ms, end_ms=end_ms)
    return Simulated(recipe, written, told)


@dataclass(frozen=True, slots=True)
class _Way:
    """Events on their way: when each copy arrives, of which event it is, and the times that stand in the events."""

    at_ms: Floats
    which: Ints
    ts_ms: Ints


def _on_its_way(dice: Dice, source: str, events: Events, faults: tuple[Fault, ...]) -> tuple[Events, Ints]:
    """Events with the times that stand in them, and which of them arrive in which order."""
    way = _Way(*arrival(dice(f"arrival {source}"), events.ts_ms), events.ts_ms)
    for number, fault in enumerate(faults):
        if source in fault.sources:
            hit = (events.ts_ms >= fault.since_ms) & (events.ts_ms < fault.until_ms) & np.isin(events.region, fault.regions)
            way = _struck(dice(f"fault {number} {source}"), fault, hit, way)
    return Events(way.ts_ms, events.region, events.service), way.which[np.argsort(way.at_ms, kind="stable")]


def _struck(rng: Rng, fault: Fault, hit: Bools, way: _Way) -> _Way:
    """What a fault makes of events that it hits."""
    copies = hit[way.which]
    match fault.how:
        case "lost":
            return _Way(way.at_ms[~copies], way.which[~copies], way.ts_ms)
        case "late":
            return _Way(way.at_ms + np.where(copies, fault.size, 0.0), way.which, way.ts_ms)
        case "doubled":
            again = np.flatnonzero(copies & (rng.random(len(copies)) < fault.size))
            later_ms = way.at_ms[again] + rng.exponential(AGAIN_MS, len(again)).clip(max=LONGEST_AGAIN_MS)
            return _Way(np.concatenate([way.at_ms, later_ms]), np.concatenate([way.which, way.which[again]]), way.ts_ms)
        case "skewed":
            return _Way(way.at_ms, way.which, np.where(hit & (rng.random(len(hit)) < fault.size), way.ts_ms + fault.shift_ms, way.ts_ms))
