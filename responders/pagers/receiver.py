"""The receiver at the other end of HTTP, and what its answers mean: taken, try again, or never."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from rollguard.config import Pager as PagerConfig
from rollguard.responders.http import HttpAnswer, HttpBrokenError, call, client, json_headers
from rollguard.responders.mask import Mask
from rollguard.responders.pagers.texts import line
from rollguard.responders.records import PageError

__all__ = ["Receiver", "only_url", "whole_url"]

_SHOWN = 200


class Receiver:
    """Takes bodies of JSON.

    Parameters
    ----------
    where : str
        The pager, for errors.
    pager : rollguard.config.Pager
    secrets : str or None
        None of them is in what is told.

    Raises
    ------
    PageError
        If the certificates that the config names cannot be used.
    """

    def __init__(self, where: str, pager: PagerConfig, *secrets: str | None) -> None:
        self.where = where
        self._mask = Mask(*secrets)
        self._timeout_ms = pager.timeout_ms
        try:
            self._session = client(timeout_ms=pager.timeout_ms, ca_file=pager.ca_file)
        except OSError as error:
            raise self.error(f"ca_file: no certificates can be read from it: {error.strerror or error}", recoverable=False) from None

    def error(self, problem: str, *, recoverable: bool, after_ms: int | None = None) -> PageError:
        """Make the error that says so, without a secret."""
        return PageError(self.where, line(self._mask(problem), 1_000), recoverable=recoverable, after_ms=after_ms)

    def said(self, answer: HttpAnswer) -> str:
        """The status and the beginning of the body, in one line; secrets are out before it is cut."""
        text = line(" ".join(self._mask(answer.body.decode("utf-8", "replace")).split()), _SHOWN)
        return f"answered {answer.status}" + (f": {text}" if text else "")

    async def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Send a value as JSON, or bytes as they are.

        Returns
        -------
        HttpAnswer
            Of status 2xx, and no page for people: a proxy's log-in is no receiver.

        Raises
        ------
        PageError
            Recoverable after 429, 5xx, a page for people, a redirect that is not for ever, and whatever broke on the way.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            answer = await call(self._session, "POST", url, within_ms=self._timeout_ms, body=content, headers=json_headers(headers))
        except HttpBrokenError as error:
            broken = error.problem
        else:
            return self._judged(answer)
        # Outside: what was caught holds the request with its address, and would stay in sight as the context of this one.
        raise self.error(broken, recoverable=True)

    def _judged(self, answer: HttpAnswer) -> HttpAnswer:
        """Raise what an answer that takes nothing means."""
        if 300 <= answer.status < 400:
            raise self.error(f"{_redirected(answer)}; a redirect is never followed", recoverable=answer.status not in {301, 308})
        if answer.status == 429 or answer.status >= 500:
            raise self.error(self.said(answer), recoverable=True, after_ms=answer.after_ms())
        if not 200 <= answer.status < 300:
            raise self.error(self.said(answer), recoverable=False)
        if _is_for_people(answer):
            raise self.error(f"answered {answer.status} with a web page: a proxy's, not the receiver's", recoverable=True)
        return answer

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.aclose()


def whole_url(where: str, url: str, key: str = "secret") -> str:
    """Check an address that stands under a key; one that is a secret was not checked with the config.

    Raises
    ------
    PageError
        Does not show it.
    """
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        found = httpx.URL("")
    if found.scheme not in {"http", "https"} or not found.host or not url.isprintable() or " " in url:
        raise PageError(where, f"{key}: no address of HTTP. Expected: the whole URL, https://…", recoverable=False)
    return url


def only_url(where: str, pager: PagerConfig, default: str | None = None) -> str:
    """The one address of a pager.

    Raises
    ------
    PageError
        If there is none, or more than one.
    """
    urls = pager.url or ((default,) if default else ())
    if len(urls) != 1:
        raise PageError(where, f"url: {len(urls)} addresses. Expected: one", recoverable=False)
    return whole_url(where, urls[0], "url")


def _redirected(answer: HttpAnswer) -> str:
    """Where it points, as far as its host: the rest may be anything."""
    try:
        target = urlsplit(answer.headers.get("location", ""))
        place = f"{target.scheme}://{target.hostname}" if target.hostname else "another path"
    except ValueError:
        place = "nowhere"
    return f"answered {answer.status}, a redirect to {line(place, _SHOWN)}"


def _is_for_people(answer: HttpAnswer) -> bool:
    kind = answer.headers.get("content-type", "").lower()
    return "html" in kind or answer.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))
