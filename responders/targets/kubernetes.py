"""A Deployment of Kubernetes, brought back to the template of an earlier ReplicaSet; its RBAC: get and patch deployments, list replicasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollguard.responders.records import Confirmed, Prepared, RefusedError, Step
from rollguard.responders.targets.cluster import Cluster, Kept

__all__ = ["Kubernetes", "rolled_out"]


class Kubernetes(Cluster):
    """Asks an API server; see `Cluster`."""

    kept = Kept(api="apps/v1", plural="deployments", revision="deployment.kubernetes.io/revision", hash_label="pod-template-hash")

    async def plan(self, step: Step) -> Prepared:
        """Find the template to go back to."""
        found = await self.read(step)
        if found["spec"].get("paused"):
            raise RefusedError(self.at(step), "the Deployment is paused: somebody is at work on it")
        name = found["metadata"]["name"]
        return await self.prepare(step, found, f"bring the Deployment {name} back to the template of {step.to_version} in {step.region or 'all places'}")

    async def execute(self, prepared: Prepared) -> str:
        """Write the template."""
        return await self.put_back(prepared, prepared.token)

    @staticmethod
    def progress(found: Mapping[str, Any]) -> Confirmed:
        """As `kubectl rollout status` reads it."""
        return rolled_out(found)


def rolled_out(found: Mapping[str, Any]) -> Confirmed:
    """How far a Deployment has come, as `kubectl rollout status` reads it."""
    status = found.get("status") or {}
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return "going"
    if any(each.get("type") == "Progressing" and each.get("status") == "False" for each in status.get("conditions") or []):
        return "failed"
    wanted = found["spec"].get("replicas", 1)
    counts = [status.get(name) or 0 for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return "live" if counts == [wanted] * 3 else "going"
