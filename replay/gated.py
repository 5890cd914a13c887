"""What if a pipeline had asked the gate before the culprit went out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from rollguard.config import Settings, ms_of
from rollguard.incidents import ChangeSeen, GateAnswer, GateQuestion, Release, answered, learnt
from rollguard.replay.timeline import fold

__all__ = ["gated"]


def gated(incident: dict[str, Any], timeline: Sequence[bytes], known: Sequence[ChangeSeen], settings: Settings, approvals: int) -> dict[str, Any]:
    """Ask the gate about the change that is called guilty, as it would have been asked just before that started, were so many approvals needed.

    Parameters
    ----------
    incident : dict
        A line of `incidents.jsonl`.
    timeline : sequence of bytes
        Of the same replay.
    known : sequence of ChangeSeen
        All changes.
    settings : Settings
    approvals : int
        That every version needs.

    Returns
    -------
    dict
        `switch`, `incident_id`, `text`; where a change is called guilty also `answer`, `reasons`, and `stopped_of_all`: how many of all changes would
        have had to wait for an approval, and how many there were.
    """
    found = {"switch": "require_approvals", "incident_id": incident["incident_id"]}
    if incident["verdict"] != "guilty":
        return found | {"text": "no change is called guilty: there is nothing that the gate should have stopped."}
    gate = settings.respond.gate.model_copy(update={"one_region": approvals, "everywhere": approvals})
    asked = settings.model_copy(update={"respond": settings.respond.model_copy(update={"gate": gate})})
    culprit = incident["suspects"][0]["deploy_id"]
    changes: dict[str, list[ChangeSeen]] = {}
    for seen in known:
        changes.setdefault(seen.deploy_id, []).append(seen)
    mine = changes.get(culprit, [])
    if not mine:
        return found | {"text": f"of {culprit} no record is known: the gate would have known nothing of it."}
    answer = _answer(mine, _open_at(timeline, min(each.started_ms for each in mine)), asked)
    stopped = sum(_answer(each, [], asked).answer != "pass" for each in changes.values())
    said = {
        "pass": f"the gate would have let {culprit} pass: {'; '.join(answer.reasons)}.",
        "wait": f"the gate would have held {culprit} back: {'; '.join(answer.reasons)}.",
        "block": f"the gate would have blocked {culprit}: {'; '.join(answer.reasons)}.",
    }[answer.answer]
    price = f"With the same rule {stopped} of all {len(changes)} changes would have had to wait for an approval."
    hope = "" if answer.answer == "pass" else f" About {incident['orders_lost']:.0f} orders hung on whether who approves sees the fault; nobody can know that."
    return found | {
        "text": f"{said}{hope} {price}",
        "answer": answer.answer,
        "reasons": list(answer.reasons),
        "stopped_of_all": [stopped, len(changes)],
    }


def _answer(change: Sequence[ChangeSeen], incidents: Sequence[Mapping[str, Any]], settings: Settings) -> GateAnswer:
    """What the gate says of a change just before it starts, when it is nowhere yet."""
    first = min(change, key=lambda each: each.started_ms)
    release = Release(service=first.service, version=first.version or "")
    for each in change:
        release = learnt(release, each)
    regions = {each.region for each in change}
    question = GateQuestion(service=first.service, version=first.version or "", region=next(iter(regions)) if len(regions) == 1 else None)
    return answered(question, replace(release, reached={}), incidents, settings, now_ms=first.started_ms, frontier_ms=first.started_ms, undone="")


def _open_at(timeline: Sequence[bytes], at_ms: int) -> list[dict[str, Any]]:
    """Incidents that were open at a moment, as they were told then."""
    return [incident for incident in fold(_until(timeline, at_ms)) if incident["closed_at"] is None]


def _until(timeline: Sequence[bytes], at_ms: int) -> Iterator[dict[str, Any]]:
    for line in timeline:
        entry: dict[str, Any] = msgspec.json.decode(line)
        if ms_of(entry["at"]) <= at_ms:
            yield entry
