from __future__ import annotations

from typing import Any

import pytest

from rollguard.config import rfc3339
from rollguard.replay.savings import savings_of

#: 2 March 2026, 09:00 UTC.
NOON, MIN = 1_772_442_000_000, 60_000


def saving(lost: list[float], *actions: str) -> dict[str, Any]:
    """Of an incident told of each minute, with what it had cost by then; decisions are made in the second of them."""
    decisions = [{"at": rfc3339(NOON + MIN), "action": action} for action in actions]
    lines = [{"at": rfc3339(NOON + at * MIN), "incident_id": "inc-1", "incident": {"orders_lost": each}} for at, each in enumerate(lost)]
    return savings_of({"incident_id": "inc-1", "orders_lost": lost[-1], "decisions": decisions}, lines)


def test_what_is_lost_once_the_rollback_has_taken_effect_is_saved() -> None:
    found = saving([0.0, 5.0, 10.0, 15.0, 40.0], "page", "rollback")
    assert (found["effect_at"], found["lost_until_effect"], found["saved"]) == (rfc3339(NOON + 3 * MIN), 15.0, 25.0)


def test_without_a_rollback_nothing_is_saved() -> None:
    found = saving([0.0, 5.0, 10.0], "page", "hold")
    assert (found["rollback_at"], found["saved"]) == (None, 0.0)


@pytest.mark.parametrize(
    ("lost", "until", "saved"),
    [([0, 0, 0, -11.6, 41.3], 0, 41.3), ([0, 0, 0, -36.5, -166.1], 0, 0), ([0, 0, 0, 67.5, -39.6], 67.5, 0), ([0, 0, 0, 50, 20], 50, 0)],
)
def test_nobody_saves_more_than_was_lost_or_less_than_nothing(lost: list[float], until: float, saved: float) -> None:
    found = saving(lost, "rollback")
    assert (found["lost_until_effect"], found["saved"]) == (until, saved)
