"""Deployments of Kubernetes as they come, change records out. No clock and no socket: what was told is remembered by whoever asks.

A change is a new revision: the controller counts one for each template of pods, so that scaling is none, a paused Deployment is none before it goes on, and
going back to an old template is one of its own. The number and the Deployment's uid make the id, and every time is one that stands in the Deployment: whoever
reads it, and whenever, says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollguard.config import Cluster
from rollguard.incidents import ChangeKind, ChangeRecord
from rollguard.responders import rolled_out
from rollguard.service.intake.deployments import Deployment

__all__ = ["Told", "changes_of"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was last told of a Deployment.

    Attributes
    ----------
    revision : int
    images : str
        Digest of its images: another one is code, the same is config.
    version : str or None
    started_at : str
        When that revision began; empty: before anybody watched.
    finished : bool
        It is rolled out, and that was told.
    said_at : str
        When its controller had last said how it comes on.
    kind : ChangeKind
    from_version : str or None
    """

    revision: int
    images: str
    version: str | None
    started_at: str = ""
    finished: bool = True
    said_at: str = ""
    kind: ChangeKind = "code"
    from_version: str | None = None


def changes_of(cluster: Cluster, found: Mapping[str, Any], told: Told | None, *, since: str, environment: str) -> tuple[Told | None, list[ChangeRecord]]:
    """Compare a Deployment with what was told of it.

    Parameters
    ----------
    cluster : Cluster
    found : mapping
        The Deployment.
    told : Told or None
        None: nothing ever was.
    since : str
        When the cluster was first watched: RFC 3339 in UTC, whole seconds, as Kubernetes writes it.
    environment : str

    Returns
    -------
    told : Told or None
        What is told with these records.
    records : list of ChangeRecord
        Empty: nothing changed.

    Raises
    ------
    UnusableError
        If it is no Deployment.
    """
    seen = Deployment.of(found)
    before = told
    if seen.revision and (told is None or seen.revision > told.revision):
        told = _next(cluster, seen, told, since)
    # An older one is heard again after a failure, and says nothing of the newer.
    if told is None or told.finished or told.revision != seen.revision:
        return told, []
    is_over = rolled_out(found) == "live"
    if told is before and not is_over:
        return told, []
    record = ChangeRecord(
        deploy_id=f"kubernetes/{seen.metadata.uid}/{seen.revision}",
        service=seen.label(cluster.service_label) or seen.metadata.name,
        region=seen.label(cluster.region_label) or cluster.region,
        environment=environment,
        change_kind=told.kind,
        from_version=told.from_version,
        version=told.version,
        started_at=told.started_at,
        finished_at=max(told.started_at, seen.said) if is_over else None,
        author=seen.annotation(cluster.author),
    )
    return msgspec.structs.replace(told, finished=is_over, said_at=seen.said), [record]


def _next(cluster: Cluster, seen: Deployment, told: Told | None, since: str) -> Told | None:
    """What is to be told of a revision that is new to us; as before: nobody can say yet when it began."""
    new = Told(revision=seen.revision, images=seen.images, version=seen.version(cluster), said_at=seen.said)
    if told is None:
        created = seen.metadata.creation_timestamp
        # One that was there before we were: how it came to be so is no change.
        return new if created < since else msgspec.structs.replace(new, started_at=created, finished=False)
    # Where nobody keeps managedFields, its controller's own words, once they are not those of the revision before.
    started = seen.written or (seen.said if seen.said > told.said_at else "")
    if not started:
        return told
    kind: ChangeKind = "config" if told.images == new.images else "code"
    return msgspec.structs.replace(new, started_at=started, finished=False, kind=kind, from_version=told.version)
