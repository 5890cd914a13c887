"""The desk stage: signals, changes and ticks in; incidents, blame, cost and decisions out.

A pure function of the prefix of one log: time comes from ticks alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from msgspec.structs import replace

from rollguard.config import Mode, Settings
from rollguard.detectors import Account, SeriesName, Signal, Split, Tick
from rollguard.incidents.aftermath import outcome_of
from rollguard.incidents.apart import FOLLOWS, are_beside, family_of, may_stand_alone, share_bill, stands_alone
from rollguard.incidents.approvals import approve, needed_of, propose, reject
from rollguard.incidents.assess import Assessment, assess, hurt_before
from rollguard.incidents.books import Books, Sums, VersionSums
from rollguard.incidents.changes import Change, ChangeBook, Reach
from rollguard.incidents.gaps import Gap, Gaps
from rollguard.incidents.history import Ailing, History, Mute, Told
from rollguard.incidents.incident import HURT_NATS, Incident, locate, symptoms_of
from rollguard.incidents.lifecycle import step
from rollguard.incidents.log import LogRecord
from rollguard.incidents.onset import Moment
from rollguard.incidents.paging import pages_of
from rollguard.incidents.permission import permission_of
from rollguard.incidents.policy import LAG_WINDOW_MIN, Judgement, judge
from rollguard.incidents.records import (
    ChangeSeen,
    Command,
    Decision,
    Entry,
    IncidentState,
    Kill,
    Plan,
    Probe,
    Pulse,
    Rollback,
    RolledBack,
    Suspect,
)
from rollguard.incidents.tally import Cell
from rollguard.incidents.trial import Trial
from rollguard.incidents.trials import Trials
from rollguard.incidents.trust import Record
from rollguard.streams import StateCodec

__all__ = ["Desk"]

#: Ticks kept: how far back an incident's onset may lie and still be counted from.
KEEP_MS = 6 * 3_600_000
#: An incident closes when all its series have been back for so long.
QUIET_MS = 10 * 60_000
#: For so long after the last new signal an incident is looked at on every tick, then once a minute.
FRESH_MS = 10 * 60_000
MINUTE_MS = 60_000
#: How often what is too old to matter is forgotten.
TIDY_MS = 3_600_000
#: A pooled signal joins the incident whose leading suspect reached its places, from this probability on.
LEADING = 0.5


class Desk:
    """Groups signals into incidents, weighs who did it, counts the cost, and decides.

    Parameters
    ----------
    settings : Settings
    live : bool
        Decisions are carried out: `auto` has to be earned and a target to be there. In a replay both count as given.

    Notes
    -----
    A repeat changes nothing, whoever sent it: a signal or tick of a bucket that has had its tick is let go.
    """

    def __init__(self, settings: Settings, *, live: bool = False) -> None:
        self.settings = settings
        self.live = live
        self.lateness_ms = max(source.lateness_ms for source in settings.sources.values())
        self.books = Books(KEEP_MS // settings.bucket_ms)
        self.changes = ChangeBook(settings.lookback_ms)
        self.incidents: list[Incident] = []
        self.history = History()
        self.trials = Trials(settings)
        self.gaps = Gaps()

    def feed(self, records: Iterable[LogRecord]) -> list[Entry]:
        """Take records of the log, in order.

        Returns
        -------
        list of Entry
            Timeline entries, in order.
        """
        out: list[Entry] = []
        records = list(records)
        coming = deque(record for record in records if isinstance(record, Tick))
        self.trials.coming = coming
        for record in records:
            match record:
                case Tick():
                    coming.popleft()
                    if self._is_news(record.bucket):
                        self._tick(record, out)
                case Signal():
                    self._take(record)
                case ChangeSeen():
                    self.changes.add(record)
                case Pulse():
                    # Before the first bucket there is no time that could stand still.
                    if self.books.now is not None:
                        out += self.gaps.pulse(record, self.settings, (self.books.now + 1) * self.settings.bucket_ms)
                case RolledBack():
                    self._undone(record, out)
                case Command():
                    self._hear(record, out)
                case Probe():
                    # It speaks of us, and not of the shop.
                    pass
                case Kill():
                    self.history.kill_switch = record.on
        self.trials.coming = ()
        return out

    def snapshot(self) -> bytes:
        """All that later answers depend on; see `restore`."""
        return _CODEC.dump(tuple(getattr(self, name) for name in _STATE), self.settings)

    @classmethod
    def restore(cls, settings: Settings, data: bytes, *, live: bool = False) -> Desk:
        """A desk that goes on as if it had never stopped.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or was made under other settings.
        """
        desk = cls(settings, live=live)
        for name, value in zip(_STATE, _CODEC.load(data, settings, tuple), strict=True):
            setattr(desk, name, value)
        return desk

    def _is_news(self, bucket: int) -> bool:
        """Whether a bucket has had no tick yet."""
        return self.books.now is None or bucket > self.books.now

    def _at_ms(self, bucket: int) -> int:
        """When a bucket was known."""
        return (bucket + 1) * self.settings.bucket_ms + self.lateness_ms

    def _take(self, signal: Signal) -> None:
        """Take a signal of a bucket whose tick is still to come."""
        if not self._is_news(signal.bucket) or signal.series.metric not in self.settings.metrics:
            return
        self.changes.learn(self._at_ms(signal.bucket))
        self.trials.hand_over(signal.series)
        incident = self._signal(signal)
        if incident is not None and signal.kind == "left":
            incident.sure = True

    def _undone(self, record: RolledBack, out: list[Entry]) -> None:
        """Take what became of a rollback."""
        incident = self._incident(record.incident_id)
        if incident is None or incident.plan is None or incident.undone_ms is not None or incident.outcome == record.outcome:
            return
        incident.outcome = record.outcome
        if record.outcome == "done":
            incident.undone_ms = record.at_ms
            return
        reasons = (f"the rollback of {incident.plan} is {'in doubt' if record.outcome == 'unknown' else 'not carried out'}: {record.detail or record.outcome}",)
        blocked = ("nothing more is tried by itself in this incident",)
        if record.outcome != "unknown":
            incident.state = step(incident.state, "not_done")
        out.append(_decided(incident, Decision(at_ms=self._now_ms(), action="hold", target=incident.plan, reasons=reasons, blocked_by=blocked)))

    def _hear(self, command: Command, out: list[Entry]) -> None:
        """Take what a person said."""
        if command.verb == "judge":
            self.history.judge(command.incident_id, command.culprit)
            return
        if command.verb == "allow":
            # The gate's alone: nothing here depends on it.
            return
        if command.verb == "mute":
            self.history.mutes.append(Mute(command.service, command.until_ms, command.by, command.reason))
            return
        incident = self._incident(command.incident_id)
        if incident is None:
            return
        incident.stirred = True
        match command.verb:
            case "ack":
                incident.acknowledged_by = command.by
                self._tell(incident, "updated", self._now_ms(), out)
            case "approve":
                plan = incident.proposed
                change = self.changes.changes.get(plan.deploy_id) if plan is not None else None
                authors = () if change is None else tuple(sorted(change.authors))
                out.append(_decided(incident, approve(incident, command, authors, self.settings.respond, self._now_ms())))
            case "reject":
                out.append(_decided(incident, reject(incident, command, self._now_ms())))
            case "resolve":
                incident.state = step(incident.state, "resolved")
                incident.acknowledged_by = incident.acknowledged_by or command.by
                self._close(incident, self._now_ms(), out)

    def _incident(self, incident_id: str) -> Incident | None:
        """The open incident of an id."""
        return next((incident for incident in self.incidents if incident.id == incident_id), None)

    def state_of(self, incident_id: str) -> IncidentState | None:
        """What was last told of an open incident."""
        incident = self._incident(incident_id)
        return None if incident is None else incident.shown

    def _now_ms(self) -> int:
        """The time of the log: when the last bucket was known."""
        return 0 if self.books.now is None else self._at_ms(self.books.now)

    def _signal(self, signal: Signal, home: Incident | None = None) -> Incident | None:
        """Take a signal into an incident: the given one, the one it belongs to, or a new one."""
        if signal.kind == "returned":
            for incident in self.incidents:
                if signal.series in incident.away:
                    incident.take(signal, frozenset())
            return None
        for incident in self.incidents:
            if signal.series in incident.away:
                return incident
        places = self._places(signal)
        host = home or self._home(signal, places)
        if home is None and host is not None:
            apart = self._leader(host) is not None and may_stand_alone(signal, host, self.settings.bucket_ms)
            home = next((each for each in self.incidents if not each.told and are_beside(each, host)), None) if apart else host
        incident = home or Incident.opened_by(signal)
        if home is None:
            incident.beside = "" if host is None else family_of(host)
            self.incidents.append(incident)
        elif incident.state.startswith("recovering"):
            incident.state = step(incident.state, "left_again")
        incident.take(signal, places)
        return incident

    def _places(self, signal: Signal) -> frozenset[str]:
        """Regions a signal speaks of: its own, else those that look hurt, else all that do not look well."""
        region = signal.series.label("region")
        if region is not None:
            return frozenset([region])
        evidence = locate(self.books, self.settings, {signal.series: signal})
        hurt = frozenset(place for place, nats in evidence.items() if nats >= HURT_NATS)
        return hurt or frozenset(place for place, nats in evidence.items() if nats > -2.0) or frozenset(evidence)

    def _home(self, signal: Signal, places: frozenset[str]) -> Incident | None:
        """The open incident a signal belongs to: one in the same place, whose leading suspect reached it, or that has none and hurts alike."""
        candidates = [incident for incident in self.incidents if not self._is_another(incident, signal)]
        here = [each for each in candidates if not each.regions or places & set(each.regions) or "" in places]
        if here:
            # Of several that are told apart in the same places it is the one that hurts in this way already.
            return next((each for each in here if signal.series.metric in each.metrics and are_beside(each, here[0])), here[0])
        onset_ms = (signal.onset + 1) * self.settings.bucket_ms
        for incident in candidates:
            change = self._leader(incident)
            if change is None:
                continue
            reaches = [change.reach_at(place) for place in sorted(places)]
            if all(reach is not None and reach.started_ms <= onset_ms for reach in reaches):
                return incident
        # No change tells them apart: what hurts in the same way elsewhere, a while later, is told once.
        return next((each for each in candidates if self._leader(each) is None and signal.series.metric in each.metrics), None)

    def _disputed(self, incident: Incident, suspect: str) -> str:
        """Say of what another change is suspected, or was: of another open incident that hurts in the same way, or of this one."""
        if before := sorted(incident.accused - {suspect}):
            return f"{', '.join(before)} was called guilty of it before"
        mine = {(symptom.metric, symptom.service) for symptom, _ in symptoms_of(self.books, self.settings, incident.signals)}
        for other in self.incidents:
            leader = None if other.shown is None else _leads(other, other.shown)
            if other is incident or leader is None or leader == suspect:
                continue
            if any((symptom.metric, symptom.service) in mine for symptom, _ in symptoms_of(self.books, self.settings, other.signals)):
                return f"{other.id} hurts in the same way, and {leader} is suspected of that"
        return ""

    def _leader(self, incident: Incident) -> Change | None:
        """The change that most probably did it, where one leads."""
        return None if incident.shown is None else self.changes.changes.get(_leads(incident, incident.shown) or "")

    def _is_another(self, incident: Incident, signal: Signal) -> bool:
        """Whether a region began to hurt surely later than an incident, and by another change than the incident's regions."""
        region, since = signal.series.label("region"), signal.onset - incident.onset
        if region is None or not incident.pinned or region in incident.pinned:
            return False
        if since <= 2.0 * (signal.onset_error + incident.onset_error):
            return False
        onset_ms = (signal.onset + 1) * self.settings.bucket_ms
        leader = self._leader(incident)
        if leader is not None and any(leader.reach_at(place) for place in incident.pinned):
            reach = leader.reach_at(region)
            return reach is None or reach.started_ms > onset_ms
        # The new place speaks against the old suspect before it speaks as a signal; then a change of its own tells them apart.
        for change in self.changes.changes.values():
            reach = change.reach_at(region)
            fresh = reach is not None and 0 <= onset_ms - reach.started_ms <= LAG_WINDOW_MIN * MINUTE_MS
            if fresh and not any(change.reach_at(place) for place in incident.pinned):
                return True
        return False

    def _tick(self, tick: Tick, out: list[Entry]) -> None:
        self.books.add(tick)
        at_ms = self._at_ms(tick.bucket)
        self.changes.learn(at_ms)
        hurt = frozenset(metric for incident in self.incidents for metric in incident.metrics)
        out += self.gaps.tick(tick, self.settings, at_ms, hurt)
        if tick.bucket % max(TIDY_MS // self.settings.bucket_ms, 1) == 0:
            self._tidy(at_ms)
        away: set[SeriesName] = set().union(*(incident.away for incident in self.incidents))
        together: dict[str, Incident] = {}
        for deploy_id, signal in self.trials.step(tick, self.books, self.changes, self.settings, away):
            # What one trial finds at once has one cause.
            home = self._signal(signal, together.get(deploy_id))
            if home is not None:
                together[deploy_id] = home
                home.on_trial |= {deploy_id}
        for incident in self.incidents:
            incident.sure = incident.sure or any(self.trials.is_sure(deploy_id) for deploy_id in incident.on_trial)
        for incident in [each for each in self.incidents if not each.told]:
            self._join(incident, tick, at_ms)
        for incident in list(self.incidents):
            self._go_on(incident, tick, at_ms, out)

    def _join(self, incident: Incident, tick: Tick, at_ms: int) -> None:
        """Before anybody is told of an incident: let it go into the open one that the same change leads, or that it does not stand apart from."""
        others = [each for each in self.incidents if each.told]
        if not others:
            return
        state = self._weigh(incident, tick, at_ms).state
        leader = _leads(incident, state)
        other = next((each for each in others if leader is not None and _leads(each, self._weigh(each, tick, at_ms).state) == leader), None)
        host = next((each for each in others if are_beside(each, incident)), None)
        if host is not None and (other is None or not are_beside(other, host)):
            first = next(iter(state.suspects), None)
            change = None if first is None else self.changes.changes.get(first.deploy_id)
            probability = 0.0 if first is None else first.probability
            apart = other is None and stands_alone(incident, host, change, probability, books=self.books, settings=self.settings)
            other = None if apart else host
        if other is not None:
            other.absorb(incident)
            self.incidents.remove(incident)

    def _tidy(self, at_ms: int) -> None:
        """Forget what no later decision can depend on."""
        settings = self.settings
        onset_ms = min([at_ms, *(incident.onset * settings.bucket_ms for incident in self.incidents)])
        # A change is a suspect for one look-back; what stood before it for as long as it may have taken, and been good, counts too.
        oldest_ms = onset_ms - 2 * settings.lookback_ms - settings.policy.known_good_ms
        self.changes.forget_before(oldest_ms)
        self.books.forget_before(oldest_ms // settings.bucket_ms, len(settings.labels.watched))
        self.history.forget(self.changes, onset_ms, settings.policy)
        self.trials.forget(self.changes)

    def _go_on(self, incident: Incident, tick: Tick, at_ms: int, out: list[Entry]) -> None:
        bucket_ms = self.settings.bucket_ms
        if not incident.state.startswith("recovering"):
            fresh = (tick.bucket - incident.last_signal) * bucket_ms <= FRESH_MS
            per_minute = max(MINUTE_MS // bucket_ms, 1)
            if fresh or incident.stirred or (tick.bucket - incident.opened) % per_minute == 0 or not incident.away:
                incident.stirred = False
                self._look(incident, tick, at_ms, out)
        if not incident.away and incident.state in ("open", "acting"):
            incident.state = step(incident.state, "all_returned")
            self._tell(incident, "updated", at_ms, out)
        if incident.helped is None and outcome_of(incident, self.books, self.settings) == "back":
            self._prove(incident, at_ms, out)
        if incident.away or incident.returned_at is None:
            return
        if (tick.bucket - incident.returned_at) * bucket_ms >= QUIET_MS and incident.shown is not None:
            incident.state = step(incident.state, "quiet")
            self._close(incident, at_ms, out)

    def _close(self, incident: Incident, at_ms: int, out: list[Entry]) -> None:
        self._tell(incident, "closed", at_ms, out)
        self.incidents.remove(incident)
        self.history.closed.append(Ailing(incident.onset * self.settings.bucket_ms, at_ms, incident.ailing))

    def _prove(self, incident: Incident, at_ms: int, out: list[Entry]) -> None:
        """A rollback surely helped: say what it saved."""
        saved, low, high = incident.saving
        reasons = (
            f"the rollback of {incident.plan} helped: what hurt has surely come back (a hundred times as likely as that it has not)",
            f"about {saved:.0f} orders saved in the hour after it ({low:.0f} to {high:.0f}), at the rate at which they were lost before",
        )
        incident.helped = "; ".join(reasons)
        self._tell(incident, "updated", at_ms, out)
        out.append(_decided(incident, Decision(at_ms=at_ms, action="observe", target=incident.plan, reasons=reasons)))

    def _look(self, incident: Incident, tick: Tick, at_ms: int, out: list[Entry]) -> None:
        """Look at an incident again, tell what is new, and decide."""
        seen = self._weigh(incident, tick, at_ms)
        incident.shown = seen.state
        incident.ailing = seen.ailing
        summary = (
            seen.state.verdict,
            seen.state.metrics,
            seen.state.regions,
            seen.state.services,
            tuple(s.deploy_id for s in seen.state.suspects[:1]),
            seen.state.data_quality,
        )
        minute = (tick.bucket - incident.opened) % max(MINUTE_MS // self.settings.bucket_ms, 1) == 0
        if not incident.told or summary != incident.told or minute:
            incident.shown = replace(seen.state, would_change=seen.what_if(self.settings, incident.cleared))
        if not incident.told:
            self._tell(incident, "opened", at_ms, out)
        elif summary != incident.told or minute:
            self._tell(incident, "updated", at_ms, out)
        incident.told = summary
        self._decide(incident, seen, at_ms, out)
        if incident.state == "acting" and outcome_of(incident, self.books, self.settings) == "not_back":
            self._unblame(incident, at_ms, out)

    def _weigh(self, incident: Incident, tick: Tick, at_ms: int) -> Assessment:
        """Look where it hurts now, and weigh who did it."""
        beside = [other for other in self.incidents if other is not incident and are_beside(other, incident)]
        others = (other.pinned for other in self.incidents if other is not incident and other not in beside)
        for other in beside:
            if other.told:
                share_bill(incident, other, self.settings.money_clock.metric, tick.bucket)
        ended_ms = max((ill.closed_ms - QUIET_MS for ill in self.history.closed if ill.closed_ms is not None), default=0)
        incident.look(self.books, self.settings, elsewhere=frozenset().union(*others), well_since=ended_ms // self.settings.bucket_ms)
        return assess(incident, self.books, self.changes, self.settings, tick=tick, at_ms=at_ms)

    def _unblame(self, incident: Incident, at_ms: int, out: list[Entry]) -> None:
        """A rollback did not help: it was the wrong change, so a person has to look. Nothing is tried a second time."""
        change = self.changes.changes.get(incident.plan or "")
        incident.cleared |= {incident.plan or ""}
        incident.state = step(incident.state, "not_helped")
        service = change.service if change is not None else None
        if service is not None:
            self.history.distrust(service)
        reasons = (f"the rollback of {incident.plan} did not help: what hurt has not come back", "nothing more is tried by itself in this incident")
        out.append(_decided(incident, Decision(at_ms=at_ms, action="page", target=service, reasons=reasons)))

    def _tell(self, incident: Incident, event: Literal["opened", "updated", "closed"], at_ms: int, out: list[Entry]) -> None:
        shown = incident.shown
        if shown is None:
            return
        state = replace(
            shown,
            opened_at_ms=(incident.opened + 1) * self.settings.bucket_ms + self.lateness_ms,
            closed_at_ms=at_ms if event == "closed" else None,
            state=incident.state,
            paged=incident.paged,
            acknowledged_by=incident.acknowledged_by,
            helped=incident.helped,
        )
        incident.shown = state
        out.append(Entry(at_ms=at_ms, event=event, incident_id=incident.id, incident=state))

    def _decide(self, incident: Incident, seen: Assessment, at_ms: int, out: list[Entry]) -> None:
        may = permission_of(seen.service, self.settings, self.history, at_ms, live=self.live)
        out += [_decided(incident, decision) for decision in pages_of(incident, seen, may, self.settings, at_ms)]
        guilty = seen.first.change if seen.state.verdict == "guilty" and seen.first is not None else None
        if guilty is not None or incident.id not in self.history.told:
            self.history.conclude(incident.id, Told(at_ms, *((None, None) if guilty is None else (guilty.service, guilty.deploy_id))))
        # What has come back is judged only if nothing has been said of it yet.
        if incident.acted or incident.state == "acting" or (not incident.away and incident.failed is not None):
            return
        others = tuple(Ailing(other.onset * self.settings.bucket_ms, None, other.ailing) for other in self.incidents if other is not incident)
        incident.accused |= set() if guilty is None else {guilty.deploy_id}
        disputed = "" if seen.first is None else self._disputed(incident, seen.first.change.deploy_id)
        before = seen.first is not None and hurt_before(incident, seen.first.change, self.books, self.settings)
        facts = seen.facts(self.history, self.changes, self.settings.policy, others=others, disputed=disputed, hurt_before=before, may=may, at_ms=at_ms)
        verdict = judge(facts)
        needs = 0
        if verdict.blocked_by and may.mode in (Mode.APPROVE, Mode.AUTO) and guilty is not None:
            needs = needed_of(verdict.failed, may.approvals, guilty.authors)
        waited = incident.proposed
        gone = propose(incident, seen.plan if needs else None, needs, at_ms=at_ms, expires_ms=self.settings.respond.plan_expires_ms)
        approved = incident.proposed is not None and 0 < incident.needs <= len(incident.approved_by)
        if seen.first is not None and (not verdict.blocked_by or approved):
            self.history.add_rollback(seen.first.change, at_ms, self.settings.policy)
            out.append(_decided(incident, self._act(incident, seen, verdict, at_ms)))
        elif (verdict.failed != incident.failed or incident.proposed is not waited) and may.mode is not Mode.OBSERVE:
            incident.failed = verdict.failed
            decision = Decision(
                at_ms=at_ms,
                action="hold",
                target=seen.target,
                reasons=verdict.reasons,
                blocked_by=(*verdict.blocked_by, *gone),
                plan=incident.proposed,
                needs=incident.needs,
            )
            out.append(_decided(incident, decision))

    @staticmethod
    def _act(incident: Incident, seen: Assessment, verdict: Judgement, at_ms: int) -> Decision:
        """Decide on the rollback of an incident: the only one it will ever have."""
        plan = seen.plan
        incident.acted = True
        incident.plan = None if plan is None else plan.deploy_id
        incident.failed = None
        incident.saving = (seen.state.saved_by_rollback, *seen.state.saved_by_rollback_interval)
        incident.state = step(incident.state, "rollback_decided")
        reasons = verdict.reasons
        if verdict.blocked_by:
            reasons = (f"approved by {' and '.join(incident.approved_by)}, who set aside: {'; '.join(verdict.blocked_by)}", *reasons)
        approved_by = incident.approved_by if verdict.blocked_by else ()
        incident.let_plan_go()
        return Decision(at_ms=at_ms, action="rollback", target=seen.target, reasons=reasons, plan=plan, approved_by=approved_by)


_STATE = ("books", "changes", "gaps", "history", "incidents", "trials")
_CODEC = StateCodec(
    "desk",
    (
        Account, Ailing, Books, Cell, Change, ChangeBook, ChangeSeen, Gap, Gaps, History, Incident, IncidentState, Moment, Mute, Plan, Reach, Record,
        Rollback, SeriesName, Signal, Split, Sums, Suspect, Tick, Told, Trial, Trials, VersionSums,
    ),
)  # fmt: skip


def _leads(incident: Incident, state: IncidentState) -> str | None:
    """The change that most probably did it, where one leads."""
    least = LEADING * (1.0 - FOLLOWS if incident.beside else 1.0)
    return next((first.deploy_id for first in state.suspects[:1] if first.probability >= least), None)


def _decided(incident: Incident, decision: Decision) -> Entry:
    return Entry(at_ms=decision.at_ms, event="decided", incident_id=incident.id, decision=decision)
