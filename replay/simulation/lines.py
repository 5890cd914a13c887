"""Columns to lines of JSON, many at once: a table of bytes in which what a line does not need is NUL, and falls out at the end.

Writing line by line costs Python 2 µs an event; this costs 0.7 µs, of which half is the shuffling into the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.replay.simulation.shop import Ints

__all__ = ["Cents", "Part", "Texts", "Whole", "blocks_of_lines"]

Bytes = npt.NDArray[np.uint8]

#: Lines made at once: the table of bytes stays in the cache.
BLOCK = 20_000
#: The digits of 0000 to 9999.
FOURS: Bytes = np.frombuffer("".join(f"{i:04d}" for i in range(10_000)).encode(), dtype=np.uint8).reshape(-1, 4)
ZERO = ord("0")


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of few different texts, as places in a list of them."""

    texts: tuple[str, ...]
    codes: Ints


@dataclass(frozen=True, slots=True)
class Whole:
    """A column of whole numbers, >= 0."""

    values: Ints


@dataclass(frozen=True, slots=True)
class Cents:
    """A column of amounts in minor units, >= 0, written as Python writes the number in major units: 12.5, not 12.50."""

    values: Ints


#: A piece of every line: a text that is the same in all, or a column.
Part = str | Texts | Whole | Cents


def blocks_of_lines(parts: Sequence[Part], rows: Ints) -> Iterator[bytes]:
    r"""Lines made of pieces, in an order of rows.

    Parameters
    ----------
    parts : sequence of Part
        From left to right. No text may hold a NUL, which JSON never does.
    rows : (n,) int64
        Which rows of the columns, in which order; a row may come twice.

    Yields
    ------
    bytes
        Some whole lines.

    Examples
    --------
    >>> parts = ['{"n":', Whole(np.array([7, 1200])), ',"paid":', Cents(np.array([1250, 5])), "}\n"]
    >>> next(blocks_of_lines(parts, np.array([1, 0])))
    b'{"n":1200,"paid":0.05}\n{"n":7,"paid":12.5}\n'
    """
    makers = [_maker(part) for part in parts]
    width = sum(maker.width for maker in makers)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        table = np.zeros((len(some), width), dtype=np.uint8)
        at = 0
        for maker in makers:
            maker.write(table[:, at : at + maker.width], some)
            at += maker.width
        yield table.tobytes().translate(None, b"\0")


def _maker(part: Part) -> _Same | _Chosen | _Number | _Amount:
    match part:
        case str():
            return _Same(part)
        case Texts():
            return _Chosen(part)
        case Whole():
            return _Number(part.values)
        case Cents():
            return _Amount(part.values)


class _Same:
    def __init__(self, text: str) -> None:
        self.text = np.frombuffer(text.encode(), dtype=np.uint8)
        self.width = len(self.text)

    def write(self, into: Bytes, _: Ints) -> None:
        into[:] = self.text


class _Chosen:
    def __init__(self, column: Texts) -> None:
        encoded = [text.encode() for text in column.texts]
        self.width = max(map(len, encoded), default=0)
        self.table = np.frombuffer(b"".join(text.ljust(self.width, b"\0") for text in encoded), dtype=np.uint8).reshape(-1, self.width)
        self.codes = column.codes

    def write(self, into: Bytes, rows: Ints) -> None:
        into[:] = self.table[self.codes[rows]]


class _Number:
    """Digits without leading zeros; the least of them always stays."""

    def __init__(self, values: Ints) -> None:
        self.values = values
        least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        if least < 0:
            raise ValueError(f"{least} is negative; only whole numbers from 0 on are written")
        self.width = len(str(most))
        #: Digits that all numbers have.
        self.sure = len(str(least))

    def write(self, into: Bytes, rows: Ints) -> None:
        _digits(into, self.values[rows], self.sure)


class _Amount:
    def __init__(self, values: Ints) -> None:
        self.major = _Number(values // 100)
        self.minor = values % 100
        self.width = self.major.width + 3

    def write(self, into: Bytes, rows: Ints) -> None:
        self.major.write(into[:, :-3], rows)
        into[:, -3] = ord(".")
        into[:, -2:] = FOURS[self.minor[rows], 2:]
        last = into[:, -1]
        last[last == ZERO] = 0


def _digits(into: Bytes, values: Ints, sure: int) -> None:
    width = into.shape[1]
    rest, at = values, width
    while at > 0:
        rest, low = np.divmod(rest, 10_000)
        begin = max(at - 4, 0)
        into[:, begin:at] = FOURS[low, 4 - (at - begin) :]
        at = begin
    for place in range(width - sure):
        into[values < 10 ** (width - 1 - place), place] = 0
