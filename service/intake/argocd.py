"""Syncs of Argo CD, as `deploy/argocd/notifications-cm.yaml` sends them.

References
----------
https://argo-cd.readthedocs.io/en/stable/operator-manual/notifications/services/webhook/
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from rollguard.config import ArgoKey
from rollguard.responders import image_version
from rollguard.service.intake.mapping import FieldMap, object_of, text_within, within
from rollguard.service.intake.records import Delivery, ForgedError, Proven, Said, UnusableError

__all__ = ["Argocd"]


class Argocd:
    """Takes notifications of Argo CD.

    Parameters
    ----------
    keys : mapping of str to ArgoKey
    secrets : mapping of str to str
        The bearer token of each.
    environment : str
        What an application changes, unless an expression says otherwise.
    """

    name = "argocd"
    path = "/changes/argocd"

    def __init__(self, keys: Mapping[str, ArgoKey], secrets: Mapping[str, str], environment: str) -> None:
        self._keys = dict(keys)
        self._secrets = {name: secrets[name].strip().encode() for name in keys}
        self._environment = environment
        self._fields = {name: FieldMap(key.fields, f"changes.http.argocd.{name}.fields") for name, key in keys.items()}

    def prove(self, delivery: Delivery) -> Proven:
        """Find whose token it is."""
        scheme, _, token = delivery.header("authorization").partition(" ")
        said = token.strip().encode("utf-8", "replace")
        right = [name for name, secret in self._secrets.items() if hmac.compare_digest(secret, said)]
        if scheme.lower() != "bearer" or not right:
            raise ForgedError("argocd: no token of ours. Expected: the header Authorization: Bearer …, as deploy/argocd/notifications-cm.yaml sends it")
        return Proven(key=right[0], services=self._keys[right[0]].services)

    def read(self, proven: Proven, delivery: Delivery) -> Said:
        """Read a notification."""
        message = object_of(delivery.body, "argocd")
        app, phase, started = (text_within(message, name) for name in ("app", "phase", "started_at"))
        if app is None or phase is None or started is None:
            raise UnusableError("argocd: app, phase or started_at is missing. Expected: the body of deploy/argocd/notifications-cm.yaml")
        over = text_within(message, "finished_at")
        times: dict[str, Any] = {"started_at": started}
        match phase:
            case "Succeeded" if over is not None:
                # Synced is not yet live: pods come up after it.
                times["finished_at"] = max(over, text_within(message, "healthy_at") or "")
            case "Running" | "Terminating":
                pass
            case "Failed" | "Error":
                # A part may have been applied.
                times["started_at"] = over or started
            case _:
                return Said(records=(), note=f"a phase {phase[:40]!r} changes nothing")
        return Said(records=self._fields[proven.key].records(message, self._usual(message, app, started, is_over="finished_at" in times) | times))

    def _usual(self, message: Mapping[str, Any], app: str, started: str, *, is_over: bool) -> dict[str, Any]:
        """A change's fields, as they are without the config's expressions."""
        labels = within(message, "labels")
        service = text_within(labels, "app.kubernetes.io/name") or app
        by = None if within(message, "initiated_by", "automated") else text_within(message, "initiated_by", "username")
        return {
            "deploy_id": f"argocd/{text_within(message, 'namespace') or 'argocd'}/{app}/{started}",
            "service": service,
            "region": text_within(labels, "topology.kubernetes.io/region"),
            "environment": self._environment,
            # While it runs, the images are still those of before.
            "version": _version(message, service) if is_over else None,
            "author": by,
        }


def _version(message: Mapping[str, Any], service: str) -> str | None:
    """The tag of the service's image, or of the only one there is; else the revision that was applied."""
    said = within(message, "images")
    images = [each for each in said if isinstance(each, str) and each] if isinstance(said, list) else []
    named = [each for each in images if each.partition("@")[0].rpartition("/")[2].partition(":")[0] == service] or images
    versions = {image_version(each) for each in named}
    return versions.pop() if len(versions) == 1 else text_within(message, "revision")
