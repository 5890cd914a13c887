"""A stage's place in the database: taking it over, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog

from rollguard.store import DamagedError, Kept, StaleError, Store
from rollguard.streams import SnapshotError
from rollguard.streams.kafka import Bounds, LostError

__all__ = ["stored", "take_over"]

Got = TypeVar("Got")
Given = ParamSpec("Given")
Stage = TypeVar("Stage")

log = structlog.get_logger()


async def stored(call: Callable[Given, Got], *given: Given.args, **named: Given.kwargs) -> Got:
    """Ask the database, in a thread.

    Raises
    ------
    LostError
        If another has taken the stage.
    StoreError
        If the database did not do it.
    """
    try:
        return await asyncio.to_thread(call, *given, **named)
    except StaleError as error:
        raise LostError(str(error)) from error


async def take_over(
    store: Store, name: str, owner: str, now_ms: int, bounds: Bounds, *, fresh: Callable[[], Stage], restore: Callable[[bytes], Stage]
) -> tuple[int, Stage, int, int]:
    """Take a stage over as it was last kept; where nothing fits, from the log's beginning.

    Parameters
    ----------
    store : Store
    name : str
        Of the stage.
    owner : str
        Who we are, for those who look into the database.
    now_ms : int
    bounds : Bounds
        Of the log that it reads.
    fresh, restore : callable
        Make the stage.

    Returns
    -------
    epoch : int
        What shows the database that the stage is ours.
    stage : object
    offset : int
        The next record to be fed.
    kept : int
        What is kept reflects the log up to here.
    """
    epoch = await stored(store.claim, name, owner, now_ms)
    kept: Kept | None = None
    try:
        kept = await stored(store.newest, name)
    except DamagedError as error:
        log.error("snapshots_are_damaged", stage=name, error=str(error))  # noqa: TRY400 - the text says it all
    if kept is None:
        return epoch, fresh(), bounds.first, bounds.first
    if kept.damaged:
        log.warning("newest_snapshot_is_damaged", stage=name, offset=kept.offset)
    if kept.offset > bounds.end:
        # Another log of the same name: nothing of the old one holds.
        log.error("log_was_made_anew", stage=name, kept=kept.offset, end=bounds.end)
        return await stored(store.restart, name, owner, now_ms), fresh(), bounds.first, bounds.first
    if kept.offset < bounds.first:
        log.error("records_are_gone", stage=name, kept=kept.offset, first=bounds.first)
    try:
        return epoch, restore(kept.state), max(kept.offset, bounds.first), kept.offset
    except SnapshotError as error:
        log.warning("snapshot_refused", stage=name, error=str(error))
        return epoch, fresh(), bounds.first, kept.offset
