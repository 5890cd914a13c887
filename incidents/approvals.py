"""The rule of two persons: who may approve a plan, and how many have to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rollguard.config import Person, Respond, folded
from rollguard.incidents.incident import Incident
from rollguard.incidents.records import Command, Decision, Plan

__all__ = ["APPROVABLE", "approve", "needed_of", "propose", "reject"]

#: Conditions that persons may set aside by approving; what is not here, nobody can: it takes another plan, or hands.
APPROVABLE = frozenset({"mode", "trust", "lead", "sure", "absent_before", "grounds", "target", "budget", "cool_down", "compares", "freeze", "data"})
#: Of these, one person may set aside by themselves only what makes the rollback their decision instead of Rollguard's.
_BY_ONE = frozenset({"mode", "trust", "compares"})


def needed_of(failed: Collection[str], usual: int, authors: Collection[str]) -> int:
    """How many persons have to approve a plan; 0: none can.

    Parameters
    ----------
    failed : collection of str
        Names of the conditions that failed.
    usual : int
        As many as the operator set.
    authors : collection of str
        Of the change. Nobody can say who one is whose name is written in letters that look like others.
    """
    if not set(failed) <= APPROVABLE:
        return 0
    alone = set(failed) <= _BY_ONE and bool(authors) and all(folded(author).isascii() for author in authors)
    return usual if alone else 2


def propose(incident: Incident, plan: Plan | None, needs: int, *, at_ms: int, expires_ms: int) -> tuple[str, ...]:
    """Keep the plan that persons may approve up to date.

    Parameters
    ----------
    incident : Incident
    plan : Plan or None
        What would be done now, where persons may approve it.
    needs : int
        How many have to.
    at_ms, expires_ms : int
        Now, and for how long a plan waits.

    Returns
    -------
    tuple of str
        What became of the plan that waited before, in sentences.
    """
    before = incident.proposed
    if before is not None and at_ms > incident.proposed_ms + expires_ms:
        _drop(incident, before)
        return (f"nobody approved the plan {before.hash} in time: it has expired, and is not proposed again",)
    if plan is None or plan.hash in incident.dropped:
        incident.let_plan_go()
        return () if before is None else (f"the plan {before.hash} is withdrawn: it may no longer be approved",)
    incident.needs = needs
    if before is not None and before.hash == plan.hash:
        return ()
    incident.proposed, incident.proposed_ms, incident.approved_by = plan, at_ms, ()
    return () if before is None else (f"the plan {before.hash} is replaced: another is right now, and has to be approved anew",)


def approve(incident: Incident, command: Command, authors: Collection[str], respond: Respond, at_ms: int) -> Decision:
    """Take a person's approval of the plan that waits, or say why it does not count."""
    plan = incident.proposed
    refusal = _refusal(command, plan, authors, respond.people, incident.proposed_ms + respond.plan_expires_ms)
    if not refusal and command.by not in incident.approved_by:
        incident.approved_by = tuple(sorted((*incident.approved_by, command.by)))
    named = command.plan or "without a hash"
    said = f"{command.by} {'wanted to approve' if refusal else 'approved'} the plan {named}"
    left = incident.needs - len(incident.approved_by)
    blocked = f"it does not count: {refusal}" if refusal else f"{left} more has to approve it" if left > 0 else ""
    return Decision(at_ms=at_ms, action="hold", target=None if plan is None else str(plan), reasons=(said,), blocked_by=(blocked,) if blocked else ())


def reject(incident: Incident, command: Command, at_ms: int) -> Decision:
    """Take a person's no to the plan that waits."""
    plan = incident.proposed
    fits = plan is not None and command.plan == plan.hash
    if plan is not None and fits:
        _drop(incident, plan)
    said = f"{command.by} rejected the plan {command.plan or 'without a hash'}" + (f": {command.reason}" if command.reason else "")
    blocked = "it is not proposed again in this incident" if fits else "it does not count: no such plan waits"
    return Decision(at_ms=at_ms, action="hold", target=None if plan is None else str(plan), reasons=(said,), blocked_by=(blocked,))


def _drop(incident: Incident, plan: Plan) -> None:
    incident.dropped |= {plan.hash}
    incident.let_plan_go()


def _refusal(command: Command, plan: Plan | None, authors: Collection[str], people: Mapping[str, Person], until_ms: int) -> str:
    """Why a person's approval does not count, in a sentence; empty: it counts."""
    person = people.get(command.by)
    if plan is None:
        return "no plan waits for an approval"
    if person is None:
        return f"{command.by} is nobody that the config knows (`respond.people`)"
    names = {folded(name) for name in (command.by, *person.aliases)}
    checks = (
        (person.bot, f"{command.by} is a bot, and a bot approves nothing"),
        (bool(names & {folded(author) for author in authors}), f"{command.by} is an author of {plan.deploy_id}"),
        (command.plan != plan.hash, f"it is bound to the plan {command.plan or 'without a hash'}, and the plan now is {plan.hash}: look at it again"),
        (command.at_ms > until_ms, "the plan had expired when it was given"),
    )
    return next((sentence for failed, sentence in checks if failed), "")
