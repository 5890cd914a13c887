"""What is old and over goes from the database: by the worker whose desk it is, an hour apart, a few rows a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from mode import Service

from rollguard.config import RollguardError, Settings
from rollguard.service.stages import StageService, now_ms
from rollguard.store import Cutoffs, Pruned, Store

__all__ = ["Sweeper", "cutoffs_of", "swept"]

log = structlog.get_logger()

APART_S = 3600.0
#: The desk writes to the same database: between two transactions it has time to.
PAUSE_S = 0.2
FIRST_S = 60.0


def cutoffs_of(settings: Settings, now_ms: int) -> Cutoffs:
    """Moments before which the settings let what is over go."""
    kept = settings.retention
    ages = {"incidents_ms": kept.incidents_ms, "outbox_ms": kept.outbox_ms, "releases_ms": kept.releases_ms, "ledger_ms": kept.ledger_ms}
    return Cutoffs(**{name: None if age_ms is None else now_ms - age_ms for name, age_ms in ages.items()})


def swept(store: Store, cutoffs: Cutoffs, now_ms: int, *, on_batch: Callable[[Pruned], None] | None = None) -> Pruned:
    """Delete what is old and over, and say how much it was.

    Parameters
    ----------
    store : Store
    cutoffs : Cutoffs
    now_ms : int
        Stands in the ledger.
    on_batch : callable, optional
        Called with what has gone so far, after each transaction.

    Raises
    ------
    StoreError
        If the database is away: what has gone is gone.
    """
    gone = Pruned()
    while True:
        now = store.prune(cutoffs, now_ms)
        gone = Pruned(**{name: getattr(gone, name) + getattr(now, name) for name in Pruned.__struct_fields__})
        if not now.rows:
            return gone
        if on_batch is not None:
            on_batch(gone)


class Sweeper(Service):
    """Sweeps while this worker has the desk.

    Parameters
    ----------
    settings : Settings
    store : Store
    desk : StageService
    """

    mundane_level = "debug"

    def __init__(self, settings: Settings, store: Store, desk: StageService) -> None:
        self.settings = settings
        self.store = store
        self.desk = desk
        super().__init__()

    @Service.task
    async def _run(self) -> None:
        await self.sleep(FIRST_S)
        while not self.should_stop:
            try:
                await self._sweep()
            except RollguardError as error:
                log.error("sweep_failed", error=str(error))  # noqa: TRY400 - the text says it all
            await self.sleep(APART_S)

    async def _sweep(self) -> None:
        gone = Pruned()
        while not self.should_stop and self.desk.shell is not None and self.desk.shell.open:
            now = await asyncio.to_thread(self.store.prune, cutoffs_of(self.settings, now_ms()), now_ms())
            gone = Pruned(**{name: getattr(gone, name) + getattr(now, name) for name in Pruned.__struct_fields__})
            if not now.rows:
                break
            await self.sleep(PAUSE_S)
        if gone.rows:
            log.info("swept", **{name: getattr(gone, name) for name in Pruned.__struct_fields__})
