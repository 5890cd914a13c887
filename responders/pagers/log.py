"""The log: for whoever tries Rollguard out, and the place where a page is told when nothing else is named."""

from __future__ import annotations

import structlog

from rollguard.config import Pager as PagerConfig
from rollguard.responders.records import Page

__all__ = ["Log"]

_log = structlog.get_logger("rollguard.responders")


class Log:
    """Writes each page into the log, as `page_told`.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
    secret : str or None
        It has none.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:  # noqa: ARG002 - every kind is made alike
        self._where = where

    async def send(self, page: Page, *, message_id: str) -> str:
        """Tell; it never fails."""
        _log.warning("page_told", pager=self._where, told=page.event, dedup_key=page.dedup_key, title=page.title, lines=list(page.lines), message_id=message_id)
        return "written to the log"

    async def close(self) -> None:
        """Do nothing: it holds nothing."""
