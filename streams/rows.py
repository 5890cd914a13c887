"""Partial sums as columns, and what one does with them: put together, cut, renumber, add up."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rollguard.streams.bins import BINS

__all__ = ["Bools", "Codes", "Floats", "Ints", "Key", "Rows", "Shorts", "renumbered"]

Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int16]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: Label values: watched labels first, then compare labels, in the order of the settings.
Key = tuple[str, ...]

_HIGHEST = 2**63 - 1
_BIN_WIDTH = 2 * BINS + 1


class Rows:
    """Columns of partial sums, all of one length.

    Attributes
    ----------
    bucket : (n,) int64
        Event time in ms, divided by the bucket's span.
    measure : (n,) int16
        Number of the measure (`measures`).
    key : (n,) int32
        Place of the label values in a list of keys that stands beside the rows.
    bin : (n,) int16
        Bin of the histogram for `bins`, else 0.
    value : (n,) int64
        Events, or units of 1/scale.
    """

    __slots__ = ("bin", "bucket", "key", "measure", "value")

    def __init__(self, bucket: Ints, measure: Shorts, key: Codes, bin: Shorts, value: Ints) -> None:  # noqa: A002 - the column's name in blocks
        self.bucket = bucket
        self.measure = measure
        self.key = key
        self.bin = bin
        self.value = value

    def __len__(self) -> int:
        return len(self.bucket)

    @staticmethod
    def none() -> "Rows":
        """No rows."""
        short = np.zeros(0, dtype=np.int16)
        return Rows(np.zeros(0, dtype=np.int64), short, np.zeros(0, dtype=np.int32), short, np.zeros(0, dtype=np.int64))

    @staticmethod
    def together(parts: Sequence["Rows"]) -> "Rows":
        """Put rows below each other; nothing is added up."""
        if not parts:
            return Rows.none()
        if len(parts) == 1:
            return parts[0]
        return Rows(
            np.concatenate([part.bucket for part in parts]),
            np.concatenate([part.measure for part in parts]),
            np.concatenate([part.key for part in parts]),
            np.concatenate([part.bin for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def take(self, which: slice | Ints | Bools) -> "Rows":
        """Choose some of the rows."""
        return Rows(self.bucket[which], self.measure[which], self.key[which], self.bin[which], self.value[which])

    def cut(self, bucket: int) -> tuple["Rows", "Rows"]:
        """Split sorted rows into those before a bucket and the others."""
        at = int(np.searchsorted(self.bucket, bucket))
        return self.take(slice(0, at)), self.take(slice(at, None))

    def with_keys(self, key: Codes) -> "Rows":
        """Give the same rows other key numbers."""
        return Rows(self.bucket, self.measure, key, self.bin, self.value)

    def summed(self) -> "Rows":
        """Sort by bucket, measure, key and bin, and add up the values of equal cells."""
        if len(self) == 0:
            return self
        order, first = self._cells()
        rows = self if order is None else self.take(order)
        if len(first) == len(rows):
            return rows
        value = _sums(rows.value, first)
        rows = rows.take(first)
        rows.value = value
        return rows

    def _cells(self) -> tuple[Ints | None, Ints]:
        """Order of the rows (None: they are sorted), and where in it each cell begins."""
        lowest = int(self.bucket.min())
        sizes = (int(self.measure.max()) + 1, int(self.key.max()) + 1, _BIN_WIDTH)
        if (int(self.bucket.max()) - lowest + 1) * sizes[0] * sizes[1] * sizes[2] < _HIGHEST:
            cell = (((self.bucket - lowest) * sizes[0] + self.measure) * sizes[1] + self.key) * sizes[2] + self.bin
            if bool((cell[1:] > cell[:-1]).all()):
                return None, np.arange(len(cell))
            order = np.argsort(cell, kind="stable")
            cell = cell[order]
            return order, np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]]))
        # Rare: buckets so far apart that one number cannot hold a cell.
        columns = (self.bin, self.key, self.measure, self.bucket)
        order = np.lexsort(columns)
        differs = np.zeros(len(self), dtype=np.bool_)
        differs[0] = True
        for each in columns:
            differs[1:] |= each[order][1:] != each[order][:-1]
        return order, np.flatnonzero(differs)


def _sums(value: Ints, first: Ints) -> Ints:
    """Add up the runs that begin at `first`; saturated where an int64 would overflow."""
    # Floats only to judge whether it can overflow at all; their error is far below the margin of a half.
    if float(np.abs(value.astype(np.float64)).max()) * len(value) < 2.0**62:
        return np.asarray(np.add.reduceat(value, first), dtype=np.int64)
    ends = [*first[1:].tolist(), len(value)]
    sums = [sum(value[start:end].tolist()) for start, end in zip(first.tolist(), ends, strict=True)]
    return np.array([max(-_HIGHEST, min(_HIGHEST, each)) for each in sums], dtype=np.int64)


def renumbered(rows: Rows, keys: Sequence[Key]) -> tuple[Rows, tuple[Key, ...]]:
    """Renumber keys by their sorted order, keep only those in use, and add up: one form for one content.

    Parameters
    ----------
    rows : Rows
        Their `key` is a place in `keys`.
    keys : sequence of keys
        Some may be unused, or stand there twice.

    Returns
    -------
    Rows, tuple of keys
        Summed rows, and the keys they use in ascending order.
    """
    if len(rows) == 0:
        return Rows.none(), ()
    used = np.flatnonzero(np.bincount(rows.key, minlength=len(keys))).tolist()
    names = sorted({keys[code] for code in used})
    place = {name: at for at, name in enumerate(names)}
    table = np.zeros(len(keys), dtype=np.int32)
    table[used] = [place[keys[code]] for code in used]
    return rows.with_keys(table[rows.key]).summed(), tuple(names)
