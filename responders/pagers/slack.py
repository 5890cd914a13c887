"""Slack: a message by an incoming webhook. Its buttons open pages; none of them does anything.

Texts come from events, so nothing in them is markup: `&`, `<` and `>` are escaped (no mention, no link), and `verbatim` keeps Slack from finding
links and channels by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rollguard.config import Pager as PagerConfig
from rollguard.responders.pagers.receiver import Receiver, whole_url
from rollguard.responders.pagers.texts import is_address, line, stamp
from rollguard.responders.records import Link, Page

__all__ = ["Slack"]

_HEADER = 150
_SECTION = 3_000
_LINE = 1_000
_BUTTON = 75
_SECTIONS = 20
_SUSPECTS = 5
_BUTTONS = 5
_WORDS = {"trigger": "", "acknowledge": "Acknowledged: ", "resolve": "Resolved: "}
_COLOURS = {"critical": "\U0001f534", "error": "\U0001f534", "warning": "\U0001f7e0", "info": "\U0001f535"}


class Slack:
    """Writes into the channel of an incoming webhook.

    Parameters
    ----------
    where : str
    pager : rollguard.config.Pager
    secret : str or None
        The whole URL.

    Raises
    ------
    PageError
        If it is no URL.
    """

    def __init__(self, where: str, pager: PagerConfig, secret: str | None) -> None:
        self._url = whole_url(where, secret or "")
        self._receiver = Receiver(where, pager, secret)

    async def send(self, page: Page, *, message_id: str) -> str:  # noqa: ARG002 - Slack tells no message from its repetition
        """Tell; when it returns, Slack has said `ok`."""
        answer = await self._receiver.post(self._url, _message(page))
        if answer.status != 200 or answer.body.strip() != b"ok":
            raise self._receiver.error(f'{self._receiver.said(answer)}; expected: 200 and "ok"', recoverable=True)
        return self._receiver.said(answer)

    async def close(self) -> None:
        """Let go of connections."""
        await self._receiver.close()


def _message(page: Page) -> dict[str, Any]:
    """A message of blocks, and the text that a phone shows of it."""
    title = page.title.strip() or "incident"
    shown = f"{_COLOURS[page.severity]} {title}" if page.event == "trigger" else _WORDS[page.event] + title
    blocks: list[dict[str, Any]] = [*_whole(page, shown)] if page.event == "trigger" else [*_short(page, shown)]
    return {"text": _escaped(shown, _SECTION), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _short(page: Page, shown: str) -> Iterable[dict[str, Any]]:
    yield _section(f"*{_escaped(shown, _LINE)}*")
    yield from (_section(_escaped(each, _LINE)) for each in page.lines[:1] if each)
    yield _context([*_who(page), *_times(page)])
    yield from _buttons(page.links)


def _whole(page: Page, shown: str) -> Iterable[dict[str, Any]]:
    yield {"type": "header", "text": {"type": "plain_text", "text": _escaped(shown, _HEADER), "emoji": False}}
    sections = _packed([_escaped(each, _LINE) for each in page.lines])
    yield from (_section(text) for text in sections[:_SECTIONS])
    if len(sections) > _SECTIONS:
        yield _context([f"… and more, {len(page.lines)} lines in all"])
    if clock := _money_clock(page.details):
        yield _section(clock)
    if suspects := _suspects(page.details):
        yield _section(suspects)
    yield _context([*_who(page), *_times(page)])
    yield from _buttons(page.links, page.runbook)


def _money_clock(details: Mapping[str, Any]) -> str:
    """Orders lost until now and each minute, where it is known."""
    lost, rate, interval = (details.get(name) for name in ("orders_lost", "orders_lost_per_minute", "orders_lost_interval"))
    if not isinstance(lost, (int, float)):
        return ""
    text = f"*Money clock*  {lost:,.0f} orders lost"
    if isinstance(interval, (list, tuple)) and len(interval) == 2 and all(isinstance(each, (int, float)) for each in interval):
        text += f" ({interval[0]:,.0f} to {interval[1]:,.0f})"
    return text + (f", {rate:,.0f} more each minute" if isinstance(rate, (int, float)) else "")


def _suspects(details: Mapping[str, Any]) -> str:
    """The suspects and how surely each; the most probable first, as they came."""
    found = details.get("suspects")
    lines = []
    for each in found[:_SUSPECTS] if isinstance(found, (list, tuple)) else ():
        if isinstance(each, Mapping) and isinstance(each.get("probability"), (int, float)):
            names = " ".join(str(each[name]) for name in ("service", "version", "deploy_id") if each.get(name))
            lines.append(f"• {each['probability']:.0%}  {_escaped(names, 400)}")
    return "\n".join(["*Suspects*", *lines]) if lines else ""


def _who(page: Page) -> Iterable[str]:
    yield f"*{page.severity}*"
    known = (("service", page.service), ("regions", ", ".join(page.regions)), ("owner", page.owner))
    yield from (f"{name} {_escaped(value, 200)}" for name, value in known if value)


def _times(page: Page) -> Iterable[str]:
    times = (("since", page.onset_ms), ("told", page.at_ms), ("ended", page.ended_ms))
    yield from (f"{name} {stamp(when_ms)}" for name, when_ms in times if when_ms is not None)
    yield f"incident {_escaped(page.dedup_key, 100)}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(texts: Iterable[str]) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True} for text in texts]}


def _buttons(links: Sequence[Link], runbook: str | None = None) -> Iterable[dict[str, Any]]:
    """Links that look like buttons: with `url` and without `value`, whoever presses one goes there, and nothing else happens."""
    wanted = [*links[: _BUTTONS - 1], *([Link(text="Runbook", href=runbook)] if runbook else [])]
    good = [each for each in wanted if is_address(each.href) and len(each.href) <= _SECTION]
    buttons = [
        {
            "type": "button",
            "action_id": f"open-{place}",
            "text": {"type": "plain_text", "text": _escaped(each.text.strip() or "Open", _BUTTON), "emoji": False},
            "url": each.href,
        }
        for place, each in enumerate(good)
    ]
    if buttons:
        yield {"type": "actions", "elements": buttons}


def _packed(lines: Sequence[str]) -> list[str]:
    """Lines, joined as long as a section takes them."""
    packed: list[str] = []
    for each in lines:
        if packed and len(packed[-1]) + 1 + len(each) <= _SECTION:
            packed[-1] += f"\n{each}"
        elif each:
            packed.append(each)
    return packed


def _escaped(text: str, longest: int) -> str:
    """Escape what is markup to Slack; cut between characters, never within an escape."""
    pieces = ["&amp;" if each == "&" else "&lt;" if each == "<" else "&gt;" if each == ">" else each for each in line(text, longest)]
    size = 0
    for place, piece in enumerate(pieces):
        size += len(piece)
        if size > longest - 1 and (place < len(pieces) - 1 or size > longest):
            return "".join(pieces[:place]) + "…"
    return "".join(pieces)
