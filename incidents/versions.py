"""New version against old, where the events carry both."""

from __future__ import annotations

from rollguard.config import Settings
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change
from rollguard.incidents.incident import Incident
from rollguard.incidents.scene import VersionContrast

__all__ = ["contrasts_of"]


def contrasts_of(incident: Incident, books: Books, settings: Settings, changes: list[Change]) -> dict[str, tuple[VersionContrast, ...]]:
    """New version against old, in the places that hurt, for metrics that carry both."""
    distributions = [m for m in incident.metrics if settings.metrics[m].kind == "distribution"]
    if not distributions or not settings.labels.compare:
        return {}
    at = {name: i for i, name in enumerate(settings.labels.watched + settings.labels.compare)}
    version_at = at[settings.labels.compare[0]]
    service_at, region_at = at.get("service"), at.get("region")
    found: dict[str, list[VersionContrast]] = {}
    for metric in distributions:
        sums = books.versions_since(metric, incident.onset)
        for change in changes:
            if change.version is None or change.version == change.from_version:
                continue
            new = [0.0, 0.0]
            old = [0.0, 0.0, 0.0]
            for key, trials in sums.trials.items():
                if service_at is not None and key[service_at] != change.service:
                    continue
                if region_at is not None and incident.regions and key[region_at] not in incident.regions:
                    continue
                if key[version_at] == change.version:
                    new[0] += sums.hits[key]
                    new[1] += trials
                else:
                    old[0] += sums.hits[key]
                    old[1] += trials
                    old[2] += sums.expected[key]
            if new[1] >= 10 and old[1] >= 10:
                contrast = VersionContrast(metric, new[0], new[1], old[0], old[1], max(old[2] / old[1], 0.001))
                found.setdefault(change.deploy_id, []).append(contrast)
    return {deploy_id: tuple(contrasts) for deploy_id, contrasts in found.items()}
