"""Lines of one file of a case, whatever its form; damage ends it with a sentence, never with a traceback.

What was read before the damage counts. Memory stays bounded: a line longer than any event may be is cut, and a batch
ends when it holds many lines or many bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from rollguard.replay.tables import csv_lines, parquet_parts
from rollguard.replay.unpacking import DamagedError, gunzip, unzstd

__all__ = ["SUFFIXES", "EventFile", "Lines", "Reader", "stem_of"]

Ints = npt.NDArray[np.int64]

#: Forms a case file may have.
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet")
#: A batch ends at so many lines, or bytes in them.
LINES, BYTES = 20_000, 16 << 20
#: Bytes read at once; few of Zstandard, whose pieces unpack to whatever they hold.
PIECE = {".jsonl": 1 << 20, ".csv": 1 << 20, ".jsonl.gz": 1 << 14, ".jsonl.zst": 1 << 10}
#: A line is cut at this length, which is beyond what any source may allow; the decoder then refuses it as too long.
LONGEST_LINE = 32 << 20


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file, or records of a topic's partition.

    Attributes
    ----------
    lines : list of bytes
        Without their line ends.
    numbers : int or (n,) int64
        Number of the first line, from 1, the others follow; or the offset of each record.
    stamps_ms : (n,) int64 or None
        The topic's own time of each record.
    headers : sequence of sequence of (str, bytes)
        Of each record, where there are any.
    """

    lines: list[bytes]
    numbers: int | Ints
    stamps_ms: Ints | None = None
    headers: Sequence[Sequence[tuple[str, bytes]]] = ()


class Reader(Protocol):
    """Where lines come from: a file, or a partition of a topic.

    Attributes
    ----------
    name : str
        Of the file, or of the topic.
    partition : int or None
        None: it is a file.
    lax : bool
        Values are all text, so that numbers have to be read from text.
    done, total : int
        How much has been read, of how much; in the reader's own unit.
    damage : str or None
        After its end: what kept it from being read whole.
    """

    name: str
    partition: int | None
    lax: bool
    done: int
    total: int
    damage: str | None

    def __iter__(self) -> Iterator[Lines]:
        """Give batches of lines, in order."""


def stem_of(path: Path) -> str:
    """Name of a file without the suffix of its form.

    Examples
    --------
    >>> stem_of(Path("orders.jsonl.gz")), stem_of(Path("orders.csv"))
    ('orders', 'orders')
    """
    return path.name.removesuffix(_form(path))


def _form(path: Path) -> str:
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), "")


class EventFile:
    """One file of events or changes, read line by line in batches.

    Parameters
    ----------
    path : Path
        Its suffix says its form: one of `SUFFIXES`.

    Attributes
    ----------
    done, total : int
        Bytes of the file as it lies on the disk.
    lax : bool
        Values are all text (CSV), so that numbers have to be read from text.
    damage : str or None
        Set when the file could not be read to its end: what, where, and what was done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.partition: int | None = None
        self.form = _form(path)
        self.lax = self.form == ".csv"
        self.damage: str | None = None
        self.done = 0
        try:
            self.total = path.stat().st_size
        except OSError:
            self.total = 0

    def __iter__(self) -> Iterator[Lines]:
        """Batches of lines; after the last one `damage` says whether there should have been more."""
        # The header of a table is its first line.
        first = number = 2 if self.lax else 1
        batch: list[bytes] = []
        size = 0
        try:
            for lines in self._lines():
                batch += lines
                size += sum(map(len, lines))
                while len(batch) >= LINES or size >= BYTES:
                    full, batch = batch[:LINES], batch[LINES:]
                    size = sum(map(len, batch))
                    yield Lines(full, number)
                    number += len(full)
        except DamagedError as error:
            self._break(number + len(batch), first, str(error))
        except OSError as error:
            self._break(number + len(batch), first, _reason(error))
        if batch:
            yield Lines(batch, number)
        self.done = self.total

    def _break(self, line: int, first: int, reason: str) -> None:
        if line == first:
            self.damage = f"{self.path.name}: nothing of the file could be read: {reason}. Expected: a whole file; what it should hold is unknown, not zero."
            return
        kept = f"the {line - first:,} lines before count" if line - first > 1 else "the line before counts"
        self.damage = f"{self.path.name}:{line}: the file breaks off: {reason}. Expected: a whole file; {kept}, what came after is unknown, not zero."

    def _lines(self) -> Iterator[list[bytes]]:
        mode = self.path.stat().st_mode
        if not stat.S_ISREG(mode):
            # A pipe or a device might never end.
            raise DamagedError("it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")
        if self.form == ".parquet":
            for share, part in parquet_parts(self.path, LINES):
                self.done = int(self.total * share)
                yield part
            return
        with self.path.open("rb") as file:
            lines = _split(self._chunks(file))
            if self.lax:
                # One by one: where a table breaks off, the lines before that count.
                for line in csv_lines(chain.from_iterable(lines)):
                    yield [line]
            else:
                yield from lines

    def _chunks(self, file: IO[bytes]) -> Iterator[bytes]:
        pieces = self._pieces(file)
        if self.form == ".jsonl.gz":
            return gunzip(pieces)
        if self.form == ".jsonl.zst":
            return unzstd(pieces, self.path.name)
        return pieces

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        while piece := file.read(PIECE[self.form]):
            self.done += len(piece)
            yield piece


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    if isinstance(error, FileNotFoundError):
        return "it is not there, or a link to nothing"
    return (error.strerror or str(error)).lower()


def _split(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines of a stream, as they come with each piece of it; a line without end is cut at `LONGEST_LINE` and the rest of it passed over.

    Where the stream breaks off, it raises here: what lies between the last line end and the damage is half a line and is not told as one.
    """
    rest: list[bytes] = []
    held = 0
    first = True
    for chunk in chunks:
        head, *lines = chunk.split(b"\n")
        if held <= LONGEST_LINE:
            rest.append(head)
        held += len(head)
        if not lines:
            continue
        lines.insert(0, b"".join(rest)[: LONGEST_LINE + 1])
        tail = lines.pop()
        if first:
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            first = False
        # Most files have no line that ends so; the first began in a piece before.
        lines[0] = lines[0].removesuffix(b"\r")
        yield [line.removesuffix(b"\r") for line in lines] if b"\r" in chunk else lines
        rest, held = [tail], len(tail)
    last = b"".join(rest)[: LONGEST_LINE + 1]
    if last:
        yield [(last.removeprefix(b"\xef\xbb\xbf") if first else last).removesuffix(b"\r")]
