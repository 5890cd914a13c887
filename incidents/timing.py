"""What time says of a change: the lag of the onset, and whether places began to hurt at the distances of its waves."""

from __future__ import annotations

import math

from rollguard.incidents.changes import Change, Reach
from rollguard.incidents.scene import Scene

__all__ = ["FLOOR", "lag_evidence", "wave_evidence"]

#: Lag of a symptom after a change: within its own window, soon after, later, or dormant. Shares and mean minutes.
WITHIN, SOON, LATER, DORMANT = 0.72, 0.12, 0.12, 0.04
SOON_MIN, LATER_MIN = 1.5, 15.0
#: An onset is no better known than this; and a change that came later than it by so many errors came after it.
LEAST_SIGMA_MS, BEFORE_SIGMAS = 5_000.0, 6.0
#: What began before the change has a density of so little, 1/min: no other evidence outweighs it.
FLOOR = 1e-60
#: Waves: share of the onsets that keep the distance of their waves, spread of that distance, and the span of the others.
IN_STEP, STEP_MIN, STRAY_MIN = 0.8, 1.0, 60.0
#: Bound on what waves may say.
WAVES_MOST = 6.0


def lag_evidence(scene: Scene, change: Change) -> tuple[float, str, int | None, bool]:
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


def wave_evidence(scene: Scene, change: Change) -> tuple[float, tuple[str, ...]]:
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


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
