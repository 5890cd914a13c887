"""Who did it: a posterior over every known change and "no change".

Prior times likelihood. The likelihood of a change is what time, place, service and version say under "this change did
it"; that of "no change" is what they say when the onset fell anywhere in the look-back. A change's own looks (size,
approvals, AI) never enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rollguard.incidents.changes import Change, Reach

__all__ = ["Blame", "Scene", "Verdicts", "VersionContrast", "probability_without", "weigh"]

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
#: An onset is no better known than this; and a change that came later than it by so many errors came after it.
LEAST_SIGMA_MS, BEFORE_SIGMAS = 5_000.0, 6.0
#: What began before the change has a density of so little, 1/min: no other evidence outweighs it.
FLOOR = 1e-60
#: Evidence of one place beyond this, in nats, says nothing more, and would overflow.
MOST_NATS = 500.0
#: Waves: share of the onsets that keep the distance of their waves, spread of that distance, and the span of the others.
IN_STEP, STEP_MIN, STRAY_MIN = 0.8, 1.0, 60.0
#: Bound on what waves may say.
WAVES_MOST = 6.0


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
    """

    now_ms: int
    lookback_ms: int
    onset_ms: dict[str, tuple[int, float]]
    evidence: dict[str, float]
    first_services: frozenset[str]
    services: frozenset[str]
    n_services: int
    measured: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Blame:
    """A change's share of the posterior, with its reasons.

    Attributes
    ----------
    change : Change
    probability : float
    time_nats, waves_nats, place_nats, service_nats, version_nats : float
        Log likelihood ratios against "no change".
    reasons : tuple of str
    lag_ms : int or None
        Onset less the start of its reach, where it reached a place that hurts.
    within_window : bool
        That onset lies inside its own window.
    """

    change: Change
    probability: float
    time_nats: float
    waves_nats: float
    place_nats: float
    service_nats: float
    version_nats: float
    reasons: tuple[str, ...]
    lag_ms: int | None
    within_window: bool

    @property
    def nats(self) -> float:
        """All evidence together."""
        return self.time_nats + self.waves_nats + self.place_nats + self.service_nats + self.version_nats

    @property
    def evidence(self) -> dict[str, float]:
        """Each kind of evidence by its name."""
        return {"time": self.time_nats, "waves": self.waves_nats, "place": self.place_nats, "service": self.service_nats, "version": self.version_nats}


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
    weighed = [_one(scene, change, contrasts.get(change.deploy_id, ())) for change in changes]
    # Changes from long before share the prior, so adding one is not free: among many, one lies close by chance. Those that
    # came after the onset do not: a busy hour of mending takes nothing from the suspicion of who did it.
    before = sum(b.time_nats > math.log(FLOOR * scene.lookback_ms / 60_000.0) + 1.0 for b in weighed)
    prior = (1.0 - NO_CHANGE_PRIOR) / max(before, 1)
    scores = [math.log(prior) + b.nats for b in weighed]
    top = max([*scores, math.log(NO_CHANGE_PRIOR)])
    odds = [math.exp(score - top) for score in scores]
    none = math.exp(math.log(NO_CHANGE_PRIOR) - top)
    total = none + math.fsum(odds)
    ranked = sorted(
        (replace(b, probability=o / total) for b, o in zip(weighed, odds, strict=True)),
        key=lambda b: (-b.probability, b.change.deploy_id),
    )
    return Verdicts(tuple(ranked), none / total)


def probability_without(probability: float, nats: float) -> float:
    """What a suspect's probability would be without a piece of its evidence, all else being as it is.

    Parameters
    ----------
    probability : float
        With it, 0..1.
    nats : float
        The piece's log likelihood ratio.

    Examples
    --------
    >>> round(probability_without(0.8, 2.0), 2), probability_without(1.0, 5.0)
    (0.35, 1.0)
    """
    if not 0.0 < probability < 1.0:
        return probability
    return 1.0 / (1.0 + (1.0 - probability) / probability * math.exp(max(-MOST_NATS, min(MOST_NATS, nats))))


def _one(scene: Scene, change: Change, contrasts: tuple[VersionContrast, ...]) -> Blame:
    time_nats, time_reason, lag_ms, within = _time(scene, change)
    waves_nats, waves_reasons = _waves(scene, change)
    place_nats, place_reasons = _place(scene, change)
    service_nats, service_reason = _service(scene, change)
    version_nats, version_reasons = _version(contrasts)
    return Blame(
        change=change,
        probability=0.0,
        time_nats=time_nats,
        waves_nats=waves_nats,
        place_nats=place_nats,
        service_nats=service_nats,
        version_nats=version_nats,
        reasons=(time_reason, *waves_reasons, *place_reasons, service_reason, *version_reasons),
        lag_ms=lag_ms,
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
        (first_ms, sigma_ms), started_ms = hurt[0][1], change.started_ms
        if first_ms - started_ms < -BEFORE_SIGMAS * max(sigma_ms, LEAST_SIGMA_MS):
            nats = math.log(FLOOR * scene.lookback_ms / 60_000.0)
            return nats, f"time: it hurt {_duration((started_ms - first_ms) / 1000.0)} before the change started anywhere ({nats:+.1f} nats)", None, False
        return math.log(DORMANT), "time: it had not reached the place that hurt first", None, False
    started_ms, region, reach, (onset_ms, sigma_ms) = min(reached, key=lambda item: (item[0], item[1]))
    finished_ms = reach.finished_ms if reach.finished_ms is not None else max(scene.now_ms, started_ms)
    minute = 60_000.0
    span = scene.lookback_ms / minute
    density = _lag_density((onset_ms - started_ms) / minute, (finished_ms - started_ms) / minute, max(sigma_ms, LEAST_SIGMA_MS) / minute, span)
    nats = math.log(max(density, FLOOR)) - math.log(1.0 / span)
    # An onset that is hardly known is not known to lie in the window: doubt about it must not help to act.
    slack_ms = min(max(2.0 * sigma_ms, 15_000.0), 30_000.0)
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
    if lag < -BEFORE_SIGMAS * sigma:
        return FLOOR
    begun = _normal(lag / sigma)
    width = max(width, 1e-3)
    within = (begun - _normal((lag - width) / sigma)) / width
    after = max(lag - width, 0.0)
    done = _normal((lag - width) / sigma)
    soon = math.exp(-after / SOON_MIN) / SOON_MIN * done
    later = math.exp(-after / LATER_MIN) / LATER_MIN * done
    return WITHIN * within + SOON * soon + LATER * later + DORMANT / span * begun


def _waves(scene: Scene, change: Change) -> tuple[float, tuple[str, ...]]:
    """Whether places began to hurt at the distances of the change's waves, against all at the same time.

    A change that went everywhere at once says nothing here.
    """
    own = [(onset[0], region, onset[1]) for region, onset in scene.onset_ms.items() if region in scene.measured]
    reached = [(onset_ms, sigma_ms, reach) for onset_ms, region, sigma_ms in sorted(own) if (reach := change.reach_at(region)) is not None]
    if len(reached) < 2:
        return 0.0, ()
    first_ms, first_sigma_ms, first = reached[0]
    minute = 60_000.0
    total, apart = 0.0, 0
    for onset_ms, sigma_ms, reach in reached[1:]:
        wave = (reach.started_ms - first.started_ms) / minute
        if wave == 0.0:
            continue
        apart += 1
        widths = [((r.finished_ms if r.finished_ms is not None else max(scene.now_ms, r.started_ms)) - r.started_ms) / minute for r in (first, reach)]
        variance = (first_sigma_ms / minute) ** 2 + (sigma_ms / minute) ** 2 + STEP_MIN**2 + sum(w * w for w in widths) / 12.0
        between = (onset_ms - first_ms) / minute
        total += math.log(_step_density(between - wave, variance)) - math.log(_step_density(between, variance))
    if not apart:
        return 0.0, ()
    nats = max(-WAVES_MOST, min(WAVES_MOST, total))
    how = "in the order and at the distance of its waves" if nats > 0.0 else "at other distances than its waves"
    return nats, (f"waves: the places it reached one after another began to hurt {how} ({nats:+.1f} nats)",)


def _step_density(off: float, variance: float) -> float:
    """Density of a distance between two onsets, off by so many minutes from what is predicted."""
    near = math.exp(-(off**2) / (2.0 * variance)) / math.sqrt(2.0 * math.pi * variance)
    return IN_STEP * near + (1.0 - IN_STEP) / STRAY_MIN


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


def _place(scene: Scene, change: Change) -> tuple[float, tuple[str, ...]]:
    """Places reached against places that hurt."""
    mine = 0.0
    all_hurt = 0.0
    any_mix = 0.0
    spared, struck, unreached_well = [], [], []
    for region, nats in sorted(scene.evidence.items()):
        ratio = math.exp(max(-MOST_NATS, min(MOST_NATS, nats)))
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
    # Of the larger one first: with a hundred places either of them may be too large for a float.
    large, small = sorted((math.log(EVERYWHERE_IF_NONE) + all_hurt, math.log(1.0 - EVERYWHERE_IF_NONE) + any_mix), reverse=True)
    none = large + math.log1p(math.exp(small - large))
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
    return nats, tuple(reasons)


def _service(scene: Scene, change: Change) -> tuple[float, str]:
    """Whether its own service shows the symptom."""
    if not scene.n_services and not scene.services:
        return 0.0, "service: the events name none"
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
