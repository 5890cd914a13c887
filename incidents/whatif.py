"""What would change a verdict: the same weighing again, with one thing seen otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollguard.config import Calibration
from rollguard.incidents.blame import PLAIN, Verdicts, weigh
from rollguard.incidents.changes import Change
from rollguard.incidents.scene import Scene, VersionContrast

__all__ = ["what_if"]

Contrasts = dict[str, tuple[VersionContrast, ...]]

#: Evidence, in nats, of a place that surely hurts, or surely stayed well.
SURELY_NATS = 6.0
#: An onset that the change can have nothing to do with lies so long before it.
BEFORE_MS = 3_600_000


def what_if(
    scene: Scene,
    changes: list[Change],
    contrasts: Contrasts,
    verdicts: Verdicts,
    *,
    needed: float,
    cleared: frozenset[str] = frozenset(),
    calibration: Calibration = PLAIN,
) -> tuple[str, ...]:
    """What would have to be seen otherwise for the first suspect to be guilty, or not to be.

    Parameters
    ----------
    scene, changes, contrasts, cleared, calibration
        As they were weighed.
    verdicts : Verdicts
        What that gave.
    needed : float
        Probability from which on a suspect is guilty.

    Returns
    -------
    tuple of str
        A sentence for each single thing that would turn the verdict, with the probability it would give; else one that
        says that nothing would.
    """
    if not verdicts.suspects:
        return ("no known change could have done it: a change record that is missing would change this",)
    first = verdicts.suspects[0]
    guilty = first.probability >= needed
    found = []
    for words, seen, compared in _otherwise(scene, first.change, contrasts, against=guilty):
        again = weigh(seen, changes, compared, cleared, calibration)
        probability = next(b.probability for b in again.suspects if b.change is first.change)
        if (probability >= needed) != guilty:
            found.append(f"{first.change.deploy_id} would {'not ' if guilty else ''}be guilty if {words} ({100.0 * probability:.0f} %)")
    turned = "acquit" if guilty else "convict"
    return tuple(found) or (f"nothing that could be seen otherwise would {turned} {first.change.deploy_id} by itself",)


def _otherwise(scene: Scene, change: Change, contrasts: Contrasts, *, against: bool) -> Iterator[tuple[str, Scene, Contrasts]]:
    """Each single thing that could speak against a change, or for it."""
    yield from _other_time(scene, change, contrasts, against=against)
    yield from _other_places(scene, change, contrasts, against=against)
    if against:
        elsewhere = frozenset(["another service"])
        yield f"another service than {change.service} showed the symptom", replace(scene, first_services=elsewhere, services=elsewhere), contrasts
    elif change.service not in scene.first_services:
        mine = frozenset([change.service])
        yield f"{change.service} showed the first symptom", replace(scene, first_services=mine, services=scene.services | mine), contrasts
    mine_now = contrasts.get(change.deploy_id, ())
    if against and mine_now:
        alike = tuple(replace(c, new_hits=c.new_trials * c.old_hits / max(c.old_trials, 1.0)) for c in mine_now)
        yield "its new version did no worse than the old one beside it", scene, {**contrasts, change.deploy_id: alike}
    if not against and change.version is not None:
        worse = (VersionContrast("any", 60.0, 100.0, 10.0, 100.0, 0.1),)
        yield "its new version did far worse than the old one beside it", scene, {**contrasts, change.deploy_id: worse}


def _other_time(scene: Scene, change: Change, contrasts: Contrasts, *, against: bool) -> Iterator[tuple[str, Scene, Contrasts]]:
    moved = {}
    for region, (_, sigma_ms) in scene.onset_ms.items():
        reach = change.reach_at(region)
        started_ms = change.started_ms if reach is None else reach.started_ms
        done_ms = started_ms if reach is None or reach.finished_ms is None else reach.finished_ms
        inside_ms = (started_ms + max(done_ms, started_ms)) // 2
        moved[region] = (started_ms - BEFORE_MS if against else inside_ms, sigma_ms)
    if against:
        yield "it had begun to hurt an hour before the change", replace(scene, onset_ms=moved), contrasts
    elif moved != scene.onset_ms:
        yield "it had begun to hurt while the change was being made", replace(scene, onset_ms=moved), contrasts


def _other_places(scene: Scene, change: Change, contrasts: Contrasts, *, against: bool) -> Iterator[tuple[str, Scene, Contrasts]]:
    unreached = [region for region in sorted(scene.evidence) if change.reach_at(region) is None]
    if not unreached:
        return
    nats = SURELY_NATS if against else -SURELY_NATS
    names = " and ".join(unreached)
    evidence = {**scene.evidence, **dict.fromkeys(unreached, nats)}
    yield f"{names}, which it did not reach, {'hurt too' if against else 'surely stayed well'}", replace(scene, evidence=evidence), contrasts
