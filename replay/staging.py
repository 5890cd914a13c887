"""What if the culprit had gone out in waves: an estimate from what each region lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rollguard.config import ms_of
from rollguard.incidents import ChangeSeen
from rollguard.replay.report import Minutes
from rollguard.replay.savings import ROLLBACK_TAKES_MS

__all__ = ["WAVE_MS", "staged"]

#: Between one region and the next.
WAVE_MS = 30 * 60_000


def staged(incident: dict[str, Any], minutes: Minutes, known: Sequence[ChangeSeen], metric: str) -> dict[str, Any]:
    """Estimate what an incident would have cost until the decision, had its culprit gone out region by region, half an hour apart.

    Each region is taken to be hurt as it was, from its own wave on, and the decision to come as long after the first wave as it did. One region alone
    has fewer orders to see it by, so in truth it comes later; who reads the estimate is told so. Which region would have been first nobody knows: it is
    the mean over all of them, and the least and the most.

    Parameters
    ----------
    incident : dict
        A line of `incidents.jsonl`.
    minutes : Minutes
    known : sequence of ChangeSeen
        All changes.
    metric : str
        What is counted as lost.

    Returns
    -------
    dict
        `switch`, `incident_id`, `text`; where there is an estimate also `lost`, `lost_staged`, `lost_staged_between`, `saved_by_staging`, in orders.
    """
    found = {"switch": "staged_regions", "incident_id": incident["incident_id"]}
    if incident["verdict"] != "guilty":
        return found | {"text": "no change is called guilty: nobody can say whether waves would have helped."}
    culprit, onset_ms = incident["suspects"][0]["deploy_id"], ms_of(incident["onset"])
    waves: dict[str, int] = {}
    for seen in known:
        if seen.deploy_id == culprit and seen.region is not None:
            waves[seen.region] = min(seen.started_ms, waves.get(seen.region, seen.started_ms))
    regions = sorted(place for place in incident["regions"] if place)
    if len(regions) < 2:
        return found | {"text": f"{culprit} hurt {', '.join(regions) or 'no region'} alone: waves would have changed nothing, had it been the first."}
    starts = sorted(waves[place] for place in regions if place in waves)
    if len(starts) == len(regions) and all(later - start >= WAVE_MS for start, later in pairwise(starts)):
        return found | {"text": f"{culprit} did go out in waves of half an hour or more."}
    decided = next((each["at"] for action in ("rollback", "page") for each in incident["decisions"] if each["action"] == action), None)
    if decided is None:
        return found | {"text": "nothing was decided: there is no moment until which the loss could be counted."}
    after_ms = max(ms_of(decided) + ROLLBACK_TAKES_MS - onset_ms, 0)
    lost = _lost(minutes, metric, onset_ms, dict.fromkeys(regions, after_ms))
    choices = [
        _lost(minutes, metric, onset_ms, {place: after_ms - at * WAVE_MS for at, place in enumerate([first, *(each for each in regions if each != first)])})
        for first in regions
    ]
    mean = sum(choices) / len(choices)
    text = (
        f"{culprit} in waves, one region each half hour (an estimate): about {mean:.0f} {metric} lost until a rollback takes effect, "
        f"{min(choices):.0f} to {max(choices):.0f} by which region is first, instead of {lost:.0f}. "
        "Taken for granted: each region is hurt as it was, and one region alone is noticed as soon; with fewer orders to see it by it takes longer."
    )
    between = [round(min(choices), 1), round(max(choices), 1)]
    return found | {
        "text": text,
        "lost": round(lost, 1),
        "lost_staged": round(mean, 1),
        "lost_staged_between": between,
        "saved_by_staging": round(lost - mean, 1),
    }


def _lost(minutes: Minutes, metric: str, onset_ms: int, hurt_ms: dict[str, int]) -> float:
    """Lost in some regions, each for its own time from the onset on."""
    return sum(max(minutes.lost(metric, ("region", place), onset_ms, onset_ms + span_ms), 0.0) for place, span_ms in hurt_ms.items() if span_ms > 0)
