"""Gaps in the data: what cannot be read, a source that says nothing, and a time that stands still. A person is told; nothing is ever done about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rollguard.config import Mode, Settings
from rollguard.detectors import Tick
from rollguard.incidents.records import Action, Decision, Entry, IncidentState, Pulse

__all__ = ["Gap", "Gaps"]

#: A gap that lasts for so long is told.
GAP_MS = 2 * 60_000
#: A source is silent beyond chance when so many events would have come: of Poisson's none in forty come once in 10^17.
SURELY = 40.0
#: What a source usually brings is a mean that forgets by half in so long.
USUAL_HALF_MS = 60 * 60_000


@dataclass(slots=True)
class Gap:
    """Something is not known since a while.

    Attributes
    ----------
    since_ms : int
        Event time of its first bucket; of a time that stands still, where it stands.
    told : str or None
        Id of its incident, once it was told.
    told_ms : int or None
        When that was.
    paged : bool
        Somebody was paged about it.
    """

    since_ms: int
    told: str | None = None
    told_ms: int | None = None
    paged: bool = False


@dataclass(slots=True)
class Gaps:
    """The gaps that are open.

    Attributes
    ----------
    read : set of str
        Sources that have been read once: what never was is not missed.
    open : dict of str to Gap
        By source; "" is a time that stands still.
    usual : dict of str to float
        Events a bucket that each source brings, silent ones counted once it speaks again.
    """

    read: set[str] = field(default_factory=set)
    open: dict[str, Gap] = field(default_factory=dict)
    usual: dict[str, float] = field(default_factory=dict)

    def tick(self, tick: Tick, settings: Settings, at_ms: int, hurt: frozenset[str] = frozenset()) -> list[Entry]:
        """Take a closed bucket: time goes on, and each source of it could be read or not.

        Parameters
        ----------
        tick : Tick
        settings : Settings
        at_ms : int
        hurt : frozenset of str
            Metrics of open incidents: who was told that orders stopped need not be told that no order comes.
        """
        out = self._end("", at_ms)
        missing: dict[str, bool] = {}
        events: dict[str, float] = {}
        for account in tick.accounts:
            source = settings.metrics[account.metric].source
            # A ratio is missing where either of its sources is; what a source is itself, its own metrics say.
            missing[source] = missing.get(source, True) and account.missing
            events[source] = max(events.get(source, 0.0), 0.0 if account.missing else account.events)
        bucket_ms = settings.bucket_ms
        # Where no source says anything, it is the shop or the pipe of them all: what hurts tells that.
        others = any(events.values())
        # Sources that fell silent with one that is spoken of are the same story: no order, so no promise either.
        silent = {source for source, number in events.items() if not number}
        spoken_of = {settings.metrics[metric].source for metric in hurt} & silent
        for source, gone in sorted(missing.items()):
            if not gone:
                self.read.add(source)
            if events[source]:
                self._learn(source, events[source], tick.bucket, bucket_ms)
            if not gone and (events[source] or not others):
                out += self._end(source, at_ms)
            elif source in self.read:
                gap = self.open.setdefault(source, Gap(tick.bucket * bucket_ms))
                lasts_ms = (tick.bucket + 1) * bucket_ms - gap.since_ms
                surely = gone or (not spoken_of and lasts_ms / bucket_ms * self.usual.get(source, 0.0) >= SURELY)
                if gap.told is None and lasts_ms >= GAP_MS and surely:
                    out += self._begin(source, gap, settings, at_ms, silent=not gone)
        return out

    def _learn(self, source: str, events: float, bucket: int, bucket_ms: int) -> None:
        """Learn from a bucket with events and from the empty ones before it: of a rare source most are empty, and none of them is a gap."""
        gap = self.open.get(source)
        span = 1 if gap is None else bucket - gap.since_ms // bucket_ms + 1
        mean = events / span
        before = self.usual.get(source, mean)
        self.usual[source] = before + (mean - before) * (1.0 - 0.5 ** (span * bucket_ms / USUAL_HALF_MS))

    def pulse(self, pulse: Pulse, settings: Settings, frontier_ms: int) -> list[Entry]:
        """Take that no bucket has closed for a minute."""
        gap = self.open.setdefault("", Gap(frontier_ms))
        return self._begin("", gap, settings, pulse.at_ms) if gap.told is None else []

    def _begin(self, source: str, gap: Gap, settings: Settings, at_ms: int, *, silent: bool = False) -> list[Entry]:
        gap.told, gap.told_ms = f"gap/{source or 'time'}/{gap.since_ms}", at_ms
        if silent:
            due = (at_ms - gap.since_ms) / settings.bucket_ms * self.usual[source]
            text = (
                f"{source}: not one event since this began, where about {due:.0f} would have come, while other sources go on: "
                "what its customers feel is unknown, not well"
            )
        elif source:
            text = f"{source}: its topic cannot be read since this began, so what its customers feel is unknown, not well"
        else:
            text = "no bucket closes any more: events do not arrive, or ingest and detect stand still; nothing can be found until they go on"
        gap.paged = settings.service(None).mode is not Mode.OBSERVE
        state = _state(gap, None, text, tuple(sorted(name for name, metric in settings.metrics.items() if metric.source == source)))
        page: Action = "page" if gap.paged else "observe"
        return [_entry("opened", gap, at_ms, state), _decided(gap, Decision(at_ms=at_ms, action=page, target=None, reasons=(text,)))]

    def _end(self, source: str, at_ms: int) -> list[Entry]:
        gap = self.open.pop(source, None)
        if gap is None or gap.told is None:
            return []
        text = f"{source}: its events come again" if source else "buckets close again"
        return [_entry("closed", gap, at_ms, _state(gap, at_ms, text, ()))]


def _state(gap: Gap, closed_at_ms: int | None, text: str, metrics: tuple[str, ...]) -> IncidentState:
    nothing = (0.0, 0.0)
    return IncidentState(
        incident_id=gap.told or "",
        opened_at_ms=gap.told_ms or 0,
        onset_ms=gap.since_ms,
        closed_at_ms=closed_at_ms,
        state="open" if closed_at_ms is None else "closed",
        verdict="inconclusive",
        metrics=metrics,
        regions=(),
        services=(),
        suspects=(),
        no_change_probability=1.0,
        orders_lost=0.0,
        orders_lost_interval=nothing,
        orders_lost_per_minute=0.0,
        orders_lost_per_minute_interval=nothing,
        saved_by_rollback=0.0,
        saved_by_rollback_interval=nothing,
        cost="what it cost is unknown: nothing was counted",
        symptoms=(text,),
        data_quality=(text,),
        paged=gap.paged,
    )


def _entry(event: Literal["opened", "closed"], gap: Gap, at_ms: int, state: IncidentState) -> Entry:
    return Entry(at_ms=at_ms, event=event, incident_id=gap.told or "", incident=state)


def _decided(gap: Gap, decision: Decision) -> Entry:
    return Entry(at_ms=decision.at_ms, event="decided", incident_id=gap.told or "", decision=decision)
