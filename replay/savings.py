"""What a rollback that was decided in a replay would have saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollguard.config import ms_of, rfc3339

__all__ = ["ROLLBACK_TAKES_MS", "savings_of"]

#: How long a rollback is taken to need, from the decision to its effect.
ROLLBACK_TAKES_MS = 120_000


def savings_of(incident: dict[str, Any], lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Orders lost in all, less those lost until the first rollback took effect.

    What noise brings below nothing counts as nothing: nobody saves more than was lost, or less than nothing.

    Parameters
    ----------
    incident : dict
        As it stands in `incidents.jsonl`.
    lines : sequence of dict
        The timeline, in order.

    Returns
    -------
    dict
        `incident_id`; of the rollback `rollback_at` and `effect_at` (RFC 3339), None where there is none; in orders `lost_until_effect` and `saved`.
    """
    decided = next((d["at"] for d in incident["decisions"] if d["action"] == "rollback"), None)
    found: dict[str, Any] = {"incident_id": incident["incident_id"], "rollback_at": decided, "effect_at": None, "lost_until_effect": None, "saved": 0.0}
    if decided is None:
        return found
    effect_ms = ms_of(decided) + ROLLBACK_TAKES_MS
    mine = [line for line in lines if line["incident_id"] == incident["incident_id"] and "incident" in line]
    until = next((line for line in mine if ms_of(line["at"]) >= effect_ms), mine[-1])["incident"]["orders_lost"]
    until = max(until, 0.0)
    return found | {"effect_at": rfc3339(effect_ms), "lost_until_effect": until, "saved": round(max(incident["orders_lost"] - until, 0.0), 1)}
