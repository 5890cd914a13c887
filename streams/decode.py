"""Lines to columns: strict, a batch at a time, and every good line whatever stands around it."""

import datetime
import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from rollguard.config import Settings
from rollguard.streams.layout import EARLIEST_MS, LATEST_MS, layout
from rollguard.streams.refusal import MAX_DEPTH, Refusal, all_utf8, broken_text, explain, has_escaped_key, has_twice, wrong_time
from rollguard.streams.rows import Codes, Floats, Ints, Key

__all__ = ["Decoded", "Decoder"]

#: Longest label value, in characters.
MAX_LABEL = 200
#: Ids longer than this are kept as their hash: what waits in open buckets stays small.
MAX_ID = 64

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MS = datetime.timedelta(milliseconds=1)
_WHOLE = re.compile(r"[+-]?\d{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Events of a batch as columns, and the lines refused.

    Attributes
    ----------
    index : (n,) int64
        Place of each event's line in the batch, ascending.
    ts_ms : (n,) int64
        Event time, ms since 1970 UTC.
    ids : list of n str, or None
        None: the source declares no id.
    key : (n,) int32
        Place of the event's label values in `keys`.
    keys : list of keys
        Those of this batch; an absent compare label is "".
    numbers : dict of str to (n,) float64
        Measured fields by our name; NaN where an event has none.
    filters : dict of str to list of n str or None
        Fields asked for by a metric's `where`, as text: 500 and "500" are the same.
    refusals : tuple of Refusal
        In order of the lines.
    """

    index: Ints
    ts_ms: Ints
    ids: list[str] | None
    key: Codes
    keys: list[Key]
    numbers: dict[str, Floats]
    filters: dict[str, list[str | None]]
    refusals: tuple[Refusal, ...]


class Decoder:
    """Reads one source's events.

    Parameters
    ----------
    settings : Settings
    source : str
    lax : bool
        True: numbers and epoch times may stand in quotes, and an empty text is an absent field, as in CSV.

    Raises
    ------
    RollguardError
        If the settings do not know the source.
    """

    __slots__ = ("_any", "_decode", "_event", "_getters", "_max_bytes", "_needles", "lax", "plan")

    def __init__(self, settings: Settings, source: str, *, lax: bool = False) -> None:
        self.plan = layout(settings, source)
        self.lax = lax
        self._max_bytes = settings.sources[source].max_bytes
        self._event = self.plan.event_type()
        self._any = msgspec.json.Decoder()
        self._decode: Callable[[bytes], Any] = self._decode_lax if lax else msgspec.json.Decoder(self._event).decode
        self._getters = [attrgetter(f"f{at}") for at in range(len(self.plan.fields))]
        self._needles = [(field.theirs, msgspec.json.encode(field.theirs)) for field in self.plan.fields]

    def decode(self, lines: Sequence[bytes]) -> Decoded:
        """Read some lines.

        Parameters
        ----------
        lines : sequence of bytes
            One event each, without its line end.

        Returns
        -------
        Decoded
            Every line is one event of it or one refusal.
        """
        refused: dict[int, tuple[str, str]] = {}
        events, index = self._events(lines, refused)
        columns: list[list[Any]] = [list(map(getter, events)) for getter in self._getters]
        bad = self._suspicious(lines, columns, index)
        ts_ms = self._times(columns[self.plan.time], bad)
        ids = self._ids(columns, bad)
        key, keys = self._labels(columns, bad)
        numbers = {name: np.array(columns[at], dtype=np.float64) for name, at in self.plan.numbers.items()}
        filters: dict[str, list[str | None]] = {name: list(map(_text, columns[at])) for name, at in self.plan.filters.items()}
        if bad:
            refused.update((int(index[at]), why) for at, why in bad.items())
            kept = np.ones(len(index), dtype=np.bool_)
            kept[list(bad)] = False
            left = np.flatnonzero(kept).tolist()
            index, ts_ms, key = index[kept], ts_ms[kept], key[kept]
            ids = None if ids is None else [ids[at] for at in left]
            numbers = {name: column[kept] for name, column in numbers.items()}
            filters = {name: [column[at] for at in left] for name, column in filters.items()}
        refusals = tuple(Refusal(index=at, reason=reason, detail=detail) for at, (reason, detail) in sorted(refused.items()))
        return Decoded(index, ts_ms, ids, key, keys, numbers, filters, refusals)

    def _events(self, lines: Sequence[bytes], refused: dict[int, tuple[str, str]]) -> tuple[list[Any], Ints]:
        """Decode; on a refusal go on behind it, so that no line is read twice."""
        events: list[Any] = []
        index = np.arange(len(lines))
        if max(map(len, lines), default=0) > self._max_bytes:
            short = [at for at, line in enumerate(lines) if len(line) <= self._max_bytes]
            refused.update((at, broken_text(line, self._max_bytes) or ("size", "")) for at, line in enumerate(lines) if len(line) > self._max_bytes)
            index = np.array(short, dtype=np.int64)
            lines = [lines[at] for at in short]
        failed: list[int] = []
        rest = iter(lines)
        while True:
            try:
                # What was appended before an exception stays: the next line is the one behind it.
                events.extend(map(self._decode, rest))
                break
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                at = len(events)
                events.append(None)
                failed.append(at)
                refused[int(index[at])] = self._explain(lines[at], error)
        if failed:
            index = np.delete(index, failed)
            events = [event for event in events if event is not None]
        return events, index

    def _explain(self, line: bytes, error: Exception) -> tuple[str, str]:
        event: object
        try:
            event = self._read_any(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
            event = broken
        return explain(line, event, self.plan, self._max_bytes, str(error))

    def _suspicious(self, lines: Sequence[bytes], columns: list[list[Any]], index: Ints) -> dict[int, tuple[str, str]]:
        """Events whose line is not UTF-8, too deep, or holds a field twice, which the decoder lets pass where it does not read.

        Judged for the whole batch first: as many names of fields as there are fields, and hardly more brackets than events.
        """
        good = lines if len(index) == len(lines) else [lines[at] for at in index.tolist()]
        text = b"\n".join(good)
        present = [len(good) - (0 if field.required else column.count(None)) for field, column in zip(self.plan.fields, columns, strict=True)]
        if (
            text.count(b"{") + text.count(b"[") < len(good) + MAX_DEPTH
            and all_utf8(text)
            and not has_escaped_key(text)
            and all(text.count(needle) <= there for (_, needle), there in zip(self._needles, present, strict=True))
        ):
            return {}
        bad: dict[int, tuple[str, str]] = {}
        for at, line in enumerate(good):
            why = broken_text(line, self._max_bytes)
            if why is None and (name := has_twice(line, self._needles)) is not None:
                why = ("twice", f"holds the field '{name}' twice.")
            if why is not None:
                bad[at] = why
        return bad

    def _times(self, column: list[Any], bad: dict[int, tuple[str, str]]) -> Ints:
        if set(map(type, column)) <= {int}:
            return np.array(column, dtype=np.int64)
        ts_ms = np.array([time if type(time) is int else (time - _EPOCH) // _MS for time in column], dtype=np.int64)
        name = self.plan.fields[self.plan.time].theirs
        for at in np.flatnonzero((ts_ms < EARLIEST_MS) | (ts_ms >= LATEST_MS)).tolist():
            bad[at] = ("time", wrong_time(name, column[at].isoformat()))
        return ts_ms

    def _ids(self, columns: list[list[Any]], bad: dict[int, tuple[str, str]]) -> list[str] | None:
        if self.plan.id is None:
            return None
        ids = columns[self.plan.id]
        try:
            lengths = set(map(len, ids))
        except TypeError:
            ids = list(map(str, ids))
            lengths = set(map(len, ids))
        if max(lengths, default=0) > MAX_ID:
            ids = [each if len(each) <= MAX_ID else _digest(each) for each in ids]
        if 0 in lengths:
            why = ("missing", f"field '{self.plan.fields[self.plan.id].theirs}' is empty.")
            bad.update((at, why) for at, each in enumerate(ids) if not each)
        return ids

    def _labels(self, columns: list[list[Any]], bad: dict[int, tuple[str, str]]) -> tuple[Codes, list[Key]]:
        labels = [columns[at] for at in self.plan.labels]
        values: list[tuple[Any, ...]] = list(zip(*labels, strict=True)) if labels else [()] * len(columns[self.plan.time])
        place: defaultdict[tuple[Any, ...], int] = defaultdict(itertools.count().__next__)
        raw = np.fromiter(map(place.__getitem__, values), dtype=np.int32, count=len(values))
        keys: dict[Key, int] = {}
        # 7 and "7" are one value.
        table = np.array([keys.setdefault(tuple("" if value is None else str(value) for value in each), len(keys)) for each in place], dtype=np.int32)
        column = table[raw] if len(keys) < len(place) else raw
        wrong = {code: why for key, code in keys.items() if (why := self._wrong_key(key)) is not None}
        if wrong:
            bad.update((at, wrong[code]) for at, code in enumerate(column.tolist()) if code in wrong)
        return column, list(keys)

    def _wrong_key(self, key: Key) -> tuple[str, str] | None:
        for at, value in enumerate(key):
            name = self.plan.fields[self.plan.labels[at]].theirs
            if not value and at < self.plan.n_watched:
                return "missing", f"field '{name}' is empty."
            if len(value) > MAX_LABEL:
                return "label", f"{name} has {len(value)} characters, at most {MAX_LABEL} allowed."
            if _CONTROL.search(value):
                return "label", f"{name} holds a control character."
        return None

    def _read_any(self, line: bytes) -> Any:
        event = self._any.decode(line)
        if self.lax and isinstance(event, dict):
            for field in self.plan.fields:
                value = event.get(field.theirs)
                if isinstance(value, str) and (field.use in {"time", "number"} or not value):
                    value = value.strip()
                    if not value:
                        del event[field.theirs]
                    elif _WHOLE.fullmatch(value):
                        event[field.theirs] = int(value)
                    elif field.use == "number" and _DECIMAL.fullmatch(value):
                        event[field.theirs] = float(value)
        return event

    def _decode_lax(self, line: bytes) -> Any:
        return msgspec.convert(self._read_any(line), self._event)


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
