"""Lines to the values of fields: strict JSON, a batch at a time, and every good line whatever stands around it."""

import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rollguard.streams.layout import Field
from rollguard.streams.paths import Expression, NotFoundError
from rollguard.streams.refusal import MAX_DEPTH, NOTHING, Part, Senseless, all_utf8, broken_text, explain, has_escaped_key, has_twice, many_brackets
from rollguard.streams.rows import Ints
from rollguard.streams.shape import Shape

__all__ = ["Reader"]

_WHOLE = re.compile(r"[+-]?\d{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")
_UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_ANYTHING = msgspec.json.Decoder()

#: Lines decoded at once.
AT_ONCE = 1000
#: What a line is refused for: reason and detail.
Why = tuple[str, str]


class Reader:
    """Reads some fields of lines.

    What a field is worth is said by `_find`: the event read as any JSON, and the path followed in it. Where all paths go from
    object to object, msgspec reads them at once instead, into records in records; what it then refuses is judged by `_find` after all.

    Parameters
    ----------
    fields : sequence of Field
    max_bytes : int
        A longer line is refused.
    lax : bool
        As for `Decoder`.
    """

    __slots__ = ("_any", "_decode", "_expressions", "_fields", "_lax", "_max_bytes", "_needles", "_part", "_shape", "_simple")

    def __init__(self, fields: Sequence[Field], max_bytes: int, *, lax: bool) -> None:
        self._fields = tuple(fields)
        self._max_bytes = max_bytes
        self._lax = lax
        self._expressions = {at: Expression(field.theirs) for at, field in enumerate(self._fields) if not field.keys}
        self._part = Part.of([field.keys for field in self._fields if field.keys], [each.roots for each in self._expressions.values()])
        self._needles = [(key, msgspec.json.encode(key)) for key in sorted(self._part.keys())]
        ways = [field.keys for field in self._fields]
        direct = not self._expressions and not any(way[: len(other)] == other for way in ways for other in ways if way is not other)
        self._shape = Shape(self._fields, ways if direct else [(f"f{at}",) for at in range(len(ways))])
        self._simple = not lax and direct and all(field.use != "sieve" for field in self._fields)
        self._any = _decoder_of(None if lax else self._part.top())
        self._decode: Callable[[bytes], Any] = self._decode_slowly if lax or not direct else msgspec.json.Decoder(self._shape.record).decode

    def read(self, lines: Sequence[bytes], refused: dict[int, Why]) -> tuple[list[list[Any]], Ints, dict[int, Why]]:
        """Read lines.

        Parameters
        ----------
        lines : sequence of bytes
        refused : dict of int to (str, str)
            Takes the lines that cannot be read, by their place.

        Returns
        -------
        columns : list of lists
            The values of each field, of the lines that can be read.
        index : (n,) int64
            The places of these lines, ascending.
        bad : dict of int to (str, str)
            Those of them, by their place in `index`, that are not to be used after all.
        """
        columns: list[list[Any]] = [[] for _ in self._fields]
        present: Counter[str] = Counter()
        indices = [np.arange(0)]
        # A few at a time, so that their records are still in the processor's cache when they are taken apart.
        for start in range(0, len(lines), AT_ONCE):
            records, some = self._records(lines[start : start + AT_ONCE], start, refused)
            parts, there = self._shape.columns(records)
            for column, part in zip(columns, parts, strict=True):
                column.extend(part)
            present.update(there)
            indices.append(some)
        index = np.concatenate(indices)
        good = lines if len(index) == len(lines) else [lines[at] for at in index.tolist()]
        return columns, index, self._suspicious(good, present, columns)

    def _records(self, lines: Sequence[bytes], first: int, refused: dict[int, Why]) -> tuple[list[Any], Ints]:
        """Decode; on a refusal go on behind it, so that no line is read twice."""
        records: list[Any] = []
        index = np.arange(first, first + len(lines))
        if max(map(len, lines), default=0) > self._max_bytes:
            short = [at for at, line in enumerate(lines) if len(line) <= self._max_bytes]
            refused.update((first + at, broken_text(line, self._max_bytes) or ("size", "")) for at, line in enumerate(lines) if len(line) > self._max_bytes)
            index = index[short]
            lines = [lines[at] for at in short]
        failed: list[int] = []
        rest = iter(lines)
        while True:
            try:
                # What was appended before an exception stays: the next line is the one behind it.
                records.extend(map(self._decode, rest))
                break
            except _UNREADABLE_JSON as error:
                at = len(records)
                record = self._second_look(lines[at])
                records.append(record)
                if record is None:
                    failed.append(at)
                    refused[int(index[at])] = self._explain(lines[at], error)
        if failed:
            index = np.delete(index, failed)
            records = [record for record in records if record is not None]
        return records, index

    def _second_look(self, line: bytes) -> Any:
        """Read a line whose objects are not where the records expect them, which may be as good as absent; None if it cannot be."""
        if self._shape.flat:
            return None
        try:
            return self._decode_slowly(line)
        except _UNREADABLE_JSON:
            return None

    def _decode_slowly(self, line: bytes) -> Any:
        event = self._any(line)
        if not isinstance(event, dict):
            raise msgspec.ValidationError
        values = ((at, value) for at, value in enumerate(self._find(event)) if value is not NOTHING)
        return msgspec.convert(self._shape.put(values), self._shape.record)

    def _find(self, event: dict[str, Any]) -> Iterator[object]:
        """The value of each field in an event read as any JSON; NOTHING where there is none."""
        for at, field in enumerate(self._fields):
            value: object = event
            for key in field.keys:
                value = value.get(key, NOTHING) if isinstance(value, dict) else NOTHING
            if at in self._expressions:
                try:
                    value = self._expressions[at].search(event)
                except NotFoundError as error:
                    value = Senseless(str(error))
                value = NOTHING if value is None else value
            yield _from_text(field, value) if self._lax else value

    def _explain(self, line: bytes, error: Exception) -> Why:
        event: object
        try:
            event = _ANYTHING.decode(line)
        except _UNREADABLE_JSON as broken:
            event = broken
        found = list(zip(self._fields, self._find(event), strict=True)) if isinstance(event, dict) else []
        return explain(line, event, found, self._max_bytes, str(error))

    def _suspicious(self, good: Sequence[bytes], present: Counter[str], columns: list[list[Any]]) -> dict[int, Why]:
        """Events whose line is not UTF-8, too deep, or holds a key twice, which the decoder lets pass where it does not read.

        Judged for the whole batch first: as many names of keys as there are values, and hardly more brackets than events.
        """
        text = b"\n".join(good)
        # Python counts single bytes one find after the other, numpy many at once.
        octets = np.frombuffer(text, dtype=np.uint8)
        quotes = octets == ord('"')
        n_quotes = int(np.count_nonzero(quotes))
        # A key or a text has two quotes at least: with no more of them than what was read has, nothing else stands in any line.
        most = present.total() + len(columns) * len(good)
        if self._simple and n_quotes <= 2 * most and n_quotes == 2 * (present.total() + sum(map(_texts, columns))) and all_utf8(text):
            return {}
        # One bit is all that "{" and "[" differ in.
        flat = np.count_nonzero((octets & ~np.uint8(0x20)) == ord("[")) < len(good) + MAX_DEPTH or not any(map(many_brackets, good))
        sound = flat and all_utf8(text)
        hidden = has_escaped_key(text)
        if sound and not hidden and not self._part.searched and self._none_twice(text, octets, quotes, present):
            return {}
        bad: dict[int, Why] = {}
        for at, line in enumerate(good):
            why = None if sound else broken_text(line, self._max_bytes)
            if why is None and (name := has_twice(line, self._part, self._needles, hidden=hidden)) is not None:
                why = ("twice", f"holds the field '{name}' twice.")
            if why is not None:
                bad[at] = why
        return bad

    def _none_twice(self, text: bytes, octets: npt.NDArray[np.uint8], quotes: npt.NDArray[np.bool_], present: Counter[str]) -> bool:
        """Whether no key that is read stands in the text more often than it was read."""
        often: Callable[[bytes], int] = text.count
        if b"\\" not in text:
            # Without escapes two quotes are a text each. Of its length and its first letter there are as many at least as of it.
            places = np.flatnonzero(quotes)
            begins = places[::2]
            alike = (places[1::2] - begins) * 256 + octets[begins + 1]
            return all(
                np.count_nonzero(alike == (len(needle) - 1) * 256 + needle[1]) <= present[key] or often(needle) <= present[key] for key, needle in self._needles
            )
        return all(often(needle) <= present[key] for key, needle in self._needles)


def _decoder_of(keys: frozenset[str] | None) -> Callable[[bytes], Any]:
    """Make what reads some keys at the top of an event as any JSON, and may not even look at the others; None: it reads them all."""
    if keys is None:
        return _ANYTHING.decode
    names = sorted(keys)
    record = msgspec.defstruct("Top", [(f"k{at}", Any, msgspec.field(name=key, default=msgspec.UNSET)) for at, key in enumerate(names)], gc=False)
    decode = msgspec.json.Decoder(record).decode

    def read(line: bytes) -> dict[str, Any]:
        values = msgspec.structs.astuple(decode(line))
        return {key: value for key, value in zip(names, values, strict=True) if value is not msgspec.UNSET}

    return read


def _texts(column: list[Any]) -> int:
    """How many of some values were written in quotes."""
    kinds = set(map(type, column))
    if kinds <= {str}:
        return len(column)
    return 0 if kinds.isdisjoint({str, datetime.datetime}) else sum(type(value) in {str, datetime.datetime} for value in column)


def _from_text(field: Field, value: object) -> object:
    """What a text of a table means: numbers stand in it as texts, and an empty one is nothing."""
    if not isinstance(value, str) or (value and field.use not in {"time", "number"}):
        return value
    value = value.strip()
    if not value:
        return NOTHING
    if _WHOLE.fullmatch(value):
        return int(value)
    if (field.use == "number" or field.epoch == "s") and _DECIMAL.fullmatch(value):
        return float(value)
    return value
