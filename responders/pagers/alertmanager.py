"""Alertmanager: an alert to every peer, sent again while it fires, ended by its end time.

What makes an alert the same one is its labels, all of them. An incident's severity, service and regions may change while it is open, and a
label that changed would leave the first alert firing until it timed out, beside a second one. So labels are `alertname`, `incident` and what
the config adds, which never change; the rest is annotations. Routes go by the config's labels: a pager a team, each with its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import urlsplit

from rollguard.config import Pager as PagerConfig
from rollguard.responders.pagers.receiver import Receiver, whole_url
from rollguard.responders.pagers.texts import is_address, key, line, stamp
from rollguard.responders.records import Page, PageError

__all__ = ["Alertmanager"]

_LINES = 100


class Alertmanager:
    """Tells every peer of a cluster, since a balancer would tell only one.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
        `url`: every peer. `labels`: what its routes go by.
    secret : str or None
        A bearer token, where something before it asks for one.

    Raises
    ------
    PageError
        If it has no peer, a label that is none, or a token that no header can carry.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:
        if not pager.url:
            raise PageError(where, "url: 0 addresses. Expected: every peer", recoverable=False)
        for name in pager.labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name in {"alertname", "incident"}:
                raise PageError(
                    where, f"labels.{name}: no label that it may have. Expected: letters, digits and _, neither alertname nor incident", recoverable=False
                )
        if secret is not None and not re.fullmatch(r"[!-~]+", secret):
            raise PageError(where, "secret: no bearer token. Expected: printable ASCII without spaces", recoverable=False)
        self._headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self._urls = tuple(f"{whole_url(where, url, 'url').rstrip('/').removesuffix('/api/v2/alerts')}/api/v2/alerts" for url in pager.url)
        self._labels = {name: line(value, 1_000) for name, value in pager.labels.items()}
        self._receiver = Receiver(where, pager, secret)

    async def send(self, page: Page, *, message_id: str) -> str:  # noqa: ARG002 - an alert is the same by its labels
        """Tell; when it returns, at least one peer has taken it. Whatever fires has to be sent again within `resolve_timeout`."""
        if page.event == "acknowledge":
            return "nothing was sent: Alertmanager knows no acknowledgement"
        alerts = [self._alert(page)]
        tried = await asyncio.gather(*(self._tell(url, alerts) for url in self._urls))
        broken = [error for error in tried if error is not None]
        told = "; ".join(f"{urlsplit(url).netloc}: {error.problem}" for url, error in zip(self._urls, tried, strict=True) if error is not None)
        if len(broken) < len(tried):
            return f"{len(tried) - len(broken)} of {len(tried)} peers took it" + (f"; {told}" if told else "")
        again = [error for error in broken if error.recoverable]
        waits = [error.after_ms or 0 for error in again]
        raise self._receiver.error(f"no peer took it: {told}", recoverable=bool(again), after_ms=min(waits, default=0) or None)

    async def close(self) -> None:
        """Let go of connections."""
        await self._receiver.close()

    async def _tell(self, url: str, alerts: list[dict[str, Any]]) -> PageError | None:
        try:
            await self._receiver.post(url, alerts, self._headers)
        except PageError as error:
            return error
        return None

    def _alert(self, page: Page) -> dict[str, Any]:
        starts_ms = page.at_ms if page.onset_ms is None else page.onset_ms
        texts = {
            "summary": line(page.title, 1_000),
            "description": "\n".join(line(each, 1_000) for each in page.lines[:_LINES]),
            "severity": page.severity,
            "service": line(page.service or "", 255),
            "regions": line(", ".join(page.regions), 1_000),
            "owner": line(page.owner or "", 255),
            "runbook_url": line(page.runbook or "", 2_000),
        }
        alert: dict[str, Any] = {
            "labels": {**self._labels, "alertname": "RollguardIncident", "incident": key(page.dedup_key, 255)},
            "annotations": {name: text for name, text in texts.items() if text},
        }
        if page.event == "resolve":
            # An end that is still to come would not end it: clocks of events may be ahead. One before its start is refused.
            ends_ms = min(page.at_ms if page.ended_ms is None else page.ended_ms, time.time_ns() // 1_000_000)
            starts_ms = min(starts_ms, ends_ms)
            alert["endsAt"] = stamp(ends_ms)
        alert["startsAt"] = stamp(starts_ms)
        if page.links and is_address(page.links[0].href):
            alert["generatorURL"] = page.links[0].href
        return alert
