"""Calls of HTTP to the world: short, small, never redirected, and their errors told without a secret."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping

import httpx

__all__ = ["LARGEST", "HttpAnswer", "HttpBrokenError", "call", "client", "json_headers"]

#: No more of an answer than this is read.
LARGEST = 1_048_576


class HttpAnswer:
    """What came back: status, headers and the body as far as it was read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def after_ms(self) -> int | None:
        """What `Retry-After` says, where it says seconds."""
        value = self.headers.get("retry-after", "")
        return min(int(value), 3600) * 1000 if value.isascii() and value.isdigit() and len(value) <= 9 else None

    def shown(self, mask: Callable[[str], str] = str) -> str:
        """The status and the beginning of the body, in one line; secrets are out before it is cut."""
        text = " ".join(mask(self.body.decode("utf-8", "replace")).split())[:200]
        return f"answered {self.status}" + (f": {text}" if text else "")


class HttpBrokenError(Exception):
    """No whole answer came.

    Parameters
    ----------
    problem : str
    sent : bool
        Whether the request may have been received.
    """

    def __init__(self, problem: str, *, sent: bool) -> None:
        self.problem = problem
        self.sent = sent
        super().__init__(problem)


def client(*, timeout_ms: int, ca_file: str | None = None) -> httpx.AsyncClient:
    """Make a client: certificates are checked, redirects are answers, proxies come from nowhere.

    Raises
    ------
    OSError
        If there is no such file of certificates, or none in it.
    """
    # It logs the address of each request, which of Slack and of a heartbeat is the secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    context = ssl.create_default_context(cafile=ca_file)
    return httpx.AsyncClient(verify=context, timeout=timeout_ms / 1000, follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=4))


async def call(
    session: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    within_ms: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    largest: int = LARGEST,
) -> HttpAnswer:
    """Send a request and read its answer, all of it within a time.

    Parameters
    ----------
    session : httpx.AsyncClient
    method, url : str
    within_ms : int
        Also an answer that drips has to be there by then.
    body : bytes or None
    headers, params : mapping of str to str
    largest : int
        No more of an answer than this is read, in bytes.

    Raises
    ------
    HttpBrokenError
        Says whether the request may have been received; its text holds no URL.
    """

    async def whole() -> HttpAnswer:
        async with session.stream(method, url, content=body, headers=headers, params=params) as answer:
            read = bytearray()
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) > largest:
                    break
            return HttpAnswer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, bytes(read[:largest]))

    try:
        async with asyncio.timeout(within_ms / 1000):
            return await whole()
    except TimeoutError:
        raise HttpBrokenError(f"no whole answer within {within_ms / 1000:g} s", sent=True) from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise HttpBrokenError(f"cannot be reached: {_reason(error)}", sent=False) from None
    except httpx.HTTPError as error:
        raise HttpBrokenError(f"broke off: {_reason(error)}", sent=True) from None


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def json_headers(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers of a body of JSON."""
    return {"content-type": "application/json", "user-agent": "rollguard", **(more or {})}
