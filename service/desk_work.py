"""The desk around the signals log: what it concludes goes into the database in one transaction with how far it has read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import Settings
from rollguard.detectors import Tick
from rollguard.incidents import ChangeSeen, Command, Desk, Entry, Kill, LogCodec, LogError, Probe, Pulse
from rollguard.replay import line_of
from rollguard.responders import Executor, Heartbeat, KillSwitch
from rollguard.service.gating import remember
from rollguard.service.ingest_work import dead_letter
from rollguard.service.kept import stored, take_over
from rollguard.service.notices import rows_of
from rollguard.service.signals import to_signals
from rollguard.service.watch import CHANGES
from rollguard.store import Batch, IncidentRow, LedgerRow, OutboxRow, Store, TimelineRow
from rollguard.streams.kafka import Bounds, Logs, Outgoing

__all__ = ["DeskOut", "DeskWork", "DeskWorks"]

log = structlog.get_logger()

#: Without a tick for so long beyond what one may take, time itself is told, by the clock on the wall.
PULSE_MS = 60_000
#: The desk holds hours of ticks, so it is kept less often than the others: what it read since is read again, and adds nothing.
SNAPSHOTS_APART = 6
#: How often it is said how far the desk has come, for those who act on it.
SAID_APART_MS = 5_000


class DeskOut(msgspec.Struct, frozen=True):
    """What one cycle of the desk gave.

    Attributes
    ----------
    batch : Batch or None
        For the database.
    probe : Probe or None
        The last that came through.
    kills : list of Kill
        What was said of the kill switch.
    releases : list
        What was said of versions, for the gate.
    records : list of Outgoing
        Dead letters and pulses.
    changed_ms : int or None
        When the change feed last brought something, by the clock of who wrote it into our log.
    told : list of Entry
        That an incident opened or closed.
    """

    batch: Batch | None
    records: list[Outgoing]
    kills: list[Kill] = []
    releases: list[ChangeSeen | Command] = []
    probe: Probe | None = None
    changed_ms: int | None = None
    told: list[Entry] = []


class DeskWorks:
    """Opens the work of the signals log.

    Parameters
    ----------
    settings : Settings
    logs : Logs
    store : Store
    owner : str
        Who we are, for those who look into the database.
    now_ms : callable
        The clock on the wall.
    """

    def __init__(self, settings: Settings, logs: Logs, store: Store, owner: str, now_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.logs = logs
        self.store = store
        self.owner = owner
        self.now_ms = now_ms

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, DeskWork]:
        """Take the desk over, as it was last kept; where nothing fits, from the log's beginning."""
        bounds = await self.logs.bounds(partitions)
        return {each: await self._open(bounds[each]) for each in partitions}

    async def _open(self, bounds: Bounds) -> DeskWork:
        epoch, desk, offset, kept = await take_over(
            self.store,
            "desk",
            self.owner,
            self.now_ms(),
            bounds,
            fresh=lambda: Desk(self.settings, live=True),
            restore=lambda state: Desk.restore(self.settings, state, live=True),
        )
        frontier = await stored(self.store.flag, Executor.FRONTIER)
        return DeskWork(self, epoch, desk, offset=offset, kept=kept, frontier_ms=None if frontier is None else int(frontier.value))


class DeskWork:
    """The signals log, and the desk that reads it."""

    def __init__(self, works: DeskWorks, epoch: int, desk: Desk, *, offset: int, kept: int, frontier_ms: int | None = None) -> None:
        self.works = works
        self.epoch = epoch
        self.desk = desk
        self.offset = offset
        self.codec = LogCodec()
        #: How far it has come; until the first tick, what whoever had it before said.
        self.frontier_ms = frontier_ms
        self._kept_offset = kept
        #: Behind the last record whose rows are in the database.
        self._recorded = offset
        self._gap = True
        self._kept_ms: int | None = None
        self._ticked_ms: int | None = None
        self._said_ms = frontier_ms
        self._said_at_ms = 0
        # The next bucket has to end, and its events have time to come; a partition that falls silent holds it back for `idle` besides.
        settings = works.settings
        self._tick_ms = settings.bucket_ms + max(source.lateness_ms + source.idle_ms for source in settings.sources.values())

    def feed(self, records: Sequence[ConsumerRecord], now_ms: int) -> DeskOut:
        """Let the desk take records; what is no record of this log is put away."""
        letters: list[Outgoing] = []
        timeline: list[TimelineRow] = []
        incidents: dict[str, IncidentRow] = {}
        outbox: list[OutboxRow] = []
        ledger: list[LedgerRow] = []
        kills: list[Kill] = []
        releases: list[ChangeSeen | Command] = []
        probe: Probe | None = None
        changed_ms: int | None = None
        told: list[Entry] = []
        for record in records:
            try:
                found = self.codec.decode(record.value or b"")
            except LogError as error:
                letters.append(dead_letter(record, source="signals", reason=error.code, detail=str(error)))
                continue
            if isinstance(found, Tick):
                self._ticked_ms = now_ms
                self.frontier_ms = (found.bucket + 1) * self.works.settings.bucket_ms
            entries = self.desk.feed([found])
            settings, late_ms = self.works.settings, self.desk.lateness_ms
            told += [entry for entry in entries if entry.event in {"opened", "closed"}]
            for ordinal, entry in enumerate(entries):
                line = line_of(entry)
                timeline.append(_timeline(record.offset, ordinal, entry, line))
                if entry.incident is not None:
                    incidents[entry.incident_id] = _incident(record.offset, entry, line)
                if entry.decision is not None:
                    ledger.append(LedgerRow(offset=record.offset, ordinal=ordinal, at_ms=entry.at_ms, kind=f"decided.{entry.decision.action}", body=line))
            if isinstance(found, Command | Kill):
                # Also what changed nothing: who said what is remembered.
                verb = found.verb if isinstance(found, Command) else "kill"
                body = msgspec.json.encode(found)
                ledger.append(LedgerRow(offset=record.offset, ordinal=len(entries), at_ms=found.at_ms, kind=f"command.{verb}", body=body))
            if isinstance(found, ChangeSeen | Command):
                releases.append(found)
            if isinstance(found, ChangeSeen):
                changed_ms = max(changed_ms or 0, record.timestamp)
            if isinstance(found, Probe):
                probe = found
            if isinstance(found, Kill):
                kills.append(found)
            outbox += rows_of(found, entries, self.desk.state_of, settings, offset=record.offset, late_ms=late_ms, now_ms=now_ms)
        self.offset = records[-1].offset + 1
        if not timeline and not ledger:
            # Most records come to nothing; the next batch speaks of them too.
            return DeskOut(None, letters, kills, releases, probe, changed_ms)
        batch = Batch(
            from_offset=self._recorded,
            to_offset=self.offset,
            timeline=tuple(timeline),
            incidents=tuple(incidents.values()),
            outbox=tuple(outbox),
            ledger=tuple(ledger),
        )
        return DeskOut(batch, letters, kills, releases, probe, changed_ms, told)

    async def rest(self, now_ms: int) -> DeskOut | None:
        """Tell by the clock on the wall that no bucket closes any more."""
        if self._ticked_ms is None:
            self._ticked_ms = now_ms
        if now_ms - self._ticked_ms < PULSE_MS + self._tick_ms:
            return None
        self._ticked_ms = now_ms
        return DeskOut(None, [to_signals(Pulse(at_ms=now_ms))])

    async def write(self, out: DeskOut) -> None:
        """Record in the database, then append what else there is."""
        for kill in out.kills:
            # Before what was decided since: who turned it on means everything from then on.
            await stored(self.works.store.raise_flag, KillSwitch.FLAG, "on" if kill.on else "off", kill.at_ms)
        if out.probe is not None:
            await stored(self.works.store.raise_flag, Heartbeat.FLAG, str(out.probe.at_ms), self.works.now_ms())
        if out.changed_ms is not None:
            # At its own time: what is read again after a crash is no news.
            await stored(self.works.store.raise_flag, CHANGES, str(out.changed_ms), out.changed_ms)
        if out.releases:
            await stored(remember, self.works.store, out.releases, self.works.now_ms())
        if out.batch is not None:
            await self._record(out.batch)
        for entry in out.told:
            _note(entry)
        if out.records:
            await self.works.logs.append(out.records)

    async def acknowledge(self, now_ms: int, *, last: bool) -> None:
        """Say how far it has come, and keep the desk with the offset that it reflects."""
        if self.frontier_ms is not None and self.frontier_ms != self._said_ms and now_ms - self._said_at_ms >= SAID_APART_MS:
            await stored(self.works.store.raise_flag, Executor.FRONTIER, str(self.frontier_ms), now_ms)
            self._said_ms, self._said_at_ms = self.frontier_ms, now_ms
        if self._kept_ms is None:
            self._kept_ms = now_ms
        due = now_ms - self._kept_ms >= SNAPSHOTS_APART * self.works.settings.store.snapshot_ms
        if self.offset <= self._kept_offset or not (due or last):
            return
        # In a thread, since it holds hours of ticks; nothing feeds the desk meanwhile.
        state = await asyncio.to_thread(self.desk.snapshot)
        await self._record(Batch(from_offset=self._recorded, to_offset=self.offset, snapshot=state))
        self._kept_offset, self._kept_ms = self.offset, now_ms

    async def _record(self, batch: Batch) -> None:
        # Records may be missing that fell out of the log's retention, or that an older desk has applied.
        await stored(self.works.store.record, "desk", self.epoch, msgspec.structs.replace(batch, gap=self._gap), self.works.now_ms())
        self._recorded, self._gap = batch.to_offset, False


def _note(entry: Entry) -> None:
    """Log that an incident opened or closed, also where nobody is paged for it."""
    state = entry.incident
    if state is not None:
        first = state.suspects[0].deploy_id if state.suspects else None
        log.info(
            "incident_opened" if entry.event == "opened" else "incident_closed",
            stage="desk",
            incident_id=entry.incident_id,
            verdict=state.verdict,
            suspect=first,
            metrics=state.metrics,
            regions=state.regions,
            orders_lost=state.orders_lost,
        )


def _timeline(offset: int, ordinal: int, entry: Entry, line: bytes) -> TimelineRow:
    return TimelineRow(id=f"{offset}/{ordinal}", offset=offset, ordinal=ordinal, at_ms=entry.at_ms, incident_id=entry.incident_id, event=entry.event, line=line)


def _incident(offset: int, entry: Entry, line: bytes) -> IncidentRow:
    state = entry.incident
    if state is None:
        raise AssertionError("an entry without an incident has no row")
    return IncidentRow(
        offset=offset,
        incident_id=entry.incident_id,
        opened_at_ms=state.opened_at_ms,
        closed_at_ms=state.closed_at_ms,
        state=state.state,
        verdict=state.verdict,
        body=line,
    )
