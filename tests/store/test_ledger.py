from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from threading import Barrier

import msgspec
import pytest
from sqlalchemy import Connection, delete, insert, select, update

from rollguard.store import Anchor, LedgerEntry, LedgerRow, Store, StoreError
from rollguard.store.tables import ledger, ledger_head
from tests.store.conftest import Another
from tests.store.rows import T0, a_note

N = 12
Tamper = Callable[[Connection], object]


@pytest.fixture
def full(store: Store) -> Store:
    store.append([a_note(body=b"note %d" % number) for number in range(1, N)])
    store.append([a_note(77, body=b"note %d" % N)])
    return store


def tampered(store: Store, tamper: Tamper) -> None:
    with store._writing() as connection:
        tamper(connection)


def flaws(store: Store, *anchors: Anchor) -> list[tuple[int, str]]:
    return [(flaw.seq, flaw.problem) for flaw in store.verify(anchors)]


def chain(rows: list[LedgerEntry]) -> list[bytes]:
    """The hashes as the documentation says to make them."""
    made, before = [], bytes(32)
    for row in rows:
        before = blake2b(before + msgspec.msgpack.encode([row.seq, row.at_ms, row.kind, row.offset, row.body]), digest_size=32).digest()
        made.append(before)
    return made


def test_entries_are_numbered_from_one_and_chained(full: Store) -> None:
    entries = full.ledger()
    assert [entry.seq for entry in entries] == list(range(1, N + 1))
    assert [entry.body for entry in entries] == [b"note %d" % number for number in range(1, N + 1)]
    assert [entry.offset for entry in entries] == [None] * (N - 1) + [77]
    assert [entry.hash for entry in entries] == chain(entries)
    assert full.anchor() == Anchor(seq=N, hash=entries[-1].hash)
    assert flaws(full, full.anchor()) == []


def test_an_empty_ledger_is_well(store: Store) -> None:
    assert (store.ledger(), store.verify([store.anchor()])) == ([], [])
    assert store.append([]) == 0


def test_it_is_read_on_from_any_number(full: Store) -> None:
    assert [entry.seq for entry in full.ledger(10)] == [11, 12]
    assert [entry.seq for entry in full.ledger(2, 3)] == [3, 4, 5]
    assert full.ledger(N) == []


@pytest.mark.parametrize("seq", [1, 5, N])
@pytest.mark.parametrize(
    "change",
    [{"body": b"note x"}, {"body": b""}, {"kind": "decisions"}, {"at_ms": T0 + 1}, {"log_offset": 3}],
    ids=["body", "emptied", "kind", "time", "offset"],
)
def test_an_entry_that_was_altered_is_named(full: Store, seq: int, change: dict[str, object]) -> None:
    tampered(full, lambda connection: connection.execute(update(ledger).where(ledger.c.seq == seq).values(**change)))
    assert flaws(full) == [(seq, "altered")]


def test_every_flipped_bit_is_found(full: Store) -> None:
    entry = full.ledger(4, 1)[0]
    for bit in range(len(entry.hash) * 8):
        flipped = bytearray(entry.hash)
        flipped[bit // 8] ^= 1 << bit % 8
        tampered(full, lambda connection, hashed=bytes(flipped): connection.execute(update(ledger).where(ledger.c.seq == 5).values(hash=hashed)))  # type: ignore[misc]
        # The next one no longer fits either.
        assert flaws(full) == [(5, "altered"), (6, "altered")]


@pytest.mark.parametrize("seq", [1, 5, N - 1])
def test_an_entry_that_was_taken_out_is_named(full: Store, seq: int) -> None:
    tampered(full, lambda connection: connection.execute(delete(ledger).where(ledger.c.seq == seq)))
    assert flaws(full) == [(seq, "missing"), (seq + 1, "unproven")]


def test_entries_that_were_taken_out_together_are_named_together(full: Store) -> None:
    tampered(full, lambda connection: connection.execute(delete(ledger).where(ledger.c.seq.in_([3, 4, 5]))))
    assert flaws(full) == [(3, "missing"), (6, "unproven")]
    assert full.verify()[0].detail == "Entries 3 to 5 cannot be found."


def test_entries_that_were_put_elsewhere_are_named(full: Store) -> None:
    def swap(connection: Connection) -> None:
        for seq, to in ((4, 1_000), (8, 4), (1_000, 8)):
            connection.execute(update(ledger).where(ledger.c.seq == seq).values(seq=to))

    tampered(full, swap)
    assert [seq for seq, _ in flaws(full)] == [4, 5, 8, 9]


def test_an_entry_that_was_taken_out_and_its_number_closed_is_found(full: Store) -> None:
    def close(connection: Connection) -> None:
        connection.execute(delete(ledger).where(ledger.c.seq == 4))
        for seq in range(5, N + 1):
            connection.execute(update(ledger).where(ledger.c.seq == seq).values(seq=seq - 1))

    tampered(full, close)
    assert flaws(full)[0] == (4, "altered")
    assert (N, "missing") in flaws(full)


def test_an_end_that_was_cut_off_is_found(full: Store) -> None:
    tampered(full, lambda connection: connection.execute(delete(ledger).where(ledger.c.seq > 9)))
    assert flaws(full) == [(10, "missing")]


def cut_off_and_made_good(connection: Connection) -> None:
    """Cuts the end off, and the head with it, as one would who knows the database."""
    connection.execute(delete(ledger).where(ledger.c.seq > 9))
    last = connection.execute(select(ledger.c.hash).where(ledger.c.seq == 9)).scalar_one()
    connection.execute(update(ledger_head).values(seq=9, hash=last))


def test_an_end_that_was_cut_off_with_the_head_is_found_by_an_anchor_kept_elsewhere(full: Store) -> None:
    anchor = full.anchor()
    tampered(full, cut_off_and_made_good)
    assert flaws(full) == [], "nothing in the database can show it"
    assert flaws(full, anchor) == [(10, "missing")]
    full.append([a_note(body=b"as if nothing had been")] * 5)
    assert flaws(full, anchor) == [(N, "altered")]


def test_a_chain_that_was_made_anew_is_found_by_an_anchor_kept_elsewhere(full: Store) -> None:
    early, late = Anchor(seq=3, hash=full.ledger(2, 1)[0].hash), full.anchor()

    def made_anew(connection: Connection) -> None:
        rows = full.ledger()
        rows[4] = msgspec.structs.replace(rows[4], body=b"never held")
        connection.execute(delete(ledger))
        for row, hashed in zip(rows, chain(rows), strict=True):
            connection.execute(insert(ledger).values(seq=row.seq, at_ms=row.at_ms, kind=row.kind, body=row.body, log_offset=row.offset, hash=hashed))
        connection.execute(update(ledger_head).values(hash=chain(rows)[-1]))

    tampered(full, made_anew)
    assert flaws(full) == []
    assert flaws(full, early, late) == [(N, "altered")], "between 3 and 12 it was made anew"


@pytest.mark.parametrize("seq", [0, -1, N + 1, N + 5])
def test_an_entry_that_was_slipped_in_is_named(full: Store, seq: int) -> None:
    tampered(full, lambda connection: connection.execute(insert(ledger).values(seq=seq, at_ms=T0, kind="x", body=b"", hash=bytes(32))))
    assert flaws(full) == [(seq, "foreign")]


def test_a_head_that_was_altered_or_removed_is_found(full: Store) -> None:
    tampered(full, lambda connection: connection.execute(update(ledger_head).values(hash=bytes(32))))
    assert flaws(full) == [(N, "altered")]
    tampered(full, lambda connection: connection.execute(delete(ledger_head)))
    assert flaws(full) == [(N + 1, "missing")]
    with pytest.raises(StoreError, match="lost its head"):
        full.append([a_note()])


def test_a_long_ledger_is_verified_page_by_page(store: Store) -> None:
    store.append([a_note(body=b"%d" % number) for number in range(1_203)])
    assert flaws(store) == []
    tampered(store, lambda connection: connection.execute(update(ledger).where(ledger.c.seq == 1_001).values(kind="x")))
    assert flaws(store) == [(1_001, "altered")]


def test_those_who_append_at_once_make_one_chain(another: Another, store: Store) -> None:
    n, each = 4, 8
    barrier = Barrier(n)

    def write(who: int) -> None:
        own = another(wait_ms=20_000)
        barrier.wait(30)
        for number in range(each):
            own.append([LedgerRow(at_ms=T0, kind="note", body=b"%d/%d" % (who, number)), LedgerRow(at_ms=T0, kind="note", body=b"and")])

    with ThreadPoolExecutor(n) as pool:
        list(pool.map(write, range(n)))
    entries = store.ledger()
    assert [entry.seq for entry in entries] == list(range(1, 2 * n * each + 1))
    assert {entry.body for entry in entries[1::2]} == {b"and"}, "what is appended together stays together"
    assert flaws(store, store.anchor()) == []
