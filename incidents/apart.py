"""Two incidents in the same places: what begins there later, in another way, may follow from the first or be of another cause.

Orders fall when errors drive customers away, so most of what begins later follows. A change that came in between may have done it
all the same: then a person is told of a second incident, of which nobody is called guilty, so that nothing is undone for it.
"""

from __future__ import annotations

from dataclasses import replace

from rollguard.config import Settings
from rollguard.detectors import Signal
from rollguard.incidents.blame import Verdicts
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change
from rollguard.incidents.incident import Incident, symptoms_of

__all__ = ["FOLLOWS", "are_beside", "doubted", "elsewhere", "family_of", "follows", "may_stand_alone", "share_bill", "stands_alone"]

#: Probability that what stands apart follows from the first incident all the same. In the library a change of its own had done all seven that were
#: told apart (`two_culprits` in docs/quality.md); a shop has more ways than the library, so not the one in nine that the rule of succession gives.
FOLLOWS = 0.25
#: What stands apart begins so much later, and but for that a change did it with this probability.
LATER_MS = 5 * 60_000
APART = 0.8


def family_of(incident: Incident) -> str:
    """Id of the first incident of those that are told apart in the same places."""
    return incident.beside or incident.id


def are_beside(one: Incident, other: Incident) -> bool:
    """Whether two are the same, or told apart in the same places."""
    return family_of(one) == family_of(other)


def may_stand_alone(signal: Signal, home: Incident, bucket_ms: int) -> bool:
    """Whether a signal in the places of an incident that was told may be of another cause: it is of another metric, and surely later."""
    return bool(home.told) and signal.series.metric not in home.metrics and _surely_later(signal.onset, signal.onset_error, home, bucket_ms)


def stands_alone(incident: Incident, host: Incident, change: Change | None, probability: float, *, books: Books, settings: Settings) -> bool:
    """Whether an incident in the places of another one is told apart.

    Parameters
    ----------
    incident, host : Incident
        Both looked at on this tick.
    change : Change or None
        The first suspect of `incident`, if it has one.
    probability : float
        Its own, doubted.
    books : Books
    settings : Settings

    Returns
    -------
    bool
        It surely began later, a change that came after the host had begun did it, and no other service shows it.
    """
    if change is None or probability < APART * (1.0 - FOLLOWS):
        return False
    singled = {symptom.service for symptom, _ in symptoms_of(books, settings, incident.signals)} - {None}
    if singled and change.service not in singled:
        return False
    begun_ms = [reach.started_ms for place in incident.regions or ("",) if (reach := change.reach_at(place)) is not None]
    after_ms = (host.onset + 1 + 2.0 * host.onset_error) * settings.bucket_ms
    return _surely_later(incident.onset, incident.onset_error, host, settings.bucket_ms) and bool(begun_ms) and min(begun_ms) > after_ms


def doubted(verdicts: Verdicts) -> Verdicts:
    """What is left of every suspicion if it may follow from another incident as well.

    Examples
    --------
    >>> doubted(Verdicts(suspects=(), no_change=0.25)).no_change
    0.4375
    """
    suspects = tuple(replace(each, probability=(1.0 - FOLLOWS) * each.probability) for each in verdicts.suspects)
    return Verdicts(suspects, FOLLOWS + (1.0 - FOLLOWS) * verdicts.no_change, (1.0 - FOLLOWS) * verdicts.unrecorded)


def follows(incident: Incident) -> tuple[str, ...]:
    """Say of what an incident may be the consequence, if it stands beside another one."""
    if not incident.beside:
        return ()
    chance = f"one chance in {round(1.0 / FOLLOWS)}"
    return (f"it began after {incident.beside} in the same places: that it follows from that is held to be {chance}, and nothing is undone for it",)


def elsewhere(incident: Incident) -> str:
    """Say which other incidents have a part of its bill; empty if none has."""
    return f"; what more is lost in the same places stands on the bill of {' and '.join(sorted(incident.billed))}" if incident.billed else ""


def share_bill(incident: Incident, other: Incident, metric: str, now: int) -> None:
    """Take off an incident's bill what stands on that of another one in the same places: of each region, the one pays that hurt it first.

    Parameters
    ----------
    incident, other : Incident
    metric : str
        The money clock's.
    now : int
        The last bucket.
    """
    mine, theirs = _pays(incident, metric), _pays(other, metric)
    lost = {
        region: (since, now + 1)
        for region, since in theirs.items()
        if region not in mine or (since, other.opened, other.id) < (mine[region], incident.opened, incident.id)
    }
    incident.billed.pop(other.id, None)
    if lost:
        incident.billed[other.id] = lost


def _surely_later(onset: int, error: float, host: Incident, bucket_ms: int) -> bool:
    return onset - host.onset > max(2.0 * (error + host.onset_error), LATER_MS / bucket_ms)


def _pays(incident: Incident, metric: str) -> dict[str, int]:
    """Regions in which an incident's own signals say that the metric hurts, and since when; a signal of no region speaks of all of them."""
    found: dict[str, int] = {}
    for series, signal in incident.signals.items():
        if series.metric == metric:
            region = series.label("region")
            for place in (region,) if region is not None else incident.regions or ("",):
                found[place] = min(found.get(place, signal.onset), signal.onset)
    return found
