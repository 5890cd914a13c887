"""PagerDuty: Events API v2, which pages, and change events, which do not.

References
----------
https://developer.pagerduty.com/docs/events-api-v2, and the schema in PagerDuty/api-schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rollguard.config import Pager as PagerConfig
from rollguard.responders.http import HttpAnswer
from rollguard.responders.pagers.receiver import Receiver, only_url
from rollguard.responders.pagers.texts import is_address, key, line, plain, stamp
from rollguard.responders.records import Link, Page, PageError

__all__ = ["PagerDuty"]

_URL = "https://events.pagerduty.com"
#: Less than the 512 KB that it takes.
_LARGEST = 500_000
_LINKS = 20
_LINES = 40


class PagerDuty:
    """Keeps one alert for each incident: triggered, acknowledged, resolved.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
        `url` names another region's host, as https://events.eu.pagerduty.com.
    secret : str or None
        The routing key of an integration of the kind "Events API v2".

    Raises
    ------
    PageError
        If it cannot be a routing key.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:
        if not secret or not secret.isascii() or not secret.isalnum():
            raise PageError(where, "secret: no routing key. Expected: the integration key, letters and digits", recoverable=False)
        self._key = secret
        self._url = only_url(where, pager, _URL).rstrip("/").removesuffix("/v2/enqueue")
        self._receiver = Receiver(where, pager, secret)

    async def send(self, page: Page, *, message_id: str) -> str:
        """Tell; when it returns, PagerDuty has accepted the event, and the change that was made, where there is one."""
        said = self._taken(await self._receiver.post(f"{self._url}/v2/enqueue", _event(page, self._key, message_id)))
        if page.changed:
            await self.change(summary=page.changed, at_ms=page.at_ms, links=page.links, details={"incident": page.dedup_key, "service": page.service})
        return said

    async def change(self, *, summary: str, at_ms: int, links: Sequence[Link] = (), details: Mapping[str, Any] | None = None) -> str:
        """Tell of a change, as a rollback that was done; nobody is paged.

        Parameters
        ----------
        summary : str
        at_ms : int
            When it was done, epoch ms.
        links : sequence of Link
        details : mapping of str to any
            Values of JSON.

        Returns
        -------
        str
            What PagerDuty said.

        Raises
        ------
        PageError
        """
        payload = {"summary": line(summary, 1_024), "timestamp": stamp(at_ms), "source": "rollguard", "custom_details": plain(dict(details or {}))}
        event = {"routing_key": self._key, "payload": payload, "links": _links(links)}
        return self._taken(await self._receiver.post(f"{self._url}/v2/change/enqueue", _within(event)))

    async def close(self) -> None:
        """Let go of connections."""
        await self._receiver.close()

    def _taken(self, answer: HttpAnswer) -> str:
        """Believe nothing but the answer that means it; whatever else says 200 is not PagerDuty."""
        try:
            body = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError):
            body = None
        if answer.status != 202 or not isinstance(body, dict) or body.get("status") != "success":
            raise self._receiver.error(f'{self._receiver.said(answer)}; expected: 202 and the status "success"', recoverable=True)
        return self._receiver.said(answer)


def _event(page: Page, routing_key: str, message_id: str) -> bytes:
    """The body for a page; what follows a trigger needs no more than its key."""
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": page.event, "dedup_key": key(page.dedup_key, 255)}
    return _within(event | (_alert(page, message_id) if page.event == "trigger" else {}))


def _alert(page: Page, message_id: str) -> dict[str, Any]:
    """What a person sees."""
    lines = [line(each, 1_000) for each in page.lines[:_LINES]]
    if len(page.lines) > _LINES:
        lines.append(f"… and {len(page.lines) - _LINES} lines more")
    known = {"owner": page.owner, "runbook": page.runbook, "onset": None if page.onset_ms is None else stamp(page.onset_ms), "message_id": message_id}
    details = {name: line(value, 1_000) for name, value in known.items() if value} | {name: plain(value) for name, value in page.details.items()}
    places = [("component", page.service or ""), ("group", ", ".join(page.regions)), ("class", _kind(page.details))]
    payload = {
        "summary": line(page.title, 1_024) or "incident",
        "source": "rollguard",
        "severity": page.severity,
        "timestamp": stamp(page.at_ms),
        **{name: line(value, 255) for name, value in places if value},
        "custom_details": {"lines": lines} | {plain(name): value for name, value in details.items() if name != "lines"},
    }
    links = _links(page.links)
    if page.runbook and is_address(page.runbook):
        links.append({"href": page.runbook, "text": "Runbook"})
    opened = {"client": "Rollguard", "client_url": links[0]["href"]} if page.links and links else {}
    # It shows nothing that is not served by HTTPS.
    images = [{"src": page.image, "alt": line(page.title, 255)}] if page.image and page.image.startswith("https://") and is_address(page.image) else []
    return {"payload": payload, "links": links, "images": images, **opened}


def _kind(details: Mapping[str, Any]) -> str:
    """The metrics that hurt, or the one."""
    metrics = details.get("metrics", details.get("metric", ()))
    return metrics if isinstance(metrics, str) else ", ".join(str(each) for each in metrics) if isinstance(metrics, (list, tuple)) else ""


def _links(links: Sequence[Link]) -> list[dict[str, str]]:
    return [{"href": each.href, "text": line(each.text, 255)} for each in links[:_LINKS] if is_address(each.href)]


def _within(event: dict[str, Any]) -> bytes:
    """Encode an event; where it is too long, the longest details are left out, and that is said in their place."""
    body = msgspec.json.encode(event)
    if len(body) <= _LARGEST:
        return body
    details: dict[str, Any] = event["payload"]["custom_details"]
    sizes = {name: len(msgspec.json.encode({name: value})) for name, value in details.items() if name != "lines"}
    left_out: list[str] = []
    over = len(body) + 4_000 - _LARGEST
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if over <= 0:
            break
        left_out.append(name)
        over -= sizes[name]
    kept = {name: value for name, value in details.items() if name not in left_out}
    names = line(", ".join(sorted(left_out)), 900)
    kept["shortened"] = f"left out, since the event was too long for PagerDuty: {names} ({len(left_out)} of {len(details)} details)"
    return msgspec.json.encode(event | {"payload": event["payload"] | {"custom_details": kept}})
