"""An HTTP receiver on loopback that does what a test tells it to, well or badly; and a page to send there."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec

from rollguard.responders.records import Link, Page

__all__ = ["DRIP", "ECHO", "HTML", "RESET", "SILENT", "Answer", "Asked", "Behaviour", "Faulty", "a_page"]


@dataclass(frozen=True)
class Asked:
    """A request, all of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002 - as every behaviour
        head = {"content-length": str(len(self.body)), "connection": "close"} | self.headers
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in head.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body)
        await writer.drain()


Behaviour = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def RESET(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001, N802 - a kind of behaviour
    """Take the request, and reset the connection."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def SILENT(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001, N802 - the same
    """Take the request, and never answer."""
    await reader.read()


async def DRIP(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001, N802 - the same
    """Begin an answer, and go on byte by byte until the other has had enough."""
    writer.write(b"HTTP/1.1 200 Said\r\ncontent-length: 1000000\r\n\r\n")
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        writer.write(b"o")
        await asyncio.wait([gone], timeout=0.02)


async def ECHO(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: N802 - the same
    """Refuse a request, and say all of it back."""
    said = f"no {asked.method} {asked.path} with {asked.headers} and {asked.body.decode()}"
    await Answer(400, said.encode(), {"content-type": "text/plain"})(asked, reader, writer)


HTML = Answer(200, b"<!DOCTYPE html><title>Please log in</title>", {"content-type": "text/html; charset=utf-8"})


class Faulty:
    """Answers each request with the next behaviour; the last one again and again.

    Used as `async with Faulty(Answer(500), Answer(202)) as receiver`, in the loop that also runs what is tested.
    """

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._behaviours = behaviours
        self._tls = tls
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        port = self._server.sockets[0].getsockname()[1]
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for each in self._open:
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            behaviour = self._behaviours[min(len(self.asked), len(self._behaviours) - 1)]
            self.asked.append(asked)
            await behaviour(asked, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines if each)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def a_page(**changed: Any) -> Page:
    """A page of an incident, as the desk would have it told."""
    whole: dict[str, Any] = {
        "event": "trigger",
        "dedup_key": "incident-5f3a",
        "title": "Delivery promises wrong at checkout in eu-west",
        "lines": (
            "Promised minutes rose by 38 % at checkout in eu-west.",
            "About 41 orders a minute are lost, 512 until now.",
            "Suspect: checkout 4.12.0 (d-881) by dana, 93 %.",
            "Rollguard will roll back checkout to 4.11.0 once a person approves, within 15 minutes.",
            "To stop it: rollguard incidents reject incident-5f3a",
        ),
        "severity": "critical",
        "service": "checkout",
        "owner": "team-checkout",
        "runbook": "https://wiki.example/checkout",
        "regions": ("eu-west",),
        "at_ms": 1_772_442_090_000,
        "onset_ms": 1_772_442_000_000,
        "links": (Link(text="Look and approve", href="https://rollguard.example/incidents/incident-5f3a"),),
        "details": {
            "metrics": ("delivery_minutes",),
            "orders_lost": 512.4,
            "orders_lost_interval": (430.0, 601.0),
            "orders_lost_per_minute": 41.2,
            "suspects": ({"deploy_id": "d-881", "service": "checkout", "version": "4.12.0", "probability": 0.931, "reasons": ("it reached eu-west then",)},),
        },
    }
    return Page(**(whole | changed))
