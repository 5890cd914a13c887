"""A judged version in, the one before it live again; one module a kind. Never judges whether that is right."""

from collections.abc import Callable

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import Target
from rollguard.responders.targets.argo import ArgoRollouts
from rollguard.responders.targets.cluster import image_version
from rollguard.responders.targets.command import CommandTarget
from rollguard.responders.targets.kubernetes import Kubernetes, rolled_out
from rollguard.responders.targets.webhook import WebhookTarget

__all__ = ["KINDS", "image_version", "make_target", "rolled_out"]

#: Another kind is a module, a line here, and one in the config's `Target.kind`.
KINDS: dict[str, Callable[[str, TargetConfig, Callable[[], str]], Target]] = {
    "argo_rollouts": ArgoRollouts,
    "command": CommandTarget,
    "kubernetes": Kubernetes,
    "webhook": WebhookTarget,
}


def make_target(name: str, target: TargetConfig, secret: Callable[[], str]) -> Target:
    """Make the target that a config describes; asks nobody anything yet.

    Parameters
    ----------
    name : str
        Of the target, in the config.
    target : rollguard.config.Target
    secret : callable
        Reads the secret; what rotates is read anew for each call. Raises a `RollguardError` where there is none.

    Raises
    ------
    RollguardError
        If it can never work: a secret that is missing or none of its kind, a file of certificates that is none.
    """
    return KINDS[target.kind](f"{name} ({target.kind})", target, secret)
