"""Why a line is refused: a stable reason and one sentence. Slow and thorough; called for lines already known to be bad."""

import datetime
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

import msgspec

from rollguard.config import Epoch
from rollguard.streams.layout import EARLIEST_MS, LATEST_MS, LIMIT, PER_SECOND, Field, Use
from rollguard.streams.shape import time_type

__all__ = [
    "MAX_DEPTH",
    "NOTHING",
    "REASONS",
    "Part",
    "Refusal",
    "Senseless",
    "all_utf8",
    "broken_text",
    "depth_of",
    "explain",
    "has_escaped_key",
    "has_twice",
    "many_brackets",
    "wrong_time",
]

#: Deepest nesting of objects and arrays in an event.
MAX_DEPTH = 32
#: Every reason a dead letter can have.
REASONS = ("bom", "depth", "empty", "future", "json", "label", "missing", "nul", "number", "shape", "size", "time", "twice", "type", "utf8", "weight")

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
_NO_NUMBER = re.compile(rb"[:\[,]\s*[+-]?(?:NaN|nan|Infinity|inf)\b")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]")
_LEAP = re.compile(r"\d:60")
_QUOTED_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_UNITS: dict[Epoch, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_ESCAPED_KEY = re.compile(rb'\\[u/][^"]*"\s*:')


#: What stands where a field is absent.
NOTHING: Final = msgspec.UNSET


class Senseless(msgspec.Struct, frozen=True):
    """What stands for a field whose path an event gives no sense to, and why."""

    why: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of an object: some of its keys, or all it holds at any depth."""

    inner: dict[str, "Part"] = {}
    whole: bool = False

    @classmethod
    def of(cls, ways: Iterable[tuple[str, ...]], searched: Iterable[frozenset[str] | None]) -> Self:
        """Put together what ways through objects read, and expressions that search beneath some keys, or (None) everywhere."""
        top = cls()
        for way in ways:
            here = top.inner
            for key in way:
                here = here.setdefault(key, Part()).inner
        for keys in searched:
            if keys is None:
                return cls(inner=top.inner, whole=True)
            top.inner.update((key, Part(whole=True)) for key in keys)
        return top

    @property
    def searched(self) -> bool:
        """Whether all of some object is read."""
        return self.whole or any(part.searched for part in self.inner.values())

    def top(self) -> frozenset[str] | None:
        """Keys that are read at its top; None: all."""
        return None if self.whole else frozenset(self.inner)

    def keys(self) -> set[str]:
        """All keys it names, at any depth."""
        return set(self.inner).union(*(part.keys() for part in self.inner.values()))


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


def many_brackets(line: bytes) -> bool:
    """Whether a line holds so many brackets that it may nest too deep."""
    return line.count(b"{") + line.count(b"[") > MAX_DEPTH


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
    if many_brackets(line) and (depth := depth_of(line)) > MAX_DEPTH:
        yield "depth", f"nests {depth} deep, at most {MAX_DEPTH} allowed."


def has_twice(line: bytes, part: Part, needles: Sequence[tuple[str, bytes]], *, hidden: bool = True) -> str | None:
    """Name the first key that a valid line holds twice in one object, in the part of it that is read.

    Parameters
    ----------
    line : bytes
        A JSON object, not too deep.
    part : Part
    needles : sequence of (str, bytes)
        Its keys, and how they stand in JSON with their quotes.
    hidden : bool
        False: no key is written with escapes.
    """
    if not part.searched and not any(line.count(needle) > 1 for _, needle in needles) and not (hidden and has_escaped_key(line)):
        return None
    text = line.decode()
    try:
        _ONCE.decode(text)
    except _TwiceError:
        return next(_twice(_PAIRS.decode(text), part, ()), None)
    return None


class _TwiceError(Exception):
    """Some object holds some key twice."""


def _once(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _TwiceError


# Numbers stay text: one of 5,000 digits is no concern of ours in a field that nobody reads. The first is four times as fast.
_ONCE = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str)
_PAIRS = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)


def _twice(value: Any, part: Part, way: tuple[str, ...]) -> Iterator[str]:
    """Go through a value whose objects are lists of pairs."""
    if not isinstance(value, list) or not value:
        return
    if not isinstance(value[0], tuple):
        if part.whole:
            for each in value:
                yield from _twice(each, part, way)
        return
    times = Counter(name for name, _ in value)
    for name in times if part.whole else part.inner:
        if times[name] > 1:
            yield ".".join((*way, name))
    for name, inner in value:
        below = part if part.whole else part.inner.get(name)
        if below is not None:
            yield from _twice(inner, below, (*way, name))


def explain(line: bytes, event: object, found: Sequence[tuple[Field, object]], max_bytes: int, problem: str) -> tuple[str, str]:
    """Say why a line was refused.

    Parameters
    ----------
    line : bytes
    event : object
        What the line holds when read as any JSON; an exception if it could not be.
    found : sequence of (Field, object)
        What an object holds for each field; NOTHING where it is absent.
    max_bytes : int
    problem : str
        What the decoder said.

    Returns
    -------
    reason, detail : str
    """
    return next(_reasons(line, event, found, max_bytes), ("type", f"cannot be read: {problem}."))


def _reasons(line: bytes, event: object, found: Sequence[tuple[Field, object]], max_bytes: int) -> Iterator[tuple[str, str]]:
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
        for field, value in found:
            if value is not NOTHING:
                yield from _wrong(field, value)
            elif field.required:
                yield "missing", f"has no field '{_short(field.theirs)}'."


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


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
    name = _short(field.theirs)
    if isinstance(value, Senseless):
        yield "type", f"{name}: {value.why}."
    elif not field.keys and isinstance(value, (dict, list)):
        yield "type", f"{name} is {_named(value)}, expected one value."
    elif field.use == "time":
        if not _is_time(value, field.epoch):
            yield "time", wrong_time(name, value, field.epoch)
    elif value is None:
        if field.required:
            yield "missing", f"field '{name}' is null."
    elif field.use == "number":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield "type", f"{name} is {_named(value)}, expected a number."
        elif not abs(value) <= LIMIT:
            yield "number", f"{name} is {_named(value)}, at most 10^12 allowed on either side of zero."
    else:
        yield from _wrong_text_field(field.use, name, value)


def _wrong_text_field(use: Use, name: str, value: object) -> Iterator[tuple[str, str]]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if use == "filter":
        if isinstance(value, (dict, list)):
            yield "type", f"{name} is {_named(value)}, expected a text, a number or true or false."
    elif not isinstance(value, str) and not whole:
        yield "type", f"{name} is {_named(value)}, expected a text or a whole number."
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield "type", f"{name} is {_named(value)}, whole numbers have at most 64 bits."


def _is_time(value: object, epoch: Epoch) -> bool:
    """Whether the decoder takes it."""
    try:
        msgspec.convert(value, time_type(epoch))
    except msgspec.ValidationError:
        return False
    return True


def wrong_time(name: str, value: object, epoch: Epoch = "ms") -> str:
    """What is wrong with a time, with a guess at what was meant.

    Examples
    --------
    >>> wrong_time("ts", 1775001603)
    'ts is 1775001603, which is not between 2000 and 2100 in milliseconds; it looks like seconds: set `epoch: s`.'
    >>> wrong_time("ts", "2026-04-01T00:00:00")
    "ts is '2026-04-01T00:00:00', a time without an offset: end it with Z or, say, +02:00."
    """
    shown = f"{name} is {_named(value)}"
    if isinstance(value, str):
        return shown + _wrong_text(value, epoch)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        guess = _guess(value, epoch)
        if guess or isinstance(value, int) or epoch == "s":
            return f"{shown}, which is not between 2000 and 2100 in {_UNITS[epoch]}{guess}."
    return f"{shown}, {_expected(epoch)}"


def _expected(epoch: Epoch) -> str:
    return f"expected {'' if epoch == 's' else 'whole '}{_UNITS[epoch]} since 1970 or RFC 3339 with an offset."


def _guess(value: float, epoch: Epoch) -> str:
    """The unit that a number was probably meant in; only seconds have fractions."""
    for other, units in PER_SECOND.items():
        if other != epoch and (other == "s" or isinstance(value, int)) and EARLIEST_MS // 1000 * units <= value < LATEST_MS // 1000 * units:
            return f"; it looks like {_UNITS[other]}: set `epoch: {other}`"
    return ""


def _wrong_text(value: str, epoch: Epoch) -> str:
    if _LEAP.search(value):
        return ", a leap second, which this time scale does not have: send the second before or after."
    if _QUOTED_NUMBER.fullmatch(value):
        return ", a number in quotes: send it without, or RFC 3339."
    try:
        time = datetime.datetime.fromisoformat(value)
    except ValueError:
        return f", {_expected(epoch)}"
    if time.tzinfo is None and "T" in value.upper() and "W" not in value.upper():
        return ", a time without an offset: end it with Z or, say, +02:00."
    return f", {_expected(epoch)}" if 2000 <= time.year < 2100 else ", which is not between 2000 and 2100."
