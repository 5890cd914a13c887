"""What the desk reads and writes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec

__all__ = [
    "Action",
    "ChangeKind",
    "ChangeSeen",
    "Command",
    "Decision",
    "Entry",
    "IncidentState",
    "Kill",
    "Plan",
    "Probe",
    "Pulse",
    "Rollback",
    "RolledBack",
    "Suspect",
    "Verb",
    "Verdict",
]

ChangeKind = Literal["code", "config", "flag", "migration", "infra"]
Verdict = Literal["guilty", "no_change", "inconclusive"]
Action = Literal["page", "rollback", "hold", "observe"]
#: What a person may say of an incident, or of a service.
Verb = Literal["ack", "approve", "reject", "judge", "resolve", "mute", "allow"]

_ENCODER = msgspec.json.Encoder(order="deterministic")


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """What a change says of its own undoing.

    Attributes
    ----------
    supported : bool
        Declared reversible; a change that says nothing is not.
    to_version : str or None
        Version to go back to.
    """

    supported: bool = False
    to_version: str | None = None


class ChangeSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One sighting of a change at one place: that it started, or that it finished.

    Attributes
    ----------
    seen_ms : int
        When this became known, epoch ms UTC; nothing may use it before.
    stage : {"started", "finished"}
    deploy_id, service : str
        Records with one `deploy_id` are one change.
    region : str or None
        Place reached; None: everywhere.
    kind : ChangeKind
    from_version, version : str or None
    started_ms : int
    finished_ms : int or None
        Known only of a finished sighting.
    author : str or None
    approvals : int or None
        None: not said.
    ai_assisted : {"yes", "no", "unknown", "advised"}
    rollback : Rollback
    """

    seen_ms: int
    stage: Literal["started", "finished"]
    deploy_id: str
    service: str
    region: str | None
    kind: ChangeKind
    from_version: str | None
    version: str | None
    started_ms: int
    finished_ms: int | None
    author: str | None
    approvals: int | None
    ai_assisted: Literal["yes", "no", "unknown", "advised"]
    rollback: Rollback

    @property
    def id(self) -> str:
        """Made from all it says, so that a repeat changes nothing and a second author is no repeat."""
        digest = blake2b(_ENCODER.encode(self), digest_size=8).hexdigest()
        return f"{self.deploy_id}/{self.region or '*'}/{self.stage}/{self.started_ms}/{digest}"


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's kill switch: no rollback while it is on.

    Attributes
    ----------
    on : bool
    by : str
        Who said it; empty: nobody says.
    at_ms : int
        When it was said, epoch ms UTC.
    """

    on: bool
    by: str = ""
    at_ms: int = 0


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """No bucket has closed for a minute, by the clock on the wall: event time stands still.

    Attributes
    ----------
    at_ms : int
        When this was seen, epoch ms UTC.
    """

    at_ms: int


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An anomaly that Rollguard made itself, and found: it says that the way up to here works, and nothing of the shop.

    Attributes
    ----------
    at_ms : int
        How far event time had come, epoch ms UTC.
    """

    at_ms: int


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rollback of an incident; once it is done it is watched whether it helped.

    Attributes
    ----------
    incident_id : str
    at_ms : int
        When that was known, epoch ms UTC.
    outcome : {"done", "failed", "expired", "unknown"}
        failed, expired: surely nothing was changed, or not all of it. unknown: a person has to look.
    detail : str
        What the target said.
    """

    incident_id: str
    at_ms: int
    outcome: Literal["done", "failed", "expired", "unknown"] = "done"
    detail: str = ""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said; that it was them has been checked.

    Attributes
    ----------
    id : str
        The same of a repeat.
    verb : Verb
    at_ms : int
        When it was said, epoch ms UTC.
    by : str
        The person, by their name in the config.
    incident_id : str
        Empty of a mute.
    plan : str
        Hash of the plan that is approved or rejected.
    culprit : str or None
        Of a judgement: the change that did it; "none": no change did; "false-alarm": nothing was wrong.
    service : str or None
        Of a mute: the service that is not paged about; None: any. Of an allow: whose version may go on.
    version : str
        Of an allow.
    until_ms : int
        Of a mute.
    reason : str
    """

    id: str
    verb: Verb
    at_ms: int
    by: str
    incident_id: str = ""
    plan: str = ""
    culprit: str | None = None
    service: str | None = None
    version: str = ""
    until_ms: int = 0
    reason: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One rollback, as it was judged: nothing else may be done under its name.

    Attributes
    ----------
    incident_id, deploy_id, service : str
    expected_version : str or None
        The version that was judged.
    to_version : str
    places : tuple of str
        Of those the change reached the ones that hurt, sorted, one step each; empty: everywhere, as one step.
    """

    incident_id: str
    deploy_id: str
    service: str
    expected_version: str | None
    to_version: str
    places: tuple[str, ...]

    @property
    def hash(self) -> str:
        """What an approval is bound to: of another plan it is another."""
        return blake2b(_ENCODER.encode(self), digest_size=8).hexdigest()

    def __str__(self) -> str:
        """The plan in words."""
        return f"{self.service} -> {self.to_version} @ {', '.join(self.places) or 'everywhere'}"


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A change with its probability of being the cause.

    Attributes
    ----------
    deploy_id, service : str
    version : str or None
        The version it brought.
    probability : float
        Posterior, 0..1.
    uncalibrated : float or None
        The same before it was calibrated: what the evidence alone says.
    reasons : tuple of str
        What speaks for and against it, one sentence each.
    evidence : dict of str to float
        Log likelihood ratio against "no change" of each kind of evidence, in nats.
    facts : tuple of str
        What is known of the change itself; never part of the probability.
    """

    deploy_id: str
    service: str
    version: str | None = None
    probability: float
    uncalibrated: float | None = None
    reasons: tuple[str, ...]
    evidence: dict[str, float] = {}
    facts: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do and why, and what kept a rollback from being done.

    Attributes
    ----------
    at_ms : int
        End of the bucket it was made on, plus lateness.
    action : Action
    target : str or None
        `service -> version @ places` of a rollback, the change held, or the service paged.
    reasons : tuple of str
    blocked_by : tuple of str
        A sentence for each condition that failed.
    plan : Plan or None
        Of a rollback; of a hold, what a person may approve.
    needs : int
        Persons who have to approve that plan; 0: none has to, or none can.
    approved_by : tuple of str
        Of a rollback: the persons who approved it; none: it is automatic.
    escalates : bool
        Of a page: those are told who are told when nobody answers.
    """

    at_ms: int
    action: Action
    target: str | None
    reasons: tuple[str, ...]
    blocked_by: tuple[str, ...] = ()
    plan: Plan | None = None
    needs: int = 0
    approved_by: tuple[str, ...] = ()
    escalates: bool = False


class IncidentState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an incident at one moment.

    Attributes
    ----------
    incident_id : str
    opened_at_ms, onset_ms : int
    closed_at_ms : int or None
    state : str
        Of the life cycle.
    verdict : Verdict
    metrics, regions, services : tuple of str
        Where it hurts, sorted.
    suspects : tuple of Suspect
        Most probable first.
    no_change_probability : float
    orders_lost, orders_lost_per_minute : float
        Against the counterfactual since onset; the rate is of the last minutes.
    orders_lost_interval, orders_lost_per_minute_interval : tuple of float
        95 % intervals of both.
    saved_by_rollback, saved_by_rollback_interval : float, tuple of float
        What a rollback decided now is expected to save of the next hour, at the rate of the last minutes; 0 once nothing hurts.
    cost : str
        All this in a sentence, with what it assumes.
    would_change : tuple of str
        What would turn the verdict, a sentence for each single thing, worked out by weighing again.
    symptoms : tuple of str
        A sentence for each metric that hurts.
    data_quality : tuple of str
        What is doubtful about the data; empty when nothing is.
    paged : bool
        Somebody has been told.
    helped : str or None
        What says that a rollback surely helped, and what it saved; None: there was none, or nobody knows yet.
    acknowledged_by : str or None
        The person who looks after it.
    """

    incident_id: str
    opened_at_ms: int
    onset_ms: int
    closed_at_ms: int | None
    state: str
    verdict: Verdict
    metrics: tuple[str, ...]
    regions: tuple[str, ...]
    services: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    no_change_probability: float
    orders_lost: float
    orders_lost_interval: tuple[float, float]
    orders_lost_per_minute: float
    orders_lost_per_minute_interval: tuple[float, float]
    saved_by_rollback: float
    saved_by_rollback_interval: tuple[float, float]
    cost: str
    symptoms: tuple[str, ...]
    data_quality: tuple[str, ...]
    would_change: tuple[str, ...] = ()
    paged: bool = False
    acknowledged_by: str | None = None
    helped: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline.

    Attributes
    ----------
    at_ms : int
        End of the bucket plus lateness: when a live service would have known.
    event : {"opened", "updated", "decided", "closed"}
    incident_id : str
    incident : IncidentState or None
        Of all but "decided".
    decision : Decision or None
        Of "decided".
    """

    at_ms: int
    event: Literal["opened", "updated", "decided", "closed"]
    incident_id: str
    incident: IncidentState | None = None
    decision: Decision | None = None
