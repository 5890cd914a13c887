"""Who did it: a posterior over every known change and "no change".

Prior times likelihood. The likelihood of a change is what time, place, service and version say under "this change did
it"; that of "no change" is what they say when the onset fell anywhere in the look-back. A change's own looks (size,
approvals, AI) never enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollguard.incidents.changes import Change, Reach

__all__ = ["Blame", "Scene", "Verdicts", "VersionContrast", "weigh"]

#: Prior probability that an incident has no change behind it; published shares of change-triggered incidents lie at 50 to 75 %.
NO_CHANGE_PRIOR = 0.4
#: Lag of a symptom after a change: within its own window, soon after, later, or dormant. Shares and mean minutes.
WITHIN, SOON, LATER, DORMANT = 0.82, 0.10, 0.05, 0.03
SOON_MIN, LATER_MIN = 1.0, 30.0
#: Probability that a reached place is hurt, and that an unreached one is (through shared parts), if the change did it.
HURT_IF_REACHED, HURT_IF_NOT = 0.9, 0.03
#: If no change did it, whatever did mostly hits everywhere at once.
EVERYWHERE_IF_NONE = 0.6
#: Share of guilty changes whose own service shows the first symptom, and whose service shows any.
FIRST_SERVICE, ANY_SERVICE = 0.5, 0.2
#: Bounds on what a comparison of versions may say: labels lag and caches mix, so "no difference" acquits only a little.
VERSION_FOR, VERSION_AGAINST = 6.0, 1.0
FLOOR = 1e-12


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
    first_services, services : frozenset of str
        Services of the first symptom, and of any.
    n_services : int
        Services known at all.
    """

    now_ms: int
    lookback_ms: int
    onset_ms: dict[str, tuple[int, float]]
    evidence: dict[str, float]
    first_services: frozenset[str]
    services: frozenset[str]
    n_services: int


@dataclass(frozen=True, slots=True)
class Blame:
    """A change's share of the posterior, with its reasons.

    Attributes
    ----------
    change : Change
    probability : float
    time_nats, place_nats, service_nats, version_nats : float
        Log likelihood ratios against "no change".
    reasons : tuple of str
    lag_ms : int or None
        Onset less the start of its reach, where it reached a place that hurts.
    unreached_well : bool
        Some place it did not reach is surely well.
    """

    change: Change
    probability: float
    time_nats: float
    place_nats: float
    service_nats: float
    version_nats: float
    reasons: tuple[str, ...]
    lag_ms: int | None
    unreached_well: bool
    within_window: bool


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The posterior: suspects by falling probability, and "no change"."""

    suspects: tuple[Blame, ...]
    no_change: float


def weigh(scene: Scene, changes: list[Change], contrasts: dict[str, tuple[VersionContrast, ...]]) -> Verdicts:
    """Posterior over changes and "no change".

    Parameters
    ----------
    scene : Scene
    changes : list of Change
        All that are known and inside the look-back.
    contrasts : dict of str to tuple of VersionContrast
        By deploy id, where versions could be compared.

    Returns
    -------
    Verdicts
    """
    # Nobody is blamed for what had begun long before: such changes still share the prior, so adding one is not free.
    weighed = [_one(scene, change, contrasts.get(change.deploy_id, ())) for change in changes]
    prior = (1.0 - NO_CHANGE_PRIOR) / len(weighed) if weighed else 0.0
    scores = [math.log(prior) + b.time_nats + b.place_nats + b.service_nats + b.version_nats for b in weighed]
    top = max([*scores, math.log(NO_CHANGE_PRIOR)])
    odds = [math.exp(score - top) for score in scores]
    none = math.exp(math.log(NO_CHANGE_PRIOR) - top)
    total = none + math.fsum(odds)
    ranked = sorted(
        (
            Blame(
                change=b.change,
                probability=o / total,
                time_nats=b.time_nats,
                place_nats=b.place_nats,
                service_nats=b.service_nats,
                version_nats=b.version_nats,
                reasons=b.reasons,
                lag_ms=b.lag_ms,
                unreached_well=b.unreached_well,
                within_window=b.within_window,
            )
            for b, o in zip(weighed, odds, strict=True)
        ),
        key=lambda b: (-b.probability, b.change.deploy_id),
    )
    return Verdicts(tuple(ranked), none / total)


def _one(scene: Scene, change: Change, contrasts: tuple[VersionContrast, ...]) -> Blame:
    time_nats, time_reason, lag_ms, within = _time(scene, change)
    place_nats, place_reasons, unreached_well = _place(scene, change)
    service_nats, service_reason = _service(scene, change)
    version_nats, version_reasons = _version(contrasts)
    return Blame(
        change=change,
        probability=0.0,
        time_nats=time_nats,
        place_nats=place_nats,
        service_nats=service_nats,
        version_nats=version_nats,
        reasons=(time_reason, *place_reasons, service_reason, *version_reasons),
        lag_ms=lag_ms,
        unreached_well=unreached_well,
        within_window=within,
    )


def _time(scene: Scene, change: Change) -> tuple[float, str, int | None, bool]:
    """Density of the onset's lag after the change, against an onset anywhere in the look-back."""
    hurt = sorted(scene.onset_ms.items(), key=lambda item: (item[1][0], item[0]))
    if not hurt:
        return 0.0, "time: the onset is not known yet", None, False
    first_ms = hurt[0][1][0]
    # Among the places that hurt first, the one it reached first: that is where its effect could begin.
    reached = [
        (reach.started_ms, region, reach, onset)
        for region, onset in hurt
        if onset[0] - first_ms <= max(60_000.0, 2.0 * onset[1]) and (reach := change.reach_at(region)) is not None
    ]
    if not reached:
        return math.log(DORMANT), "time: it had not reached the place that hurt first", None, False
    started_ms, region, reach, (onset_ms, sigma_ms) = min(reached, key=lambda item: (item[0], item[1]))
    finished_ms = reach.finished_ms if reach.finished_ms is not None else max(scene.now_ms, started_ms)
    minute = 60_000.0
    span = scene.lookback_ms / minute
    density = _lag_density((onset_ms - started_ms) / minute, (finished_ms - started_ms) / minute, max(sigma_ms, 5_000.0) / minute, span)
    nats = math.log(max(density, FLOOR)) - math.log(1.0 / span)
    slack_ms = max(2.0 * sigma_ms, 15_000.0)
    within = started_ms - slack_ms <= onset_ms <= finished_ms + slack_ms
    where = f" in {region}" if region else ""
    return nats, f"time: {_lag_sentence(onset_ms, reach, started_ms)}{where} ({nats:+.1f} nats)", onset_ms - started_ms, within


def _lag_density(lag: float, width: float, sigma: float, span: float) -> float:
    """Density of a lag in 1/min: uniform over the change's window, exponential after it, or dormant.

    Parameters
    ----------
    lag : float
        Onset less start, minutes.
    width : float
        Length of the change's window, minutes, >= 0.
    sigma : float
        Standard error of the onset, minutes, > 0.
    span : float
        Look-back, minutes.
    """
    if lag < -6.0 * sigma:
        return FLOOR
    begun = _normal(lag / sigma)
    width = max(width, 1e-3)
    within = (begun - _normal((lag - width) / sigma)) / width
    after = max(lag - width, 0.0)
    done = _normal((lag - width) / sigma)
    soon = math.exp(-after / SOON_MIN) / SOON_MIN * done
    later = math.exp(-after / LATER_MIN) / LATER_MIN * done
    return WITHIN * within + SOON * soon + LATER * later + DORMANT / span * begun


def _lag_sentence(onset_ms: int, reach: Reach, started_ms: int) -> str:
    lag_s = (onset_ms - started_ms) / 1000.0
    if lag_s < 0:
        return f"it hurt {_duration(-lag_s)} before the change started"
    if reach.finished_ms is None:
        return f"it began to hurt {_duration(lag_s)} after the change started, which is still under way"
    if onset_ms <= reach.finished_ms:
        width_s = (reach.finished_ms - started_ms) / 1000.0
        return f"it began to hurt {_duration(lag_s)} into the change's own {_duration(width_s)}"
    return f"it began to hurt {_duration((onset_ms - reach.finished_ms) / 1000.0)} after the change was done"


def _place(scene: Scene, change: Change) -> tuple[float, tuple[str, ...], bool]:
    """Places reached against places that hurt."""
    mine = 0.0
    all_hurt = 0.0
    any_mix = 0.0
    spared, struck, unreached_well = [], [], []
    for region, nats in sorted(scene.evidence.items()):
        ratio = math.exp(nats)
        reach = change.reach_at(region)
        # A place reached only after the incident began could not yet hurt because of it.
        onset = scene.onset_ms.get(region)
        reached = reach is not None and reach.started_ms <= (onset[0] + 2.0 * onset[1] if onset else scene.now_ms)
        share = HURT_IF_REACHED if reached else HURT_IF_NOT
        mine += math.log(share * ratio + 1.0 - share)
        all_hurt += math.log(0.97 * ratio + 0.03)
        any_mix += math.log(0.5 * ratio + 0.5)
        if reached and nats < -2.0:
            spared.append(region)
        if not reached and nats > 2.0:
            struck.append(region)
        if not reached and nats < -2.0:
            unreached_well.append(region)
    none = math.log(EVERYWHERE_IF_NONE * math.exp(all_hurt) + (1.0 - EVERYWHERE_IF_NONE) * math.exp(any_mix))
    nats = mine - none
    reasons = []
    if unreached_well:
        reasons.append(f"place: {_list(unreached_well)}, which it did not reach, stayed well ({nats:+.1f} nats)")
    if spared:
        reasons.append(f"place: {_list(spared)} stayed well although it was reached ({nats:+.1f} nats)")
    if struck:
        reasons.append(f"place: {_list(struck)} hurts although it was not reached ({nats:+.1f} nats)")
    if not reasons:
        reasons.append(f"place: it reached what hurts, and no place was left as a control ({nats:+.1f} nats)")
    return nats, tuple(reasons), bool(unreached_well)


def _service(scene: Scene, change: Change) -> tuple[float, str]:
    """Whether its own service shows the symptom."""
    n = max(scene.n_services, len(scene.services), 2)
    if change.service in scene.first_services:
        nats = math.log(FIRST_SERVICE * n / max(len(scene.first_services), 1))
        return nats, f"service: {change.service} shows the first symptom ({nats:+.1f} nats)"
    if change.service in scene.services:
        nats = math.log(max(ANY_SERVICE * n / max(len(scene.services - scene.first_services), 1), 0.3))
        return nats, f"service: {change.service} shows a symptom ({nats:+.1f} nats)"
    others = max(n - len(scene.services), 1)
    nats = math.log((1.0 - FIRST_SERVICE - ANY_SERVICE) * n / others)
    nats = min(nats, -0.2)
    return nats, f"service: {change.service} itself shows no symptom ({nats:+.1f} nats)"


def _version(contrasts: tuple[VersionContrast, ...]) -> tuple[float, tuple[str, ...]]:
    """New version against the others: a share of its own, or one share for both."""
    total = 0.0
    reasons = []
    for c in contrasts:
        pooled = (c.new_hits + c.old_hits + 1.0) / (c.new_trials + c.old_trials + 2.0)
        new = max((c.new_hits + 0.5) / (c.new_trials + 1.0), c.usual)
        split = _binomial(c.new_hits, c.new_trials, new) + _binomial(c.old_hits, c.old_trials, c.usual)
        same = _binomial(c.new_hits, c.new_trials, pooled) + _binomial(c.old_hits, c.old_trials, pooled)
        nats = max(-VERSION_AGAINST, min(VERSION_FOR, split - same - 1.0))
        total += nats
        reasons.append(
            f"version: {c.metric} outside its usual range for {_percent(c.new_hits, c.new_trials)} of the new version "
            f"and {_percent(c.old_hits, c.old_trials)} of the others, usually {100.0 * c.usual:.0f} % ({nats:+.1f} nats)"
        )
    return max(-VERSION_AGAINST, min(VERSION_FOR, total)), tuple(reasons)


def _binomial(hits: float, trials: float, share: float) -> float:
    share = min(max(share, 1e-6), 1.0 - 1e-6)
    return hits * math.log(share) + (trials - hits) * math.log1p(-share)


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.0f} %" if whole else "none"


def _list(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
