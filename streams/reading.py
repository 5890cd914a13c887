"""Lines to the values of fields: strict JSON, a batch at a time, and every good line whatever stands around it."""

import contextlib
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
from rollguard.streams.text import Text

__all__ = ["Reader"]

_WHOLE = re.compile(r"[+-]?\d{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")
_UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_ANYTHING = msgspec.json.Decoder()

#: Lines decoded at once.
AT_ONCE = 2000
#: A label of more values than this is read anew in each event, and so are all once new values came so often.
FEW, TURNS = 64, 64
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

    __slots__ = (
        "_any",
        "_decode",
        "_decode_known",
        "_decode_text",
        "_expressions",
        "_fields",
        "_known",
        "_lax",
        "_max_bytes",
        "_needles",
        "_part",
        "_shape",
        "_turns",
    )

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
        self._any = _decoder_of(None if lax else self._part.top())
        decoder = None if lax or not direct else msgspec.json.Decoder(self._shape.record)
        self._decode: Callable[[bytes], Any] = self._decode_slowly if decoder is None else decoder.decode
        self._decode_text: Callable[[bytes], list[Any]] | None = None if decoder is None else decoder.decode_lines
        self._known: dict[int, set[str]] = {at: set() for at, field in enumerate(self._fields) if field.use == "label"}
        self._decode_known: Callable[[bytes], list[Any]] | None = None
        self._turns = TURNS

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
        indices = [np.arange(0)]
        bad: dict[int, Why] = {}
        n = 0
        # A few at a time, so that they and their records are still in the processor's cache when they are taken apart.
        for start in range(0, len(lines), AT_ONCE):
            some = lines[start : start + AT_ONCE]
            records, index = self._records(some, start, refused)
            parts, present = self._shape.columns(records)
            for column, part in zip(columns, parts, strict=True):
                column.extend(part)
            indices.append(index)
            good = some if len(index) == len(some) else [some[at - start] for at in index.tolist()]
            bad.update((n + at, why) for at, why in self._suspicious(good, present).items())
            n += len(index)
        return columns, np.concatenate(indices), bad

    def _records(self, lines: Sequence[bytes], first: int, refused: dict[int, Why]) -> tuple[list[Any], Ints]:
        """Decode, all at once if it can be; else one by one, and on a refusal go on behind it, so that none is read so twice."""
        index = np.arange(first, first + len(lines))
        at_once = self._at_once(lines)
        if at_once is not None:
            return at_once, index
        records: list[Any] = []
        lines = list(lines)
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

    def _at_once(self, lines: Sequence[bytes]) -> list[Any] | None:
        """Decode a text as a whole; None if it is none, or if what was read might be other than what each line by itself says.

        What is decoded are JSON values with white space between or none, wherever in the lines they stand. If each line begins with "{"
        and ends with "}", and as many values were read as there are lines, then each line is one value. For a newline is refused within
        a string, so it stands between two tokens, which are "}" and "{" then; and in a value "{" never follows "}", only a comma, a
        colon or a closing bracket does. So a value ends with each line, each line is one value at least, and there are no more.
        """
        if self._decode_text is None or not isinstance(lines, Text):
            return None
        octets = np.frombuffer(lines.text, dtype=np.uint8)
        starts = lines.starts
        # Of an empty line the first is its line end.
        if int((lines.ends - starts).max()) > self._max_bytes or (octets[starts] != ord("{")).any() or (octets[lines.ends - 1] != ord("}")).any():
            return None
        records = None
        if self._decode_known is not None:
            with contextlib.suppress(*_UNREADABLE_JSON):
                records = self._decode_known(lines.text)
        if records is None:
            try:
                records = self._decode_text(lines.text)
            except _UNREADABLE_JSON:
                return None
            self._learn(records)
        return records if len(records) == len(lines) else None

    def _learn(self, records: list[Any]) -> None:
        """Make of labels' texts what a decoder knows beforehand: it then gives the same object each time, which is half as dear to make and to look up."""
        if not self._turns or not self._known:
            return
        self._turns -= 1
        columns, _ = self._shape.columns(records)
        for at in list(self._known):
            values = self._known[at].union(set(columns[at]) - {None})
            if len(values) > FEW or not all(isinstance(value, str) for value in values):
                del self._known[at]
            else:
                self._known[at] = values
        known = {at: texts for at, texts in self._known.items() if texts}
        self._decode_known = msgspec.json.Decoder(self._shape.narrowed(known)).decode_lines if known and self._turns else None

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

    def _suspicious(self, good: Sequence[bytes], present: Counter[str]) -> dict[int, Why]:
        """Events whose line is not UTF-8, too deep, or holds a key twice, which the decoder lets pass where it does not read.

        Judged for all together first: no key more often than it was read, and hardly more brackets than events.
        """
        text = good.text if isinstance(good, Text) else b"\n".join(good)
        octets = np.frombuffer(text, dtype=np.uint8)
        # One bit is all that "{" and "[" differ in. Python counts single bytes one find after the other, numpy many at once.
        flat = np.count_nonzero((octets & ~np.uint8(0x20)) == ord("[")) < len(good) + MAX_DEPTH or not any(map(many_brackets, good))
        sound = flat and all_utf8(text)
        hidden = has_escaped_key(text)
        if sound and not hidden and not self._part.searched and self._none_twice(text, octets, present):
            return {}
        bad: dict[int, Why] = {}
        for at, line in enumerate(good):
            why = None if sound else broken_text(line, self._max_bytes)
            if why is None and (name := has_twice(line, self._part, self._needles, hidden=hidden)) is not None:
                why = ("twice", f"holds the field '{name}' twice.")
            if why is not None:
                bad[at] = why
        return bad

    def _none_twice(self, text: bytes, octets: npt.NDArray[np.uint8], present: Counter[str]) -> bool:
        """Whether no key that is read stands in the text more often than it was read."""
        quotes = octets == ord('"')
        return all(_at_most(present[key], needle, text, octets, quotes) for key, needle in self._needles)


def _at_most(most: int, needle: bytes, text: bytes, octets: npt.NDArray[np.uint8], quotes: npt.NDArray[np.bool_]) -> bool:
    """Whether a key in its quotes stands in a text so often at most.

    It does no more often than two quotes so far apart, with its first letter behind the one and its last before the other. Numpy
    counts these four times as fast as Python finds the key.
    """
    last = len(needle) - 1
    n = max(0, len(octets) - last)
    alike = quotes[:n] & quotes[last:]
    for at in (1, last - 1):
        alike &= octets[at : at + n] == needle[at]
        if np.count_nonzero(alike) <= most:
            return True
    return text.count(needle) <= most


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
