"""What has been decided and closed so far, as far as later decisions depend on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from rollguard.config import Policy
from rollguard.incidents.changes import Change, ChangeBook

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """Rollbacks decided, cool-downs running, incidents closed, and the kill switch.

    Attributes
    ----------
    kill_switch : bool
    rolled_back : dict of str to int
        When each plan was decided, epoch ms; a plan is decided once.
    cooling_until_ms : dict of str to int
        By service.
    closed : list of (int, frozenset of str)
        When each incident closed, and the services it hurt.
    """

    kill_switch: bool = False
    rolled_back: dict[str, int] = field(default_factory=dict)
    cooling_until_ms: dict[str, int] = field(default_factory=dict)
    closed: list[tuple[int, frozenset[str]]] = field(default_factory=list)

    def add_rollback(self, plan: str, service: str, at_ms: int, policy: Policy) -> None:
        """Note a rollback that has been decided."""
        self.rolled_back[plan] = at_ms
        self.cooling_until_ms[service] = at_ms + policy.cool_down_ms

    def rollbacks_left(self, at_ms: int, policy: Policy) -> int:
        """How many the budget still allows."""
        recent = [then for then in self.rolled_back.values() if at_ms - then < policy.max_rollbacks_per_ms]
        return policy.max_rollbacks - len(recent)

    def cooling(self, service: str, at_ms: int) -> bool:
        """Whether a service's cool-down is running."""
        return self.cooling_until_ms.get(service, 0) > at_ms

    def known_good(self, change: Change, changes: ChangeBook, policy: Policy) -> bool:
        """Whether the version before a change was live for long enough, with no incident of its service meanwhile."""
        began = change.started_ms
        for other in changes.changes.values():
            if other is change or other.service != change.service:
                continue
            for region, reach in other.reach.items():
                same_place = region is None or None in change.reach or region in change.reach
                if same_place and began - policy.known_good_ms < (reach.finished_ms or reach.started_ms) <= began:
                    return False
        return not any(change.service in services and began - policy.known_good_ms < at_ms <= began for at_ms, services in self.closed)
