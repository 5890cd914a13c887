"""Lines to columns: strict, a batch at a time, and every good line whatever stands around it."""

import datetime
import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollguard.config import Settings
from rollguard.streams.layout import EARLIEST_MS, LATEST_MS, PER_SECOND, layout
from rollguard.streams.reading import Reader, Why
from rollguard.streams.refusal import Refusal, wrong_time
from rollguard.streams.rows import Codes, Floats, Ints, Key

__all__ = ["Decoded", "Decoder"]

#: Longest label value, in characters.
MAX_LABEL = 200
#: Ids longer than this are kept as their hash: what waits in open buckets stays small.
MAX_ID = 64

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MS = datetime.timedelta(milliseconds=1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Events of a batch as columns, and the lines refused.

    Attributes
    ----------
    index : (n,) int64
        Place of each event's line in the batch, ascending.
    ts_ms : (n,) int64
        Event time, ms since 1970 UTC; of a point the last of its span.
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
    filtered : int
        Lines that do not belong to the source (`where`).
    weight : (n,) int64 or None
        Events that each stands for, >= 0; None: one.
    """

    index: Ints
    ts_ms: Ints
    ids: list[str] | None
    key: Codes
    keys: list[Key]
    numbers: dict[str, Floats]
    filters: dict[str, list[str | None]]
    refusals: tuple[Refusal, ...]
    filtered: int
    weight: Ints | None = None


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

    __slots__ = ("_reader", "_sieve", "_sums", "lax", "plan")

    def __init__(self, settings: Settings, source: str, *, lax: bool = False) -> None:
        self.plan = layout(settings, source)
        self.lax = lax
        max_bytes = settings.sources[source].max_bytes
        fields = (settings.metrics[each.metric].field for _, each in self.plan.mine if each.part == "sum")
        self._sums = sorted({field for field in fields if field is not None})
        self._reader = Reader(self.plan.fields, max_bytes, lax=lax)
        self._sieve = Reader([field for field, _ in self.plan.sieve], max_bytes, lax=lax) if self.plan.sieve else None

    def decode(self, lines: Sequence[bytes]) -> Decoded:
        """Read some lines.

        Parameters
        ----------
        lines : sequence of bytes
            One event each, without its line end.

        Returns
        -------
        Decoded
            Every line is one event of it, one refusal, or filtered.
        """
        refused: dict[int, Why] = {}
        if self._sieve is None:
            columns, index, bad = self._reader.read(lines, refused)
            filtered = 0
        else:
            columns, index, bad, filtered = self._sifted(self._sieve, lines, refused)
        ts_ms = self._times(columns[self.plan.time], bad)
        ids = self._ids(columns, bad)
        key, keys = self._labels(columns, bad)
        numbers = {name: np.array(columns[at], dtype=np.float64) for name, at in self.plan.numbers.items()}
        filters: dict[str, list[str | None]] = {name: list(map(_text, columns[at])) for name, at in self.plan.filters.items()}
        weight = self._weights(columns, numbers, bad)
        if bad:
            refused.update((int(index[at]), why) for at, why in bad.items())
            kept = np.ones(len(index), dtype=np.bool_)
            kept[list(bad)] = False
            left = np.flatnonzero(kept).tolist()
            index, ts_ms, key = index[kept], ts_ms[kept], key[kept]
            ids = None if ids is None else [ids[at] for at in left]
            numbers = {name: column[kept] for name, column in numbers.items()}
            filters = {name: [column[at] for at in left] for name, column in filters.items()}
            weight = None if weight is None else weight[kept]
        refusals = tuple(Refusal(index=at, reason=reason, detail=detail) for at, (reason, detail) in sorted(refused.items()))
        return Decoded(index, ts_ms, ids, key, keys, numbers, filters, refusals, filtered, weight)

    def _sifted(self, sieve: Reader, lines: Sequence[bytes], refused: dict[int, Why]) -> tuple[list[list[Any]], Ints, dict[int, Why], int]:
        """Read only the lines that belong to the source; of the others nothing matters but that they are JSON objects."""
        columns, index, bad = sieve.read(lines, refused)
        belongs = np.ones(len(index), dtype=np.bool_)
        for column, (_, texts) in zip(columns, self.plan.sieve, strict=True):
            belongs &= np.fromiter((_text(value) in texts for value in column), dtype=np.bool_, count=len(column))
        refused.update((int(index[at]), why) for at, why in bad.items())
        judged = np.ones(len(index), dtype=np.bool_)
        judged[list(bad)] = False
        mine = index[belongs & judged]
        also: dict[int, Why] = {}
        read, within, bad = self._reader.read([lines[at] for at in mine.tolist()], also)
        refused.update((int(mine[at]), why) for at, why in also.items())
        return read, mine[within], bad, int(np.count_nonzero(judged & ~belongs))

    def _times(self, column: list[Any], bad: dict[int, Why]) -> Ints:
        field = self.plan.fields[self.plan.time]
        units, shift_ms = PER_SECOND[field.epoch], self.plan.shift_ms
        if set(map(type, column)) <= {int}:
            times = np.array(column, dtype=np.int64)
            times = times if units == 1000 else times * 1000 if units == 1 else times // (units // 1000)
            return times + shift_ms if shift_ms else times
        ts_ms = np.array([_ms_of(time, units) for time in column], dtype=np.int64)
        for at in np.flatnonzero((ts_ms < EARLIEST_MS) | (ts_ms >= LATEST_MS)).tolist():
            time = column[at]
            bad[at] = ("time", wrong_time(field.theirs, time.isoformat() if isinstance(time, datetime.datetime) else time, field.epoch))
        return ts_ms + shift_ms

    def _weights(self, columns: list[list[Any]], numbers: dict[str, Floats], bad: dict[int, Why]) -> Ints | None:
        """Events that each record stands for; a half of one, or fewer than none, is a number of something else."""
        if self.plan.weight is None:
            return None
        weight = np.array(columns[self.plan.weight], dtype=np.float64)
        name = self.plan.fields[self.plan.weight].theirs
        for at in np.flatnonzero((weight < 0) | (weight != np.rint(weight))).tolist():
            hint = "" if weight[at] < 0 else " An estimate, as increase() of Prometheus gives it, has to be rounded by who sends it."
            why = f"{name} is {weight[at]:.12g}, expected how many events it stands for: a whole number, 0 or more.{hint}"
            bad.setdefault(at, ("weight", why))
        for field in self._sums:
            for at in np.flatnonzero((weight == 0) & (np.abs(numbers[field]) > 0)).tolist():
                bad.setdefault(at, ("weight", f"{name} is 0, and no events have no sum, but {self._theirs(field)} is {numbers[field][at]:.12g}."))
        return weight.astype(np.int64)

    def _theirs(self, name: str) -> str:
        return self.plan.fields[self.plan.numbers[name]].theirs

    def _ids(self, columns: list[list[Any]], bad: dict[int, Why]) -> list[str] | None:
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

    def _labels(self, columns: list[list[Any]], bad: dict[int, Why]) -> tuple[Codes, list[Key]]:
        labels = [columns[at] for at in self.plan.labels]
        n = len(columns[self.plan.time])
        values: Iterable[tuple[Any, ...]] = zip(*labels, strict=True) if labels else [()] * n
        place: defaultdict[tuple[Any, ...], int] = defaultdict(itertools.count().__next__)
        raw = np.fromiter(map(place.__getitem__, values), dtype=np.int32, count=n)
        keys: dict[Key, int] = {}
        # 7 and "7" are one value.
        table = np.array([keys.setdefault(tuple("" if value is None else str(value) for value in each), len(keys)) for each in place], dtype=np.int32)
        column = table[raw] if len(keys) < len(place) else raw
        wrong = {code: why for key, code in keys.items() if (why := self._wrong_key(key)) is not None}
        if wrong:
            bad.update((at, wrong[code]) for at, code in enumerate(column.tolist()) if code in wrong)
        return column, list(keys)

    def _wrong_key(self, key: Key) -> Why | None:
        for at, value in enumerate(key):
            name = self.plan.fields[self.plan.labels[at]].theirs
            if not value and at < self.plan.n_watched:
                return "missing", f"field '{name}' is empty."
            if len(value) > MAX_LABEL:
                return "label", f"{name} has {len(value)} characters, at most {MAX_LABEL} allowed."
            if _CONTROL.search(value):
                return "label", f"{name} holds a control character."
        return None


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _ms_of(time: float | datetime.datetime, units: int) -> int:
    """Whole milliseconds that are over at a time, a number in so many units a second."""
    if isinstance(time, datetime.datetime):
        return (time - _EPOCH) // _MS
    if isinstance(time, int):
        return time * 1000 // units
    # Doubles of seconds are exact to less than half a microsecond until 2100: so many digits are what was written.
    return round(time * 10**6) // 1000


def _text(value: object) -> str | None:
    """What a value of a `where` says: 500, 500.0 and "500" are the same; objects and arrays say nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else None
