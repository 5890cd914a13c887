"""Texts of events on their way to a receiver: one line each, as long as it takes, and values that JSON knows."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from rollguard.config import printable, rfc3339

__all__ = ["is_address", "key", "line", "plain", "stamp"]

_LARGEST = 2**63


def line(text: str, longest: int) -> str:
    r"""One line that does nothing to whatever shows it, no longer than so many characters.

    Examples
    --------
    >>> line("checkout\r\n\x1b[31mred", 40), line("checkout", 6)
    ('checkout\\r\\n\\x1b[31mred', 'check…')
    """
    shown = printable(text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def key(text: str, longest: int) -> str:
    """A key of so many characters at most: two that differ stay different.

    Examples
    --------
    >>> key("incident-7", 255)
    'incident-7'
    >>> len(key("7" * 300, 255)), key("7" * 300, 255) == key("7" * 301, 255)
    (255, False)
    """
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 33]}-{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def is_address(text: str) -> bool:
    """Whether it is a link that opens a page, and nothing that a browser would run.

    Examples
    --------
    >>> is_address("https://console.example/incidents/7"), is_address("javascript:alert(1)"), is_address("see the wiki")
    (True, False, False)
    """
    return text.startswith(("https://", "http://")) and text.isprintable() and " " not in text


def plain(value: Any) -> Any:
    r"""The same value, of what every reader of JSON takes: no half of a character, no number beyond 64 bits, nothing but text as a key.

    Examples
    --------
    >>> plain({"a": ("x\ud800", 2**70), 3: {"b": None}})
    {'a': ['x?', '1180591620717411303424'], '3': {'b': None}}
    """
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value < _LARGEST else str(value)
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return str(value).encode("utf-8", "replace").decode("utf-8")


def stamp(when_ms: int) -> str:
    """Time of a moment as receivers are told it, always with milliseconds.

    Examples
    --------
    >>> stamp(1772442000000)
    '2026-03-02T09:00:00.000Z'
    """
    return rfc3339(when_ms, timespec="milliseconds")
