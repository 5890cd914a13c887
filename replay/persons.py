"""Persons who were not there: what a replay would have decided if somebody had approved its plan, so long after the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rollguard.config import Mode, Person, Settings
from rollguard.detectors import Tick
from rollguard.incidents import Command, Decision, Desk, Entry, LogRecord, Plan

__all__ = ["Persons", "with_persons"]

#: Two, since some plans need two.
NAMES = ("somebody", "somebody-else")
#: A plan that is proposed after they began to look is read for so long before it is approved.
READING_MS = 60_000
#: Never looked at: nobody signs anything in a replay.
KEY = "env:NOBODY"


def with_persons(settings: Settings) -> Settings:
    """The same settings in mode `approve`, with two persons who may approve."""
    people = {**settings.respond.people, **{name: Person(secret=KEY) for name in NAMES}}
    return settings.model_copy(update={"mode": Mode.APPROVE, "respond": settings.respond.model_copy(update={"people": people})})


@dataclass(slots=True)
class _Waiting:
    """An incident that was paged, and the plan that waits there."""

    paged_ms: int
    plan: Plan | None = None
    needs: int = 0
    proposed_ms: int = 0
    approved: str = ""
    by: int = 0


class Persons:
    """Approves each plan that waits, as persons would: so long after the page, and no sooner than a minute after the plan was proposed.

    They say yes to everything that a person may say yes to, and as many of them as the plan needs. What the desk does not let them approve stays undone;
    a plan that expired before they came is gone.

    Parameters
    ----------
    settings : Settings
        Made by `with_persons`.
    after_ms : int
        How long after the page they approve.
    """

    def __init__(self, settings: Settings, after_ms: int) -> None:
        self.bucket_ms = settings.bucket_ms
        self.lateness_ms = max(source.lateness_ms for source in settings.sources.values())
        self.after_ms = after_ms
        self.waiting: dict[str, _Waiting] = {}

    def follow(self, desk: Desk, log: Iterable[LogRecord]) -> Iterator[Entry]:
        """Feed a desk, and add what the persons say to its log, where it belongs in time.

        Parameters
        ----------
        desk : Desk
        log : iterable of LogRecord

        Yields
        ------
        Entry
        """
        for record in log:
            if isinstance(record, Tick):
                for command in self._due((record.bucket + 1) * self.bucket_ms + self.lateness_ms):
                    yield from desk.feed([command])
            for entry in desk.feed([record]):
                self._see(entry)
                yield entry

    def _see(self, entry: Entry) -> None:
        if entry.event == "closed":
            self.waiting.pop(entry.incident_id, None)
        decision = entry.decision
        if decision is None:
            return
        if decision.action == "page":
            self.waiting.setdefault(entry.incident_id, _Waiting(decision.at_ms))
        elif decision.action == "hold" and entry.incident_id in self.waiting:
            self._hold(self.waiting[entry.incident_id], decision)

    @staticmethod
    def _hold(mine: _Waiting, decision: Decision) -> None:
        plan = decision.plan if decision.needs else None
        if plan is not None and (mine.plan is None or plan.hash != mine.plan.hash):
            mine.proposed_ms = decision.at_ms
        mine.plan, mine.needs = plan, decision.needs

    def _due(self, now_ms: int) -> Iterator[Command]:
        """What they say by now, in order of time."""
        for incident_id, mine in sorted(self.waiting.items()):
            if mine.plan is None:
                continue
            # A plan may come to need one more than it did.
            have = mine.by if mine.plan.hash == mine.approved else 0
            if have >= mine.needs:
                continue
            at_ms = max(mine.paged_ms + self.after_ms, mine.proposed_ms + (READING_MS if mine.proposed_ms > mine.paged_ms else 0))
            if at_ms <= now_ms:
                mine.approved, mine.by = mine.plan.hash, mine.needs
                for name in NAMES[have : mine.needs]:
                    yield Command(
                        id=f"{incident_id}/{mine.plan.hash}/{name}", verb="approve", at_ms=at_ms, by=name, incident_id=incident_id, plan=mine.plan.hash
                    )
