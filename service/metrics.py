"""What the worker counts, in the form that Prometheus reads. Labels are the config's own names: their number is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics

from rollguard.config import Settings
from rollguard.service.detect_work import DetectWork
from rollguard.service.ingest_work import IngestWork

__all__ = ["Metrics"]

# A gauge beside each counter, which says when it began: Prometheus sees that by itself, and takes their names for mistakes.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it says no types


class Metrics:
    """Counters of one worker, and the registry in which its gauges stand too.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.events = self._of_sources(settings, "rollguard_events", "Events that count")
        self.late = self._of_sources(settings, "rollguard_late_events", "Events that came too late to count")
        self.doubled = self._of_sources(settings, "rollguard_doubled_events", "Copies of events that had been seen")
        self.filtered = self._of_sources(settings, "rollguard_filtered_records", "Records that belong to another source")
        self.refused = Counter("rollguard_refused_events", "Events that were refused", ["source", "reason"], registry=self.registry)
        self.missing = self._of_metrics(settings, "rollguard_missing_buckets", "Closed buckets of which nothing is known")
        self.uncertain = self._of_metrics(settings, "rollguard_uncertain_buckets", "Closed buckets whose numbers are in doubt")
        self.signals = self._of_metrics(settings, "rollguard_signals", "Times that a series left its usual or came back")
        self._told: dict[tuple[TopicPartition, str], tuple[IngestWork, Any]] = {}

    def cycle_over(self, stage: str, works: Mapping[TopicPartition, Any]) -> None:
        """Take a stage's works after a cycle."""
        for partition, work in works.items():
            match work:
                case IngestWork():
                    self._ingest(partition, work)
                case DetectWork():
                    self._detect(work)
        if stage == "ingest":
            # What was told of a partition that another has now is no start for when it comes back.
            self._told = {key: told for key, told in self._told.items() if key[0] in works}

    def _ingest(self, partition: TopicPartition, work: IngestWork) -> None:
        for source, counts in work.counts.items():
            of, told = self._told.get((partition, source), (None, None))
            if of is not work or told is None:
                # A partition that was taken over begins its counts anew.
                told = type(counts)()
            if told.read == counts.read:
                continue
            self.events.labels(source).inc(counts.kept - told.kept)
            self.late.labels(source).inc(counts.late - told.late)
            self.doubled.labels(source).inc(counts.doubled - told.doubled)
            self.filtered.labels(source).inc(counts.filtered - told.filtered)
            for reason, number in counts.refused.items():
                self.refused.labels(source, reason).inc(number - told.refused.get(reason, 0))
            self._told[partition, source] = (work, counts)

    def _detect(self, work: DetectWork) -> None:
        tally = work.tally
        for counter, numbers in ((self.missing, tally.missing), (self.uncertain, tally.uncertain), (self.signals, tally.signals)):
            for metric, number in numbers.items():
                counter.labels(metric).inc(number)
            numbers.clear()

    def _of_sources(self, settings: Settings, name: str, text: str) -> Counter:
        return self._counter(name, text, "source", settings.sources)

    def _of_metrics(self, settings: Settings, name: str, text: str) -> Counter:
        return self._counter(name, text, "metric", settings.metrics)

    def _counter(self, name: str, text: str, label: str, values: Mapping[str, object]) -> Counter:
        counter = Counter(name, text, [label], registry=self.registry)
        for value in values:
            # From 0 on, so that the first one is seen as a rise.
            counter.labels(value)
        return counter
