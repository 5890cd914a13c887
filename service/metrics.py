"""What the worker counts, in the form that Prometheus reads. Labels are the config's own names: their number is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry, Counter, Gauge

from rollguard.config import Settings
from rollguard.service.desk_work import DeskWork
from rollguard.service.detect_work import DetectWork
from rollguard.service.ingest_work import IngestWork
from rollguard.service.stages import now_ms

__all__ = ["Metrics"]


class Metrics:
    """Counters and gauges of one worker.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.events = Counter("rollguard_events", "Events that count", ["source"], registry=self.registry)
        self.late = Counter("rollguard_late_events", "Events that came too late to count", ["source"], registry=self.registry)
        self.doubled = Counter("rollguard_doubled_events", "Copies of events that had been seen", ["source"], registry=self.registry)
        self.filtered = Counter("rollguard_filtered_records", "Records that belong to another source", ["source"], registry=self.registry)
        self.refused = Counter("rollguard_refused_events", "Events that were refused", ["source", "reason"], registry=self.registry)
        self.conflicts = Gauge("rollguard_conflicting_buckets", "Buckets that came again with other numbers", ["source"], registry=self.registry)
        self.partitions = Gauge("rollguard_partitions", "Partitions that this worker has", ["stage"], registry=self.registry)
        self.cycle = Gauge("rollguard_last_cycle_timestamp_seconds", "When a stage last came round", ["stage"], registry=self.registry)
        self.frontier = Gauge("rollguard_frontier_timestamp_seconds", "Event time up to which buckets are closed", ["stage"], registry=self.registry)
        self.behind = Gauge("rollguard_frontier_age_seconds", "How far that lies behind the clock on the wall", ["stage"], registry=self.registry)
        self._told: dict[tuple[TopicPartition, str], Any] = {}

    def cycle_over(self, stage: str, works: Mapping[TopicPartition, Any]) -> None:
        """Take a stage's works after a cycle."""
        self.partitions.labels(stage).set(len(works))
        self.cycle.labels(stage).set(now_ms() / 1000)
        for partition, work in works.items():
            match work:
                case IngestWork():
                    self._ingest(partition, work)
                case DetectWork():
                    self._frontier(stage, None if (frontier := work.stage.merger.frontier) is None else frontier * self.settings.bucket_ms)
                    for source, number in work.stage.merger.conflicts.items():
                        self.conflicts.labels(source).set(number)
                case DeskWork():
                    self._frontier(stage, work.frontier_ms)

    def _frontier(self, stage: str, frontier_ms: int | None) -> None:
        if frontier_ms is not None:
            self.frontier.labels(stage).set(frontier_ms / 1000)
            self.behind.labels(stage).set((now_ms() - frontier_ms) / 1000)

    def _ingest(self, partition: TopicPartition, work: IngestWork) -> None:
        for source, counts in work.counts.items():
            told = self._told.get((partition, source))
            # A partition that was read again begins its counts anew: what is less than before is all new.
            if told is None or told.read > counts.read:
                told = type(counts)()
            if told.read == counts.read:
                continue
            self.events.labels(source).inc(counts.kept - told.kept)
            self.late.labels(source).inc(counts.late - told.late)
            self.doubled.labels(source).inc(counts.doubled - told.doubled)
            self.filtered.labels(source).inc(counts.filtered - told.filtered)
            for reason, number in counts.refused.items():
                self.refused.labels(source, reason).inc(number - told.refused.get(reason, 0))
            self._told[partition, source] = counts
