"""The timeline as lines of JSON, and its fold: what each incident came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rollguard.config import rfc3339
from rollguard.incidents import Decision, Entry, IncidentState

__all__ = ["fold", "line_of"]

_ENCODER = msgspec.json.Encoder(order="deterministic")


def line_of(entry: Entry) -> bytes:
    """One line of `timeline.jsonl`, without its line end; keys in a fixed order."""
    line: dict[str, Any] = {"at": rfc3339(entry.at_ms), "event": entry.event, "incident_id": entry.incident_id}
    if entry.incident is not None:
        line["incident"] = _incident(entry.incident)
    if entry.decision is not None:
        line["decision"] = _decision(entry.decision)
    return _ENCODER.encode(line)


def fold(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Incidents from the lines of a timeline, in the order they opened.

    Parameters
    ----------
    lines : iterable of dict
        Decoded lines of `timeline.jsonl`.

    Returns
    -------
    list of dict
        One line of `incidents.jsonl` each: the last known state and all decisions.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        incident = found.setdefault(line["incident_id"], {"incident_id": line["incident_id"], "decisions": []})
        if "incident" in line:
            incident |= line["incident"]
        if "decision" in line:
            incident["decisions"].append(line["decision"])
    return list(found.values())


def _incident(state: IncidentState) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(state)
    for name in ("opened_at", "onset", "closed_at"):
        plain[name] = rfc3339(plain.pop(f"{name}_ms"))
    for name in ("acknowledged_by", "helped"):
        if plain[name] is None:
            del plain[name]
    return plain


def _decision(decision: Decision) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(decision)
    plain["at"] = rfc3339(plain.pop("at_ms"))
    if decision.plan is None:
        del plain["plan"]
    else:
        plain["plan"]["hash"] = decision.plan.hash
    for name in ("needs", "approved_by", "escalates"):
        if not plain[name]:
            del plain[name]
    return plain
