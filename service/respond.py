"""The responder as a service of the worker: it carries what the desk put into the outbox, to people and to targets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import structlog
from mode import Service

from rollguard.config import Pager as PagerConfig
from rollguard.config import RollguardError, Settings
from rollguard.incidents import RolledBack
from rollguard.responders import Carrier, Executor, Heartbeat, Pager, Target, make_pager, make_target
from rollguard.service.changes import Append
from rollguard.service.notices import LOG
from rollguard.service.signals import to_signals
from rollguard.service.stages import now_ms
from rollguard.service.watch import Watch
from rollguard.store import OutboxRow, Store
from rollguard.streams.kafka import find_secret, pauses

__all__ = ["RespondService", "pager_of", "pagers_of", "target_of"]

log = structlog.get_logger()

#: How often the outbox is looked at when nothing was due, in seconds.
LOOK_S = 0.5
#: How often it is looked for rollbacks that nobody carried out, or spoke of again: minutes have passed by then anyway.
SWEEP_S = 5.0
#: How often pagers that forget are told again.
RENEW_MS = 60_000
#: Rollbacks that may be under way beside each other.
SIDE_BY_SIDE = 4
#: At the end, what is under way is waited for no longer than this; a rollback that is not there yet by then is asked about by the next worker.
FINISH_S = 15.0
#: What became of rollbacks is told to the desk once more after a start, so far back.
RECALLED_MS = 24 * 3_600_000


def pagers_of(settings: Settings) -> dict[str, Pager]:
    """Make every pager of a config, and the log, which is always there; see `pager_of`."""
    return {LOG: make_pager(LOG, PagerConfig(kind="log"), None), **{name: pager_of(settings, name) for name in settings.respond.pagers}}


def pager_of(settings: Settings, name: str) -> Pager:
    """Make a pager of a config.

    Raises
    ------
    SecretError
        If its secret is not where the config says.
    PageError
        If it can never work.
    """
    pager = settings.respond.pagers[name]
    return make_pager(name, pager, None if pager.secret is None else find_secret(pager.secret, f"respond.pagers.{name}.secret"))


def target_of(settings: Settings, name: str) -> Target:
    """Make a target of a config.

    Raises
    ------
    SecretError
        If its secret is not where the config says.
    TargetError
        If it can never work.
    """
    target = settings.respond.targets[name]
    return make_target(name, target, lambda: find_secret(target.secret or "", f"respond.targets.{name}.secret"))


def heartbeat_of(settings: Settings, store: Store) -> Heartbeat | None:
    """Make the heartbeat of a config; None: it has none.

    Raises
    ------
    SecretError
        If its URL is not where the config says.
    PageError
        If it is no URL.
    """
    secret = settings.respond.heartbeat.secret
    return None if secret is None else Heartbeat(store, find_secret(secret, "respond.heartbeat.secret"))


class RespondService(Service):
    """Tells people what was decided, and carries out rollbacks.

    Parameters
    ----------
    settings : Settings
    store : Store
    pagers : mapping of str to Pager
    targets : mapping of str to Target
    append : callable
        Appends to our topics, so that the desk learns what became of a rollback.
    owner : str
        Who we are; another name after each start.
    watch : Watch, optional
        Knows whether pages wait for too long: then nobody outside is told that all is well.
    """

    mundane_level = "debug"

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        pagers: Mapping[str, Pager],
        targets: Mapping[str, Target],
        append: Append,
        owner: str,
        watch: Watch | None = None,
    ) -> None:
        self.pagers = pagers
        self.watch = watch
        self.targets = targets
        taken_by = f"{owner}/{os.urandom(4).hex()}"
        self.carrier = Carrier(store, settings.respond, pagers, now_ms, taken_by)

        async def tell(record: RolledBack) -> None:
            await append([to_signals(record)])

        self.heartbeat = heartbeat_of(settings, store)
        self._finished = (asyncio.Event(), asyncio.Event())
        self.executor = Executor(store, settings, targets=targets, tell=tell, now_ms=now_ms, taken_by=taken_by)
        super().__init__()

    @Service.task
    async def _run(self) -> None:
        try:
            await self._carry()
        finally:
            self._finished[0].set()

    async def _carry(self) -> None:
        waits = pauses()
        remembered = False
        renewed_ms = now_ms()
        while not self.should_stop:
            try:
                if not remembered:
                    await asyncio.to_thread(self.carrier.remember)
                    remembered = True
                taken = await self.carrier.once()
                # After what was due: a carrier that stands still tells nobody that all is well.
                stuck = self.watch is not None and self.watch.outbox_is_stuck
                if self.heartbeat is not None and not stuck:
                    await self.heartbeat.beat(now_ms())
                if now_ms() - renewed_ms >= RENEW_MS:
                    renewed_ms = now_ms()
                    await self.carrier.renew()
                waits = pauses()
            except RollguardError as error:
                log.error("responder_stands_still", error=str(error))  # noqa: TRY400 - the text says it all
                await self.sleep(next(waits))
                continue
            if not taken:
                await self.sleep(LOOK_S)

    @Service.task
    async def _roll_back(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            await asyncio.gather(self._sweep(), self._take(under_way))
        finally:
            # What was taken is finished, or it is a person's to find out whether it was done.
            await asyncio.gather(*under_way)
            self._finished[1].set()

    async def _sweep(self) -> None:
        """Say what became of rollbacks that nobody carried out, or spoke of again."""
        waits = pauses()
        recalled = False
        while not self.should_stop:
            try:
                if not recalled:
                    await self.executor.recall(now_ms() - RECALLED_MS)
                    recalled = True
                await self.executor.sweep()
                waits = pauses()
                await self.sleep(SWEEP_S)
            except RollguardError as error:
                log.error("executor_stands_still", error=str(error))  # noqa: TRY400 - the text says it all
                await self.sleep(next(waits))

    async def _take(self, under_way: set[asyncio.Task[None]]) -> None:
        """Take what is due, in one question for as many as may be under way, and let each go its way."""
        waits = pauses()
        while not self.should_stop:
            try:
                free = SIDE_BY_SIDE - len(under_way)
                rows = await self.executor.take(free) if free else []
                waits = pauses()
            except RollguardError as error:
                log.error("executor_stands_still", error=str(error))  # noqa: TRY400 - the text says it all
                await self.sleep(next(waits))
                continue
            for row in rows:
                task = asyncio.create_task(self._carry_out(row))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await self.sleep(LOOK_S)

    async def _carry_out(self, row: OutboxRow) -> None:
        try:
            await self.executor.carry_out(row)
        except RollguardError as error:
            # Its lease runs out, and the target is asked.
            log.error("rollback_left_open", incident_id=row.incident_id, error=str(error))  # noqa: TRY400 - the text says it all

    async def on_stop(self) -> None:
        """Finish what is under way: a page that was taken and not settled is nobody's until its lease runs out. Then let go of connections."""
        try:
            await asyncio.wait_for(asyncio.gather(*(each.wait() for each in self._finished)), FINISH_S)
        except TimeoutError:
            log.warning("responder_left_unfinished", waited_s=FINISH_S)
        for pager in self.pagers.values():
            await pager.close()
        if self.heartbeat is not None:
            await self.heartbeat.close()
        for target in self.targets.values():
            await target.close()
