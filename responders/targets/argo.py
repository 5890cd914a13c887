"""An Argo Rollout: a roll-out under way is aborted first, which gives the traffic back to what is stable; then its template is brought back.

Its RBAC: get and patch rollouts, patch rollouts/status, list replicasets.

References
----------
https://argo-rollouts.readthedocs.io/en/stable/generated/kubectl-argo-rollouts/kubectl-argo-rollouts_abort/ and …_undo/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, TargetError, UnknownError
from rollguard.responders.targets.cluster import Cluster, Kept

__all__ = ["ArgoRollouts"]

_KEPT = Kept(api="argoproj.io/v1alpha1", plural="rollouts", revision="rollout.argoproj.io/revision", hash_label="rollouts-pod-template-hash")


class ArgoRollouts:
    """Asks an API server for Rollouts.

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
        """Read the version that the Rollout asks for."""
        return self._cluster.version_of(step, await self._cluster.read(step))

    async def plan(self, step: Step) -> Prepared:
        """Find the template to go back to, and whether there is a roll-out to abort."""
        found = await self._cluster.read(step)
        status = found.get("status") or {}
        rolling = status.get("phase") in {"Progressing", "Paused"} and not status.get("abort")
        back = f"bring the Rollout {found['metadata']['name']} back to the template of {step.to_version} in {step.region or 'all places'}"
        prepared = await self._cluster.prepare(step, found, f"abort the roll-out, then {back}" if rolling else back)
        return msgspec.structs.replace(prepared, body={**prepared.body, "abort": rolling})

    async def execute(self, prepared: Prepared) -> str:
        """Abort where there is something to abort, then write the template."""
        step, token = prepared.step, prepared.token
        if not prepared.body["abort"]:
            return await self._cluster.put_back(prepared, token)
        body = {"metadata": {"resourceVersion": token}, "status": {"abort": True}}
        answer = await self._cluster.patch(step, self._cluster.status_path(step), body, "application/merge-patch+json")
        if answer.status == 409:
            raise MovedError(self._cluster.at(step), "it was changed after it was judged")
        try:
            return "aborted; " + await self._cluster.put_back(prepared, _token(answer.body) or token)
        except TargetError as error:
            # Half of it is done: the traffic is back, and the next sync of the template would bring the version again.
            raise UnknownError(self._cluster.at(step), f"the roll-out is aborted, and its template is not brought back: {error.problem}") from None

    async def confirm(self, step: Step) -> Confirmed:
        """Ask whether the Rollout is healthy."""
        try:
            found = await self._cluster.read(step)
        except RefusedError:
            return "unknown"
        version = self._cluster.version_of(step, found)
        if version != step.to_version:
            return "going" if version == step.expected_version else "failed"
        status: dict[str, Any] = found.get("status") or {}
        # A string, where a Deployment has a number.
        if status.get("observedGeneration", "") != str(found["metadata"].get("generation", "")):
            return "going"
        return {"Healthy": "live", "Degraded": "failed"}.get(str(status.get("phase")), "going")  # type: ignore[return-value]

    async def close(self) -> None:
        """Let go of connections."""
        await self._cluster.close()


def _token(body: bytes) -> str | None:
    try:
        found: str | None = msgspec.json.decode(body)["metadata"]["resourceVersion"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    return found
