"""Deployments as an API server tells of them, and answers of one that does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.responders.faulty import Answer, Asked

__all__ = ["BEFORE", "deployment", "event", "listed", "watch"]

#: When what was there before anybody watched was made.
BEFORE = "2026-03-01T08:00:00Z"


def deployment(
    *,
    revision: int = 1,
    image: str = "shop.example:5000/checkout:4.10.0",
    written: str | None = BEFORE,
    said: str | None = None,
    live: bool = True,
    generation: int | None = None,
    observed: int | None = None,
    version: str = "100",
    created: str = BEFORE,
    replicas: int = 3,
    **metadata: Any,
) -> dict[str, Any]:
    """A Deployment in the form of apps/v1; `written` and `said` are when its template was written, and when its controller last said how it comes on."""
    seen = generation or revision
    fields: list[dict[str, Any]] = [{"manager": "kubectl", "operation": "Apply", "time": written, "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}}]
    # A scaler, later than anybody who wrote the template.
    fields += [{"manager": "scaler", "operation": "Update", "subresource": "scale", "time": "2026-03-09T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" if live else "ReplicaSetUpdated", "lastUpdateTime": said or BEFORE}
    return {
        "metadata": {
            "name": "checkout",
            "namespace": "shop",
            "uid": "5f3a",
            "resourceVersion": version,
            "generation": seen,
            "creationTimestamp": created,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "labels": {"app.kubernetes.io/name": "checkout"},
            **({} if written is None else {"managedFields": fields}),
            **metadata,
        },
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "app", "image": image}]}}},
        "status": {
            "observedGeneration": seen if observed is None else observed,
            "replicas": replicas,
            "updatedReplicas": replicas if live else 1,
            "availableReplicas": replicas,
            "conditions": [{"type": "Available", "status": "True", "lastUpdateTime": "2026-03-09T00:00:00Z"}, progress],
        },
    }


def listed(*found: dict[str, Any], version: str = "100", more: str = "") -> Answer:
    """A list, or a page of one."""
    told = {"kind": "DeploymentList", "metadata": {"resourceVersion": version, "continue": more}, "items": list(found)}
    return Answer(200, msgspec.json.encode(told), {"content-type": "application/json"})


def event(kind: str, found: dict[str, Any]) -> bytes:
    """A line of a watch."""
    return msgspec.json.encode({"type": kind, "object": found}) + b"\n"


class watch:  # noqa: N801 - a kind of answer, made where it is used
    """A watch that says some lines, and then ends; or is cut off, or goes on saying nothing."""

    def __init__(self, *lines: bytes, then: str = "ends") -> None:
        self._lines: Sequence[bytes] = lines
        self._then = then

    async def __call__(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002 - as every behaviour
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for line in self._lines:
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        if self._then == "ends":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if self._then == "goes on":
            await reader.read()
