"""Who did it: a posterior over every known change and "no change".

Prior times likelihood. The likelihood of a change is what time, place, service and version say under "this change did
it"; that of "no change" is what they say when the onset fell anywhere in the look-back. A change's own looks (size,
approvals, AI) never enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rollguard.config import Calibration
from rollguard.incidents.changes import Change
from rollguard.incidents.scene import Scene, VersionContrast
from rollguard.incidents.timing import FLOOR, lag_evidence, wave_evidence

__all__ = ["PLAIN", "Blame", "Verdicts", "probability_without", "weigh"]

#: Evidence taken as it is.
PLAIN = Calibration(power=1.0, lapse=0.0)
#: Prior probability that an incident has no change behind it; published shares of change-triggered incidents lie at 50 to 75 %.
NO_CHANGE_PRIOR = 0.4
#: Probability that a reached place is hurt, and that an unreached one is (through shared parts), if the change did it.
HURT_IF_REACHED, HURT_IF_NOT = 0.9, 0.03
#: If no change did it, whatever did mostly hits everywhere at once.
EVERYWHERE_IF_NONE = 0.6
#: Share of guilty changes whose own service shows the first symptom, and whose service shows any.
FIRST_SERVICE, ANY_SERVICE = 0.5, 0.2
#: A service of the first symptom that hardly stands out has this part of an equal share at least.
LEAST_SHARE = 0.1
#: Bounds on what a comparison of versions may say: labels lag and caches mix, so "no difference" acquits only a little.
VERSION_FOR, VERSION_AGAINST = 6.0, 1.0
#: What it speaks against a change, in nats, that it was rolled back and nothing came back: it is suspected no longer.
IN_VAIN = 60.0
#: What it speaks against a change, in nats, that no source says anything of what hurts: one in twenty such silences is an outage of everything.
BROKEN_PIPE = 3.0
#: Evidence of one place beyond this, in nats, says nothing more, and would overflow.
MOST_NATS = 500.0


@dataclass(frozen=True, slots=True)
class Blame:
    """A change's share of the posterior, with its reasons.

    Attributes
    ----------
    change : Change
    probability : float
    uncalibrated : float
        What the evidence alone would make of it.
    time_nats, waves_nats, place_nats, service_nats, version_nats, aftermath_nats, pipe_nats : float
        Log likelihood ratios against "no change".
    reasons : tuple of str
    lag_ms : int or None
        Onset less the start of its reach, where it reached a place that hurts.
    within_window : bool
        That onset lies inside its own window.
    """

    change: Change
    probability: float
    uncalibrated: float
    time_nats: float
    waves_nats: float
    place_nats: float
    service_nats: float
    version_nats: float
    reasons: tuple[str, ...]
    lag_ms: int | None
    within_window: bool
    aftermath_nats: float = 0.0
    pipe_nats: float = 0.0

    @property
    def nats(self) -> float:
        """All evidence together."""
        return self.time_nats + self.waves_nats + self.place_nats + self.service_nats + self.version_nats + self.aftermath_nats + self.pipe_nats

    @property
    def evidence(self) -> dict[str, float]:
        """Each kind of evidence by its name."""
        each = {"time": self.time_nats, "waves": self.waves_nats, "place": self.place_nats, "service": self.service_nats, "version": self.version_nats}
        return each | {name: nats for name, nats in (("aftermath", self.aftermath_nats), ("pipe", self.pipe_nats)) if nats}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The posterior: suspects by falling probability, "no known change", and what of that the versions have that no record speaks of."""

    suspects: tuple[Blame, ...]
    no_change: float
    unrecorded: float = 0.0


def weigh(
    scene: Scene,
    changes: list[Change],
    contrasts: dict[str, tuple[VersionContrast, ...]],
    cleared: frozenset[str] = frozenset(),
    calibration: Calibration = PLAIN,
) -> Verdicts:
    """Posterior over changes and "no change".

    Parameters
    ----------
    scene : Scene
    changes : list of Change
        All that are known and inside the look-back.
    contrasts : dict of str to tuple of VersionContrast
        By deploy id, where versions could be compared.
    cleared : frozenset of str
        Deploy ids that were rolled back in vain.
    calibration : Calibration
        What is made of the evidence; by itself it is taken as it is.

    Returns
    -------
    Verdicts
    """
    # What no record speaks of is a suspect like the others, but for a name that anybody could be blamed by.
    weighed = [_one(scene, change, contrasts.get(change.deploy_id, ()), in_vain=change.deploy_id in cleared) for change in (*changes, *scene.strangers)]
    # Changes from long before share the prior, so adding one is not free: among many, one lies close by chance. Those that
    # came after the onset do not: a busy hour of mending takes nothing from the suspicion of who did it.
    could = [b.time_nats > math.log(FLOOR * scene.lookback_ms / 60_000.0) + 1.0 for b in weighed]
    prior = (1.0 - NO_CHANGE_PRIOR) / max(sum(could), 1)
    plain, _ = _posterior([math.log(prior) + b.nats for b in weighed])
    tempered, none = _posterior([math.log(prior) + calibration.power * b.nats for b in weighed])
    # Where the model fails, all is as before; what began before a change is not blamed on it even then, nor what was rolled back in vain.
    lapse = calibration.lapse
    n = len(changes)
    known = weighed[:n]
    shares = [prior if each and b.aftermath_nats == 0.0 and b.pipe_nats == 0.0 else 0.0 for b, each in zip(known, could[:n], strict=True)]
    spread = NO_CHANGE_PRIOR + math.fsum(shares)
    found = [
        replace(b, probability=(1.0 - lapse) * share + lapse * before / spread, uncalibrated=alone)
        for b, share, before, alone in zip(known, tempered[:n], shares, plain[:n], strict=True)
    ]
    ranked = sorted(found, key=lambda b: (-b.probability, b.change.deploy_id))
    unrecorded = (1.0 - lapse) * math.fsum(tempered[n:])
    return Verdicts(tuple(ranked), (1.0 - lapse) * none + unrecorded + lapse * NO_CHANGE_PRIOR / spread, unrecorded)


def _posterior(scores: list[float]) -> tuple[list[float], float]:
    """Shares of the changes, and of "no change", from log prior times likelihood."""
    top = max([*scores, math.log(NO_CHANGE_PRIOR)])
    odds = [math.exp(score - top) for score in scores]
    none = math.exp(math.log(NO_CHANGE_PRIOR) - top)
    total = none + math.fsum(odds)
    return [each / total for each in odds], none / total


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


def _one(scene: Scene, change: Change, contrasts: tuple[VersionContrast, ...], *, in_vain: bool) -> Blame:
    time_nats, time_reason, lag_ms, within = lag_evidence(scene, change)
    waves_nats, waves_reasons = wave_evidence(scene, change)
    place_nats, place_reasons = _place(scene, change)
    service_nats, service_reason = _service(scene, change)
    version_nats, version_reasons = _version(contrasts)
    aftermath_nats = -IN_VAIN if in_vain else 0.0
    pipe_nats = -BROKEN_PIPE if scene.speechless else 0.0
    pipe = (f"pipe: no source says anything of what hurts, which a broken pipe explains better ({pipe_nats:+.1f} nats)",) if scene.speechless else ()
    aftermath = (f"aftermath: it was rolled back, and what hurt did not come back ({aftermath_nats:+.1f} nats)",) if in_vain else ()
    return Blame(
        change=change,
        probability=0.0,
        uncalibrated=0.0,
        time_nats=time_nats,
        waves_nats=waves_nats,
        place_nats=place_nats,
        service_nats=service_nats,
        version_nats=version_nats,
        reasons=(time_reason, *waves_reasons, *place_reasons, service_reason, *version_reasons, *aftermath, *pipe),
        lag_ms=lag_ms,
        within_window=within,
        aftermath_nats=aftermath_nats,
        pipe_nats=pipe_nats,
    )


def _place(scene: Scene, change: Change) -> tuple[float, tuple[str, ...]]:
    """Places reached against places that hurt."""
    mine = 0.0
    all_hurt = 0.0
    any_mix = 0.0
    spared, struck, unreached_well = [], [], []
    first_ms = min((onset_ms for onset_ms, _ in scene.onset_ms.values()), default=scene.now_ms)
    for region, nats in sorted(scene.evidence.items()):
        reach = change.reach_at(region)
        # A place reached only after it began to hurt could not yet hurt because of it; where its own onset is not known, it may have begun since.
        onset = scene.onset_ms.get(region) if region in scene.measured else None
        reached = reach is not None and reach.started_ms <= (onset[0] + 2.0 * onset[1] if onset else scene.now_ms)
        ratio = math.exp(max(-MOST_NATS, min(MOST_NATS, nats)))
        since = _since(reach.started_ms, first_ms, scene.now_ms) if reach is not None and reached and nats < 0.0 else 1.0
        share = HURT_IF_REACHED if reached else HURT_IF_NOT
        mine += math.log(share * ratio**since + 1.0 - share)
        all_hurt += math.log(0.97 * ratio + 0.03)
        any_mix += math.log(0.5 * ratio + 0.5)
        if reached and nats * since < -2.0:
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


def _since(reached_ms: int, first_ms: int, now_ms: int) -> float:
    """Share of an incident's time in which a place had been reached: that it was well before says nothing of the change."""
    return min(1.0, max(0.0, (now_ms - reached_ms) / max(now_ms - first_ms, 1)))


def _service(scene: Scene, change: Change) -> tuple[float, str]:
    """Whether its own service shows the symptom."""
    if not scene.n_services and not scene.services:
        return 0.0, "service: the events name none"
    n = max(scene.n_services, len(scene.services), 2)
    if change.service in scene.first_services:
        nats = math.log(FIRST_SERVICE * n * _share(scene, change.service))
        return nats, f"service: {change.service} shows the first symptom ({nats:+.1f} nats)"
    if change.service in scene.services:
        nats = math.log(max(ANY_SERVICE * n / max(len(scene.services - scene.first_services), 1), 0.3))
        return nats, f"service: {change.service} shows a symptom ({nats:+.1f} nats)"
    others = max(n - len(scene.services), 1)
    nats = math.log((1.0 - FIRST_SERVICE - ANY_SERVICE) * n / others)
    nats = min(nats, -0.2)
    return nats, f"service: {change.service} itself shows no symptom ({nats:+.1f} nats)"


def _share(scene: Scene, service: str) -> float:
    """What one of the services of the first symptom has of their suspicion: as much as it stood out, when several are seen in one bucket."""
    firsts = scene.first_services
    total = math.fsum(scene.standing.get(each, 0.0) for each in sorted(firsts))
    if not firsts <= scene.standing.keys() or total <= 0.0:
        return 1.0 / max(len(firsts), 1)
    return max(scene.standing[service] / total, LEAST_SHARE / len(firsts))


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


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.0f} %" if whole else "none"


def _list(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
