"""What goes into the database and comes out of it. Ids are made from content by whoever writes; times are epoch ms UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = [
    "Anchor",
    "Batch",
    "Cutoffs",
    "Flag",
    "Flaw",
    "Glance",
    "IncidentRow",
    "Kept",
    "LedgerEntry",
    "LedgerRow",
    "Mention",
    "OutboxKind",
    "OutboxRow",
    "OutboxState",
    "Outcome",
    "Owner",
    "Pruned",
    "Recorded",
    "TimelineRow",
    "Undelivered",
]

OutboxKind = Literal["page", "rollback", "advice"]
OutboxState = Literal["waiting", "taken", "sent", "parked", "done", "failed", "expired", "unknown"]
Outcome = Literal["sent", "retry", "parked", "done", "failed", "expired", "unknown"]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a stage.

    Attributes
    ----------
    stage, owner : str
    epoch : int
        Counts the claims of the stage, from 1.
    claimed_ms : int
    log : str
        Which log the stage's offsets are of; empty when that was never said.
    applied : int or None
        Records before this offset are written (`Store.record`); None: nothing was.
    """

    stage: str
    owner: str
    epoch: int
    claimed_ms: int
    log: str
    applied: int | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot whose checksum was right when it was read.

    Attributes
    ----------
    offset : int
        The record to read next.
    state : bytes
    saved_ms : int
    damaged : bool
        A newer one was kept, and is damaged or gone.
    """

    offset: int
    state: bytes
    saved_ms: int
    damaged: bool


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline.

    Attributes
    ----------
    id : str
    at_ms : int
        Event time at which it was known.
    incident_id, event : str
    line : bytes
        As it stands in `timeline.jsonl`, without its line end.
    offset : int
        Of the log record that caused it.
    ordinal : int
        Its place among the rows that this record caused.
    """

    id: str
    at_ms: int
    incident_id: str
    event: str
    line: bytes
    offset: int
    ordinal: int = 0


class IncidentRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last that is known of an incident; a later row of the same id takes its place.

    Attributes
    ----------
    incident_id : str
    opened_at_ms : int
    closed_at_ms : int or None
    state, verdict : str
    body : bytes
        All of it, as the writer encodes it.
    offset, ordinal : int
        As of a `TimelineRow`.
    """

    incident_id: str
    opened_at_ms: int
    closed_at_ms: int | None
    state: str
    verdict: str
    body: bytes
    offset: int
    ordinal: int = 0


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be carried to the world: a page or advice at least once, a rollback at most once.

    Attributes
    ----------
    id : str
        A second row of the same id is let go.
    kind : {"page", "rollback", "advice"}
    incident_id : str
    dedup_key : str
        What the receiver tells repeats by. Of rollbacks (service, change, scope): a second one with the same key is let go.
    at_ms : int
        Event time of the decision.
    not_after_ms : int or None
        A rollback is not handed out after it, and has to have one. Pages and advice never expire.
    body : bytes
    offset : int or None
        Of the log record that caused it; None: none did (`Store.settle`).
    ordinal : int
        As of a `TimelineRow`.
    next_ms : int
        Not before.
    state : OutboxState
        This and what follows is the store's to set.
    attempts : int
        How often it was handed out.
    taken_by : str or None
        Who had it last.
    taken_ms, lease_until_ms : int or None
        Since when and until when it is, or was, theirs alone.
    settled_ms : int or None
        When the last outcome was told.
    detail : str
        What was said of the last outcome.
    """

    id: str
    kind: OutboxKind
    incident_id: str
    dedup_key: str
    at_ms: int
    body: bytes
    not_after_ms: int | None = None
    offset: int | None = None
    ordinal: int = 0
    next_ms: int = 0
    state: OutboxState = "waiting"
    attempts: int = 0
    taken_by: str | None = None
    taken_ms: int | None = None
    lease_until_ms: int | None = None
    settled_ms: int | None = None
    detail: str = ""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be remembered for good.

    Attributes
    ----------
    at_ms : int
    kind : str
    body : bytes
    offset : int or None
        Of the log record that caused it; None: none did (`Store.append`, `Store.settle`).
    ordinal : int
        As of a `TimelineRow`.
    """

    at_ms: int
    kind: str
    body: bytes
    offset: int | None = None
    ordinal: int = 0


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger, in its chain.

    Attributes
    ----------
    seq : int
        From 1, without a gap.
    at_ms : int
    kind : str
    body : bytes
    offset : int or None
    hash : bytes
        Of this entry and, through the hash before it, of all earlier ones.
    """

    seq: int
    at_ms: int
    kind: str
    body: bytes
    offset: int | None
    hash: bytes


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """How far the ledger went at some moment; kept elsewhere, it shows what was cut off or rewritten since.

    Attributes
    ----------
    seq : int
        Of the last entry; 0 when there is none.
    hash : bytes
        Its hash.
    """

    seq: int
    hash: bytes


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is so now.

    Attributes
    ----------
    name, value : str
    at_ms : int
        When it was said.
    """

    name: str
    value: str
    at_ms: int


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong in the ledger.

    Attributes
    ----------
    seq : int
        The entry, or the first of several.
    problem : {"altered", "missing", "unproven", "foreign"}
        Does not fit its hash; is not there; follows on a missing one, so that nothing proves it; was not written by us.
    detail : str
        A sentence.
    """

    seq: int
    problem: Literal["altered", "missing", "unproven", "foreign"]
    detail: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """All that a stretch of the log came to, written in one transaction.

    Attributes
    ----------
    from_offset, to_offset : int
        The records from one up to, not with, the other; the next batch goes on at `to_offset`, whatever offsets the log leaves out.
    timeline, incidents, outbox, ledger : tuple
        Rows with the offset that caused each, all within the stretch; written in the order of offset and ordinal.
    snapshot : bytes or None
        State after the stretch.
    gap : bool
        Records before `from_offset` are known to be lost; without it a batch that leaves some out is refused.
    """

    from_offset: int
    to_offset: int
    timeline: tuple[TimelineRow, ...] = ()
    incidents: tuple[IncidentRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    snapshot: bytes | None = None
    gap: bool = False


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch changed.

    Attributes
    ----------
    applied : int
        Records before this offset are written now.
    gap : tuple of int or None
        The offsets, from and up to, that were never applied.
    timeline, incidents, outbox, ledger : int
        Rows written.
    skipped : int
        Rows of records that were applied before, or whose id was known.
    """

    applied: int
    gap: tuple[int, int] | None
    timeline: int
    incidents: int
    outbox: int
    ledger: int
    skipped: int


class Cutoffs(msgspec.Struct, frozen=True, kw_only=True):
    """Moments before which what is over may go, in epoch ms; None: it stays for ever.

    Attributes
    ----------
    incidents_ms : int or None
        Of incidents that have closed, with their timeline and their rollbacks.
    outbox_ms : int or None
        Of pages and advice that were sent or given up.
    ledger_ms : int or None
    releases_ms : int or None
        Of what the gate knows of versions.
    """

    incidents_ms: int | None = None
    outbox_ms: int | None = None
    ledger_ms: int | None = None
    releases_ms: int | None = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows went, or would go."""

    timeline: int = 0
    outbox: int = 0
    incidents: int = 0
    releases: int = 0
    ledger: int = 0

    @property
    def rows(self) -> int:
        """All together."""
        return self.timeline + self.outbox + self.incidents + self.releases + self.ledger


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A row in which a name stands: its table, and its id there."""

    table: Literal["timeline", "incidents", "outbox", "ledger"]
    row: str


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """A page or advice that nobody has taken from us yet.

    Attributes
    ----------
    id, incident_id : str
    at_ms : int
        When it was decided, event time; of what was decided late long before it was written.
    body : bytes
    """

    id: str
    incident_id: str
    at_ms: int
    body: bytes


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand in the database.

    Attributes
    ----------
    outbox : mapping of str to int
        Rows by state; a state without rows is left out.
    undelivered : tuple of Undelivered
        The oldest ones, in the order they were written.
    open_incidents : tuple of str
        Their ids.
    epochs : mapping of str to int
        By stage, as `detect/0` or `desk`: how often it was claimed.
    saved_ms : mapping of str to int
        By stage, when its newest snapshot was made.
    flags : mapping of str to Flag
        Of those that were asked for and that something was said under.
    """

    outbox: Mapping[str, int]
    undelivered: tuple[Undelivered, ...]
    open_incidents: tuple[str, ...]
    epochs: Mapping[str, int]
    saved_ms: Mapping[str, int]
    flags: Mapping[str, Flag]
