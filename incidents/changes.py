"""Changes: from records of pipelines to what was known of each change when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from rollguard.config import Labels, RollguardError
from rollguard.incidents.records import ChangeKind, ChangeSeen, Rollback

__all__ = ["Change", "ChangeBook", "ChangeRecord", "ChangeRefusedError", "Reach", "read_record", "sightings", "sightings_of", "time_ms"]

ACTUAL_YEARS = (2000, 2100)
#: From the least to the most that was said of AI.
AI = ("unknown", "no", "advised", "yes")


class ChangeRefusedError(RollguardError):
    """A change record that cannot be used; says why."""

    code = "change_refused"


class ChangeRecord(msgspec.Struct, kw_only=True):
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
    ai_assisted: Literal["yes", "no", "unknown", "advised"] | None = None
    rollback: Rollback | None = None


_DECODER = msgspec.json.Decoder(ChangeRecord)


def time_ms(value: str | int, name: str) -> int:
    """Read a time of a change; `name` is what the refusal calls it."""
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
        msg = f"{name} {str(value)[:40]} lies outside the years {ACTUAL_YEARS[0]} to {ACTUAL_YEARS[1]}; epoch times are in ms"
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
    return sightings_of(read_record(line), environment=environment)


def read_record(line: bytes) -> ChangeRecord:
    """Read a change record of the case format; its times have not been read.

    Raises
    ------
    ChangeRefusedError
        When it is none; says what was wrong.
    """
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChangeRefusedError(str(error)) from None


def sightings_of(record: ChangeRecord, *, environment: str) -> tuple[ChangeSeen, ...]:
    """Sightings in a change record that has been read; else as `sightings`."""
    if not record.deploy_id or not record.service:
        msg = "deploy_id and service must not be empty"
        raise ChangeRefusedError(msg)
    started_ms = time_ms(record.started_at, "started_at")
    finished_ms = None if record.finished_at is None else time_ms(record.finished_at, "finished_at")
    if finished_ms is not None and finished_ms < started_ms:
        msg = f"finished_at {record.finished_at} is before started_at {record.started_at}"
        raise ChangeRefusedError(msg)
    received_ms = None if record.received_at is None else time_ms(record.received_at, "received_at")
    if record.environment != environment:
        return ()

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
            ai_assisted=record.ai_assisted or "unknown",
            rollback=record.rollback or Rollback(),
        )

    first = seen("started", started_ms)
    return (first,) if finished_ms is None else (first, seen("finished", finished_ms))


@dataclass(slots=True)
class Reach:
    """When a change reached a place: from `started_ms` on it may have, from `finished_ms` on it surely has.

    Attributes
    ----------
    started_ms : int
        When its first wave started.
    last_started_ms : int
        When its last wave started.
    done_ms : int or None
        When the last wave that is known to be over finished.
    """

    started_ms: int
    last_started_ms: int
    done_ms: int | None = None

    @property
    def finished_ms(self) -> int | None:
        """When its last wave finished; None while one is under way."""
        return None if self.done_ms is None or self.done_ms < self.last_started_ms else self.done_ms

    @property
    def touched_ms(self) -> int:
        """When it was last heard of."""
        return max(self.last_started_ms, self.done_ms or 0)

    def add(self, other: Reach) -> None:
        """Take in another wave."""
        self.started_ms = min(self.started_ms, other.started_ms)
        self.last_started_ms = max(self.last_started_ms, other.last_started_ms)
        if other.done_ms is not None:
            self.done_ms = max(self.done_ms or 0, other.done_ms)


def _least(first: str | None, second: str | None) -> str | None:
    """The one that is said; of two, the first by name, so that no order of arrival enters."""
    if first is None or second is None:
        return first if second is None else second
    return min(first, second)


@dataclass(slots=True)
class Change:
    """All that is known of one change so far.

    Its records may differ: what has to be one value is then the first by name. If they differ in what to roll back, or to
    what, it is not reversible.
    """

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

    @property
    def touched_ms(self) -> int:
        """When it was last heard of anywhere."""
        return max(reach.touched_ms for reach in self.reach.values())

    def reach_at(self, region: str) -> Reach | None:
        """How it reached a region; None when it has not, as far as is known.

        An empty name is the whole shop, which any part of the change reaches; so may it have reached the folded rest.
        """
        if region in {"", Labels.OTHER}:
            return _united(list(self.reach.values()))
        found = [reach for place in (region, None) if (reach := self.reach.get(place)) is not None]
        return _united(found) if found else None

    def add(self, seen: ChangeSeen) -> None:
        """Take one more sighting of it."""
        # Also one record that does not declare the change reversible is enough for it not to be.
        agreed = seen.rollback.supported and seen.rollback.to_version == self.rollback.to_version and seen.service == self.service
        self.rollback = Rollback(
            supported=self.rollback.supported and agreed,
            to_version=_least(self.rollback.to_version, seen.rollback.to_version),
        )
        self.service = min(self.service, seen.service)
        self.kind = min(self.kind, seen.kind)
        self.from_version = _least(self.from_version, seen.from_version)
        self.version = _least(self.version, seen.version)
        if seen.author:
            self.authors.add(seen.author)
        if seen.approvals is not None:
            self.approvals = seen.approvals if self.approvals is None else min(self.approvals, seen.approvals)
        self.ai_assisted = max(self.ai_assisted, seen.ai_assisted, key=AI.index)
        reach = Reach(seen.started_ms, seen.started_ms, seen.finished_ms)
        known = self.reach.setdefault(seen.region, reach)
        if known is not reach:
            known.add(reach)


def _united(found: list[Reach]) -> Reach:
    if len(found) == 1:
        return found[0]
    whole = Reach(found[0].started_ms, found[0].last_started_ms, found[0].done_ms)
    for reach in found[1:]:
        whole.add(reach)
    return whole


class ChangeBook:
    """Changes by deploy id, each from when it was known, no older than the look-back."""

    def __init__(self, lookback_ms: int) -> None:
        self.lookback_ms = lookback_ms
        self.changes: dict[str, Change] = {}
        self.last_seen_ms: int | None = None
        self.waiting: dict[str, ChangeSeen] = {}
        #: Sightings used so far.
        self.heard = 0

    def add(self, seen: ChangeSeen) -> None:
        """Take one sighting, which is used once `learn` has come to its time; a repeat changes nothing."""
        self.waiting[seen.id] = seen

    def learn(self, now_ms: int) -> None:
        """Use the sightings that are known by now."""
        if not self.waiting:
            return
        known = sorted((seen for seen in self.waiting.values() if seen.seen_ms <= now_ms), key=_when)
        for seen in known:
            del self.waiting[seen.id]
            self.heard += 1
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
            change.add(seen)

    def suspects(self, onset_ms: int) -> list[Change]:
        """Changes inside the look-back of an onset, by deploy id."""
        oldest_ms = onset_ms - self.lookback_ms
        return [change for _, change in sorted(self.changes.items()) if change.touched_ms >= oldest_ms]

    def forget_before(self, oldest_ms: int) -> None:
        """Drop changes that were over before a time."""
        self.changes = {name: change for name, change in self.changes.items() if change.touched_ms >= oldest_ms}


def _when(seen: ChangeSeen) -> tuple[int, str]:
    return seen.seen_ms, seen.id
