"""What has been decided and closed so far, as far as later decisions depend on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rollguard.config import Policy
from rollguard.incidents.changes import Change, ChangeBook
from rollguard.incidents.trust import Record

__all__ = ["Ailing", "History", "Mute", "Told", "key_of"]


@dataclass(frozen=True, slots=True)
class Ailing:
    """A span in which services were not well.

    Attributes
    ----------
    onset_ms : int
    closed_ms : int or None
        None: it is not over.
    services : frozenset of str
        Those that hurt, and the one that was found guilty.
    """

    onset_ms: int
    closed_ms: int | None
    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class Mute:
    """Somebody asked not to be paged.

    Attributes
    ----------
    service : str or None
        None: about nothing.
    until_ms : int
    by, reason : str
    """

    service: str | None
    until_ms: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """What was last concluded of an incident: what a person judges.

    Attributes
    ----------
    at_ms : int
    service, deploy_id : str or None
        Of the change that was found guilty; None: none was.
    """

    at_ms: int
    service: str | None
    deploy_id: str | None


#: Incidents whose conclusion is remembered for a judgement.
TOLD = 1000


def key_of(change: Change) -> str:
    """What may be rolled back only once, in whatever scope: a wider one needs a person.

    It does not name the service, which a later record of the same change may correct.
    """
    return change.deploy_id


@dataclass(slots=True)
class History:
    """Rollbacks decided, cool-downs running, incidents closed, and the kill switch.

    Attributes
    ----------
    kill_switch : bool
    rolled_back : dict of str to int
        When each change's rollback was decided, epoch ms; it is decided once.
    cooling_until_ms : dict of str to int
        By service.
    closed : list of Ailing
        Incidents that are over.
    distrusted : set of str
        Services that were rolled back in vain: nothing is done by itself for them until they have earned it anew.
    records : dict of str to Record
        What people found of each service's verdicts.
    told : dict of str to Told
        By incident.
    mutes : list of Mute
    """

    kill_switch: bool = False
    rolled_back: dict[str, int] = field(default_factory=dict)
    cooling_until_ms: dict[str, int] = field(default_factory=dict)
    closed: list[Ailing] = field(default_factory=list)
    distrusted: set[str] = field(default_factory=set)
    records: dict[str, Record] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    mutes: list[Mute] = field(default_factory=list)

    def conclude(self, incident_id: str, told: Told) -> None:
        """Note what was concluded of an incident."""
        self.told[incident_id] = told
        if len(self.told) > TOLD:
            del self.told[min(self.told, key=lambda each: (self.told[each].at_ms, each))]

    def judge(self, incident_id: str, culprit: str | None) -> bool | None:
        """Take what a person found of an incident; says whether the verdict was right, None where nobody was found guilty."""
        told = self.told.get(incident_id)
        if told is None or told.service is None:
            return None
        right = culprit == told.deploy_id
        record = self.records.get(told.service, Record()).with_judgement(incident_id, right=right)
        self.records[told.service] = record
        if not record.why_not:
            self.distrusted.discard(told.service)
        return right

    def distrust(self, service: str) -> None:
        """A rollback of a service was in vain: what it had earned is lost."""
        self.distrusted.add(service)
        self.records.pop(service, None)

    def why_distrusted(self, service: str | None, *, granted: bool) -> str:
        """Why nothing is done by itself for a service, in a sentence; empty: it may be."""
        if service in self.distrusted:
            return f"a rollback of {service} was in vain, and it has not earned it anew ({self.records.get(service or '', Record()).why_not})"
        return "" if granted else self.records.get(service or "", Record()).why_not

    def muted(self, service: str | None, at_ms: int) -> str:
        """Why nobody is paged about a service now, in a sentence; empty: somebody is."""
        for mute in self.mutes:
            if mute.until_ms > at_ms and mute.service in (None, service):
                return f"{mute.by} asked not to be paged about {mute.service or 'anything'}: {mute.reason}"
        return ""

    def add_rollback(self, change: Change, at_ms: int, policy: Policy) -> None:
        """Note a rollback that has been decided."""
        self.rolled_back[key_of(change)] = at_ms
        self.cooling_until_ms[change.service] = at_ms + policy.cool_down_ms

    def rollbacks_left(self, at_ms: int, policy: Policy) -> int:
        """How many the budget still allows."""
        recent = [then for then in self.rolled_back.values() if at_ms - then < policy.max_rollbacks_per_ms]
        return policy.max_rollbacks - len(recent)

    def cooling(self, service: str, at_ms: int) -> bool:
        """Whether a service's cool-down is running."""
        return self.cooling_until_ms.get(service, 0) > at_ms

    def known_good(self, change: Change, changes: ChangeBook, policy: Policy, others: Iterable[Ailing] = ()) -> bool:
        """Whether the version to go back to was live just before a change for long enough, and its service well meanwhile.

        Parameters
        ----------
        change : Change
        changes : ChangeBook
        policy : Policy
        others : iterable of Ailing
            Incidents that are open, but for the one that is judged.
        """
        # Another version than the one it replaced may be good, but was not seen to be.
        if change.rollback.to_version is None or change.rollback.to_version != change.from_version:
            return False
        began_ms = change.started_ms
        since_ms = began_ms - policy.known_good_ms
        for other in changes.changes.values():
            if other is change or other.service != change.service:
                continue
            for region, reach in other.reach.items():
                same_place = region is None or None in change.reach or region in change.reach
                # One that is under way has not made a version live for any time at all.
                if same_place and reach.started_ms <= began_ms and (reach.finished_ms is None or reach.finished_ms > since_ms):
                    return False
        return not any(
            change.service in ill.services and ill.onset_ms <= began_ms and (ill.closed_ms is None or ill.closed_ms > since_ms)
            for ill in (*self.closed, *others)
        )

    def forget(self, changes: ChangeBook, at_ms: int, policy: Policy) -> None:
        """Drop what no later decision can depend on.

        Parameters
        ----------
        changes : ChangeBook
            What it has forgotten can be no suspect again.
        at_ms : int
            Now, or the onset of the oldest incident that is open.
        policy : Policy
        """
        oldest_ms = min([at_ms - 2 * changes.lookback_ms, *(change.started_ms for change in changes.changes.values())]) - policy.known_good_ms
        self.closed = [ill for ill in self.closed if ill.closed_ms is None or ill.closed_ms > oldest_ms]
        self.rolled_back = {key: then for key, then in self.rolled_back.items() if key in changes.changes or at_ms - then < policy.max_rollbacks_per_ms}
        self.mutes = [mute for mute in self.mutes if mute.until_ms > at_ms]
        self.cooling_until_ms = {service: until_ms for service, until_ms in self.cooling_until_ms.items() if until_ms > at_ms}
