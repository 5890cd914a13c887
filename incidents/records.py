"""What the desk reads and writes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec

__all__ = [
    "Action",
    "ChangeKind",
    "ChangeSeen",
    "Decision",
    "Entry",
    "IncidentState",
    "Kill",
    "Pulse",
    "Rollback",
    "RolledBack",
    "Suspect",
    "Verdict",
]

ChangeKind = Literal["code", "config", "flag", "migration", "infra"]
Verdict = Literal["guilty", "no_change", "inconclusive"]
Action = Literal["page", "rollback", "hold", "observe"]

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
    """An operator's kill switch: no automatic action while it is on."""

    on: bool


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """No bucket has closed for a minute, by the clock on the wall: event time stands still.

    Attributes
    ----------
    at_ms : int
        When this was seen, epoch ms UTC.
    """

    at_ms: int


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """A target has carried out the rollback of an incident: from now on is watched whether it helped.

    Attributes
    ----------
    incident_id : str
    at_ms : int
        When it was done, epoch ms UTC.
    """

    incident_id: str
    at_ms: int


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A change with its probability of being the cause.

    Attributes
    ----------
    deploy_id, service : str
    version : str or None
        The version it brought.
    probability : float
        Posterior, 0..1.
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
    """

    at_ms: int
    action: Action
    target: str | None
    reasons: tuple[str, ...]
    blocked_by: tuple[str, ...] = ()


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
