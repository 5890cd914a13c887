"""Lines of one file of a case, whatever its form; damage ends it with a sentence, never with a traceback.

What was read before the damage counts. Memory stays bounded: a line longer than any event may be is cut.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import IO, Any

import msgspec

from rollguard.config import RollguardError

__all__ = ["SUFFIXES", "EventFile", "Lines", "MissingExtraError", "stem_of"]

#: Forms a case file may have.
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet")
LINES = 20_000
CHUNK = 1 << 20
#: A line is cut at this length, which is beyond what any source may allow; the decoder then refuses it as too long.
LONGEST_LINE = 32 << 20


class MissingExtraError(RollguardError):
    """A file form needs a library that is not installed."""

    code = "usage"


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file.

    Attributes
    ----------
    lines : list of bytes
        Without their line ends.
    first_line : int
        Number of the first, from 1.
    """

    lines: list[bytes]
    first_line: int


def stem_of(path: Path) -> str:
    """Name of a file without the suffix of its form.

    Examples
    --------
    >>> stem_of(Path("orders.jsonl.gz")), stem_of(Path("orders.csv"))
    ('orders', 'orders')
    """
    name = path.name
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), "")
    return name[: len(name) - len(suffix)]


class _Counted(RawIOBase):
    """Counts the bytes that are read of a file, for a progress bar."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.file.read(len(view))
        view[: len(data)] = data
        self.count += len(data)
        return len(data)


class EventFile:
    """One file of events or changes, read line by line in batches.

    Parameters
    ----------
    path : Path
        Its suffix says its form: one of `SUFFIXES`.

    Attributes
    ----------
    bytes_read, bytes_total : int
        Of the file as it lies on the disk.
    lax : bool
        Values are all text (CSV), so that numbers have to be read from text.
    damage : str or None
        Set when the file could not be read to its end: what, where, and what was done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lax = path.name.endswith(".csv")
        self.damage: str | None = None
        self.bytes_read = 0
        try:
            self.bytes_total = path.stat().st_size
        except OSError:
            self.bytes_total = 0

    def __iter__(self) -> Iterator[Lines]:
        """Batches of lines; after the last one `damage` says whether there should have been more."""
        number = 1
        batch: list[bytes] = []
        try:
            for line in self._lines():
                batch.append(line)
                if len(batch) >= LINES:
                    yield Lines(batch, number)
                    number += len(batch)
                    batch = []
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            self._break(number + len(batch), error)
        if batch:
            yield Lines(batch, number)
        self.bytes_read = self.bytes_total

    def _break(self, line: int, error: Exception) -> None:
        reason = {
            "EOFError": "it ends in the middle of its compressed data",
            "BadGzipFile": "it is not gzip, or damaged",
            "error": "its compressed data is damaged",
            "IsADirectoryError": "it is a folder",
            "PermissionError": "there is no permission to read it",
            "FileNotFoundError": "there is no such file",
            "UnicodeDecodeError": "it is not UTF-8",
            "UnicodeError": "it is not UTF-8",
        }.get(type(error).__name__, str(error))
        kept = "nothing of it could be read" if line <= 1 else f"the {line - 1:,} lines before count"
        self.damage = f"{self.path.name}:{line}: the file breaks off: {reason}. Expected: a whole file; {kept}, what came after is unknown, not zero."

    def _lines(self) -> Iterator[bytes]:
        name = self.path.name
        if name.endswith(".parquet"):
            yield from self._parquet()
            return
        with self.path.open("rb") as plain:
            counted = _Counted(plain)
            stream: IO[bytes] = BufferedReader(counted, CHUNK)
            if name.endswith(".gz"):
                stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
            elif name.endswith(".zst"):
                stream = _zstandard(self.path).ZstdDecompressor().stream_reader(stream, read_across_frames=True)
            lines = self._csv(stream) if self.lax else _split(stream)
            for line in lines:
                self.bytes_read = counted.count
                yield line

    def _csv(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Rows as JSON objects whose values are text, so that version 4.10 never becomes 4.1; empty cells are left out."""
        import csv  # noqa: PLC0415 - only cases made of CSV need it

        rows = csv.reader(TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=False)
        encode = msgspec.json.Encoder().encode
        try:
            header = next(rows, [])
            # The header is a line too: keeping its place keeps the numbers of the others true.
            if header:
                yield b""
            for row in rows:
                yield encode({key: value for key, value in zip(header, row, strict=False) if value}) if row else b""
        except csv.Error as error:
            raise OSError(f"it is not CSV ({error})") from error

    def _parquet(self) -> Iterator[bytes]:
        polars = _polars(self.path)
        try:
            frame = polars.scan_parquet(self.path)
            total = frame.select(polars.len()).collect().item()
            for start in range(0, total, LINES):
                part: bytes = frame.slice(start, LINES).collect().write_ndjson().encode()
                self.bytes_read = self.bytes_total * start // max(total, 1)
                yield from part.splitlines()
        except (polars.exceptions.PolarsError, OSError) as error:
            raise OSError(f"it is not Parquet, or damaged ({str(error).splitlines()[0][:100]})") from error


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines of a stream; a line without end is cut at `LONGEST_LINE` and the rest of it passed over."""
    rest = b""
    first = True
    passing = False
    while True:
        # Damage raises here; what lies between the last line end and it is half a line and is not told as one.
        chunk = stream.read(CHUNK)
        if not chunk:
            break
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if passing:
                passing = False
                continue
            yield _clean(line, first=first)
            first = False
        if len(rest) > LONGEST_LINE:
            if not passing:
                yield _clean(rest[:LONGEST_LINE], first=first)
                first = False
            passing = True
            rest = b""
    if rest and not passing:
        yield _clean(rest, first=first)


def _clean(line: bytes, *, first: bool) -> bytes:
    if first and line.startswith(b"\xef\xbb\xbf"):
        line = line[3:]
    return line.removesuffix(b"\r")


def _zstandard(path: Path) -> Any:
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(f"{path.name}: .zst files need the extra [files]. Install it: pip install 'rollguard[files]'.") from None
    return zstandard


def _polars(path: Path) -> Any:
    try:
        import polars  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(f"{path.name}: .parquet files need the extra [files]. Install it: pip install 'rollguard[files]'.") from None
    return polars
