"""Sentences of the desk for someone who has never heard of nats."""

from __future__ import annotations

import re

__all__ = ["in_words", "lasting", "listed", "strength", "weight_of"]

_NATS = re.compile(r" \(([+-]?\d+(?:\.\d+)?) nats\)")
_COUNT = re.compile(r"(?<![\w.,:-])\d{4,}(?=,| expected| outside| orders|\))")


def in_words(sentence: str) -> str:
    """A sentence of the desk with its log evidence in words, and its counts with separators.

    Examples
    --------
    >>> in_words("time: it began to hurt 35 s into the change (+7.8 nats)")
    'time: it began to hurt 35 s into the change (strongly for)'
    >>> in_words("errors: 165541, 6077 expected")
    'errors: 165,541, 6,077 expected'
    """
    return _COUNT.sub(lambda found: f"{int(found[0]):,}", _NATS.sub(lambda found: f" ({strength(float(found[1]))})", sentence))


def strength(nats: float) -> str:
    """Evidence in words.

    Examples
    --------
    >>> strength(-3.0)
    'strongly against'
    """
    # A factor of ten in the odds is strong; one below 1.6 decides nothing.
    if abs(nats) < 0.5:
        return "neither for nor against"
    return ("strongly " if abs(nats) >= 2.3 else "") + ("for" if nats > 0 else "against")


def weight_of(reason: str) -> str:
    """Whether a reason speaks for or against: `for`, `against` or `even`.

    Examples
    --------
    >>> weight_of("service: search itself shows no symptom (-0.7 nats)")
    'against'
    """
    nats = _NATS.search(reason)
    said = "neither" if nats is None else strength(float(nats[1]))
    return "even" if said.startswith("neither") else said.split()[-1]


def listed(names: list[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["orders", "errors", "promised_minutes"])
    'orders, errors and promised minutes'
    """
    words = [name.replace("_", " ") for name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def lasting(ms: float) -> str:
    """A length of time for a reader.

    Examples
    --------
    >>> lasting(22_560_000), lasting(150_000), lasting(40_000)
    ('6 h 16 min', '2 min', '40 s')
    """
    seconds = round(ms / 1000)
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
