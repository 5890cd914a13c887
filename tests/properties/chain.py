"""The stages one after the other, fed by hand: what `replay` does with files, a shell does with partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollguard.config import Layer, Mode, Settings, default_text, load_layers
from rollguard.detectors import Detect, Signal, Tick
from rollguard.incidents import ChangeSeen, Desk, Entry, LogRecord, sightings
from rollguard.replay import line_of
from rollguard.streams import Block, Closed, Ingest, Merger
from tests.properties.shop import START_MS, Event, Shop

#: Partition of a source.
Place = tuple[str, int]


def settings_of(config: str) -> Settings:
    """Settings of a case with this text in its case.yaml."""
    return load_layers([Layer(default_text(), "default.yaml"), Layer(config, "case.yaml")]).model_copy(update={"mode": Mode.AUTO})


class Chain:
    """Ingest of every partition, merger, detect and desk.

    Parameters
    ----------
    settings : Settings
    shop : Shop
        For its changes and its end.
    partitions : dict of str to int
        How many each source has.
    """

    def __init__(self, settings: Settings, shop: Shop, partitions: dict[str, int]) -> None:
        self.settings = settings
        self.end_ms = shop.end_ms
        self.places = [(source, number) for source, n in sorted(partitions.items()) for number in range(n)]
        self.ingests = {place: Ingest(settings, *place, start_ms=START_MS, end_ms=shop.end_ms) for place in self.places}
        self.merger = Merger(settings, self.places)
        self.detect = Detect(settings)
        self.desk = Desk(settings)
        self.offsets = dict.fromkeys(self.places, 0)
        self.lateness_ms = max(source.lateness_ms for source in settings.sources.values())
        self.changes: list[ChangeSeen] = sorted(
            {seen.id: seen for line in shop.deploys for seen in sightings(line, environment=settings.environment)}.values(),
            key=lambda seen: (seen.seen_ms, seen.id),
        )
        self.known = 0
        self.timeline: list[bytes] = []
        self.records: list[Signal | Tick] = []

    def feed(self, place: Place, lines: Sequence[bytes]) -> None:
        """Feed the next lines of a partition."""
        taken = self.ingests[place].feed(lines, self.offsets[place])
        self.offsets[place] += len(lines)
        self._merge(taken.block)

    def finish(self) -> None:
        """Every partition is at its end, and nothing came after."""
        for ingest in self.ingests.values():
            self._merge(ingest.silence(self.end_ms // self.settings.bucket_ms))

    def restart(self) -> None:
        """Put every stage in the place of itself, from its snapshot."""
        self.ingests = {place: Ingest.restore(self.settings, *place, ingest.snapshot()) for place, ingest in self.ingests.items()}
        self.merger = Merger.restore(self.settings, self.merger.snapshot())
        self.detect = Detect.restore(self.settings, self.detect.snapshot())
        self.desk = Desk.restore(self.settings, self.desk.snapshot())

    def snapshots(self) -> list[bytes]:
        """State of every stage but the desk, whose bytes also say which of its ticks share their names with the detect stage's."""
        return [*(each.snapshot() for each in self.ingests.values()), self.merger.snapshot(), self.detect.snapshot()]

    def _merge(self, block: Block | None) -> None:
        closed = None if block is None else self.merger.feed(block)
        if closed is not None:
            self._close(closed)

    def _close(self, closed: Closed) -> None:
        found = self.detect.feed(closed)
        self.records += found
        for record in found:
            self._log([*self._news((record.bucket + 1) * self.settings.bucket_ms + self.lateness_ms), record])

    def _news(self, now_ms: int) -> list[ChangeSeen]:
        """Changes that became known until now."""
        since = self.known
        while self.known < len(self.changes) and self.changes[self.known].seen_ms <= now_ms:
            self.known += 1
        return self.changes[since : self.known]

    def _log(self, records: list[LogRecord]) -> None:
        entries: list[Entry] = self.desk.feed(records)
        self.timeline += [line_of(entry) for entry in entries]


def parted(shop: Shop, partitions: dict[str, int]) -> dict[Place, list[bytes]]:
    """Lines of every partition, in its order of arrival: a source's events are dealt out in turn."""
    return {
        (source, number): [event.line for event in events[number :: partitions[source]]]
        for source, events in shop.events.items()
        for number in range(partitions[source])
    }


def without(shop: Shop, *, since_ms: int, source: str) -> Shop:
    """The same shop, whose source falls silent."""
    kept: list[Event] = [event for event in shop.events[source] if event.ts_ms < since_ms]
    return replace(shop, events=shop.events | {source: kept})
