"""A stage's state with the offset it goes on at: the newest one, and the last before it that was proven intact."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from rollguard.store.errors import DamagedError, OffsetError
from rollguard.store.records import Kept
from rollguard.store.tables import snapshots, stages

__all__ = ["keep", "newest"]


def newest(connection: Connection, stage: str, where: str) -> Kept | None:
    """The newest snapshot that is intact; None: none was ever kept.

    Raises
    ------
    DamagedError
        If some were, and none is intact.
    """
    kept = connection.execute(select(stages.c.kept).where(stages.c.stage == stage)).scalar_one_or_none()
    offsets = _offsets(connection, stage)
    if kept is None and not offsets:
        return None
    for offset in offsets:
        found = _intact(connection, stage, offset)
        if found is not None:
            return Kept(offset=offset, state=found.state, saved_ms=found.saved_ms, damaged=offset != kept)
    raise DamagedError(where, stage)


def keep(connection: Connection, stage: str, *, offset: int, state: bytes, now_ms: int) -> None:
    """Add a snapshot, and let go of those that are no longer needed; the caller holds the stage.

    Raises
    ------
    OffsetError
        If it lies before the newest intact one.
    """
    proven = [each for each in _offsets(connection, stage) if each != offset]
    # What is proven to be intact now is what a damaged newest one falls back on: only then the older ones go.
    previous = next((each for each in proven if _intact(connection, stage, each) is not None), None)
    if previous is not None and previous > offset:
        raise OffsetError(stage, "snapshot", offset, previous)
    connection.execute(delete(snapshots).where(snapshots.c.stage == stage, snapshots.c.next_offset != (offset if previous is None else previous)))
    connection.execute(delete(snapshots).where(snapshots.c.stage == stage, snapshots.c.next_offset == offset))
    connection.execute(
        insert(snapshots).values(stage=stage, next_offset=offset, saved_ms=now_ms, state=state, checksum=_checksum(stage, offset, now_ms, state))
    )
    connection.execute(update(stages).where(stages.c.stage == stage).values(kept=offset))


class _State(msgspec.Struct, frozen=True, kw_only=True):
    state: bytes
    saved_ms: int


def _offsets(connection: Connection, stage: str) -> list[int]:
    """Of its snapshots, the newest first."""
    return list(connection.execute(select(snapshots.c.next_offset).where(snapshots.c.stage == stage).order_by(snapshots.c.next_offset.desc())).scalars())


def _intact(connection: Connection, stage: str, offset: int) -> _State | None:
    row = connection.execute(select(snapshots).where(snapshots.c.stage == stage, snapshots.c.next_offset == offset)).one_or_none()
    if row is None or row.checksum != _checksum(stage, offset, row.saved_ms, row.state):
        return None
    return _State(state=row.state, saved_ms=row.saved_ms)


def _checksum(stage: str, offset: int, saved_ms: int, state: bytes) -> bytes:
    """Of all that a snapshot says, so that a flipped bit in its offset is found like one in its state."""
    return blake2b(msgspec.msgpack.encode((stage, offset, saved_ms, state)), digest_size=32).digest()
