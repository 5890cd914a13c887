"""The stages over the files of a case: the same code, in the same order, as in the live service.

One reader a file, and always the file whose frontier is furthest behind is read next, so that memory stays small; what
comes out does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rollguard.config import Labels, Mode, Settings
from rollguard.detectors import Detect, Signal, Tick
from rollguard.incidents import ChangeRefusedError, ChangeSeen, Desk, Entry, LogRecord, sightings
from rollguard.replay.reader import EventFile
from rollguard.replay.tables import from_text
from rollguard.streams import Block, Closed, DeadLetter, Ingest, IngestCounts, Merger, measures

__all__ = ["FileReport", "Progress", "Replay", "Report"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come.

    Attributes
    ----------
    bytes_read, bytes_total : int
        Of all event files, as they lie on the disk.
    event_ms : int or None
        Event time reached.
    """

    bytes_read: int
    bytes_total: int
    event_ms: int | None


@dataclass(slots=True)
class FileReport:
    """What became of one file's lines.

    Attributes
    ----------
    path : Path or None
        None: there was no file.
    counts : IngestCounts
    refused : dict of str to (int, DeadLetter)
        By reason: how many, and the first.
    damage : str or None
        What kept it from being read to its end.
    folded : dict of str to int
        Labels with more values than are kept, and the first bucket (ms) in which some were folded.
    """

    path: Path | None
    counts: IngestCounts = field(default_factory=IngestCounts)
    refused: dict[str, tuple[int, DeadLetter]] = field(default_factory=dict)
    damage: str | None = None
    folded: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What the replay as a whole saw.

    Attributes
    ----------
    files : dict of str to FileReport
        By source.
    changes : int
        Different changes to the environment.
    changes_refused : list of (int, str)
        Line and reason of each change record that could not be used.
    changes_damage : str or None
        What kept the change records from being read to their end.
    first_ms, last_ms : int or None
        Span of event time that was closed.
    ready_ms : int or None
        Event time from which on anything could be found.
    """

    files: dict[str, FileReport]
    changes: int = 0
    changes_refused: list[tuple[int, str]] = field(default_factory=list)
    changes_damage: str | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    ready_ms: int | None = None


class _Lane:
    """One file on its way through ingest."""

    def __init__(self, settings: Settings, source: str, path: Path, ingest: Ingest, report: FileReport) -> None:
        self.settings = settings
        self.source = source
        self.file = EventFile(path)
        self.lines = iter(self.file)
        self.ingest = ingest
        self.report = report
        self.done = False
        #: A refused line has no labels, and stands in the blocks as one whose labels are all folded.
        self.refused = [number for number, measure in enumerate(measures(settings)) if measure.part == "refused"]

    def next(self) -> Block | None:
        """Read on; None when the frontier has not moved."""
        lines = next(self.lines, None)
        if lines is None:
            self.done = True
            self.report.damage = self.file.damage
            return None
        taken = self.ingest.feed(lines.lines, lines.first_line)
        for letter in taken.dead:
            count, first = self.report.refused.get(letter.reason, (0, letter))
            self.report.refused[letter.reason] = (count + 1, first)
        self.report.counts = self.ingest.counts
        if taken.block is not None:
            self._note_folded(taken.block)
        return taken.block

    def _note_folded(self, block: Block) -> None:
        names = (*self.settings.labels.watched, *self.settings.labels.compare)
        if len(self.report.folded) == len(names) or not any(Labels.OTHER in key for key in block.keys):
            return
        mine = ~np.isin(block.measure, self.refused)
        for label, name in enumerate(names):
            folded = np.array([key[label] == Labels.OTHER for key in block.keys])
            at = np.flatnonzero(mine & folded[block.key])
            if len(at):
                self.report.folded.setdefault(name, int(block.bucket[at[0]]) * self.settings.bucket_ms)

    def settle(self, frontier: int) -> Block | None:
        """Say what the rest of a file that is at its end means: zero, or unknown where it broke off."""
        if self.report.damage is not None:
            return self.ingest.unread(frontier)
        return self.ingest.silence(frontier)


class Replay:
    """Runs a case through ingest, merger, detect and desk.

    Parameters
    ----------
    settings : Settings
        A mode of None replays what `auto` would do, as if it had been earned; nothing is ever called.
    files : dict of str to Path
        Event file of each source that has one.
    deploys : Path or None
        File of change records.
    start_ms, end_ms : int or None
        Span of the case, where it states one.
    """

    def __init__(
        self,
        settings: Settings,
        files: dict[str, Path],
        deploys: Path | None,
        *,
        start_ms: int | None,
        end_ms: int | None,
    ) -> None:
        self.settings = settings if settings.mode is not None else settings.model_copy(update={"mode": Mode.AUTO})
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.deploys = deploys
        self.report = Report(files={source: FileReport(files.get(source)) for source in settings.sources})
        self.lanes = [
            _Lane(self.settings, source, files[source], self._ingest(source, files[source]), self.report.files[source])
            for source in sorted(settings.sources)
            if source in files
        ]
        self.lateness_ms = max(source.lateness_ms for source in settings.sources.values())

    def run(self, on_progress: Callable[[Progress], None] | None = None) -> Iterator[Entry]:
        """Timeline entries, as soon as event time has reached them.

        Parameters
        ----------
        on_progress : callable, optional
            Called after each batch.

        Yields
        ------
        Entry
        """
        detect, desk = Detect(self.settings), Desk(self.settings)
        changes = iter(self._changes())
        waiting: list[ChangeSeen] = []
        for closed in self.closed(on_progress):
            records = detect.feed(closed)
            self._note(closed, records)
            yield from desk.feed(self._log(records, changes, waiting))

    def _ingest(self, source: str, path: Path) -> Ingest:
        return Ingest(self.settings, source, 0, start_ms=self.start_ms, end_ms=self.end_ms, lax=EventFile(path).lax)

    def closed(self, on_progress: Callable[[Progress], None] | None) -> Iterator[Closed]:
        """Closed buckets of all files, in order."""
        sources = sorted(self.settings.sources)
        merger = Merger(self.settings, [(source, 0) for source in sources])
        absent = [Ingest(self.settings, source, 0, start_ms=self.start_ms) for source in sources if self.report.files[source].path is None]

        def speak(block: Block | None) -> Iterator[Closed]:
            closed = None if block is None else merger.feed(block)
            if closed is not None:
                yield closed

        open_lanes = list(self.lanes)
        while open_lanes:
            lane = min(open_lanes, key=_behind)
            block = lane.next()
            if lane.done:
                open_lanes.remove(lane)
            yield from speak(block)
            reached = min((frontier for each in open_lanes if (frontier := each.ingest.frontier) is not None), default=None)
            if reached is not None:
                # Who has nothing more to say must not hold the others back for longer than an idle partition would.
                for each in self.lanes:
                    if each.done:
                        idle_ms = self.settings.sources[each.source].idle_ms
                        yield from speak(each.settle(reached - idle_ms // self.settings.bucket_ms))
                for ingest in absent:
                    yield from speak(ingest.unread(reached))
            if on_progress is not None:
                on_progress(self._progress(merger))
        # Without a stated end nothing is known of the time after the last watermark: those buckets stay open.
        if self.end_ms is not None:
            end = self.end_ms // self.settings.bucket_ms
            for each in self.lanes:
                yield from speak(each.settle(end))
            for ingest in absent:
                yield from speak(ingest.unread(end))
        if on_progress is not None:
            on_progress(self._progress(merger))

    def _progress(self, merger: Merger) -> Progress:
        return Progress(
            bytes_read=sum(lane.file.bytes_read for lane in self.lanes),
            bytes_total=sum(lane.file.bytes_total for lane in self.lanes),
            event_ms=None if merger.frontier is None else merger.frontier * self.settings.bucket_ms,
        )

    def _note(self, closed: Closed, records: list[Signal | Tick]) -> None:
        bucket_ms = self.settings.bucket_ms
        if self.report.first_ms is None:
            self.report.first_ms = closed.start * bucket_ms
        self.report.last_ms = closed.end * bucket_ms
        if self.report.ready_ms is None:
            ready = next((r for r in records if isinstance(r, Tick) and r.ready), None)
            self.report.ready_ms = None if ready is None else ready.bucket * bucket_ms

    def _log(self, records: list[Signal | Tick], changes: Iterator[ChangeSeen], waiting: list[ChangeSeen]) -> Iterator[LogRecord]:
        """Records and the changes known by then, in the order of the signals log: time, kind, id."""
        for record in records:
            now_ms = (record.bucket + 1) * self.settings.bucket_ms + self.lateness_ms
            while True:
                change = waiting.pop() if waiting else next(changes, None)
                if change is None:
                    break
                if change.seen_ms > now_ms:
                    waiting.append(change)
                    break
                yield change
            yield record

    def _changes(self) -> list[ChangeSeen]:
        """All sightings of the case's changes, in the order in which they became known."""
        if self.deploys is None:
            return []
        found: dict[str, ChangeSeen] = {}
        file = EventFile(self.deploys)
        for batch in file:
            for number, line in enumerate(batch.lines, batch.first_line):
                if not line.strip():
                    continue
                try:
                    seen = sightings(from_text(line) if file.lax else line, environment=self.settings.environment)
                except ChangeRefusedError as error:
                    self.report.changes_refused.append((number, str(error)))
                    continue
                # A repeat has the same id, so it stands here once.
                found |= {each.id: each for each in seen}
        self.report.changes_damage = file.damage
        self.report.changes = len({seen.deploy_id for seen in found.values()})
        return sorted(found.values(), key=lambda seen: (seen.seen_ms, seen.id))


def _behind(lane: _Lane) -> tuple[bool, int, str]:
    frontier = lane.ingest.frontier
    return (frontier is not None, frontier or 0, lane.source)
