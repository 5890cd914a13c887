"""Tells somebody outside that Rollguard finds what it has to find: they page when it stays away."""

from __future__ import annotations

import asyncio

import structlog

from rollguard.responders.http import HttpBrokenError, call, client
from rollguard.responders.pagers.receiver import whole_url
from rollguard.store import Store

__all__ = ["Heartbeat"]

log = structlog.get_logger()

#: A probe that is older has been on its way for too long.
FRESH_MS = 2 * 60_000
TIMEOUT_MS = 10_000


class Heartbeat:
    """Asks a URL after each probe that came through.

    Parameters
    ----------
    store : Store
        Where the desk leaves the probe.
    url : str
        It may be a secret: what names a check is what can silence it.

    Raises
    ------
    PageError
        If it is no URL.
    """

    #: The flag that holds when the last probe was made, event time.
    FLAG = "probe"

    def __init__(self, store: Store, url: str) -> None:
        self._store = store
        self._url = whole_url("respond.heartbeat", url)
        self._session = client(timeout_ms=TIMEOUT_MS)
        self._told = ""

    async def beat(self, now_ms: int) -> bool:
        """Tell of a probe that is new and fresh; whether it was told.

        Raises
        ------
        StoreError
            If the database is away.
        """
        flag = await asyncio.to_thread(self._store.flag, self.FLAG)
        if flag is None or flag.value == self._told or now_ms - int(flag.value) > FRESH_MS:
            return False
        try:
            answer = await call(self._session, "POST", self._url, within_ms=TIMEOUT_MS)
            problem = "" if answer.status < 300 else f"answered {answer.status}"
        except HttpBrokenError as error:
            problem = error.problem
        # Also what was not taken: the next probe is soon there, and whoever waits for it is patient for some of them.
        self._told = flag.value
        if problem:
            log.warning("heartbeat_not_told", problem=problem)
        return not problem

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.aclose()
