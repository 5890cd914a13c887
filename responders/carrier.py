"""Carries pages from the outbox to the pagers: at least once each, in order for each incident, and never lost to a pager that is away.

A page that a pager refuses, or that stays away for long, is told to the fallback. More incidents at once than a person can read stand
together on one page, which counts them all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import structlog
import tenacity

from rollguard.config import Respond
from rollguard.responders.records import Page, PageError, Pager
from rollguard.responders.telling import Notice, page_of
from rollguard.store import LedgerRow, OutboxRow, Outcome, Store

__all__ = ["Carrier"]

log = structlog.get_logger()

#: Rows taken at once, and for how long they are ours alone: longer than a try may take.
AT_ONCE, LEASE_MS = 20, 5 * 60_000
#: Seconds before the next try: a random part of 2, 4, 8 ... 60.
_WAIT = tenacity.wait_random_exponential(multiplier=2, max=60)
#: How the outcome of a page begins that stands on the summary page.
_TOGETHER = "on the summary page: "
#: Incidents named on a summary page; the others are counted.
NAMED = 20


@dataclass(slots=True)
class _Storm:
    """What one pager has been told of lately.

    Attributes
    ----------
    told : dict of str to int
        When each incident was first told by itself.
    together : dict of str to str
        Titles of those that stand on the summary page, by incident.
    """

    told: dict[str, int] = field(default_factory=dict)
    together: dict[str, str] = field(default_factory=dict)


class Carrier:
    """Sends what is due.

    Parameters
    ----------
    store : Store
    respond : Respond
    pagers : mapping of str to Pager
        By name.
    now_ms : callable
        The clock on the wall.
    taken_by : str
        Who we are; another name after each start.
    """

    def __init__(self, store: Store, respond: Respond, pagers: Mapping[str, Pager], now_ms: Callable[[], int], taken_by: str) -> None:
        self.store = store
        self.respond = respond
        self.pagers = pagers
        self.now_ms = now_ms
        self.taken_by = taken_by
        self._storms: dict[str, _Storm] = {name: _Storm() for name in pagers}
        self._first_ms: dict[str, int] = {}

    def remember(self) -> None:
        """Read what was told lately, so that a start in the middle of a storm begins none anew."""
        for row in self.store.outbox(kinds=["page"], states=["sent"], settled_since_ms=self.now_ms() - self.respond.storm.per_ms):
            notice = _read(row)
            storm = None if notice is None else self._storms.get(notice.pager)
            if notice is None or storm is None:
                continue
            if row.detail.startswith(_TOGETHER):
                storm.together[row.incident_id] = page_of(notice, row.at_ms).title
            else:
                storm.told.setdefault(row.incident_id, row.settled_ms or 0)

    async def once(self) -> int:
        """Send what is due now; the number of rows that were taken.

        Raises
        ------
        StoreError
            If the database is away.
        """
        rows = await asyncio.to_thread(self.store.due, ["page", "advice"], self.now_ms(), AT_ONCE, taken_by=self.taken_by, lease_ms=LEASE_MS)
        by_pager: dict[str, list[tuple[OutboxRow, Notice]]] = {}
        for row in rows:
            notice = _read(row)
            if notice is None:
                # One row must not keep all others from being told.
                what_to_do = f"another version of Rollguard wrote it; look: rollguard incidents show {row.incident_id} -c FILE"
                log.error("page_unreadable", incident_id=row.incident_id, row=row.id, what_to_do=what_to_do)
                await self._settle(row, "parked", "it cannot be read: another version of Rollguard wrote it")
                continue
            by_pager.setdefault(notice.pager, []).append((row, notice))
        # One pager that is slow keeps no other waiting.
        await asyncio.gather(*(self._in_order(name, each) for name, each in by_pager.items()))
        return len(rows)

    async def renew(self) -> None:
        """Tell the pagers that forget what is not told again of every incident that is open and that they were told of.

        Raises
        ------
        StoreError
            If the database is away.
        """
        forgetful = [name for name, pager in self.respond.pagers.items() if pager.kind == "alertmanager" and name in self.pagers]
        if not forgetful:
            return
        for incident in await asyncio.to_thread(self.store.incidents, is_open=True):
            rows = await asyncio.to_thread(self.store.outbox, kinds=["page", "advice"], states=["sent"], incident_id=incident.incident_id)
            last = {notice.pager: (row, notice) for row in rows if (notice := msgspec.json.decode(row.body, type=Notice)).event == "trigger"}
            for name in forgetful:
                if name not in last or last[name][0].detail.startswith(_TOGETHER):
                    continue
                row, notice = last[name]
                page = page_of(msgspec.structs.replace(notice, incident=msgspec.json.decode(incident.body)["incident"]), row.at_ms)
                try:
                    await self.pagers[name].send(page, message_id=f"{row.id}/renewed")
                except PageError as error:
                    log.warning("page_not_renewed", incident_id=incident.incident_id, pager=name, error=str(error))

    async def _in_order(self, name: str, rows: list[tuple[OutboxRow, Notice]]) -> None:
        for row, notice in rows:
            await self._carry(name, row, notice)

    async def _carry(self, name: str, row: OutboxRow, notice: Notice) -> None:
        self._first_ms.setdefault(row.id, self.now_ms())
        pager = self.pagers.get(name)
        if pager is None:
            await self._failed(row, notice, PageError(name, "no such pager in the config any more", recoverable=False))
            return
        try:
            page, detail = self._page(name, row, notice)
            said = await pager.send(page, message_id=row.id)
        except PageError as error:
            await self._failed(row, notice, error)
            return
        self._first_ms.pop(row.id, None)
        await self._settle(row, "sent", f"{detail}{said}")

    def _page(self, name: str, row: OutboxRow, notice: Notice) -> tuple[Page, str]:
        """The page of an incident, or of the storm that it is part of."""
        now_ms, storm, limit = self.now_ms(), self._storms[name], self.respond.storm
        page = page_of(notice, row.at_ms)
        storm.told = {each: then for each, then in storm.told.items() if now_ms - then < limit.per_ms or each == row.incident_id}
        if row.incident_id in storm.told:
            return page, ""
        if row.incident_id not in storm.together and (len(storm.told) < limit.pages or notice.event != "trigger"):
            storm.told[row.incident_id] = now_ms
            return page, ""
        if notice.event == "resolve":
            storm.together.pop(row.incident_id, None)
        else:
            storm.together[row.incident_id] = page.title
        return _summary(name, storm, page), _TOGETHER

    async def _failed(self, row: OutboxRow, notice: Notice, error: PageError) -> None:
        now_ms = self.now_ms()
        away = now_ms - self._first_ms[row.id] >= self.respond.fallback_after_ms
        others = [name for name in self.respond.fallback if name != notice.pager] if away or not error.recoverable else []
        because = f"told here because {error}"
        follow = [
            OutboxRow(
                id=f"{row.id}/{other}",
                kind=row.kind,
                incident_id=row.incident_id,
                dedup_key=f"{row.incident_id}/{other}",
                at_ms=row.at_ms,
                body=msgspec.json.encode(msgspec.structs.replace(notice, pager=other, because=because)),
            )
            for other in others
        ]
        log.warning(
            "page_waits" if error.recoverable else "page_parked", incident_id=row.incident_id, pager=notice.pager, attempt=row.attempts, error=str(error)
        )
        if error.recoverable:
            wait_ms = max(_back_off_ms(row.attempts), error.after_ms or 0)
            await self._settle(row, "retry", str(error), next_ms=now_ms + wait_ms, follow=follow)
            return
        if not others and not notice.because:
            log.error("page_not_told", incident_id=row.incident_id, pager=notice.pager, what_to_do="name pagers in respond.fallback")
        self._first_ms.pop(row.id, None)
        await self._settle(row, "parked", str(error), follow=follow)

    async def _settle(
        self, row: OutboxRow, outcome: Outcome, detail: str, *, next_ms: int | None = None, follow: list[OutboxRow] | tuple[OutboxRow, ...] = ()
    ) -> None:
        now_ms = self.now_ms()
        body = msgspec.json.encode({"row": row.id, "incident_id": row.incident_id, "attempt": row.attempts, "said": detail})
        told = [] if outcome == "retry" else [LedgerRow(at_ms=now_ms, kind=f"page.{outcome}", body=body)]
        await asyncio.to_thread(self.store.settle, row.id, self.taken_by, outcome, now_ms, next_ms=next_ms, detail=detail, follow=follow, ledger_rows=told)


def _read(row: OutboxRow) -> Notice | None:
    """What is to be told, if it can be."""
    try:
        notice = msgspec.json.decode(row.body, type=Notice)
        page_of(notice, row.at_ms)
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError):
        return None
    return notice


def _back_off_ms(attempts: int) -> int:
    state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
    state.attempt_number = attempts
    return round(1000 * _WAIT(state)) + random.randint(0, 500)  # noqa: S311 - only spreads tries


def _summary(name: str, storm: _Storm, page: Page) -> Page:
    """One page for many incidents; it is brought up to date as long as there are any."""
    titles = [f"{incident}: {title}" for incident, title in sorted(storm.together.items())]
    more = [f"and {len(titles) - NAMED} more: rollguard incidents -c FILE"] if len(titles) > NAMED else []
    over = not titles
    return msgspec.structs.replace(
        page,
        event="resolve" if over else "trigger",
        dedup_key=f"storm/{name}",
        title="over: many incidents at once" if over else f"{len(titles)} more {'incident' if len(titles) == 1 else 'incidents'} at once",
        lines=(*titles[:NAMED], *more),
        severity="info" if over else "critical",
        service=None,
        owner=None,
        runbook=None,
        regions=(),
        ended_ms=page.ended_ms if over else None,
        links=(),
        details={"incidents": sorted(storm.together)},
    )
