"""Versions that no change record speaks of: somebody shipped one all the same, and it may be what hurts."""

from __future__ import annotations

from rollguard.config import Labels, Settings
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change, ChangeBook, Reach
from rollguard.incidents.incident import Incident
from rollguard.incidents.records import Rollback

__all__ = ["sentence_of", "strangers_of"]

MINUTE_MS = 60_000
#: A version that came into a place so long before it began to hurt, or so soon after an onset that is an estimate, may be what hurts there.
BEFORE_MS, AFTER_MS = 30 * MINUTE_MS, 10 * MINUTE_MS
#: It may have been there for so long before its first event: a roll-out begins with few, and of many services hardly an event a minute comes.
UNSEEN_MS = 5 * MINUTE_MS

#: The clocks of who ships and of who sells are so close to one another.
CLOCKS_MS = MINUTE_MS


def strangers_of(incident: Incident, books: Books, changes: ChangeBook, settings: Settings) -> tuple[Change, ...]:
    """Versions that came into the places of an incident around its onset, and that no change record names.

    Parameters
    ----------
    incident : Incident
    books : Books
    changes : ChangeBook
        What is known so far; a record may still come.
    settings : Settings

    Returns
    -------
    tuple of Change
        One for each version, by name, reaching each place when its first event was counted there. None of a service whose records
        name no version that its events have: they speak of something else, as an image's tag for a release. And none that came with
        a recorded change of its service, as the canary of a release has a name of its own.
    """
    if not settings.labels.compare or "service" not in settings.labels.watched:
        return ()
    found = []
    for (service, version), first in sorted(_came(incident, books, settings).items()):
        recorded = [change for change in changes.changes.values() if change.service == service]
        places = {region: bucket for region, bucket in first.items() if not _brought(recorded, region, bucket * settings.bucket_ms)}
        if not places or not _are_told(service, recorded, books, settings):
            continue
        first_ms = min(places.values()) * settings.bucket_ms
        if not any(_names(change, version, first_ms) for change in recorded):
            found.append(_stranger(service, version, places, settings.bucket_ms))
    return tuple(found)


def sentence_of(stranger: Change) -> str:
    """Say what came and where."""
    regions = sorted(region for region in stranger.reach if region)
    where = f" in {', '.join(regions)}" if regions else ""
    return f"{stranger.service} {stranger.version} came{where} around the onset, and no change record speaks of it"


def _came(incident: Incident, books: Books, settings: Settings) -> dict[tuple[str, str], dict[str | None, int]]:
    """Service and version of all that came into places that hurt, with the bucket of the first event in each."""
    oldest = min(incident.onset_in(region)[0] for region in ("", *incident.regions, *incident.began)) - BEFORE_MS // settings.bucket_ms
    # What came last stands last, and mostly nothing came of late.
    if next(reversed(books.appeared.values()), oldest) < oldest:
        return {}
    came: dict[tuple[str, str], dict[str | None, int]] = {}
    for (service, region), versions in _firsts(books, settings).items():
        if region is not None and incident.regions and region not in incident.regions:
            continue
        onset_ms = incident.onset_in(region or "")[0] * settings.bucket_ms
        # Of what a place had first nobody knows when it came.
        original = min(versions.values())
        for version, bucket in versions.items():
            if bucket != original and -BEFORE_MS <= bucket * settings.bucket_ms - onset_ms <= AFTER_MS:
                came.setdefault((service, version), {})[region] = bucket
    return came


def _firsts(books: Books, settings: Settings) -> dict[tuple[str, str | None], dict[str, int]]:
    """The bucket in which each version was first seen, whatever its other labels, by service and region."""
    watched = settings.labels.watched
    service, region, version = watched.index("service"), watched.index("region") if "region" in watched else None, len(watched)
    firsts: dict[tuple[str, str | None], dict[str, int]] = {}
    # In the order in which they came.
    for key, bucket in books.appeared.items():
        place = (key[service], None if region is None else key[region])
        if key[version] not in {"", Labels.OTHER} and Labels.OTHER not in place:
            firsts.setdefault(place, {}).setdefault(key[version], bucket)
    return firsts


def _brought(recorded: list[Change], region: str | None, first_ms: int) -> bool:
    """Whether a recorded change of a service reached a place about when something new was first seen there: then that came with it, whatever it is called."""
    reaches = [change.reach_at(region or "") for change in recorded if change.kind != "flag"]
    return any(reach is not None and reach.started_ms - CLOCKS_MS <= first_ms <= reach.touched_ms + UNSEEN_MS for reach in reaches)


def _are_told(service: str, changes: list[Change], books: Books, settings: Settings) -> bool:
    """Whether the records of a service name its versions as its events do."""
    names = {name for change in changes for name in (change.version, change.from_version)}
    n, at = len(settings.labels.watched), settings.labels.watched.index("service")
    return any(key[at] == service and key[n] in names for key in books.appeared)


def _names(change: Change, version: str, first_ms: int) -> bool:
    """Whether a change shipped a version, or found it there before its first event came: who came later says only what everybody saw."""
    if version == change.version and version != change.from_version:
        return True
    return version in {change.version, change.from_version, change.rollback.to_version} and change.started_ms <= first_ms


def _stranger(service: str, version: str, places: dict[str | None, int], bucket_ms: int) -> Change:
    first_ms = {region: bucket * bucket_ms for region, bucket in sorted(places.items(), key=str)}
    reach = {region: Reach(seen_ms - UNSEEN_MS, seen_ms - UNSEEN_MS, seen_ms + bucket_ms) for region, seen_ms in first_ms.items()}
    return Change(f"unrecorded {service} {version}", service, "code", None, version, Rollback(), reach)
