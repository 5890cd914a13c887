"""Why a line is refused: a stable reason and one sentence. Slow and thorough; called for lines already known to be bad."""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from rollguard.streams.layout import EARLIEST_MS, LATEST_MS, LIMIT, EventTime, Field, Layout

__all__ = ["MAX_DEPTH", "REASONS", "Refusal", "all_utf8", "broken_text", "depth_of", "explain", "has_escaped_key", "has_twice", "wrong_time"]

#: Deepest nesting of objects and arrays in an event.
MAX_DEPTH = 32
#: Every reason a dead letter can have.
REASONS = ("bom", "depth", "empty", "future", "json", "label", "missing", "nul", "number", "shape", "size", "time", "twice", "type", "utf8")

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
_NO_NUMBER = re.compile(rb"[:\[,]\s*[+-]?(?:NaN|nan|Infinity|inf)\b")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]")
_LEAP = re.compile(r"\d:60")
_QUOTED_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_EXPECTED = "expected whole milliseconds since 1970 or RFC 3339 with an offset."
_ESCAPED_KEY = re.compile(rb'\\[u/][^"]*"\s*:')


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is refused.

    Attributes
    ----------
    index : int
        Its place among the lines.
    reason, detail : str
        As in a dead letter.
    """

    index: int
    reason: str
    detail: str


def depth_of(line: bytes) -> int:
    """How deep objects and arrays nest, brackets in strings left out.

    Examples
    --------
    >>> depth_of(b'{"a": [1, {"b": "[[["}]}')
    3
    """
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", line)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def all_utf8(text: bytes) -> bool:
    """Whether it is UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def has_escaped_key(text: bytes) -> bool:
    """Whether a key may be written with escapes that hide its name from a search."""
    return b"\\" in text and _ESCAPED_KEY.search(text) is not None


def broken_text(line: bytes, max_bytes: int) -> tuple[str, str] | None:
    """What is wrong with a line before it is read as JSON, or None."""
    return next(_broken(line, max_bytes), None)


def _broken(line: bytes, max_bytes: int) -> Iterator[tuple[str, str]]:
    if not line.strip():
        yield "empty", "the line is empty."
    if len(line) > max_bytes:
        yield "size", f"{len(line)} bytes, at most {max_bytes} allowed (`max_bytes`)."
    if line.startswith(b"\xef\xbb\xbf"):
        yield "bom", "begins with a byte order mark; JSON has none. Write the file as UTF-8 without one."
    if b"\0" in line:
        yield "nul", "holds a NUL byte; the file may be damaged, or not text."
    try:
        line.decode()
    except UnicodeDecodeError as error:
        yield "utf8", f"is not UTF-8 at byte {error.start}."
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and (depth := depth_of(line)) > MAX_DEPTH:
        yield "depth", f"nests {depth} deep, at most {MAX_DEPTH} allowed."


def has_twice(line: bytes, needles: list[tuple[str, bytes]]) -> str | None:
    """Name the first key that a valid line holds twice at its top, among those asked for.

    Parameters
    ----------
    line : bytes
        A JSON object, not too deep.
    needles : list of (str, bytes)
        Keys, and how they stand in JSON with their quotes.
    """
    if not any(line.count(needle) > 1 for _, needle in needles) and not has_escaped_key(line):
        return None
    # Numbers stay text: one of 5,000 digits is no concern of ours in a field that nobody reads.
    pairs: list[tuple[str, Any]] = json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)
    names = [name for name, _ in pairs]
    return next((name for name, _ in needles if names.count(name) > 1), None)


def explain(line: bytes, event: object, plan: Layout, max_bytes: int, problem: str) -> tuple[str, str]:
    """Say why a line was refused.

    Parameters
    ----------
    line : bytes
    event : object
        What the line holds when read as any JSON; an exception if it could not be.
    plan : Layout
        What it should hold.
    max_bytes : int
    problem : str
        What the decoder said.

    Returns
    -------
    reason, detail : str
    """
    return next(_reasons(line, event, plan, max_bytes), ("type", f"cannot be read: {problem}."))


def _reasons(line: bytes, event: object, plan: Layout, max_bytes: int) -> Iterator[tuple[str, str]]:
    yield from _broken(line, max_bytes)
    if isinstance(event, Exception):
        if _NO_NUMBER.search(line) or "Number out of range" in str(event):
            yield "number", "holds NaN, Infinity or a number beyond 64 bits of floating point."
        if _LONE_SURROGATE.search(line):
            yield "json", "is not JSON: half of a surrogate pair stands alone."
        yield "json", f"is not JSON: {str(event).removeprefix('JSON is malformed: ')}."
    elif not isinstance(event, dict):
        yield "shape", f"is {_named(event)}, expected one JSON object."
    else:
        for field in plan.fields:
            if field.theirs in event:
                yield from _wrong(field, event[field.theirs])
            elif field.required:
                yield "missing", f"has no field '{field.theirs}'."


def _named(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a whole number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _wrong(field: Field, value: object) -> Iterator[tuple[str, str]]:
    name = field.theirs
    whole = isinstance(value, int) and not isinstance(value, bool)
    if field.use == "time":
        if not _is_time(value):
            yield "time", wrong_time(name, value)
    elif value is None:
        if field.required:
            yield "missing", f"field '{name}' is null."
    elif field.use == "number":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield "type", f"{name} is {_named(value)}, expected a number."
        elif abs(value) > LIMIT:
            yield "number", f"{name} is {_named(value)}, at most 10^12 allowed on either side of zero."
    elif field.use == "filter":
        if isinstance(value, (dict, list)):
            yield "type", f"{name} is {_named(value)}, expected a text, a number or true or false."
    elif not isinstance(value, str) and not whole:
        yield "type", f"{name} is {_named(value)}, expected a text or a whole number."
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield "type", f"{name} is {_named(value)}, whole numbers have at most 64 bits."


def _is_time(value: object) -> bool:
    """Whether the decoder takes it."""
    try:
        msgspec.convert(value, EventTime)
    except msgspec.ValidationError:
        return False
    return True


def wrong_time(name: str, value: object) -> str:
    """What is wrong with a time, with a guess at what was meant.

    Examples
    --------
    >>> wrong_time("ts", 1775001603)
    'ts is 1775001603, which is not between 2000 and 2100 in milliseconds; it looks like seconds: multiply by 1000.'
    >>> wrong_time("ts", "2026-04-01T00:00:00")
    "ts is '2026-04-01T00:00:00', a time without an offset: end it with Z or, say, +02:00."
    """
    shown = f"{name} is {_named(value)}"
    problem = f", {_EXPECTED}"
    if isinstance(value, str):
        problem = _wrong_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        problem = f", which is not between 2000 and 2100 in milliseconds{_wrong_unit(value)}."
    return shown + problem


def _wrong_unit(value: int) -> str:
    guesses = ((1000, 1, "seconds", "multiply by 1000"), (1, 1000, "microseconds", "divide by 1000"), (1, 10**6, "nanoseconds", "divide by 10^6"))
    for up, down, unit, cure in guesses:
        if EARLIEST_MS <= value * up // down < LATEST_MS:
            return f"; it looks like {unit}: {cure}"
    return ""


def _wrong_text(value: str) -> str:
    if _LEAP.search(value):
        return ", a leap second, which this time scale does not have: send the second before or after."
    if _QUOTED_NUMBER.fullmatch(value):
        return ", a number in quotes: send it without, or RFC 3339."
    try:
        time = datetime.datetime.fromisoformat(value)
    except ValueError:
        return f", {_EXPECTED}"
    if time.tzinfo is None and "T" in value.upper() and "W" not in value.upper():
        return ", a time without an offset: end it with Z or, say, +02:00."
    return f", {_EXPECTED}" if 2000 <= time.year < 2100 else ", which is not between 2000 and 2100."
