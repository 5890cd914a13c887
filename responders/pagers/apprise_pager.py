"""Apprise: one URL for each of a hundred other receivers, from Opsgenie to e-mail.

It is a library of blocking calls that says only whether all went well, so that every failure may be tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from rollguard.config import Pager as PagerConfig
from rollguard.responders.mask import Mask
from rollguard.responders.pagers.texts import is_address, line
from rollguard.responders.records import Page, PageError

__all__ = ["ApprisePager"]

_LINES = 40
_log = logging.getLogger("apprise")
#: Threads of calls that have run out of time and still go on; no more are begun beside them.
_MOST = 4
_TITLES = {"trigger": "", "acknowledge": "Acknowledged: ", "resolve": "Resolved: "}
_KINDS = {"critical": "failure", "error": "failure", "warning": "warning", "info": "info"}


class ApprisePager:
    """Tells through Apprise.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
    secret : str or None
        The whole URL, as Apprise describes it for its receiver.

    Raises
    ------
    PageError
        If Apprise is not installed, or cannot make anything of the URL.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra, slow to import
        except ImportError:
            raise PageError(where, "Apprise is not installed. Install it: pip install 'rollguard[apprise]'", recoverable=False) from None
        if pager.ca_file is not None:
            raise PageError(
                where, "ca_file: Apprise trusts the system's certificates. Add yours to them, or name their file in REQUESTS_CA_BUNDLE", recoverable=False
            )
        self._mask = Mask(secret)
        _quieten(self._masked)
        asset = apprise.AppriseAsset(app_id="Rollguard", app_desc="Rollguard", async_mode=False)
        asset.http_redirects = False
        found = apprise.Apprise.instantiate(secret or "", asset=asset)
        if found is None:
            _log.removeFilter(self._masked)
            raise PageError(
                where, "secret: no URL that Apprise knows, or one that lacks a part. Expected: as `apprise --details` lists them", recoverable=False
            )
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(found)
        self._where = where
        self._timeout_s = pager.timeout_ms / 1_000
        self._running = 0

    async def send(self, page: Page, *, message_id: str) -> str:  # noqa: ARG002 - its receivers know no ids
        """Tell; when it returns, Apprise has been told that it was taken."""
        if self._running >= _MOST:
            raise self._error(f"{self._running} earlier tries have not come to an end")
        links = [f"{line(each.text, 255)}: {each.href}" for each in page.links if is_address(each.href)]
        texts = [line(each, 1_000) for each in page.lines[:_LINES]] + links + ([f"Runbook: {line(page.runbook, 1_000)}"] if page.runbook else [])
        title = line(_TITLES[page.event] + page.title, 250)
        kind = {"resolve": "success", "acknowledge": "info"}.get(page.event, _KINDS[page.severity])

        def tell() -> Any:
            return self._apprise.notify(body="\n".join(texts) or title, title=title, notify_type=kind, body_format="text")

        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._beside(tell)
        except TimeoutError:
            raise self._error(f"not done within {self._timeout_s:g} s") from None
        if isinstance(result, BaseException):
            raise self._error(f"Apprise failed: {type(result).__name__}: {result}")
        if not result:
            raise self._error(_reasons(result))
        return "Apprise says that it was taken"

    async def close(self) -> None:
        """Apprise keeps no connection."""
        _log.removeFilter(self._masked)

    def _masked(self, record: logging.LogRecord) -> bool:
        """Take the secret out of what Apprise logs, which says where it sends."""
        record.msg, record.args, record.exc_info = self._mask(record.getMessage()), (), None
        return True

    def _error(self, problem: str) -> PageError:
        return PageError(self._where, line(self._mask(problem), 1_000), recoverable=True)

    async def _beside(self, work: Callable[[], Any]) -> Any:
        """Run in a thread that nobody has to wait for: one of the loop's own, held up by a receiver that drips, would hold up the end of the process."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            self._running -= 1
            if not done.done():
                done.set_result(result)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - of somebody else's code; told in the loop
                result = error
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(settle, result)

        self._running += 1
        Thread(target=run, name="rollguard-apprise", daemon=True).start()
        return await done


def _quieten(masked: Callable[[logging.LogRecord], bool]) -> None:
    """Keep addresses, which are secrets, out of logs; what went wrong is told with the page's error."""
    _log.addFilter(masked)
    _log.propagate = False
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _reasons(result: Any) -> str:
    """What newer versions remember of a failure."""
    logs = getattr(result, "logs", None)
    said = list(dict.fromkeys(str(each.message) for each in logs())) if callable(logs) else []
    return "; ".join(["Apprise says that it was not taken", *said[:3]])
