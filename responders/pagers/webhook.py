"""A receiver of one's own: a page as JSON, signed as Standard Webhooks says.

The body, all keys always there, times RFC 3339 UTC:

    {"type": "rollguard.page.trigger",            or .acknowledge, .resolve
     "timestamp": "2026-03-02T09:00:00.000Z",     when it was decided, event time
     "data": {"dedup_key", "title", "lines": [], "severity": "critical|error|warning|info", "service", "owner", "runbook", "regions": [],
              "onset", "ended", "links": [{"text", "href"}], "details": {}}}

A receiver checks `webhook-signature`, drops a `webhook-id` that it has seen, and shows one incident for each `dedup_key`.

References
----------
https://www.standardwebhooks.com
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer

from rollguard.config import Pager as PagerConfig
from rollguard.responders.pagers.receiver import Receiver, only_url
from rollguard.responders.pagers.texts import plain, stamp
from rollguard.responders.records import Page, PageError

__all__ = ["Webhook"]


class Webhook:
    """Signs each page and sends it.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
    secret : str or None
        What signs, whsec_ and base64.

    Raises
    ------
    PageError
        If it cannot sign.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:
        self._url = only_url(where, pager)
        self._signer = _signer(where, secret)
        self._receiver = Receiver(where, pager, secret)

    async def send(self, page: Page, *, message_id: str) -> str:
        """Tell; when it returns, the receiver has answered 2xx."""
        body = msgspec.json.encode(_body(page))
        now = datetime.now(UTC)
        named = _name(message_id)
        headers = {
            "webhook-id": named,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(named, now, body.decode()),
        }
        return self._receiver.said(await self._receiver.post(self._url, body, headers))

    async def close(self) -> None:
        """Let go of connections."""
        await self._receiver.close()


def _signer(where: str, secret: str | None) -> Signer:
    expected = "whsec_ and at least 24 bytes in base64, as `openssl rand -base64 32` makes them"
    if not secret or not secret.startswith("whsec_") or not re.fullmatch(r"whsec_[A-Za-z0-9+/]{32,}={0,2}", secret):
        raise PageError(where, f"secret: no signing secret. Expected: {expected}", recoverable=False)
    try:
        return Signer(secret)
    except (Base64Error, EmptyWebhookSecretError):
        raise PageError(where, f"secret: no base64. Expected: {expected}", recoverable=False) from None


def _name(message_id: str) -> str:
    """The id as a header carries it; a full stop would part what is signed."""
    if re.fullmatch(r"[A-Za-z0-9_:-]{1,255}", message_id):
        return message_id
    return f"msg_{blake2b(message_id.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _body(page: Page) -> dict[str, Any]:
    data = {
        "dedup_key": page.dedup_key,
        "title": page.title,
        "lines": page.lines,
        "severity": page.severity,
        "service": page.service,
        "owner": page.owner,
        "runbook": page.runbook,
        "regions": page.regions,
        "onset": None if page.onset_ms is None else stamp(page.onset_ms),
        "ended": None if page.ended_ms is None else stamp(page.ended_ms),
        "links": [{"text": each.text, "href": each.href} for each in page.links],
        "details": page.details,
    }
    return {"type": f"rollguard.page.{page.event}", "timestamp": stamp(page.at_ms), "data": plain(data)}
