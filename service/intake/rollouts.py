"""Deployments of Kubernetes as they come, change records out. No clock and no socket: what was told is remembered by whoever asks.

A change is a new revision: the controller counts one for each template of pods, so that scaling is none, a paused Deployment is none before it goes on, and
going back to an old template is one of its own. The number and the Deployment's uid make the id, whoever reads it, and whenever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from rollguard.config import Cluster
from rollguard.incidents import ChangeKind, ChangeRecord
from rollguard.responders import image_version, rolled_out
from rollguard.service.intake.mapping import text_within, within

__all__ = ["Told", "changes_of"]

REVISION = "deployment.kubernetes.io/revision"


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
    kind : ChangeKind
    from_version : str or None
    """

    revision: int
    images: str
    version: str | None
    started_at: str = ""
    finished: bool = True
    kind: ChangeKind = "code"
    from_version: str | None = None


def changes_of(cluster: Cluster, name: str, found: Mapping[str, Any], told: Told | None, *, since: str, now: str, environment: str) -> tuple[Told, list[ChangeRecord]]:
    """Compare a Deployment with what was told of it.

    Parameters
    ----------
    cluster : Cluster
    name : str
        Of the cluster, in the config.
    found : mapping
        The Deployment.
    told : Told or None
        None: nothing ever was.
    since, now : str
        RFC 3339 in UTC, whole seconds, as Kubernetes writes it: when the cluster was first watched, and the present.
    environment : str

    Returns
    -------
    told : Told
        What is told with these records.
    records : list of ChangeRecord
        Empty: nothing changed.
    """
    revision = _number(text_within(found, "metadata", "annotations", REVISION))
    version, images = _version(cluster, found), _images(found)
    created = text_within(found, "metadata", "creationTimestamp") or now
    if revision == 0:
        # Its controller has not seen it yet.
        return told or Told(revision=0, images="", version=None), []
    if told is None and created < since:
        # It was there before we were: how it came to be so is no change.
        return Told(revision=revision, images=images, version=version), []
    if told is None or told.revision < revision:
        first = told is None or told.revision == 0
        told = Told(
            revision=revision,
            images=images,
            version=version,
            started_at=created if first else _written(found, now),
            finished=False,
            kind="code" if first or told is None or told.images != images else "config",
            from_version=None if told is None else told.version,
        )
        new = True
    else:
        new = False
    if told.finished:
        return told, []
    over = rolled_out(found) == "live"
    record = ChangeRecord(
        deploy_id=f"kubernetes/{text_within(found, 'metadata', 'uid')}/{revision}",
        service=text_within(found, "metadata", "labels", cluster.service_label) or text_within(found, "metadata", "name") or "",
        region=(None if cluster.region_label is None else text_within(found, "metadata", "labels", cluster.region_label)) or cluster.region,
        environment=environment,
        change_kind=told.kind,
        from_version=told.from_version,
        version=told.version,
        started_at=told.started_at,
        finished_at=max(told.started_at, _available(found) or now) if over else None,
        author=None if cluster.author is None else text_within(found, "metadata", "annotations", cluster.author),
    )
    return msgspec.structs.replace(told, finished=over), [record] if new or over else []


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else 0


def _containers(found: Mapping[str, Any]) -> list[Any]:
    pods = within(found, "spec", "template", "spec")
    return [each for kind in ("containers", "initContainers") for each in within(pods, kind) or () if isinstance(each, dict)]


def _version(cluster: Cluster, found: Mapping[str, Any]) -> str | None:
    labelled = None if cluster.version_label is None else text_within(found, "spec", "template", "metadata", "labels", cluster.version_label)
    wanted = cluster.container
    image = next((each.get("image") for each in _containers(found) if wanted is None or each.get("name") == wanted), None)
    return labelled or (image_version(image) if isinstance(image, str) else None)


def _images(found: Mapping[str, Any]) -> str:
    return hashlib.blake2b(msgspec.json.encode([each.get("image") for each in _containers(found)]), digest_size=8).hexdigest()


def _written(found: Mapping[str, Any], now: str) -> str:
    """When its template was last written, as the API server remembers it; else now."""
    times = [
        each["time"]
        for each in within(found, "metadata", "managedFields") or ()
        if isinstance(each, dict) and isinstance(each.get("time"), str) and within(each, "fieldsV1", "f:spec", "f:template") is not None
    ]
    return min(max(times, default=now), now)


def _available(found: Mapping[str, Any]) -> str | None:
    """When its controller saw the last of the new pods well."""
    for each in within(found, "status", "conditions") or ():
        if within(each, "type") == "Progressing" and within(each, "reason") == "NewReplicaSetAvailable":
            return text_within(each, "lastUpdateTime")
    return None
