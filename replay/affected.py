"""Which events an incident touched: a rollback does not undo them, so somebody has to go through the list."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rollguard.config import Settings, ms_of
from rollguard.replay.case import Case
from rollguard.replay.reader import EventFile
from rollguard.replay.run import no_out
from rollguard.streams import Decoder, Key

__all__ = ["affected", "make_file", "write_affected"]


def affected(case: Case, incident: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Events of the places that hurt, while they hurt; of the guilty service only those of the version that did it.

    Parameters
    ----------
    case : Case
    incident : dict
        A line of `incidents.jsonl` of this case.

    Yields
    ------
    source : str
    line : bytes
        As it stands in the case. A copy of an event that was given already is left out.
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
            touched = [_touched(settings, incident, key) for key in decoded.keys]
            for at, (ts_ms, key) in enumerate(zip(decoded.ts_ms.tolist(), decoded.key.tolist(), strict=True)):
                if not touched[key] or ts_ms < onset_ms or (until_ms is not None and ts_ms >= until_ms):
                    continue
                if decoded.ids is not None:
                    if decoded.ids[at] in given:
                        continue
                    given.add(decoded.ids[at])
                yield source, batch.lines[int(decoded.index[at])]


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
            for source, line in affected(case, incident):
                file.write(msgspec.json.encode({"source": source} | msgspec.json.decode(line)) + b"\n")
                counts[source] = counts.get(source, 0) + 1
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise no_out(path, error, "nothing was written", expected="a file in a folder that can be written into") from None
    return counts


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _touched(settings: Settings, incident: dict[str, Any], key: Key) -> bool:
    hurt: list[str] = incident["regions"]
    labels = dict(zip((*settings.labels.watched, *settings.labels.compare), key, strict=True))
    if hurt and labels.get("region", hurt[0]) not in hurt:
        return False
    first = incident["suspects"][0] if incident["verdict"] == "guilty" and incident["suspects"] else None
    if first is None or first["version"] is None or labels.get("service") != first["service"]:
        return True
    guilty: str = first["version"]
    return labels.get("version", guilty) == guilty
