"""The stages over the files of a case, or over topics: the same code, in the same order, as in the live service.

One ingest a file or partition, and always the one whose frontier is furthest behind is read next, so that memory stays small; what
comes out does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rollguard.config import Labels, Mode, Settings
from rollguard.detectors import Detect, Signal, Tick
from rollguard.incidents import ChangeRefusedError, ChangeSeen, Desk, Entry, LogRecord, change_sightings
from rollguard.replay.persons import Persons
from rollguard.replay.reader import Lines, Reader
from rollguard.replay.tables import from_text
from rollguard.streams import Block, Closed, DeadLetter, Ingest, IngestCounts, Merger, measures

__all__ = ["FileReport", "Progress", "Replay", "Report"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come.

    Attributes
    ----------
    done, total : int
        Of all that is to be read: bytes of files, records of topics.
    event_ms : int or None
        Event time reached.
    """

    done: int
    total: int
    event_ms: int | None


@dataclass(slots=True)
class FileReport:
    """What became of one source's lines.

    Attributes
    ----------
    name : str or None
        Of its file or topic; None: there was none.
    is_topic : bool
    parts : dict of int to IngestCounts
        By partition; a file is one.
    refused : dict of str to (int, DeadLetter)
        By reason: how many, and the first.
    damage : str or None
        What kept it from being read to its end.
    folded : dict of str to int
        Labels with more values than are kept, and the first bucket (ms) in which some were folded.
    """

    name: str | None
    is_topic: bool = False
    parts: dict[int, IngestCounts] = field(default_factory=dict)
    refused: dict[str, tuple[int, DeadLetter]] = field(default_factory=dict)
    damage: str | None = None
    folded: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> IngestCounts:
        """Of all partitions together."""
        return IngestCounts.together(self.parts.values())

    def place(self, letter: DeadLetter) -> str:
        """Where a line stands that was refused."""
        return f"{self.name}[{letter.partition}]:{letter.offset}" if self.is_topic else f"{self.name}:{letter.offset}"


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
        Line, or offset, and reason of each change record that could not be used.
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
    """One file or partition on its way through ingest."""

    def __init__(self, settings: Settings, reader: Reader, ingest: Ingest, report: FileReport, end: int | None) -> None:
        self.settings = settings
        self.source = ingest.source
        self.reader = reader
        self.lines = iter(reader)
        self.ingest = ingest
        #: Where a topic, which goes on, is read no further.
        self.end = None if reader.partition is None else end
        self.report = report
        self.done = False
        #: A refused line has no labels, and stands in the blocks as one whose labels are all folded.
        self.refused = [number for number, measure in enumerate(measures(settings)) if measure.part == "refused"]

    def next(self) -> Block | None:
        """Read on; None when the frontier has not moved."""
        passed = self.end is not None and self.ingest.frontier is not None and self.ingest.frontier >= self.end
        lines = None if passed else next(self.lines, None)
        if lines is None:
            self.done = True
            self.reader.done = self.reader.total
            self.report.damage = self.reader.damage
            return None
        taken = self.ingest.feed(lines.lines, lines.numbers, lines.stamps_ms)
        for letter in taken.dead:
            count, first = self.report.refused.get(letter.reason, (0, letter))
            self.report.refused[letter.reason] = (count + 1, first)
        self.report.parts[self.ingest.partition] = self.ingest.counts
        block = taken.block
        if block is not None and self.end is not None:
            block = block.until(self.end)
        if block is not None:
            self._note_folded(block)
        return block

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
    """Runs what happened through ingest, merger, detect and desk.

    Parameters
    ----------
    settings : Settings
        A mode of None replays what `auto` would do, as if it had been earned; nothing is ever called.
    events : mapping of str to sequence of Reader
        What each source is read from: one file, or every partition of its topic. A source without is unknown.
    changes : Reader or None
        Change records.
    start_ms, end_ms : int or None
        Span of the case, where it states one.
    persons : Persons, optional
        Who would have approved what waits for it; None: nobody.
    """

    def __init__(
        self,
        settings: Settings,
        events: Mapping[str, Sequence[Reader]],
        changes: Reader | None,
        *,
        start_ms: int | None,
        end_ms: int | None,
        persons: Persons | None = None,
    ) -> None:
        self.settings = settings if settings.mode is not None else settings.model_copy(update={"mode": Mode.AUTO})
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.change_records = changes
        self.persons = persons
        self.report = Report(files={source: _report_on(events.get(source, ())) for source in settings.sources})
        self.lanes = [
            _Lane(
                self.settings,
                reader,
                Ingest(self.settings, source, reader.partition or 0, start_ms=start_ms, end_ms=end_ms, lax=reader.lax),
                self.report.files[source],
                None if end_ms is None else end_ms // settings.bucket_ms,
            )
            for source in sorted(settings.sources)
            for reader in events.get(source, ())
        ]
        self.lateness_ms = max(source.lateness_ms for source in settings.sources.values())
        #: Every change that was known.
        self.known: list[ChangeSeen] = []

    def run(self, on_progress: Callable[[Progress], None] | None = None, on_tick: Callable[[Tick], None] | None = None) -> Iterator[Entry]:
        """Timeline entries, as soon as event time has reached them.

        Parameters
        ----------
        on_progress : callable, optional
            Called after each batch.
        on_tick : callable, optional
            Called with each closed bucket's account, in order.

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
            if on_tick is not None:
                for record in records:
                    if isinstance(record, Tick):
                        on_tick(record)
            log = self._log(records, changes, waiting)
            yield from desk.feed(log) if self.persons is None else self.persons.follow(desk, log)

    def closed(self, on_progress: Callable[[Progress], None] | None) -> Iterator[Closed]:
        """Closed buckets of all files or partitions, in order."""
        absent = [
            Ingest(self.settings, source, 0, start_ms=self.start_ms) for source in sorted(self.settings.sources) if self.report.files[source].name is None
        ]
        merger = Merger(self.settings, [(each.source, each.partition) for each in (*absent, *(lane.ingest for lane in self.lanes))])

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
        # Without a stated end nothing is known of the time after the last watermark: those buckets stay open. That topics hold nothing
        # newer is no sign that nothing happened since.
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
            done=sum(lane.reader.done for lane in self.lanes),
            total=sum(lane.reader.total for lane in self.lanes),
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
        """All sightings of changes, in the order in which they became known."""
        reader = self.change_records
        if reader is None:
            return []
        found: dict[str, ChangeSeen] = {}
        for batch in reader:
            for number, line, headers in _numbered(batch):
                if not line.strip():
                    continue
                try:
                    seen = change_sightings(from_text(line) if reader.lax else line, headers, environment=self.settings.environment)
                except ChangeRefusedError as error:
                    self.report.changes_refused.append((number, str(error)))
                    continue
                # A repeat has the same id, so it stands here once.
                found |= {each.id: each for each in seen}
        self.report.changes_damage = reader.damage
        self.report.changes = len({seen.deploy_id for seen in found.values()})
        self.known = list(found.values())
        return sorted(found.values(), key=lambda seen: (seen.seen_ms, seen.id))


def _report_on(readers: Sequence[Reader]) -> FileReport:
    return FileReport(readers[0].name, readers[0].partition is not None) if readers else FileReport(None)


def _numbered(batch: Lines) -> Iterator[tuple[int, bytes, Sequence[tuple[str, bytes]]]]:
    """Lines with their numbers and headers."""
    numbers = batch.numbers
    first = range(numbers, numbers + len(batch.lines)) if isinstance(numbers, int) else numbers.tolist()
    return zip(first, batch.lines, batch.headers or [()] * len(batch.lines), strict=True)


def _behind(lane: _Lane) -> tuple[bool, int, str]:
    frontier = lane.ingest.frontier
    return (frontier is not None, frontier or 0, lane.source)
