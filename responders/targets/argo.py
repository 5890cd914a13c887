"""An Argo Rollout: a roll-out under way is aborted first, which gives the traffic back to what is stable; then its template is brought back.

Its RBAC: get and patch rollouts, patch rollouts/status, list replicasets.

References
----------
https://argo-rollouts.readthedocs.io/en/stable/generated/kubectl-argo-rollouts/kubectl-argo-rollouts_abort/ and …_undo/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollguard.responders.records import Confirmed, MovedError, Prepared, Step, TargetError, UnknownError
from rollguard.responders.targets.cluster import Cluster, Kept

__all__ = ["ArgoRollouts"]

_PHASES: Mapping[str, Confirmed] = {"Healthy": "live", "Degraded": "failed"}


class ArgoRollouts(Cluster):
    """Asks an API server for Rollouts; see `Cluster`."""

    kept = Kept(
        api="argoproj.io/v1alpha1",
        plural="rollouts",
        revision="rollout.argoproj.io/revision",
        hash_label="rollouts-pod-template-hash",
        parts=(("patch", "status"),),
    )

    async def plan(self, step: Step) -> Prepared:
        """Find the template to go back to, and whether there is a roll-out to abort."""
        found = await self.read(step)
        status = found.get("status") or {}
        rolling = status.get("phase") in {"Progressing", "Paused"} and not status.get("abort")
        back = f"bring the Rollout {found['metadata']['name']} back to the template of {step.to_version} in {step.region or 'all places'}"
        prepared = await self.prepare(step, found, f"abort the roll-out, then {back}" if rolling else back)
        return msgspec.structs.replace(prepared, body={**prepared.body, "abort": rolling})

    async def execute(self, prepared: Prepared) -> str:
        """Abort where there is something to abort, then write the template."""
        step, token = prepared.step, prepared.token
        if not prepared.body["abort"]:
            return await self.put_back(prepared, token)
        body = {"metadata": {"resourceVersion": token}, "status": {"abort": True}}
        answer = await self.patch(step, self.object_path(step, "status"), body, "application/merge-patch+json")
        if answer.status == 409:
            raise MovedError(self.at(step), "it was changed after it was judged")
        try:
            return "aborted; " + await self.put_back(prepared, _token(answer.body) or token)
        except TargetError as error:
            # Half of it is done: the traffic is back, and the next sync of the template would bring the version again.
            raise UnknownError(self.at(step), f"the roll-out is aborted, and its template is not brought back: {error.problem}") from None

    @staticmethod
    def progress(found: Mapping[str, Any]) -> Confirmed:
        """As the Rollout's own phase says."""
        status: Mapping[str, Any] = found.get("status") or {}
        # A string, where a Deployment has a number.
        if status.get("observedGeneration", "") != str(found["metadata"].get("generation", "")):
            return "going"
        return _PHASES.get(str(status.get("phase")), "going")


def _token(body: bytes) -> str | None:
    try:
        found: str | None = msgspec.json.decode(body)["metadata"]["resourceVersion"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    return found
