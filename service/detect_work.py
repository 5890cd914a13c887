"""Detect around the log of blocks: merger and detectors, kept in the database, their signals and ticks in the signals log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from rollguard.config import RollguardError, Settings
from rollguard.detectors import Detect, Signal, Tick
from rollguard.incidents import LogCodec
from rollguard.service.filling import discard, filled, taken
from rollguard.service.ingest_work import dead_letter
from rollguard.service.kept import stored, take_over
from rollguard.service.probing import Prober
from rollguard.service.signals import to_signals
from rollguard.store import Store
from rollguard.streams import BlockCodec, BlockRecord, Filler, Merger, SnapshotError, WireError
from rollguard.streams.kafka import Bounds, Logs, Outgoing, Stretches

__all__ = ["DetectStage", "DetectWork", "DetectWorks"]

log = structlog.get_logger()

#: A bucket is in doubt when so large a share of its events came too late or was refused; the desk judges the same over some minutes.
DOUBT_SHARE = 0.1


class _State(msgspec.Struct, frozen=True, kw_only=True):
    merger: bytes
    detect: bytes
    filler: bytes | None = None


@dataclass(slots=True)
class Tally:
    """What is told of a stage as metrics, by metric of the config.

    Attributes
    ----------
    missing, uncertain, signals : Counter
        Buckets of which nothing is known, buckets in doubt, and signals, since they were last taken.
    series : dict of str to int
        Series that are watched now.
    """

    missing: Counter[str] = field(default_factory=Counter)
    uncertain: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    series: dict[str, int] = field(default_factory=dict)

    def take(self, told: Signal | Tick) -> None:
        """Count what the stage told."""
        if isinstance(told, Signal):
            self.signals[told.series.metric] += 1
            return
        for account in told.accounts:
            self.series[account.metric] = len(account.series)
            if account.missing:
                self.missing[account.metric] += 1
            elif account.unsettled or account.doubtful > DOUBT_SHARE * (account.events + account.doubtful):
                self.uncertain[account.metric] += 1


class DetectStage:
    """Merger and detectors as one stage: records of the log of blocks in, signals and ticks out.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.merger = Merger(settings)
        self.detect = Detect(settings)
        #: Gives blocks of a changed metric its past; None: there is nothing to fill.
        self.filler: Filler | None = None

    def feed(self, records: Iterable[BlockRecord]) -> list[Signal | Tick]:
        """Take records of the log, in order.

        Raises
        ------
        RollguardError
            If a block is of a partition that no mark has told of.
        """
        out: list[Signal | Tick] = []
        for record in records:
            closed = self.merger.feed(record)
            if closed is not None:
                out += self.detect.feed(closed)
        return out

    def snapshot(self) -> bytes:
        """All that later answers depend on; see `restore`."""
        filler = self.filler.snapshot() if self.filler else None
        return msgspec.msgpack.encode(_State(merger=self.merger.snapshot(), detect=self.detect.snapshot(), filler=filler))

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> DetectStage:
        """A stage that goes on as if it had never stopped.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or was made under other settings.
        """
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"detect: snapshot refused: it is damaged ({error}). Read the log from its start.") from error
        stage = cls(settings)
        stage.merger, stage.detect = Merger.restore(settings, state.merger), Detect.restore(settings, state.detect)
        stage.filler = None if state.filler is None else Filler.restore(settings, state.filler)
        return stage


class DetectWorks:
    """Opens the work of the log of blocks.

    Parameters
    ----------
    settings : Settings
    logs : Logs
    store : Store
    owner : str
        Who we are, for those who look into the database.
    now_ms : callable
        The clock on the wall.
    stretches : Stretches, optional
        What a backfilled stage reads the sources with, where the log of blocks does not say yet what its metrics need.
    """

    def __init__(self, settings: Settings, logs: Logs, store: Store, owner: str, now_ms: Callable[[], int], *, stretches: Stretches | None = None) -> None:
        self.settings = settings
        self.logs = logs
        self.store = store
        self.owner = owner
        self.now_ms = now_ms
        self.stretches = stretches

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, DetectWork]:
        """Take each stage over, as it was last kept, or as a backfill left it; where nothing fits, from the log's beginning."""
        bounds = await self.logs.bounds(partitions)
        return {each: await self._open(each, bounds[each]) for each in partitions}

    async def _open(self, partition: TopicPartition, bounds: Bounds) -> DetectWork:
        name = f"detect/{partition.partition}"
        epoch, stage, offset, kept = await take_over(
            self.store,
            name,
            self.owner,
            self.now_ms(),
            bounds,
            fresh=lambda: DetectStage(self.settings),
            restore=lambda state: DetectStage.restore(self.settings, state),
        )
        found = await stored(taken, self.store, name, self.settings, bounds)
        if found is None:
            return DetectWork(self, name, epoch, stage, offset=offset, kept=kept)
        try:
            stage = DetectStage.restore(self.settings, found.staged.stage)
        except SnapshotError as error:
            log.warning("backfill_refused", stage=name, error=str(error))
            return DetectWork(self, name, epoch, stage, offset=offset, kept=kept)
        log.info("backfill_taken", stage=name, offset=found.offset, metrics=found.staged.metrics)
        return DetectWork(self, name, epoch, stage, offset=found.offset, kept=kept, away=found.staged.away)


class DetectWork:
    """The log of blocks, and the stage that reads it."""

    def __init__(self, works: DetectWorks, name: str, epoch: int, stage: DetectStage, *, offset: int, kept: int, away: Sequence[bytes] | None = None) -> None:
        self.works = works
        self.name = name
        self.epoch = epoch
        self.stage = stage
        self.offset = offset
        self.codec = BlockCodec(works.settings)
        self.log_codec = LogCodec()
        self.tally = Tally()
        self._kept_offset = kept
        self._kept_ms: int | None = None
        #: What a backfill found that nobody has told yet; None: the stage does not come from one.
        self._away = away
        self._untold = tuple(away or ())
        heartbeat = works.settings.respond.heartbeat
        self._prober = None if heartbeat.secret is None else Prober()
        self._probe_every_ms = heartbeat.every_ms
        self._probed_ms = 0

    def feed(self, records: Sequence[ConsumerRecord], now_ms: int) -> list[Outgoing]:
        """Let the stage take records; what is no block is put away."""
        if self._kept_ms is None:
            self._kept_ms = now_ms
        out = [to_signals(told) for value in self._untold if isinstance(told := self.log_codec.decode(value), Signal)]
        self._untold = ()
        stage = self.stage
        for record in records:
            try:
                found = stage.feed(filled(stage.filler, self.works.stretches, self.codec.decode(record.value or b"")))
            except WireError as error:
                out.append(dead_letter(record, source="blocks", reason="wire", detail=str(error)))
                continue
            except RollguardError as error:
                if error.code != "unknown_partition":
                    raise
                out.append(dead_letter(record, source="blocks", reason=error.code, detail=str(error)))
                continue
            for each in found:
                self.tally.take(each)
                out.append(to_signals(each, self.log_codec))
        if stage.filler is not None and not stage.filler:
            stage.filler = None
            if self.works.stretches is not None:
                self.works.stretches.close()
        self.offset = records[-1].offset + 1
        return out + self._probed(now_ms)

    def _probed(self, now_ms: int) -> list[Outgoing]:
        """A probe, where one is due and time has come so far."""
        frontier = self.stage.merger.frontier
        if self._prober is None or frontier is None or now_ms - self._probed_ms < self._probe_every_ms:
            return []
        self._probed_ms = now_ms
        probe = self._prober.probe(frontier * self.works.settings.bucket_ms)
        if probe is None:
            log.error("probe_not_found")
            return []
        return [to_signals(probe)]

    async def rest(self, now_ms: int) -> list[Outgoing] | None:
        """Without blocks there is nothing to say: time stands in them."""
        del now_ms
        return None

    async def write(self, out: Sequence[Outgoing]) -> None:
        """Append to the signals log."""
        if out:
            await self.works.logs.append(out)

    async def acknowledge(self, now_ms: int, *, last: bool) -> None:
        """Keep the stage with the offset that it reflects, as often as the settings say."""
        due = self._kept_ms is not None and now_ms - self._kept_ms >= self.works.settings.store.snapshot_ms
        if self.offset <= self._kept_offset or not (due or last):
            return
        state = self.stage.snapshot()
        await stored(self.works.store.keep, self.name, self.epoch, offset=self.offset, state=state, now_ms=now_ms)
        self._kept_offset, self._kept_ms = self.offset, now_ms
        if self._away is not None:
            await stored(discard, self.works.store, self.name, self.works.settings)
            self._away = None
