"""The span of a case that does not state it, so that a few wrong times do not make it last for decades."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rollguard.config import Settings, rfc3339
from rollguard.replay.reader import EventFile
from rollguard.streams import Decoder

__all__ = ["FAR_MS", "Span", "span_of"]

HOUR_MS = 3_600_000
#: Events further than this from all others, of every source, do not belong to the case.
FAR_MS = 31 * 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Span:
    """When a case begins and ends.

    Attributes
    ----------
    start_ms, end_ms : int or None
        None: where its events do.
    notes : tuple of str
        One line for each file with events far away from all others.
    """

    start_ms: int | None
    end_ms: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hour:
    """Events of one source in an hour."""

    first_ms: int
    last_ms: int
    count: int

    def __add__(self, other: _Hour) -> _Hour:
        return _Hour(min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms), self.count + other.count)


def span_of(settings: Settings, files: dict[str, Path], *, start_ms: int | None, end_ms: int | None) -> Span:
    """Span of a case: what it states, and for the rest what keeps away events that are far from all others.

    Parameters
    ----------
    settings : Settings
    files : dict of str to Path
        Event file of each source that has one. They are read once, unless both times are stated.
    start_ms, end_ms : int or None
        As stated.

    Returns
    -------
    Span
        A time that is not stated stays None unless there are events further than `FAR_MS` beyond the crowd on that side.
    """
    if start_ms is not None and end_ms is not None:
        return Span(start_ms, end_ms)
    hours = {source: _hours(settings, source, path) for source, path in sorted(files.items())}
    crowds: list[list[int]] = []
    # What lies outside a stated time is kept away by it already.
    for hour in sorted(
        {hour for each in hours.values() for hour in each if (start_ms or 0) < (hour + 1) * HOUR_MS and (end_ms is None or hour * HOUR_MS < end_ms)}
    ):
        if not crowds or (hour - crowds[-1][-1]) * HOUR_MS > FAR_MS:
            crowds.append([])
        crowds[-1].append(hour)
    if not crowds:
        return Span(start_ms, end_ms)
    sizes = [sum(each[hour].count for each in hours.values() for hour in crowd if hour in each) for crowd in crowds]
    place = sizes.index(max(sizes))
    members = [each[hour] for each in hours.values() for hour in crowds[place] if hour in each]
    first_ms, last_ms = min(hour.first_ms for hour in members), max(hour.last_ms for hour in members)
    far = [hour for number, crowd in enumerate(crowds) if number != place for hour in crowd]
    notes = tuple(_note(files[source], [each[hour] for hour in far if hour in each]) for source, each in hours.items() if any(hour in each for hour in far))
    before, after = start_ms is not None and first_ms - start_ms > FAR_MS, end_ms is not None and end_ms - last_ms > FAR_MS
    if before or after:
        notes += (f"case.yaml: {'start' if before else 'end'} is more than 31 days from the events: the events' own time is taken. State it nearer to them.",)
    return Span(
        first_ms if before or place > 0 else start_ms,
        last_ms + 1 if after or place < len(crowds) - 1 else end_ms,
        notes,
    )


def _note(path: Path, far: list[_Hour]) -> str:
    count, first = sum(hour.count for hour in far), rfc3339(far[0].first_ms)
    return (
        f"{path.name}: {count:,} events lie more than 31 days from all others, as those at {first}: their times are taken as wrong, "
        f"they count as late or as future. If they are right, state `start` and `end` in case.yaml."
    )


def _hours(settings: Settings, source: str, path: Path) -> dict[int, _Hour]:
    file = EventFile(path)
    decoder = Decoder(settings, source, lax=file.lax)
    found: dict[int, _Hour] = {}
    for batch in file:
        ts_ms = np.sort(decoder.decode(batch.lines).ts_ms)
        names, low, count = np.unique(ts_ms // HOUR_MS, return_index=True, return_counts=True)
        for name, at, n in zip(names.tolist(), low.tolist(), count.tolist(), strict=True):
            hour = _Hour(int(ts_ms[at]), int(ts_ms[at + n - 1]), n)
            found[name] = found[name] + hour if name in found else hour
    return found
