"""What an incident looks like at one moment, to those who weigh its suspects."""

from __future__ import annotations

from dataclasses import dataclass, field

from rollguard.incidents.changes import Change

__all__ = ["Scene", "VersionContrast"]


@dataclass(frozen=True, slots=True)
class VersionContrast:
    """New version against the others, same places and time.

    Attributes
    ----------
    metric : str
    new_hits, new_trials, old_hits, old_trials : float
        Events outside the usual range, and events.
    usual : float
        Share outside the usual range by the baseline.
    """

    metric: str
    new_hits: float
    new_trials: float
    old_hits: float
    old_trials: float
    usual: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What an incident looks like at one moment.

    Attributes
    ----------
    now_ms, lookback_ms : int
    onset_ms : dict of str to (int, float)
        Onset and its standard error in ms, of every region that hurts.
    evidence : dict of str to float
        Nats for hurt against well, of every region.
    measured : frozenset of str
        Regions whose onset is their own, not the incident's.
    first_services, services : frozenset of str
        Services of the first symptom, and of any.
    n_services : int
        Services known at all.
    standing : dict of str to float
        Nats by which each service of the first symptom stood out when it left its baseline; a service left out stands as the others.
    speechless : bool
        For most of the time no source said anything of what hurts.
    strangers : tuple of Change
        Versions that came into the places that hurt, and that no record speaks of.
    """

    now_ms: int
    lookback_ms: int
    onset_ms: dict[str, tuple[int, float]]
    evidence: dict[str, float]
    first_services: frozenset[str]
    services: frozenset[str]
    n_services: int
    measured: frozenset[str] = frozenset()
    standing: dict[str, float] = field(default_factory=dict)
    speechless: bool = False
    strangers: tuple[Change, ...] = ()
