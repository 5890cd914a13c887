"""A Deployment of Kubernetes, as far as it is read: its names, its template, and how far its controller has come with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from rollguard.config import Cluster
from rollguard.responders import image_version
from rollguard.service.intake.mapping import within
from rollguard.service.intake.records import UnusableError

__all__ = ["Deployment"]

REVISION = "deployment.kubernetes.io/revision"


class _Form(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Other fields are left alone; what is empty may be missing, or null."""


class _Managed(_Form, frozen=True, kw_only=True):
    fields: Any = msgspec.field(default=None, name="fieldsV1")
    time: str | None = None


class _Meta(_Form, frozen=True, kw_only=True):
    name: str
    uid: str
    generation: int
    creation_timestamp: str
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    managed_fields: list[_Managed] | None = None


class _Container(_Form, frozen=True, kw_only=True):
    name: str
    image: str | None = None


class _Pods(_Form, frozen=True, kw_only=True):
    containers: list[_Container]
    init_containers: list[_Container] | None = None


class _PodMeta(_Form, frozen=True, kw_only=True):
    labels: dict[str, str] | None = None


class _Template(_Form, frozen=True, kw_only=True):
    metadata: _PodMeta | None = None
    spec: _Pods


class _Spec(_Form, frozen=True, kw_only=True):
    replicas: int | None = None
    template: _Template


class _Condition(_Form, frozen=True, kw_only=True):
    type: str
    status: str
    last_update_time: str | None = None


class _Status(_Form, frozen=True, kw_only=True):
    observed_generation: int = 0
    replicas: int | None = None
    updated_replicas: int | None = None
    available_replicas: int | None = None
    conditions: list[_Condition] | None = None


class Deployment(_Form, frozen=True, kw_only=True):
    """A Deployment of apps/v1."""

    metadata: _Meta
    spec: _Spec
    status: _Status = _Status()

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Deployment:
        """Read what an API server gave.

        Raises
        ------
        UnusableError
            If it is none.
        """
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise UnusableError(f"kubernetes: {error}. Expected: a Deployment of apps/v1") from None

    @property
    def revision(self) -> int:
        """Number of its template; 0: its controller has not counted this one yet."""
        text = (self.metadata.annotations or {}).get(REVISION, "")
        is_number = text.isascii() and text.isdigit() and len(text) < 12
        return int(text) if is_number and self.status.observed_generation >= self.metadata.generation else 0

    @property
    def images(self) -> str:
        """Digest of all its images."""
        pods = self.spec.template.spec
        return hashlib.blake2b(msgspec.json.encode([each.image for each in [*pods.containers, *(pods.init_containers or [])]]), digest_size=8).hexdigest()

    @property
    def written(self) -> str:
        """When its template was last written, as the API server remembers it; empty: it does not."""
        managed = (each for each in self.metadata.managed_fields or [] if within(each.fields, "f:spec", "f:template") is not None)
        return max((each.time or "" for each in managed), default="")

    @property
    def said(self) -> str:
        """When its controller last saw it come on, or all of its new pods well; empty: it has said nothing."""
        # Not Available, which turns with every pod that comes and goes, also while nothing changes.
        return max((each.last_update_time or "" for each in self.status.conditions or [] if each.type == "Progressing"), default="")

    def version(self, cluster: Cluster) -> str | None:
        """What the events call it: its label's value, or what its image says."""
        meta = self.spec.template.metadata or _PodMeta()
        labelled = (meta.labels or {}).get(cluster.version_label or "")
        wanted = cluster.container
        image = next((each.image for each in self.spec.template.spec.containers if wanted is None or each.name == wanted), None)
        return labelled or (None if image is None else image_version(image))

    def label(self, name: str | None) -> str | None:
        """A label of its own; None: it has none of that name, or an empty one."""
        return (self.metadata.labels or {}).get(name or "") or None

    def annotation(self, name: str | None) -> str | None:
        """An annotation; None: as of labels."""
        return (self.metadata.annotations or {}).get(name or "") or None
