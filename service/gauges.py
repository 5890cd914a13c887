"""Gauges that are read off what is there when Prometheus asks: of a partition that was lost, or a database that is away, nothing is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import get_args

from aiokafka import TopicPartition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rollguard import __version__
from rollguard.config import Settings
from rollguard.service.blindness import REASONS, Seen
from rollguard.service.desk_work import DeskWork
from rollguard.service.detect_work import DetectWork
from rollguard.service.ingest_work import IngestWork
from rollguard.service.stages import StageService
from rollguard.service.watch import Watch
from rollguard.store import Glance, OutboxState

__all__ = ["Gauges"]


class Gauges(Collector):
    """All gauges of a worker.

    Parameters
    ----------
    settings : Settings
    stages : sequence of StageService
        Those that run here.
    watch : Watch or None
        None: nobody watches yet.
    now_ms : callable
        The clock on the wall.
    """

    def __init__(self, settings: Settings, stages: Sequence[StageService], watch: Watch | None, now_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.stages = stages
        self.watch = watch
        self.now_ms = now_ms

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give every gauge, also those that have no value now: their names are always there."""
        yield _gauge("rollguard_build_info", "What runs here", "version", {__version__: 1})
        yield from self._of_stages()
        yield from self._of_sources()
        yield from self._of_detect()
        yield from self._of_database()

    def _of_stages(self) -> Iterator[GaugeMetricFamily]:
        partitions = {stage.name: len(stage.open) for stage in self.stages}
        yield _gauge("rollguard_partitions", "Partitions that this worker has", "stage", partitions)
        cycles = {stage.name: stage.cycled_ms / 1000 for stage in self.stages if stage.open and stage.cycled_ms is not None}
        yield _gauge("rollguard_last_cycle_timestamp_seconds", "When a stage last came round", "stage", cycles)
        frontiers = {stage.name: found / 1000 for stage in self.stages if (found := self._frontier_ms(stage)) is not None}
        yield _gauge("rollguard_frontier_timestamp_seconds", "Event time up to which buckets are closed", "stage", frontiers)
        ages = {name: self.now_ms() / 1000 - found for name, found in frontiers.items()}
        yield _gauge("rollguard_frontier_age_seconds", "How far that lies behind the clock on the wall", "stage", ages)

    def _of_sources(self) -> Iterator[GaugeMetricFamily]:
        lags: dict[str, float] = {}
        delays: dict[str, float] = {}
        for stage in self.stages:
            for partition, work in stage.open.items():
                if isinstance(work, IngestWork):
                    self._source(stage, partition, work, lags, delays)
        yield _gauge("rollguard_source_lag_records", "Records of a source's topic that this worker has still to read", "source", lags)
        yield _gauge("rollguard_watermark_delay_seconds", "How far a source's slowest watermark lies behind the clock on the wall", "source", delays)

    def _source(self, stage: StageService, partition: TopicPartition, work: IngestWork, lags: dict[str, float], delays: dict[str, float]) -> None:
        for name, each in work.stages.items():
            end = stage.ends.get(partition)
            if end is not None:
                lags[name] = lags.get(name, 0) + max(end - work.offset, 0)
            if (mark_ms := each.watermark_ms) is not None:
                delays[name] = max(delays.get(name, float("-inf")), (self.now_ms() - mark_ms) / 1000)

    def _of_detect(self) -> Iterator[GaugeMetricFamily]:
        series: dict[str, float] = {}
        conflicts: dict[str, float] = {}
        for stage in self.stages:
            for work in stage.open.values():
                if isinstance(work, DetectWork):
                    series.update(dict(work.tally.series))
                    conflicts.update(work.stage.merger.conflicts)
        yield _gauge("rollguard_series", "Series that are watched", "metric", series)
        yield _gauge("rollguard_conflicting_buckets", "Buckets that came again with other numbers", "source", conflicts)

    def _of_database(self) -> Iterator[GaugeMetricFamily]:
        watch = self.watch
        known = None if watch is None else watch.glance
        # Without the database nothing of it is shown: what it said last is not so any more.
        seen = Seen(now_ms=0, began_ms=0) if watch is None or known is None else watch.seen
        told = known or Glance(outbox={}, undelivered=(), open_incidents=(), epochs={}, saved_ms={}, flags={})
        saved = {stage: at_ms / 1000 for stage, at_ms in told.saved_ms.items()}
        yield _gauge("rollguard_snapshot_timestamp_seconds", "When a stage was last kept", "stage", saved)
        yield _gauge("rollguard_desk_epoch", "How often the desk was taken over", "", {"": told.epochs["desk"]} if "desk" in told.epochs else {})
        rows = {} if known is None else {state: told.outbox.get(state, 0) for state in get_args(OutboxState)}
        yield _gauge("rollguard_outbox_rows", "Rows of the outbox", "state", rows)
        oldest = "Since when the oldest page waits that nobody has taken"
        yield _gauge("rollguard_outbox_oldest_timestamp_seconds", oldest, "", _one(seen.waiting_ms))
        yield _gauge("rollguard_open_incidents", "Incidents that are open", "", {} if known is None else {"": len(told.open_incidents)})
        yield _gauge("rollguard_change_feed_timestamp_seconds", "When the change feed last brought something", "", _one(seen.changed_ms))
        judged = {} if watch is None else watch.blind
        blind: dict[str, float] = {reason: float(judged[reason] is not None) for reason in REASONS if reason in judged}
        yield _gauge("rollguard_blind", "1: Rollguard is blind for this reason", "reason", blind)

    def _frontier_ms(self, stage: StageService) -> int | None:
        for work in stage.open.values():
            if isinstance(work, DetectWork) and work.stage.merger.frontier is not None:
                return work.stage.merger.frontier * self.settings.bucket_ms
            if isinstance(work, DeskWork):
                return work.frontier_ms
        return None


def _one(at_ms: int | None) -> dict[str, float]:
    return {} if at_ms is None else {"": at_ms / 1000}


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label] if label else [])
    for given, value in sorted(values.items()):
        family.add_metric([given] if label else [], value)
    return family
