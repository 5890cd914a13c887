"""The life of an incident, as one table.

Rules
-----
- An incident opens with its first signal and is open while any of its series is away from its baseline.
- Deciding on a rollback makes it acting; it stays one incident.
- When a rollback is done and what hurt does not come back, it is open again; it is not rolled back a second time.
- When a rollback turns out not to have been done, the same.
- When every series has returned it is recovering; if one leaves again, it goes on where it was.
- It closes after a quiet time in recovery, or when a person says that it is over, and only then. A closed incident never changes.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["TRANSITIONS", "Event", "State", "step"]

State = Literal["open", "acting", "recovering", "recovering_after_action", "closed"]
Event = Literal["rollback_decided", "all_returned", "left_again", "not_helped", "not_done", "quiet", "resolved"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("open", "rollback_decided"): "acting",
    ("open", "all_returned"): "recovering",
    ("acting", "all_returned"): "recovering_after_action",
    ("acting", "not_helped"): "open",
    ("acting", "not_done"): "open",
    ("recovering", "left_again"): "open",
    ("recovering_after_action", "left_again"): "acting",
    ("recovering", "quiet"): "closed",
    ("recovering_after_action", "quiet"): "closed",
    ("open", "resolved"): "closed",
    ("acting", "resolved"): "closed",
    ("recovering", "resolved"): "closed",
    ("recovering_after_action", "resolved"): "closed",
}


def step(state: State, event: Event) -> State:
    """State after an event; an event that does not concern a state leaves it as it is.

    Examples
    --------
    >>> step("open", "all_returned")
    'recovering'
    >>> step("closed", "left_again")
    'closed'
    """
    return TRANSITIONS.get((state, event), state)
