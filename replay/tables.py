"""Rows of CSV and Parquet files as lines of JSON, so that one decoder judges events of every form."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from rollguard.replay.unpacking import DamagedError, MissingExtraError

__all__ = ["csv_lines", "from_text", "parquet_parts"]

_ENCODE = msgspec.json.Encoder().encode


def csv_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Rows as JSON objects whose values are text, so that version 4.10 never becomes 4.1; empty cells are left out.

    One line is one row, so that a quote that is never closed costs its own row and not those behind it. What is no row
    becomes something that is no event, for the decoder to refuse.

    Parameters
    ----------
    lines : iterable of bytes
        The first is the header; it gives no row.

    Yields
    ------
    bytes

    Examples
    --------
    >>> list(csv_lines([b"event_id,ts,region", b"o1,1772442000000,", b"o2,1,eu,west"]))
    [b'{"event_id":"o1","ts":"1772442000000"}', b'"a row of 4 cells under a header of 3"']
    """
    rows = iter(lines)
    first = next(rows, b"")
    try:
        header = [name.strip() for name in _cells(first)]
    except (UnicodeDecodeError, csv.Error):
        raise DamagedError("its first line is not a header in CSV") from None
    for line in rows:
        if not line:
            yield line
            continue
        try:
            cells = _cells(line)
        except UnicodeDecodeError:
            yield line
            continue
        except csv.Error:
            # A line beyond what CSV allows is refused by its size.
            yield line if len(line) > csv.field_size_limit() else _ENCODE("a row that is not CSV")
            continue
        if any(cells[len(header) :]):
            yield _ENCODE(f"a row of {len(cells)} cells under a header of {len(header)}")
        else:
            yield _ENCODE({key: value for key, value in zip(header, cells, strict=False) if value})


def _cells(line: bytes) -> list[str]:
    if len(line) > csv.field_size_limit():
        raise csv.Error
    return next(csv.reader([line.decode()], strict=True), [])


def from_text(line: bytes) -> bytes:
    """A change record out of a CSV file, with what is no text in it read as JSON: numbers, and the mapping `rollback`.

    Examples
    --------
    >>> from_text(b'{"version":"4.10","approvals":"2"}')
    b'{"version":"4.10","approvals":2}'
    """
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return line
    if not isinstance(record, dict):
        return line
    for name in ("approvals", "rollback", "started_at", "finished_at", "received_at"):
        with contextlib.suppress(msgspec.DecodeError):
            if name in record:
                record[name] = msgspec.json.decode(record[name])
    return _ENCODE(record)


def parquet_parts(path: Path, rows: int) -> Iterator[tuple[float, list[bytes]]]:
    """Rows of a Parquet file as JSON objects.

    Parameters
    ----------
    path : Path
    rows : int
        At most so many at once.

    Yields
    ------
    (float, list of bytes)
        Share of the file read, 0..1, and lines.

    Raises
    ------
    DamagedError
    MissingExtraError
    """
    try:
        import polars  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(path.name, ".parquet") from None
    try:
        frame = polars.scan_parquet(path)
        # Texts are often stored as bytes; the JSON writer stops the whole process when it meets bytes.
        schema = frame.collect_schema()
        texts = [polars.col(name).cast(polars.String, strict=False) for name, kind in schema.items() if kind == polars.Binary]
        frame = frame.with_columns(texts).drop([name for name, kind in schema.items() if kind.is_nested() and "Binary" in str(kind)])
        total = frame.select(polars.len()).collect().item()
        for start in range(0, total, rows):
            lines: list[bytes] = frame.slice(start, rows).collect().write_ndjson().encode().splitlines()
            yield start / total, lines
    except (polars.exceptions.PolarsError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DamagedError(f"it is not Parquet, or damaged ({_short(error)})") from error


def _short(error: Any) -> str:
    return next(iter(str(error).splitlines()), "")[:100]
