"""Which events an incident touched: a rollback does not undo them, so somebody has to go through the list."""

from __future__ import annotations

import base64
import csv
import errno
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from rollguard.config import ms_of, rfc3339
from rollguard.replay.case import Case
from rollguard.replay.out import no_out
from rollguard.replay.reader import EventFile
from rollguard.streams import Decoder

__all__ = ["Touched", "affected", "listing", "make_file", "write_affected"]

#: Characters of a table that are kept for a page, before they are compressed: far more than a page may hold.
MOST_LISTED = 8_000_000


class Touched(NamedTuple):
    """An event that an incident touched.

    Attributes
    ----------
    source : str
    line : bytes
        As it stands in the case.
    event_id : str or None
    ts_ms : int
    labels : dict of str to str
    """

    source: str
    line: bytes
    event_id: str | None
    ts_ms: int
    labels: dict[str, str]


def affected(case: Case, incident: dict[str, Any]) -> Iterator[Touched]:
    """Events of the places that hurt, while they hurt; of the guilty service only those of the version that did it.

    Parameters
    ----------
    case : Case
    incident : dict
        A line of `incidents.jsonl` of this case.

    Yields
    ------
    Touched
        A copy of an event that was given already is left out.
    """
    settings = case.settings
    onset_ms = ms_of(incident["onset"])
    until_ms = ms_of(incident["closed_at"]) if incident["closed_at"] else case.end_ms
    sources = {settings.metrics[metric].source for metric in (*incident["metrics"], settings.money_clock.metric)}
    for source in sorted(sources & set(case.files)):
        file = EventFile(case.files[source])
        decoder = Decoder(settings, source, lax=file.lax)
        given: set[str] = set()
        for batch in file:
            decoded = decoder.decode(batch.lines)
            labels = [dict(zip((*settings.labels.watched, *settings.labels.compare), key, strict=True)) for key in decoded.keys]
            touched = np.array([_touched(incident, each) for each in labels], dtype=bool)
            mine = (decoded.ts_ms >= onset_ms) & touched[decoded.key] if len(touched) else np.zeros(len(decoded.ts_ms), dtype=bool)
            if until_ms is not None:
                mine &= decoded.ts_ms < until_ms
            for at in np.flatnonzero(mine).tolist():
                event_id = None if decoded.ids is None else decoded.ids[at]
                if event_id is not None:
                    if event_id in given:
                        continue
                    given.add(event_id)
                yield Touched(source, batch.lines[int(decoded.index[at])], event_id, int(decoded.ts_ms[at]), labels[int(decoded.key[at])])


def listing(case: Case, incident: dict[str, Any], most: int) -> dict[str, Any]:
    """Which events were touched, as a table small enough to stand in a page: ids, times and places, no amounts.

    Parameters
    ----------
    case : Case
    incident : dict
        A line of `incidents.jsonl` of this case.
    most : int
        Characters that it may have.

    Returns
    -------
    dict
        `events`, how many; `csv_gz`, the table, compressed and in base64, or None where it would be too large.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (*case.settings.labels.watched, *case.settings.labels.compare)
    writer.writerow(["source", "event_id", "time", *names])
    events = 0
    for each in affected(case, incident):
        events += 1
        if text.tell() < MOST_LISTED:
            writer.writerow(_cell(value) for value in (each.source, each.event_id or "", rfc3339(each.ts_ms), *each.labels.values()))
    packed = "" if text.tell() >= MOST_LISTED else base64.b64encode(gzip.compress(text.getvalue().encode(), mtime=0)).decode()
    return {"events": events, "csv_gz": packed if 0 < len(packed) <= most else None}


def _cell(value: str) -> str:
    # A spreadsheet takes a text that begins so for a formula; an event may have come from anybody.
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def make_file(path: Path) -> None:
    """See that a file can be written, before any work is done for it. Nothing is left behind.

    Raises
    ------
    OutError
        If it cannot.
    """
    part = _part(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        part.touch()
        part.unlink()
    except OSError as error:
        raise no_out(path, error, "nothing was written", expected="a file in a folder that can be written into") from None


def write_affected(case: Case, incident: dict[str, Any], path: Path) -> dict[str, int]:
    """Write them as JSON lines, each with its `source`; into a .gz file compressed.

    Returns
    -------
    dict of str to int
        Events by source.

    Raises
    ------
    OutError
        If the file cannot be written.
    """
    counts: dict[str, int] = {}
    part = _part(path)
    try:
        with gzip.open(part, "wb") if path.suffix == ".gz" else part.open("wb") as file:
            for each in affected(case, incident):
                file.write(msgspec.json.encode({"source": each.source} | msgspec.json.decode(each.line)) + b"\n")
                counts[each.source] = counts.get(each.source, 0) + 1
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise no_out(path, error, "nothing was written", expected="a file in a folder that can be written into") from None
    return counts


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _touched(incident: dict[str, Any], labels: dict[str, str]) -> bool:
    hurt: list[str] = incident["regions"]
    if hurt and labels.get("region", hurt[0]) not in hurt:
        return False
    first = incident["suspects"][0] if incident["verdict"] == "guilty" and incident["suspects"] else None
    if first is None or first["version"] is None or labels.get("service") != first["service"]:
        return True
    guilty: str = first["version"]
    return labels.get("version", guilty) == guilty
