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
from rollguard.streams import Text

__all__ = ["SUFFIXES", "EventFile", "Lines", "Reader", "stem_of"]

Ints = npt.NDArray[np.int64]

#: Forms a case file may have.
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet")
#: A batch ends with the piece of a file that brings it to so many lines, or bytes; a piece has no more lines than that itself.
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
    lines : sequence of bytes
        Without their line ends.
    numbers : int or (n,) int64
        Number of the first line, from 1, the others follow; or the offset of each record.
    stamps_ms : (n,) int64 or None
        The topic's own time of each record.
    headers : sequence of sequence of (str, bytes)
        Of each record, where there are any.
    """

    lines: Sequence[bytes]
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
        held: list[Sequence[bytes]] = []
        n = size = 0
        try:
            for piece in self._lines():
                held.append(piece)
                n += len(piece)
                size += len(piece.text) if isinstance(piece, Text) else sum(map(len, piece))
                if n >= LINES or size >= BYTES:
                    yield Lines(_together(held), number)
                    number += n
                    held, n, size = [], 0, 0
        except DamagedError as error:
            self._break(number + n, first, str(error))
        except OSError as error:
            self._break(number + n, first, _reason(error))
        if held:
            yield Lines(_together(held), number)
        self.done = self.total

    def _break(self, line: int, first: int, reason: str) -> None:
        if line == first:
            self.damage = f"{self.path.name}: nothing of the file could be read: {reason}. Expected: a whole file; what it should hold is unknown, not zero."
            return
        kept = f"the {line - first:,} lines before count" if line - first > 1 else "the line before counts"
        self.damage = f"{self.path.name}:{line}: the file breaks off: {reason}. Expected: a whole file; {kept}, what came after is unknown, not zero."

    def _lines(self) -> Iterator[Sequence[bytes]]:
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
            texts = map(Text, _whole_lines(self._chunks(file)))
            if self.lax:
                # One by one: where a table breaks off, the lines before that count.
                for line in csv_lines(chain.from_iterable(texts)):
                    yield [line]
            else:
                for text in texts:
                    for start in range(0, len(text), LINES):
                        yield text[start : start + LINES]

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


def _together(pieces: Sequence[Sequence[bytes]]) -> Sequence[bytes]:
    texts = [piece for piece in pieces if isinstance(piece, Text)]
    return Text.together(texts) if len(texts) == len(pieces) else list(chain.from_iterable(pieces))


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a stream with their ends, as they come with each piece of it; one without end is cut at `LONGEST_LINE` and the rest of it passed over.

    Where the stream breaks off, it raises here: what lies between the last line end and the damage is half a line and is not told as one.
    """
    rest: list[bytes] = []
    held = 0
    bom = b"\xef\xbb\xbf"
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if not end:
            if held <= LONGEST_LINE:
                rest.append(chunk)
            held += len(chunk)
            continue
        head = chunk.find(b"\n")
        whole = (b"".join([*rest, chunk[:head]])[: LONGEST_LINE + 1] + chunk[head:end]).removeprefix(bom)
        bom = b""
        yield whole.replace(b"\r\n", b"\n") if b"\r" in whole else whole
        rest, held = [chunk[end:]], len(chunk) - end
    last = b"".join(rest)[: LONGEST_LINE + 1]
    if last:
        yield last.removeprefix(bom).removesuffix(b"\r") + b"\n"
