"""The responder as a service of the worker: it carries what the desk put into the outbox."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import msgspec
import structlog
from mode import Service

from rollguard.config import Pager as PagerConfig
from rollguard.config import RollguardError, Settings
from rollguard.responders import Carrier, Notice, Pager, make_pager
from rollguard.service.notices import LOG
from rollguard.service.stages import now_ms
from rollguard.store import LedgerRow, OutboxRow, Store
from rollguard.streams.kafka import find_secret, pauses

__all__ = ["RespondService", "pagers_of"]

log = structlog.get_logger()

#: How often the outbox is looked at when nothing was due, in seconds.
LOOK_S = 0.5
#: How often pagers that forget are told again.
RENEW_MS = 60_000


def pagers_of(settings: Settings) -> dict[str, Pager]:
    """Make every pager of a config, and the log, which is always there.

    Raises
    ------
    SecretError
        If a secret is not where the config says.
    PageError
        If a pager can never work.
    """
    found: dict[str, Pager] = {LOG: make_pager(LOG, PagerConfig(kind="log"), None)}
    for name, pager in settings.respond.pagers.items():
        secret = None if pager.secret is None else find_secret(pager.secret, f"respond.pagers.{name}.secret")
        found[name] = make_pager(name, pager, secret)
    return found


class RespondService(Service):
    """Tells people what was decided.

    Parameters
    ----------
    settings : Settings
    store : Store
    pagers : mapping of str to Pager
    owner : str
        Who we are; another name after each start.
    """

    mundane_level = "debug"

    def __init__(self, settings: Settings, store: Store, pagers: Mapping[str, Pager], owner: str) -> None:
        self.store = store
        self.pagers = pagers
        self.owner = f"{owner}/{os.urandom(4).hex()}"
        self.carrier = Carrier(store, settings.respond, pagers, now_ms, self.owner)
        super().__init__()

    @Service.task
    async def _run(self) -> None:
        waits = pauses()
        remembered = False
        renewed_ms = now_ms()
        while not self.should_stop:
            try:
                if not remembered:
                    await asyncio.to_thread(self.carrier.remember)
                    remembered = True
                taken = await self.carrier.once()
                await self._expire()
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

    async def _expire(self) -> None:
        """A rollback that nobody carried out in time is dropped, and a person is told."""
        for row in await asyncio.to_thread(self.store.overdue, now_ms()):
            detail = "nothing carried it out within its time: it is dropped, and left to a person"
            told = LedgerRow(
                at_ms=now_ms(), kind="rollback.expired", body=msgspec.json.encode({"row": row.id, "incident_id": row.incident_id, "detail": detail})
            )
            follow = await asyncio.to_thread(self._told_again, row, detail)
            await asyncio.to_thread(self.store.settle, row.id, self.owner, "expired", now_ms(), detail=detail, follow=follow, ledger_rows=[told])

    def _told_again(self, row: OutboxRow, detail: str) -> list[OutboxRow]:
        """Pages for those who were told of a rollback, that it was not done."""
        before = [each for each in self.store.outbox(kinds=["page"], incident_id=row.incident_id) if each.at_ms == row.at_ms]
        found = []
        for each in before:
            notice = msgspec.json.decode(each.body, type=Notice)
            again = msgspec.structs.replace(notice, because=f"the rollback was not carried out: {detail}", decision=None, next=None)
            found.append(
                OutboxRow(
                    id=f"{row.id}/expired/{notice.pager}",
                    kind="page",
                    incident_id=row.incident_id,
                    dedup_key=each.dedup_key,
                    at_ms=row.at_ms,
                    body=msgspec.json.encode(again),
                )
            )
        return list({each.id: each for each in found}.values())

    async def on_stop(self) -> None:
        """Let go of connections."""
        for pager in self.pagers.values():
            await pager.close()
