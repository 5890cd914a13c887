"""What must outlive a process in, the same out: snapshots, incidents, outbox and ledger. Never decides anything."""

from rollguard.store.errors import DamagedError, LogChangedError, OffsetError, StaleError, StoreError
from rollguard.store.records import (
    Anchor,
    Batch,
    Flag,
    Flaw,
    Glance,
    IncidentRow,
    Kept,
    LedgerEntry,
    LedgerRow,
    OutboxKind,
    OutboxRow,
    OutboxState,
    Outcome,
    Owner,
    Recorded,
    TimelineRow,
    Undelivered,
)
from rollguard.store.store import Store

__all__ = [
    "Anchor",
    "Batch",
    "DamagedError",
    "Flag",
    "Flaw",
    "Glance",
    "IncidentRow",
    "Kept",
    "LedgerEntry",
    "LedgerRow",
    "LogChangedError",
    "OffsetError",
    "OutboxKind",
    "OutboxRow",
    "OutboxState",
    "Outcome",
    "Owner",
    "Recorded",
    "StaleError",
    "Store",
    "StoreError",
    "TimelineRow",
    "Undelivered",
]
