"""What must outlive a process in, the same out: snapshots, incidents, outbox and ledger. Never decides anything."""

__all__: list[str] = []
