"""One incident under way: its signals, where it hurts, what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from rollguard.config import Settings
from rollguard.detectors import SeriesName, Signal
from rollguard.incidents.books import Books, Sums
from rollguard.incidents.cost import Bill, Clock, bill_of
from rollguard.incidents.lifecycle import State, step
from rollguard.incidents.onset import Moment, sharpest_first, starts_of
from rollguard.incidents.pipe import Stretch, joined, speechless, unheard
from rollguard.incidents.places import CAP_NATS, Symptom, effect_of, hurt_evidence, region_row
from rollguard.incidents.records import IncidentState, Plan

__all__ = ["Incident", "locate"]

#: A region hurts when its evidence says so by this much.
HURT_NATS = 1.0
#: A region counts as hurt from this share of the incident's own effect on.
LEAST_SHARE = 0.4
#: So long before the earliest onset a signal named, and after the first signal, buckets are weighed as the start.
START_MS = 30 * 60_000
#: Where nothing has left by itself, an onset that is not known to this (its standard error) is hardly more than noise.
BLUNT_MS = 2 * 60_000
#: Minutes the rate of loss is taken over.
RATE_MIN = 5
#: Whether sources still speak is looked at so far back, each time: an incident is looked at once a minute at least.
LISTEN_MS = 5 * 60_000


@dataclass(slots=True)
class Incident:
    """Signals with one cause, as far as is known."""

    id: str
    opened: int
    state: State = "open"
    away: dict[SeriesName, Signal] = field(default_factory=dict)
    signals: dict[SeriesName, Signal] = field(default_factory=dict)
    returned_at: int | None = None
    last_signal: int = 0
    evidence: dict[str, float] = field(default_factory=dict)
    #: By region ("": everywhere) the stretches since the onset in which no source said anything.
    dumb: dict[str, list[Stretch]] = field(default_factory=dict)
    #: By metric the stretch from its onset on in which its source brought no event at all.
    mute: dict[str, Stretch] = field(default_factory=dict)
    #: When it began in each place, by all that was counted, and what that was worked out for.
    began: dict[str, Moment] = field(default_factory=dict)
    began_for: tuple[object, ...] = ()
    pinned: set[str] = field(default_factory=set)
    #: The first incident in the same places that it is told apart from; and by others of those, and regions, the stretch of which they have the bill.
    beside: str = ""
    billed: dict[str, dict[str, Stretch]] = field(default_factory=dict)
    #: Changes that were called guilty of it, whatever was said later.
    accused: frozenset[str] = frozenset()
    #: Changes on whose trials it was found, and whether a detector or a trial is sure enough of it to act.
    on_trial: frozenset[str] = frozenset()
    sure: bool = False
    #: Said to nobody but the timeline, since its service is only observed.
    noted: bool = False
    paged: bool = False
    acted: bool = False
    failed: tuple[str, ...] | None = None
    #: The change it was decided to roll back, when that was done, and the changes whose rollback did not help.
    plan: str | None = None
    undone_ms: int | None = None
    outcome: str | None = None
    cleared: frozenset[str] = frozenset()
    #: The plan that persons may approve, since when, who did, and the hashes of those that were rejected or have expired.
    proposed: Plan | None = None
    proposed_ms: int = 0
    needs: int = 0
    approved_by: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()
    #: When somebody was paged, who answered, and whether others were told because nobody did.
    paged_ms: int | None = None
    acknowledged_by: str | None = None
    escalated: bool = False
    #: What a rollback was expected to save when it was decided, and the sentence that says that it surely helped.
    saving: tuple[float, float, float] = (0.0, 0.0, 0.0)
    helped: str | None = None
    #: Something was said: it is looked at on the next tick, however old it is.
    stirred: bool = False
    ailing: frozenset[str] = frozenset()
    told: tuple[object, ...] = ()
    shown: IncidentState | None = None

    @staticmethod
    def opened_by(signal: Signal) -> Incident:
        """A new incident; its id comes from the signal's content."""
        digest = blake2b(signal.id.encode(), digest_size=4).hexdigest()
        return Incident(id=f"inc-{digest}", opened=signal.bucket, last_signal=signal.bucket)

    @property
    def onset(self) -> int:
        """First bucket of the earliest symptom."""
        return self._first.bucket

    @property
    def onset_error(self) -> float:
        """Standard error of `onset`, in buckets."""
        return self._first.error

    @property
    def _first(self) -> Moment:
        if self.began:
            return min(self.began.values(), key=lambda moment: (moment.bucket, moment.error))
        first = min(self.signals.values(), key=lambda s: (s.onset, s.onset_error))
        return Moment(first.onset, first.onset_error)

    def let_plan_go(self) -> None:
        """No plan waits any more for approvals."""
        self.proposed, self.approved_by, self.needs = None, (), 0

    def take(self, signal: Signal, places: frozenset[str]) -> None:
        """Take a signal that belongs here."""
        if signal.kind == "left":
            self.away[signal.series] = signal
            self.signals.setdefault(signal.series, signal)
            self.last_signal = signal.bucket
            region = signal.series.label("region")
            if region is not None:
                self.pinned.add(region)
            elif not self.evidence:
                self.evidence = dict.fromkeys(places, HURT_NATS)
        else:
            self.away.pop(signal.series, None)
            self.returned_at = max(self.returned_at or 0, signal.onset)

    def absorb(self, other: Incident) -> None:
        """Take over what another incident is about, of which nothing has been told."""
        for series, signal in other.signals.items():
            self.take(signal, frozenset(other.regions))
            if series not in other.away:
                self.away.pop(series, None)
        if other.returned_at is not None:
            self.returned_at = max(self.returned_at or 0, other.returned_at)
        if other.away:
            self.state = step(self.state, "left_again")
        self.on_trial |= other.on_trial
        self.sure = self.sure or other.sure
        self.stirred = True

    @property
    def measured(self) -> frozenset[str]:
        """Regions with an onset of their own."""
        return frozenset(region for series in self.signals if (region := series.label("region")) is not None)

    def onset_of(self, metric: str) -> int:
        """First bucket of a metric's earliest symptom."""
        return min(signal.onset for series, signal in self.signals.items() if series.metric == metric)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that hurt, sorted."""
        return tuple(sorted({series.metric for series in self.signals}))

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that hurt, sorted; empty where nothing has a region."""
        hurt = {region for region, nats in self.evidence.items() if nats >= HURT_NATS} | self.pinned
        return tuple(sorted(region for region in hurt if region))

    def onset_in(self, region: str) -> tuple[int, float]:
        """Onset in a region and its standard error, in buckets: by all that was counted there, else its own signals', else the incident's."""
        if region in self.began:
            return self.began[region].bucket, self.began[region].error
        own = [s for s in self.signals.values() if s.series.label("region") == region]
        whole = self._first
        if not own:
            return whole.bucket, whole.error
        first = min(own, key=lambda s: (s.onset, s.onset_error))
        # A place cannot have begun before what all of it shows: the sharper of the two wins.
        if whole.error < first.onset_error and abs(whole.bucket - first.onset) <= 2.0 * first.onset_error:
            return whole.bucket, whole.error
        return first.onset, first.onset_error

    def clock(self, books: Books, metric: str, now: int, bucket_ms: int) -> Clock:
        """Orders lost so far in the places that hurt, and lost per minute lately. What nothing is known of costs nothing."""
        rows = _money_rows(books, metric, self.regions)
        last = max(RATE_MIN * 60_000 // bucket_ms, 1)
        first = max(now - last + 1, self.onset)
        window = books.window(metric, first, now)
        # A minute counts as long as one of the places is known.
        silent = min((_within(self._silences(region), first, now + 1) for region in self.regions or ("",)), default=0)
        minutes = (now - first + 1 - window.missing - silent) * bucket_ms / 60_000
        lately = bill_of(window, rows, self._not_ours(books, metric, first))
        known = minutes > 0.0 and bool(rows)
        each = Bill(*(part / minutes for part in (lately.lost, lately.low, lately.high))) if known else Bill(0.0, 0.0, 0.0)
        return Clock(bill_of(books.since(metric, self.onset), rows, self._not_ours(books, metric, self.onset)), each, bool(self.away), known)

    def _not_ours(self, books: Books, metric: str, first: int) -> list[tuple[Sums, int]]:
        """What was counted and expected from a bucket on while nothing was known of a place, or while another incident had its bill."""
        found: list[tuple[Sums, int]] = []
        for region in self.regions or ("",):
            row = books.row(metric, region=region) if region else books.row(metric)
            theirs = [places[region] for places in self.billed.values() if region in places]
            stretches = joined(self._silences(region), theirs)
            if row is not None:
                found += [(books.window(metric, max(start, first), stop - 1), row) for start, stop in stretches if stop > first]
        return found

    def listen(self, books: Books, settings: Settings) -> None:
        """Note where and when no source says anything any more."""
        since = (books.now or 0) - LISTEN_MS // settings.bucket_ms + 1
        for region in ("", *self.regions):
            found = speechless(books, settings, region, max(since, self.onset), before=self.onset)
            if found:
                self.dumb[region] = joined(self.dumb.get(region, []), found)
        for metric in self.metrics:
            onset = self.onset_of(metric)
            # What lies too far back is not kept any more, and then what was found stands.
            if books.ticks and books.ticks[0].bucket <= onset:
                self.mute.pop(metric, None)
                stretch = unheard(books, settings, metric, onset)
                if stretch is not None:
                    self.mute[metric] = stretch

    def is_mute(self, metric: str, now: int) -> bool:
        """Whether for most of the time since a metric's onset its source brought no event at all."""
        return metric in self.mute and self._mostly([self.mute[metric]], self.onset_of(metric), now)

    def _silences(self, region: str) -> list[Stretch]:
        """Stretches since the onset in which no source said anything of a region, or of anything."""
        return joined(self.dumb.get("", []), self.dumb.get(region, []))

    def is_speechless(self, now: int) -> bool:
        """Whether for most of the time since its onset no source said anything of any place that hurts."""
        return all(self._mostly(self._silences(region), self.onset_in(region)[0], now) for region in self.regions or ("",))

    def _mostly(self, stretches: list[Stretch], first: int, now: int) -> bool:
        """Whether some stretches are more than half of the time from a bucket until all came back, or until now."""
        stop = (now if self.away else self.returned_at or now) + 1
        return 2 * _within(stretches, first, stop) > stop - first

    def look(self, books: Books, settings: Settings, *, elsewhere: frozenset[str] = frozenset(), well_since: int = 0) -> None:
        """Look again where it hurts, and since when.

        Parameters
        ----------
        books : Books
        settings : Settings
        elsewhere : frozenset of str
            Regions of other incidents: of those nothing is known, since those hurt them.
        well_since : int
            Bucket from which an earlier incident was over: what hurt before was that one.
        """
        found = locate(books, settings, self.signals)
        self.evidence = {region: 0.0 if region in elsewhere - self.pinned else nats for region, nats in found.items()}
        self._date(books, settings, well_since)
        self.listen(books, settings)

    def _date(self, books: Books, settings: Settings, well_since: int) -> None:
        """Weigh every bucket around the signals' onsets as the start."""
        now, span = books.now or 0, START_MS // settings.bucket_ms
        named = min(signal.onset for signal in self.signals.values())
        first = max(named - span, min(well_since, named), books.ticks[0].bucket)
        # A wave may reach a place hours later: what is counted there until then must not be all that dates it.
        raised: dict[str, int] = {}
        for series, signal in self.signals.items():
            region = series.label("region") or ""
            raised[region] = min(raised.get(region, signal.bucket), signal.bucket)
        last = min(now, max(raised.values()) + span)
        known = (last * settings.bucket_ms // 60_000, self.regions, tuple(sorted(map(str, self.signals))))
        # What lies too far back is not kept any more, and then what was found stands.
        if known == self.began_for or last < first:
            return
        symptoms = [symptom for symptom, _ in symptoms_of(books, settings, self.signals)]
        singled = {symptom.metric for symptom in symptoms if symptom.service is not None}
        # What all services show together is the sum of what single ones show: it must not count twice.
        alone = [symptom for symptom in symptoms if symptom.service is not None or symptom.metric not in singled]
        self.began_for = known
        found = starts_of(books, alone, self.regions or ("",), range(first, last + 1), self._told(settings)).moments()
        sharp = {region: moment for region, moment in found.items() if region in self.measured or moment.error * settings.bucket_ms <= BLUNT_MS}
        self.began = sharp or found

    def _told(self, settings: Settings) -> dict[str, dict[str, Moment]]:
        """Onsets of distributions, by metric and region: their detector saw every bin, their accounts only what is unusual."""
        found: dict[str, dict[str, list[Moment]]] = {}
        for series, signal in self.signals.items():
            if settings.metrics[series.metric].kind == "distribution":
                places = found.setdefault(series.metric, {})
                places.setdefault(series.label("region") or "", []).append(Moment(signal.onset, signal.onset_error))
        return {metric: {region: sharpest_first(moments) for region, moments in places.items()} for metric, places in found.items()}


def _within(stretches: list[Stretch], first: int, stop: int) -> int:
    """Buckets of some stretches that lie in first..stop, the last not included."""
    return sum(max(0, min(end, stop) - max(start, first)) for start, end in stretches)


def _money_rows(books: Books, metric: str, regions: tuple[str, ...]) -> tuple[int, ...]:
    rows = [books.row(metric, region=region) for region in regions]
    known = tuple(row for row in rows if row is not None)
    if known:
        return known
    pooled = books.row(metric)
    return () if pooled is None else (pooled,)


def symptoms_of(books: Books, settings: Settings, signals: dict[SeriesName, Signal]) -> list[tuple[Symptom, int]]:
    """Symptoms with the bucket each began in: one for each metric and service that its signals single out."""
    found: dict[tuple[str, str | None], int] = {}
    for series, signal in signals.items():
        service = series.label("service")
        # Of a metric with one service, naming it singles nothing out.
        key = (series.metric, service if len(books.services_of(series.metric)) > 1 else None)
        found[key] = min(found.get(key, signal.onset), signal.onset)
    return [
        (
            Symptom(
                metric=metric,
                service=service,
                direction=-1.0 if settings.metrics[metric].worse == "lower" else 1.0,
                smallest=settings.metrics[metric].smallest,
            ),
            onset,
        )
        for (metric, service), onset in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ]


def locate(books: Books, settings: Settings, signals: dict[SeriesName, Signal]) -> dict[str, float]:
    """Nats for hurt against well, of every region.

    Of one metric the clearest symptom speaks; metrics are separate sources and add up.
    """
    total = dict.fromkeys(books.regions, 0.0)
    by_metric: dict[str, dict[str, float]] = {}
    for symptom, onset in symptoms_of(books, settings, signals):
        sums = books.since(symptom.metric, onset)
        pooled = effect_of(sums, region_row(books, symptom, ""), symptom.direction)
        least = max(symptom.smallest, LEAST_SHARE * pooled.relative if pooled else 0.0)
        mine = by_metric.setdefault(symptom.metric, {})
        for region in books.regions:
            nats = hurt_evidence(effect_of(sums, region_row(books, symptom, region), symptom.direction), least)
            if region not in mine or abs(nats) > abs(mine[region]):
                mine[region] = nats
    for parts in by_metric.values():
        for region, nats in parts.items():
            total[region] += nats
    return {region: max(-CAP_NATS, min(CAP_NATS, nats)) for region, nats in total.items()}
