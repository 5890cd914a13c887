"""What an incident looks like now: symptoms, suspects, verdict, bill, and the facts a decision needs."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.config import Policy, Settings
from rollguard.detectors import Tick
from rollguard.incidents.apart import doubted, elsewhere, follows
from rollguard.incidents.blame import Blame, Verdicts, weigh
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change, ChangeBook
from rollguard.incidents.history import Ailing, History, key_of
from rollguard.incidents.incident import LEAST_SHARE, Incident, symptoms_of
from rollguard.incidents.permission import Permission
from rollguard.incidents.places import effect_of, hurt_evidence, region_row
from rollguard.incidents.policy import LAG_WINDOW_MIN, Facts
from rollguard.incidents.quality import quality_of
from rollguard.incidents.records import IncidentState, Plan, Suspect, Verdict
from rollguard.incidents.scene import Scene, VersionContrast
from rollguard.incidents.strangers import sentence_of, strangers_of
from rollguard.incidents.telling import facts_of, sentences_of
from rollguard.incidents.versions import contrasts_of
from rollguard.incidents.whatif import what_if

__all__ = ["Assessment", "assess", "hurt_before"]

MINUTE_MS = 60_000
#: So long before a change reached a place it must not look hurt, by so many nats.
BEFORE_MS, HURT_BEFORE_NATS = 5 * 60_000, 2.0
#: Suspects told: as many as have at least this probability, and no more than so many.
TOLD_PROBABILITY, TOLD = 0.01, 5
#: The first of them are told from here on: where no change is likely, it is still worth a look which would be.
FIRST_TOLD, FIRST_PROBABILITY = 3, 0.0005


@dataclass(frozen=True, slots=True)
class Assessment:
    """An incident at one moment, with what a decision needs to know besides.

    Attributes
    ----------
    state : IncidentState
    verdicts : Verdicts
    missing : tuple of str
        Metrics of the incident whose last minutes are missing or uncertain.
    only_silence : bool
        All of them rest on buckets closed by silence.
    away : bool
        Some series is still away from its baseline.
    sure : bool
        The evidence that anything hurts is enough to act.
    reaches_all : bool
        The first suspect went everywhere.
    unreached_well, unreached_hurt : tuple of str
    rivals : tuple of str
    sources : tuple of str
    feed_silent : bool
    scene, known, contrasts
        What was weighed.
    beside : str
        The incident that it may follow from; empty: none.
    """

    state: IncidentState
    verdicts: Verdicts
    missing: tuple[str, ...]
    only_silence: bool
    away: bool
    sure: bool
    reaches_all: bool
    unreached_well: tuple[str, ...]
    unreached_hurt: tuple[str, ...]
    rivals: tuple[str, ...]
    sources: tuple[str, ...]
    feed_silent: bool
    scene: Scene
    known: list[Change]
    contrasts: dict[str, tuple[VersionContrast, ...]]
    beside: str

    @property
    def first(self) -> Blame | None:
        """The most probable suspect."""
        return self.verdicts.suspects[0] if self.verdicts.suspects else None

    @property
    def service(self) -> str | None:
        """Service to act on, or to page when there is no suspect."""
        if self.state.verdict == "guilty" and self.first is not None:
            return self.first.change.service
        return self.state.services[0] if self.state.services else None

    @property
    def plan(self) -> Plan | None:
        """The plan, where somebody is guilty and says what to go back to: of the places it reached those that hurt, for less is undone that way."""
        if self.first is None or self.state.verdict != "guilty":
            return None
        change = self.first.change
        reached = sorted(region for region in change.reach if region)
        return Plan(
            incident_id=self.state.incident_id,
            deploy_id=change.deploy_id,
            service=change.service,
            expected_version=change.version,
            to_version=change.rollback.to_version or "unknown version",
            # A change that was shipped everywhere as one cannot be taken back in a part.
            places=() if None in change.reach else tuple([region for region in reached if region in self.state.regions] or reached),
        )

    @property
    def target(self) -> str | None:
        """The plan in words."""
        return None if self.plan is None else str(self.plan)

    @property
    def ailing(self) -> frozenset[str]:
        """Services that are not well while this lasts: those that hurt, and the guilty one."""
        guilty = [self.first.change.service] if self.first is not None and self.state.verdict == "guilty" else []
        return frozenset([*self.state.services, *guilty])

    def _unrecorded(self) -> str:
        """Say what may have done it instead, and no record speaks of."""
        if self.verdicts.unrecorded < TOLD_PROBABILITY:
            return ""
        return " and ".join(f"{each.service} {each.version}" for each in self.scene.strangers) + " came about then, and no record speaks of it"

    def what_if(self, settings: Settings, cleared: frozenset[str]) -> tuple[str, ...]:
        """What would turn the verdict."""
        if self.feed_silent:
            return ("a change feed that speaks again would: while it is silent, what else changed is unknown, and nobody is guilty",)
        if self.beside:
            return (f"nothing that could be counted would: whether it follows from {self.beside}, a person has to find out",)
        return what_if(self.scene, self.known, self.contrasts, self.verdicts, needed=settings.policy.guilty, cleared=cleared, calibration=settings.calibration)

    def facts(
        self,
        history: History,
        changes: ChangeBook,
        policy: Policy,
        *,
        others: tuple[Ailing, ...],
        disputed: str,
        hurt_before: bool,
        may: Permission,
        at_ms: int,
    ) -> Facts:
        """Facts for the policy; `others` are the other open incidents, `disputed` is as in `Facts`, `hurt_before` says what was counted."""
        first = self.first
        second = self.verdicts.suspects[1].probability if len(self.verdicts.suspects) > 1 else 0.0
        change = first.change if first is not None else None
        return Facts(
            mode=may.mode,
            verdict=self.state.verdict,
            suspect=change.deploy_id if change else "",
            probability=first.probability if first else self.verdicts.no_change,
            second_probability=max(second, self.verdicts.no_change),
            needed_probability=policy.guilty,
            needed_lead=policy.lead,
            away=self.away,
            sure=self.sure,
            symptom_before=first is None or first.lag_ms is None or first.lag_ms < -MINUTE_MS or hurt_before,
            unreached_well=self.unreached_well,
            unreached_hurt=self.unreached_hurt,
            own_symptom=change is None or not self.state.services or change.service in self.state.services,
            disputed=disputed or self._unrecorded(),
            version_nats=first.version_nats if first else 0.0,
            reaches_all=self.reaches_all,
            within_window=first is not None and first.within_window,
            sources=self.sources,
            rivals=self.rivals,
            reversible=change is not None and change.rollback.supported and change.rollback.to_version is not None,
            to_version=change.rollback.to_version if change else None,
            target_known_good=change is not None and history.known_good(change, changes, policy, others),
            rolled_back_before=change is not None and key_of(change) in history.rolled_back,
            rollbacks_left=history.rollbacks_left(at_ms, policy),
            cool_down=change is not None and history.cooling(change.service, at_ms),
            kill_switch=history.kill_switch,
            stale_ms=0,
            missing=self.missing,
            only_silence=self.only_silence,
            feed_silent=self.feed_silent,
            trust=may.trust,
            freeze=may.freeze,
            protected=may.protected,
            executor=may.executor,
            compares=may.compares,
        )


def assess(incident: Incident, books: Books, changes: ChangeBook, settings: Settings, *, tick: Tick, at_ms: int) -> Assessment:
    """Weigh an incident at a tick.

    Parameters
    ----------
    incident : Incident
        Already looked at (`Incident.look`) on this tick.
    books : Books
    changes : ChangeBook
        Changes known so far.
    settings : Settings
    tick : Tick
    at_ms : int
        Now: end of the tick's bucket plus lateness.
    """
    services, first_services = _services(incident, books, settings.bucket_ms)
    strangers = strangers_of(incident, books, changes, settings)
    scene = _scene(incident, books, settings, at_ms=at_ms, services=services, first_services=first_services, strangers=strangers)
    known = changes.suspects(incident.onset * settings.bucket_ms)
    contrasts = contrasts_of(incident, books, settings, [*known, *strangers])
    verdicts = weigh(scene, known, contrasts, incident.cleared, settings.calibration)
    if incident.beside:
        verdicts = doubted(verdicts)
    quiet_ms = settings.changes.quiet_ms
    feed_silent = quiet_ms is not None and at_ms - (changes.last_seen_ms or 0) > quiet_ms
    quality = quality_of(incident, books, settings, tick.bucket, feed_silent=feed_silent)
    clock = incident.clock(books, settings.money_clock.metric, tick.bucket, settings.bucket_ms)
    state = IncidentState(
        incident_id=incident.id,
        opened_at_ms=at_ms,
        onset_ms=incident.onset * settings.bucket_ms,
        closed_at_ms=None,
        state=incident.state,
        verdict=_verdict(verdicts, settings, feed_silent=feed_silent, follows=bool(incident.beside), speechless=scene.speechless),
        metrics=incident.metrics,
        regions=incident.regions,
        services=tuple(sorted(services)),
        suspects=tuple(
            Suspect(
                deploy_id=b.change.deploy_id,
                service=b.change.service,
                version=b.change.version,
                probability=round(b.probability, 6),
                uncalibrated=round(b.uncalibrated, 6),
                reasons=b.reasons,
                evidence={kind: round(nats, 3) for kind, nats in b.evidence.items()},
                facts=facts_of(b.change),
            )
            for number, b in enumerate(verdicts.suspects[:TOLD])
            if b.probability >= (FIRST_PROBABILITY if number < FIRST_TOLD else TOLD_PROBABILITY)
        ),
        no_change_probability=round(verdicts.no_change, 6),
        orders_lost=round(clock.so_far.lost, 1),
        orders_lost_interval=(round(clock.so_far.low, 1), round(clock.so_far.high, 1)),
        orders_lost_per_minute=round(clock.per_minute.lost, 2),
        orders_lost_per_minute_interval=(round(clock.per_minute.low, 2), round(clock.per_minute.high, 2)),
        saved_by_rollback=round(clock.saved.lost, 1),
        saved_by_rollback_interval=(round(clock.saved.low, 1), round(clock.saved.high, 1)),
        cost=clock.sentence(settings.money_clock.metric) + elsewhere(incident),
        symptoms=(*sentences_of(incident, books, settings), *follows(incident), *map(sentence_of, strangers)),
        data_quality=quality.notes,
        paged=incident.paged,
        acknowledged_by=incident.acknowledged_by,
        helped=incident.helped,
    )
    first = verdicts.suspects[0] if verdicts.suspects else None
    return Assessment(
        state=state,
        verdicts=verdicts,
        missing=quality.doubtful,
        only_silence=bool(quality.silent) and quality.silent == incident.metrics,
        away=bool(incident.away),
        sure=incident.sure,
        reaches_all=first is not None and all(first.change.reach_at(region) is not None for region in books.regions),
        unreached_well=tuple(
            region for region, nats in sorted(scene.evidence.items()) if first is not None and first.change.reach_at(region) is None and nats < -2.0
        ),
        unreached_hurt=tuple(region for region in incident.regions if first is not None and first.change.reach_at(region) is None),
        rivals=() if first is None else _rivals(first.change, known, scene),
        # A source that has only fallen silent is no second witness: a broken pipe looks like that, too.
        sources=tuple(sorted({settings.metrics[metric].source for metric in incident.metrics if metric not in quality.silent})),
        feed_silent=feed_silent,
        scene=scene,
        known=known,
        contrasts=contrasts,
        beside=incident.beside,
    )


def hurt_before(incident: Incident, change: Change, books: Books, settings: Settings) -> bool:
    """Whether a place that hurts looked hurt already in the minutes before a change reached it, by what was counted: an onset is an estimate."""
    bucket_ms = settings.bucket_ms
    for region in incident.regions or ("",):
        reach = change.reach_at(region)
        if reach is None:
            continue
        begun = reach.started_ms // bucket_ms
        for symptom, onset in symptoms_of(books, settings, incident.signals):
            row = region_row(books, symptom, region)
            since = effect_of(books.since(symptom.metric, onset), row, symptom.direction)
            before = effect_of(books.window(symptom.metric, begun - BEFORE_MS // bucket_ms, begun - 1), row, symptom.direction)
            least = max(symptom.smallest, LEAST_SHARE * since.relative if since else 0.0)
            if hurt_evidence(before, least) >= HURT_BEFORE_NATS:
                return True
    return False


def _verdict(verdicts: Verdicts, settings: Settings, *, feed_silent: bool, follows: bool, speechless: bool) -> Verdict:
    if feed_silent:
        return "inconclusive"
    if verdicts.suspects and verdicts.suspects[0].probability >= settings.policy.guilty:
        # Nobody is called guilty of what a broken pipe explains, or another incident.
        return "inconclusive" if speechless or follows else "guilty"
    # Who shipped what no record speaks of has not been found, and it was a change.
    if verdicts.no_change >= settings.policy.guilty and 2.0 * verdicts.unrecorded <= verdicts.no_change:
        return "no_change"
    return "inconclusive"


def _services(incident: Incident, books: Books, bucket_ms: int) -> tuple[frozenset[str], frozenset[str]]:
    """Services that hurt, and those whose symptom came first."""
    named: dict[str, tuple[int, float]] = {}
    for series, signal in incident.signals.items():
        service = series.label("service")
        if service is None:
            only = books.services_of(series.metric)
            # A pooled signal names a service only where the metric has just one.
            service = next(iter(only)) if len(only) == 1 else None
        if service is not None:
            before = named.get(service)
            if before is None or signal.onset < before[0]:
                named[service] = (signal.onset, signal.onset_error)
    if not named:
        return frozenset(), frozenset()
    first = min(onset for onset, _ in named.values())
    earliest = frozenset(service for service, (onset, error) in named.items() if onset - first <= max(MINUTE_MS / bucket_ms, 2.0 * error))
    return frozenset(named), earliest


def _scene(
    incident: Incident,
    books: Books,
    settings: Settings,
    *,
    at_ms: int,
    services: frozenset[str],
    first_services: frozenset[str],
    strangers: tuple[Change, ...],
) -> Scene:
    bucket_ms = settings.bucket_ms
    hurt = incident.regions or ("",)
    onset = {}
    for region in hurt:
        bucket, error = incident.onset_in(region)
        onset[region] = (bucket * bucket_ms + bucket_ms // 2, max(error, 0.5) * bucket_ms)
    evidence = {region: incident.evidence.get(region, 0.0) for region in books.regions}
    return Scene(
        now_ms=at_ms,
        lookback_ms=settings.lookback_ms,
        onset_ms=onset,
        evidence=evidence,
        first_services=first_services,
        services=services,
        n_services=len(books.services),
        measured=incident.measured,
        standing=_standing(incident, first_services),
        speechless=incident.is_speechless(books.now or 0),
        strangers=strangers,
    )


def _standing(incident: Incident, first_services: frozenset[str]) -> dict[str, float]:
    """How far the services of the first symptom stood out when they left: the most of their signals, in nats."""
    found: dict[str, float] = {}
    for series, signal in incident.signals.items():
        service = series.label("service")
        if service in first_services and service is not None:
            found[service] = max(found.get(service, 0.0), signal.evidence)
    return found


def _rivals(first: Change, changes: list[Change], scene: Scene) -> tuple[str, ...]:
    """Other changes that reached a place that hurts shortly before it began to."""
    found = []
    for change in changes:
        if change is first:
            continue
        for region, (onset_ms, sigma_ms) in scene.onset_ms.items():
            reach = change.reach_at(region)
            if reach is None:
                continue
            done_ms = reach.finished_ms if reach.finished_ms is not None else scene.now_ms
            if reach.started_ms <= onset_ms + 2.0 * sigma_ms and done_ms >= onset_ms - LAG_WINDOW_MIN * MINUTE_MS:
                found.append(change.deploy_id)
                break
    return tuple(found)
