"""A page of Rollguard's own, straight to the pagers: past topics, desk and outbox, any of which may be what is broken.

Each reason has one key, so a receiver shows one incident however often it is told. Which of several workers tells is settled by a flag in the
database that only one of them can take; without a database, the one that has the desk tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import msgspec
import structlog

from rollguard.config import Settings
from rollguard.responders import Page, PageError, Pager
from rollguard.service.blindness import Blindness, Reason
from rollguard.service.notices import LOG
from rollguard.store import Flag, Store, StoreError

__all__ = ["Alarm", "Told"]

log = structlog.get_logger()

#: A reason is paged about no more often.
APART_MS = 60 * 60_000
#: Who took it upon them to tell, and has not said so after this time, has died; or nobody took the page, and it is tried again.
LEASE_MS = 60_000
#: Looks in which all has to be well before it is told that it is.
WELL = 2
#: How often those that forget are told again.
RENEW_MS = 60_000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was told of one reason; the value of a flag.

    Attributes
    ----------
    phase : {"well", "telling", "told", "ending"}
    at_ms : int
        When this phase began.
    paged_ms : int
        When it was last paged about; 0: never.
    pagers : tuple of str
        Who took the page.
    """

    phase: Literal["well", "telling", "told", "ending"] = "well"
    at_ms: int = 0
    paged_ms: int = 0
    pagers: tuple[str, ...] = ()


class Alarm:
    """Tells of one reason, and that it is over.

    Parameters
    ----------
    reason : str
    settings : Settings
    store : Store
    pagers : mapping of str to Pager
        By name; with the log.
    now_ms : callable
        The clock on the wall.
    """

    def __init__(self, reason: Reason, settings: Settings, store: Store, pagers: Mapping[str, Pager], now_ms: Callable[[], int]) -> None:
        self.reason = reason
        self.settings = settings
        self.store = store
        self.pagers = pagers
        self.now_ms = now_ms
        self.told = Told()
        self._well = 0
        self._renewed_ms = 0

    @property
    def flag(self) -> str:
        """Name of the flag that says what was told."""
        return f"blind {self.reason}"

    @property
    def key(self) -> str:
        """What a receiver knows it by."""
        return f"rollguard/{self.settings.kafka.group}/blind/{self.reason}"

    async def look(self, blind: Blindness | None, flag: Flag | None, *, well: bool, database: bool, avoid: Collection[str] = (), mute: bool = False) -> None:
        """Take what a look found, and tell what is to be told.

        Parameters
        ----------
        blind : Blindness or None
            None: it is not, or not for long enough.
        flag : Flag or None
            What the database says was told.
        well : bool
            All is surely well.
        database : bool
            It answers; else nobody can be asked who tells.
        avoid : collection of str
            Pagers that are told only if no other takes it.
        mute : bool
            Another tells, or somebody was told of it otherwise.
        """
        if database:
            known = Told() if flag is None else msgspec.json.decode(flag.value, type=Told)
            # What was told while the database was away, it does not know.
            self.told = max(known, self.told, key=lambda each: each.at_ms)
        before, now_ms = self.told, self.now_ms()
        self._well = self._well + 1 if well else 0
        taken = before.phase in {"telling", "ending"} and now_ms - before.at_ms < LEASE_MS
        if taken or mute:
            return
        if blind is not None:
            if before.phase == "told":
                await self._renew(blind, before)
            elif before.phase == "telling" or now_ms - before.paged_ms >= APART_MS:
                await self._tell(blind, before, flag, database=database, avoid=avoid)
        elif before.phase != "well" and self._well >= WELL:
            await self._end(before, flag, database=database)

    async def _tell(self, blind: Blindness, before: Told, flag: Flag | None, *, database: bool, avoid: Collection[str]) -> None:
        taken = msgspec.structs.replace(before, phase="telling", at_ms=self.now_ms())
        if not await self._put(taken, flag, database=database):
            return
        page = self._page(blind, "trigger")
        told = await self._one_of(self._order(avoid), page)
        log.error("blind", reason=self.reason, title=blind.title, since_ms=blind.since_ms, told=list(told))
        if not told:
            log.error("blind_not_told", reason=self.reason, what_to_do="see to the pagers of respond.page and respond.fallback; tried again in a minute")
            return
        await self._put(Told(phase="told", at_ms=self.now_ms(), paged_ms=taken.at_ms, pagers=told), _as_flag(self.flag, taken), database=database)
        self._renewed_ms = self.now_ms()

    async def _end(self, before: Told, flag: Flag | None, *, database: bool) -> None:
        # Who died while telling may have told everyone.
        whom = before.pagers or self.settings.respond.page
        taken = msgspec.structs.replace(before, phase="ending", at_ms=self.now_ms(), pagers=whom)
        if not await self._put(taken, flag, database=database):
            return
        page = self._page(Blindness(since_ms=before.paged_ms, title=f"over: Rollguard is blind: {self.reason}", lines=("it sees again",)), "resolve")
        sent = [await self._send(name, page) for name in whom]
        log.info("sees_again", reason=self.reason, told=list(whom))
        if all(sent):
            over = Told(phase="well", at_ms=self.now_ms(), paged_ms=before.paged_ms)
            await self._put(over, _as_flag(self.flag, taken), database=database)

    async def _renew(self, blind: Blindness, before: Told) -> None:
        """Tell those again that forget what is not told again."""
        if self.now_ms() - self._renewed_ms < RENEW_MS:
            return
        self._renewed_ms = self.now_ms()
        known = self.settings.respond.pagers
        for name in before.pagers:
            if name in known and known[name].kind == "alertmanager":
                await self._send(name, self._page(blind, "trigger"))

    async def _put(self, told: Told, flag: Flag | None, *, database: bool) -> bool:
        """Take note of it; False: another was quicker."""
        if database:
            value = msgspec.json.encode(told).decode()
            try:
                before = None if flag is None else flag.value
                if not await asyncio.to_thread(self.store.exchange_flag, self.flag, before, value, told.at_ms):
                    return False
            except StoreError as error:
                # It has just gone away: better told twice than not at all.
                log.warning("blind_not_noted", reason=self.reason, error=str(error))
        self.told = told
        return True

    def _order(self, avoid: Collection[str]) -> list[tuple[str, ...]]:
        """Pagers to be told, in steps: the next only if nobody of the one before took it."""
        respond = self.settings.respond
        first = tuple(name for name in respond.page if name not in avoid)
        second = tuple(name for name in respond.fallback if name not in avoid)
        others = tuple(name for name in respond.pagers if name not in {*first, *second, *avoid})
        # Where no pager is declared, the log is what tells.
        steps = [first, second, others, tuple(name for name in respond.pagers if name in avoid)] if respond.pagers else [(LOG,)]
        return [step for step in steps if step]

    async def _one_of(self, steps: Sequence[tuple[str, ...]], page: Page) -> tuple[str, ...]:
        for step in steps:
            sent = await asyncio.gather(*(self._send(name, page) for name in step))
            if told := tuple(name for name, took in zip(step, sent, strict=True) if took):
                return told
        return ()

    async def _send(self, name: str, page: Page) -> bool:
        pager = self.pagers.get(name)
        if pager is None:
            return True
        try:
            await pager.send(page, message_id=f"{self.key}/{page.event}/{self.told.at_ms}/{name}")
        except PageError as error:
            log.warning("blind_page_not_taken", reason=self.reason, pager=name, page=page.event, error=str(error))
            return False
        return True

    def _page(self, blind: Blindness, event: Literal["trigger", "resolve"]) -> Page:
        now_ms = self.now_ms()
        return Page(
            event=event,
            dedup_key=self.key,
            title=blind.title,
            lines=blind.lines,
            severity="critical" if event == "trigger" else "info",
            at_ms=now_ms,
            onset_ms=blind.since_ms,
            ended_ms=now_ms if event == "resolve" else None,
            details={"reason": self.reason, "group": self.settings.kafka.group},
        )


def _as_flag(name: str, told: Told) -> Flag:
    return Flag(name=name, value=msgspec.json.encode(told).decode(), at_ms=told.at_ms)
