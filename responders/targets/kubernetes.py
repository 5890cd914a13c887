"""A Deployment of Kubernetes, brought back to the template of an earlier ReplicaSet; its RBAC: get and patch deployments, list replicasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import Confirmed, Prepared, RefusedError, Step
from rollguard.responders.targets.cluster import Cluster, Kept

__all__ = ["Kubernetes"]

_KEPT = Kept(api="apps/v1", plural="deployments", revision="deployment.kubernetes.io/revision", hash_label="pod-template-hash")


class Kubernetes:
    """Asks an API server.

    Parameters
    ----------
    where : str
    target : rollguard.config.Target
    secret : callable
        Reads the bearer token.

    Raises
    ------
    RollguardError
        If it can never work.
    """

    def __init__(self, where: str, target: TargetConfig, secret: Callable[[], str]) -> None:
        self._cluster = Cluster(where, target, secret, _KEPT)

    @property
    def cas(self) -> Literal["native", "read-then-call", "none"]:
        """By `resourceVersion`."""
        return self._cluster.cas

    async def current(self, step: Step) -> str:
        """Read the version that the Deployment asks for."""
        return self._cluster.version_of(step, await self._cluster.read(step))

    async def plan(self, step: Step) -> Prepared:
        """Find the template to go back to."""
        found = await self._cluster.read(step)
        if found["spec"].get("paused"):
            raise RefusedError(self._cluster.at(step), "the Deployment is paused: somebody is at work on it")
        name = found["metadata"]["name"]
        return await self._cluster.prepare(
            step, found, f"bring the Deployment {name} back to the template of {step.to_version} in {step.region or 'all places'}"
        )

    async def execute(self, prepared: Prepared) -> str:
        """Write the template."""
        return await self._cluster.put_back(prepared, prepared.token)

    async def confirm(self, step: Step) -> Confirmed:
        """Ask whether every replica is of the version and available."""
        try:
            found = await self._cluster.read(step)
        except RefusedError:
            return "unknown"
        version = self._cluster.version_of(step, found)
        if version != step.to_version:
            return "going" if version == step.expected_version else "failed"
        return _progress(found)

    async def close(self) -> None:
        """Let go of connections."""
        await self._cluster.close()


def _progress(found: dict[str, Any]) -> Confirmed:
    """As `kubectl rollout status` reads it."""
    status = found.get("status") or {}
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return "going"
    if any(each.get("type") == "Progressing" and each.get("status") == "False" for each in status.get("conditions") or []):
        return "failed"
    wanted = found["spec"].get("replicas", 1)
    counts = [status.get(name) or 0 for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return "live" if counts == [wanted] * 3 else "going"
