"""The append-only record of what was decided and done: a chain of hashes that shows what was altered since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec
from sqlalchemy import Connection, insert, select, update

from rollguard.store.errors import StoreError
from rollguard.store.records import Anchor, Flaw, LedgerEntry, LedgerRow
from rollguard.store.tables import ledger, ledger_head

__all__ = ["CUT", "START", "Cut", "append", "head", "read", "verify"]

#: The hash before the first entry.
START = bytes(32)
#: Kind of the entry that says that the beginning was taken off.
CUT = "ledger.cut"
#: Entries read at a time.
_PAGE = 500


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry of a cut says: up to which entry the beginning was taken off, and that entry's hash, on which the rest stands."""

    seq: int
    hash: str
    entries: int


def append(connection: Connection, rows: Iterable[LedgerRow], where: str) -> int:
    """Add rows at the end, and say where the end is now; others who append wait until the transaction ends."""
    several = tuple(rows)
    last = head(connection, lock=bool(several))
    if last is None:
        raise StoreError(where, "the ledger has lost its head", "It was tampered with: verify it, and restore it from a backup")
    seq, digest = last.seq, last.hash
    for row in several:
        seq += 1
        digest = _linked(digest, seq, row)
        connection.execute(insert(ledger).values(seq=seq, at_ms=row.at_ms, kind=row.kind, body=row.body, log_offset=row.offset, hash=digest))
    if several:
        connection.execute(update(ledger_head).values(seq=seq, hash=digest))
    return seq


def head(connection: Connection, *, lock: bool = False) -> Anchor | None:
    """Where the ledger ends; `lock` keeps others from appending until the transaction ends."""
    query = select(ledger_head)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else Anchor(seq=row.seq, hash=row.hash)


def read(connection: Connection, since: int, limit: int | None) -> list[LedgerEntry]:
    """Entries after number `since`, in order."""
    rows = connection.execute(select(ledger).where(ledger.c.seq > since).order_by(ledger.c.seq).limit(limit))
    return [LedgerEntry(seq=row.seq, at_ms=row.at_ms, kind=row.kind, body=row.body, offset=row.log_offset, hash=row.hash) for row in rows]


def verify(connection: Connection, anchors: Iterable[Anchor]) -> list[Flaw]:
    """All that is wrong, by number; see `Store.verify`."""
    end = head(connection)
    outside = {anchor.seq: anchor for anchor in anchors if anchor.seq > 0}
    flaws: list[Flaw] = []
    last = _base(connection)
    known = outside.pop(last.seq, None)
    if known is not None and known.hash != last.hash:
        flaws.append(Flaw(seq=last.seq, problem="altered", detail="It was another when its hash was kept elsewhere; it has been cut off since."))
    proven = True
    for entry in _all(connection):
        if entry.seq < 1 or (end is not None and entry.seq > end.seq):
            flaws.append(Flaw(seq=entry.seq, problem="foreign", detail="It lies outside of what was written."))
            continue
        if entry.seq > last.seq + 1:
            flaws.append(_missing(last.seq + 1, entry.seq - 1))
            flaws.append(Flaw(seq=entry.seq, problem="unproven", detail="The hash before it is gone."))
        elif entry.hash != _linked(last.hash, entry.seq, entry):
            flaws.append(Flaw(seq=entry.seq, problem="altered", detail="It does not fit its hash, or the hash before it."))
        anchor = outside.pop(entry.seq, None)
        if anchor is not None and anchor.hash != entry.hash:
            flaws.append(Flaw(seq=entry.seq, problem="altered", detail="It, or one before it, was another when its hash was kept elsewhere."))
        last = Anchor(seq=entry.seq, hash=entry.hash)
    told = max([anchor.seq for anchor in outside.values()] + ([end.seq] if end else []), default=0)
    if told > last.seq:
        flaws.append(_missing(last.seq + 1, told))
        proven = False
    if end is None:
        flaws.append(Flaw(seq=last.seq + 1, problem="missing", detail="The ledger has lost its head, so that nothing says where it ended."))
    elif proven and end != last:
        flaws.append(Flaw(seq=last.seq, problem="altered", detail="The head says another hash of it."))
    return sorted(flaws, key=lambda flaw: flaw.seq)


def _base(connection: Connection) -> Anchor:
    """What the first entry that is left stands on: the start, or the last cut, which an entry of the chain itself tells."""
    row = connection.execute(select(ledger).where(ledger.c.kind == CUT).order_by(ledger.c.seq.desc()).limit(1)).one_or_none()
    first = connection.execute(select(ledger.c.seq).order_by(ledger.c.seq).limit(1)).scalar()
    if row is not None and first != 1:
        try:
            cut = msgspec.json.decode(row.body, type=Cut)
            return Anchor(seq=cut.seq, hash=bytes.fromhex(cut.hash))
        except (msgspec.DecodeError, ValueError):
            # Altered: then the entries that it speaks of are simply missing.
            return Anchor(seq=0, hash=START)
    return Anchor(seq=0, hash=START)


def _missing(first: int, last: int) -> Flaw:
    return Flaw(seq=first, problem="missing", detail=f"{'It' if first == last else f'Entries {first} to {last}'} cannot be found.")


def _all(connection: Connection) -> Iterator[LedgerEntry]:
    """Every entry in the order of its number, a page at a time."""
    since: int | None = None
    while True:
        query = select(ledger).order_by(ledger.c.seq).limit(_PAGE)
        page = connection.execute(query if since is None else query.where(ledger.c.seq > since)).all()
        for row in page:
            yield LedgerEntry(seq=row.seq, at_ms=row.at_ms, kind=row.kind, body=row.body, offset=row.log_offset, hash=row.hash)
        if len(page) < _PAGE:
            return
        since = page[-1].seq


def _linked(before: bytes, seq: int, row: LedgerRow | LedgerEntry) -> bytes:
    """blake2b of the hash before and the entry as msgpack, an array of number, time, kind, offset and body."""
    return blake2b(before + msgspec.msgpack.encode((seq, row.at_ms, row.kind, row.offset, row.body)), digest_size=32).digest()
