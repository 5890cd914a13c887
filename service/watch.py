"""Watches over Rollguard itself: looks at brokers, database and outbox every few seconds, and has a person told when it is blind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
from mode import Service

from rollguard.config import RollguardError, Settings
from rollguard.responders import Executor, Notice, Pager
from rollguard.service.alarm import Alarm
from rollguard.service.blindness import REASONS, Blindness, Reason, Seen, blindness_of, seeing
from rollguard.store import Flag, Glance, Store, StoreError

__all__ = ["CHANGES", "Watch", "WatchService"]

log = structlog.get_logger()

#: Between two looks, in seconds.
LOOK_S = 5.0
#: A desk that is further behind than this catches up, and says every so many looks how far it is.
BEHIND_MS = 5 * 60_000
LOOKS_APART = 6
#: The flag that says when the change feed last brought something, epoch ms.
CHANGES = "changes"
#: The flag that each look writes: a database that is read-only, or full, still answers questions.
WRITTEN = "watched"
#: The incident that the desk opens itself when time stands still.
STILL = "gap/time/"


class Watch:
    """What the last look found, and who is told.

    Parameters
    ----------
    settings : Settings
    store : Store
    reach : callable
        Asks the brokers; raises a `RollguardError` when none answers.
    pagers : mapping of str to Pager or None
        None: this worker tells nobody, it only knows.
    has_desk : callable
        Whether this worker has the desk; None: it runs none, so nobody here knows who has.
    now_ms : callable
        The clock on the wall.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        reach: Callable[[], Awaitable[object]],
        pagers: Mapping[str, Pager] | None,
        has_desk: Callable[[], bool | None],
        now_ms: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.store = store
        self.reach = reach
        self.has_desk = has_desk
        self.now_ms = now_ms
        self.seen = Seen(now_ms=now_ms(), began_ms=now_ms())
        #: None: the database did not answer, so nothing that it would say is known.
        self.glance: Glance | None = None
        self.blind: dict[Reason, Blindness | None] = {}
        self._alarms = {} if pagers is None else {reason: Alarm(reason, settings, store, pagers, now_ms) for reason in REASONS}
        self._waiting: dict[str, int] = {}
        #: For how many looks the desk has been far behind; None: it is not.
        self._behind: int | None = None

    @property
    def troubles(self) -> dict[str, str]:
        """What does not answer now, with what it said; unlike blindness at once."""
        seen = self.seen
        away = {"database": (seen.database_since_ms, seen.database_problem), "brokers": (seen.brokers_since_ms, seen.brokers_problem)}
        return {name: problem for name, (since_ms, problem) in away.items() if since_ms is not None}

    @property
    def outbox_is_stuck(self) -> bool:
        """Whether pages wait for longer than they may."""
        return self.blind.get("outbox") is not None

    async def go_on(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once, and tell what is to be told."""
        (glance, database_problem), brokers_problem = await asyncio.gather(self._database(), self._brokers())
        before, now_ms = self.seen, self.now_ms()
        self.glance = glance
        flags = {} if glance is None else glance.flags
        frontier, changed = flags.get(Executor.FRONTIER), flags.get(CHANGES)
        waiting_ms, waiting_for = self._waits(glance, now_ms)
        self.seen = Seen(
            now_ms=now_ms,
            began_ms=before.began_ms,
            database_since_ms=None if not database_problem else before.database_since_ms or now_ms,
            brokers_since_ms=None if not brokers_problem else before.brokers_since_ms or now_ms,
            database_problem=database_problem,
            brokers_problem=brokers_problem,
            frontier_ms=None if frontier is None else int(frontier.value),
            moved_ms=None if frontier is None else frontier.at_ms,
            changed_ms=None if changed is None else int(changed.value),
            waiting_ms=waiting_ms,
            waiting_for=waiting_for,
        )
        self.blind = blindness_of(self.seen, self.settings)
        for name in ("database", "brokers"):
            self._note(name, before, self.seen)
        self._note_pace(before)
        if self._alarms:
            await asyncio.gather(*(self._tell(reason, blind, flags) for reason, blind in self.blind.items()))

    async def _tell(self, reason: Reason, blind: Blindness | None, flags: Mapping[str, Flag]) -> None:
        alarm, database = self._alarms[reason], self.glance is not None
        # Without a database nobody can be asked who tells: whoever has the desk does, and whoever cannot know it.
        mute = not database and self.has_desk() is False
        if reason == "frontier" and blind is not None and not mute:
            mute = await self._told_by_desk()
        avoid = self.seen.waiting_for if reason == "outbox" else ()
        well = reason in seeing(self.seen, self.settings)
        await alarm.look(blind, flags.get(alarm.flag), well=well, database=database, avoid=avoid, mute=mute)

    async def _told_by_desk(self) -> bool:
        """Whether the desk has had somebody paged itself that time stands still, which has surely arrived."""
        still = [] if self.glance is None else [each for each in self.glance.open_incidents if each.startswith(STILL)]
        try:
            return any([await asyncio.to_thread(self.store.outbox, kinds=["page"], states=["sent"], incident_id=each) for each in still])
        except StoreError:
            return False

    async def _database(self) -> tuple[Glance | None, str]:
        names = [Executor.FRONTIER, CHANGES, *(alarm.flag for alarm in self._alarms.values())]

        def ask() -> Glance:
            self.store.raise_flag(WRITTEN, "", self.now_ms())
            return self.store.glance(names)

        try:
            return await asyncio.to_thread(ask), ""
        except StoreError as error:
            return None, str(error)

    async def _brokers(self) -> str:
        try:
            await self.reach()
        except RollguardError as error:
            return str(error)
        return ""

    def _waits(self, glance: Glance | None, now_ms: int) -> tuple[int | None, tuple[str, ...]]:
        """Since when the oldest page waits, and for whom."""
        if glance is None:
            return self.seen.waiting_ms, self.seen.waiting_for
        first_look = self.seen.now_ms == self.seen.began_ms
        known = {}
        for row in glance.undelivered:
            # When a row was written stands nowhere: of one that was there before us it is at the earliest when it was decided.
            known[row.id] = self._waiting.get(row.id, min(row.at_ms, now_ms) if first_look else now_ms)
        self._waiting = known
        if not known:
            return None, ()
        limit_ms = self.settings.blind.outbox_ms or 0
        late = [row for row in glance.undelivered if now_ms - known[row.id] >= limit_ms]
        return min(known.values()), tuple(sorted({msgspec.json.decode(row.body, type=Notice).pager for row in late}))

    def _note_pace(self, before: Seen) -> None:
        """Say that the desk catches up, as after its first start, and when it is in the present; whoever has no desk says nothing of it."""
        now = self.seen
        if now.frontier_ms is None or not self.has_desk():
            self._behind = None
            return
        behind_ms = now.now_ms - now.frontier_ms
        if behind_ms <= BEHIND_MS:
            if self._behind is not None:
                log.info("caught_up", stage="desk", behind_s=behind_ms // 1000)
            self._behind = None
            return
        self._behind = 0 if self._behind is None else self._behind + 1
        # One that stands still does not catch up: the page that we are blind says so.
        if self._behind % LOOKS_APART == 0 and now.frontier_ms != before.frontier_ms:
            log.info("catching_up", stage="desk", behind_s=behind_ms // 1000)

    @staticmethod
    def _note(name: str, before: Seen, now: Seen) -> None:
        was, since = getattr(before, f"{name}_since_ms"), getattr(now, f"{name}_since_ms")
        if was is None and since is not None:
            log.error("away", what=name, error=getattr(now, f"{name}_problem"))
        elif was is not None and since is None:
            log.info("back", what=name, away_s=round((now.now_ms - was) / 1000, 1))


class WatchService(Service):
    """Looks for as long as the worker lives.

    Parameters
    ----------
    watch : Watch
    """

    mundane_level = "debug"

    def __init__(self, watch: Watch, pagers: Mapping[str, Pager]) -> None:
        self.watch = watch
        self.pagers = pagers
        super().__init__()

    @Service.task
    async def _run(self) -> None:
        while not self.should_stop:
            await self.watch.look()
            await self.sleep(LOOK_S)

    async def on_shutdown(self) -> None:
        """Let go of connections."""
        for pager in self.pagers.values():
            await pager.close()
