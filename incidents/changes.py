"""Changes: from records of pipelines to what was known of each change when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from rollguard.config import RollguardError
from rollguard.incidents.records import ChangeKind, ChangeSeen, Rollback

__all__ = ["Change", "ChangeBook", "ChangeRefusedError", "Reach", "sightings"]

ACTUAL_YEARS = (2000, 2100)


class ChangeRefusedError(RollguardError):
    """A change record that cannot be used; says why."""

    code = "change_refused"


class _Record(msgspec.Struct, kw_only=True):
    """A change record of a case or topic; unknown fields are left alone."""

    deploy_id: str
    service: str
    started_at: str | int
    region: str | None = None
    environment: str = "production"
    change_kind: Literal["code", "config", "flag", "migration", "infra"] = "code"
    from_version: str | None = None
    version: str | None = None
    finished_at: str | int | None = None
    received_at: str | int | None = None
    author: str | None = None
    approvals: int | None = None
    ai_assisted: Literal["yes", "no", "unknown", "advised"] = "unknown"
    rollback: Rollback = Rollback()


_DECODER = msgspec.json.Decoder(_Record)


def _time_ms(value: str | int, name: str) -> int:
    if isinstance(value, int):
        when_ms = value
    else:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            msg = f"{name} {value[:40]!r} is not a time; expected RFC 3339 with an offset or epoch ms"
            raise ChangeRefusedError(msg) from None
        if moment.tzinfo is None:
            msg = f"{name} {value[:40]!r} has no offset; expected RFC 3339 with one, such as 2026-03-02T09:00:00Z"
            raise ChangeRefusedError(msg)
        when_ms = round(moment.timestamp() * 1000)
    if not 946_684_800_000 <= when_ms < 4_102_444_800_000:
        msg = f"{name} {value} lies outside the years {ACTUAL_YEARS[0]} to {ACTUAL_YEARS[1]}; epoch times are in ms"
        raise ChangeRefusedError(msg)
    return when_ms


def sightings(line: bytes, *, environment: str) -> tuple[ChangeSeen, ...]:
    """Sightings in one change record: that it started, and when finished, that it did.

    A record that carries `received_at` is seen only then; else it is seen at `started_at` without its finish, and
    once more at `finished_at`.

    Parameters
    ----------
    line : bytes
        A JSON object with the fields of the case format.
    environment : str
        Records of other environments give nothing.

    Returns
    -------
    tuple of ChangeSeen
        In order of `seen_ms`.

    Raises
    ------
    ChangeRefusedError
        When the record cannot be read; says what was wrong.
    """
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChangeRefusedError(str(error)) from None
    if not record.deploy_id or not record.service:
        msg = "deploy_id and service must not be empty"
        raise ChangeRefusedError(msg)
    started_ms = _time_ms(record.started_at, "started_at")
    finished_ms = None if record.finished_at is None else _time_ms(record.finished_at, "finished_at")
    if finished_ms is not None and finished_ms < started_ms:
        msg = f"finished_at {record.finished_at} is before started_at {record.started_at}"
        raise ChangeRefusedError(msg)
    if record.environment != environment:
        return ()
    received_ms = None if record.received_at is None else _time_ms(record.received_at, "received_at")

    def seen(stage: Literal["started", "finished"], at_ms: int) -> ChangeSeen:
        return ChangeSeen(
            seen_ms=at_ms if received_ms is None else max(received_ms, at_ms),
            stage=stage,
            deploy_id=record.deploy_id,
            service=record.service,
            region=record.region or None,
            kind=record.change_kind,
            from_version=record.from_version,
            version=record.version,
            started_ms=started_ms,
            finished_ms=finished_ms if stage == "finished" else None,
            author=record.author,
            approvals=record.approvals,
            ai_assisted=record.ai_assisted,
            rollback=record.rollback,
        )

    first = seen("started", started_ms)
    return (first,) if finished_ms is None else (first, seen("finished", finished_ms))


@dataclass(slots=True)
class Reach:
    """When a change reached a place: from `started_ms` on it may have, from `finished_ms` on it surely has."""

    started_ms: int
    finished_ms: int | None = None


@dataclass(slots=True)
class Change:
    """All that is known of one change so far."""

    deploy_id: str
    service: str
    kind: ChangeKind
    from_version: str | None
    version: str | None
    rollback: Rollback
    reach: dict[str | None, Reach] = field(default_factory=dict)
    authors: set[str] = field(default_factory=set)
    approvals: int | None = None
    ai_assisted: str = "unknown"

    @property
    def started_ms(self) -> int:
        """When it first started anywhere."""
        return min(reach.started_ms for reach in self.reach.values())

    def reach_at(self, region: str) -> Reach | None:
        """How it reached a region; None when it has not, as far as is known."""
        return self.reach.get(region) or self.reach.get(None)


class ChangeBook:
    """Changes known so far, by deploy id, no older than the look-back."""

    def __init__(self, lookback_ms: int) -> None:
        self.lookback_ms = lookback_ms
        self.changes: dict[str, Change] = {}
        self.last_seen_ms: int | None = None

    def add(self, seen: ChangeSeen) -> None:
        """Take one sighting; a repeat changes nothing."""
        self.last_seen_ms = max(self.last_seen_ms or 0, seen.seen_ms)
        change = self.changes.get(seen.deploy_id)
        if change is None:
            change = Change(
                deploy_id=seen.deploy_id,
                service=seen.service,
                kind=seen.kind,
                from_version=seen.from_version,
                version=seen.version,
                rollback=seen.rollback,
            )
            self.changes[seen.deploy_id] = change
        # One record that does not declare the change reversible is enough for it not to be.
        if not seen.rollback.supported:
            change.rollback = seen.rollback
        if seen.author:
            change.authors.add(seen.author)
        if seen.approvals is not None:
            change.approvals = seen.approvals if change.approvals is None else min(change.approvals, seen.approvals)
        if seen.ai_assisted != "unknown":
            change.ai_assisted = seen.ai_assisted
        known = change.reach.get(seen.region)
        if known is None:
            change.reach[seen.region] = Reach(seen.started_ms, seen.finished_ms)
            return
        known.started_ms = min(known.started_ms, seen.started_ms)
        if seen.finished_ms is not None:
            known.finished_ms = max(known.finished_ms or 0, seen.finished_ms)

    def suspects(self, now_ms: int) -> list[Change]:
        """Changes inside the look-back, by deploy id."""
        oldest = now_ms - self.lookback_ms
        return [change for _, change in sorted(self.changes.items()) if any(max(r.started_ms, r.finished_ms or 0) >= oldest for r in change.reach.values())]

    def forget_before(self, oldest_ms: int) -> None:
        """Drop changes that were over before a time."""
        self.changes = {
            name: change for name, change in self.changes.items() if any(max(r.started_ms, r.finished_ms or 0) >= oldest_ms for r in change.reach.values())
        }
