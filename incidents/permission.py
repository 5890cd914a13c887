"""What an operator lets Rollguard do for a service at a moment, whatever has happened there."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.config import Mode, Planned, Settings, folded
from rollguard.incidents.history import History

__all__ = ["Permission", "permission_of"]


@dataclass(frozen=True, slots=True)
class Permission:
    """What may be done for a service.

    Attributes
    ----------
    mode : Mode
    trust : str
        Why it has not earned to be acted on without a person; empty: it has.
    freeze : str
        Why nothing may be rolled back now; empty: it may.
    quiet : str
        Why nobody is paged about it now; empty: somebody is.
    protected, executor, compares : bool
        See `Facts`.
    approvals : int
        Persons who have to approve a plan.
    """

    mode: Mode
    trust: str
    freeze: str
    quiet: str
    protected: bool
    executor: bool
    compares: bool
    approvals: int


def permission_of(service: str | None, settings: Settings, history: History, at_ms: int, *, live: bool) -> Permission:
    """Look up what may be done for a service.

    Parameters
    ----------
    service : str or None
        None: nobody knows whose incident it is.
    settings : Settings
    history : History
    at_ms : int
    live : bool
        In a replay nothing is carried out: trust counts as earned, and every service has a target.
    """
    respond = settings.respond
    own = settings.service(service)
    target = respond.targets.get(own.target or "")
    planned = _now(respond.planned, service, at_ms)
    freeze = _now(respond.freezes, service, at_ms)
    return Permission(
        mode=own.mode,
        trust=history.why_distrusted(service, granted=not live or respond.trust == "granted") if own.mode is Mode.AUTO else "",
        freeze=f"frozen: {freeze}" if freeze else f"planned: {planned}" if planned else "",
        quiet=f"planned: {planned}" if planned else history.muted(service, at_ms),
        protected=service is not None and folded(service) in {folded(each) for each in respond.protected},
        executor=not live or target is not None,
        compares=not live or (target is not None and target.compares == "native"),
        approvals=own.approvals,
    )


def _now(spans: tuple[Planned, ...], service: str | None, at_ms: int) -> str:
    """The reason of the first span that a service is in."""
    return next((span.reason for span in spans if span.holds(service, at_ms)), "")
