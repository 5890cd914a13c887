from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import delete, update

from rollguard.store import Anchor, Batch, Cutoffs, LedgerRow, Pruned, Store
from rollguard.store.tables import ledger
from tests.store.rows import T0, a_line, a_note, a_page, a_rollback, an_incident

DAY_MS = 86_400_000
NOW = T0 + 1000 * DAY_MS


def all_before(cutoff_ms: int, *, ledger_too: bool = False) -> Cutoffs:
    return Cutoffs(incidents_ms=cutoff_ms, outbox_ms=cutoff_ms, releases_ms=cutoff_ms, ledger_ms=cutoff_ms if ledger_too else None)


def pruned(store: Store, cutoffs: Cutoffs, *, most: int = 500) -> Pruned:
    """Until nothing goes any more."""
    gone = Pruned()
    while (now := store.prune(cutoffs, NOW, most=most)).rows:
        assert max(msgspec.structs.astuple(now)) <= most
        gone = Pruned(**{name: getattr(gone, name) + getattr(now, name) for name in Pruned.__struct_fields__})
    return gone


@pytest.fixture
def lived(store: Store) -> Store:
    """An old incident that has closed, an older one that is still open, and a young one."""
    closed = an_incident(1, name="closed", state="closed", opened_at_ms=T0, closed_at_ms=T0 + 1)
    young = an_incident(2, name="young", state="closed", opened_at_ms=T0, closed_at_ms=NOW - DAY_MS)
    batch = Batch(
        from_offset=0,
        to_offset=9,
        timeline=tuple(a_line(offset, incident=name, ordinal=at) for at, name in enumerate(("open", "closed", "young")) for offset in range(4)),
        incidents=(an_incident(0, name="open", opened_at_ms=T0 - 500 * DAY_MS), closed, young),
        outbox=(
            a_page(3, name="p-open", incident="open"),
            a_page(4, name="p-closed", incident="closed"),
            a_page(5, name="p-waiting", incident="closed"),
            a_rollback(6, key="undone"),
        ),
    )
    store.record("desk", store.claim("desk", "host-a", T0), batch, T0)
    for row in store.due(["page"], T0 + 2, 2, taken_by="host-a", lease_ms=60_000):
        store.settle(row.id, "host-a", "sent", T0 + 3)
    (rollback,) = store.due(["rollback"], T0 + 2, 2, taken_by="host-a", lease_ms=60_000)
    store.settle(rollback.id, "host-a", "done", T0 + 3)
    return store


def test_what_is_old_and_over_goes_and_nothing_of_an_open_incident(lived: Store) -> None:
    would = lived.prunable(all_before(NOW - 400 * DAY_MS))
    assert pruned(lived, all_before(NOW - 400 * DAY_MS), most=2) == would == Pruned(timeline=4, outbox=2, incidents=1)
    assert [row.incident_id for row in lived.incidents()] == ["open", "young"]
    assert {row.incident_id for row in lived.timeline()} == {"open", "young"}
    # What was sent of the open one stays, and what was never sent.
    assert [row.id for row in lived.outbox()] == ["p-open", "p-waiting"]
    assert lived.prunable(all_before(NOW - 400 * DAY_MS)).rows == 0


def test_a_rollback_goes_only_with_incidents_and_not_with_pages(lived: Store) -> None:
    pruned(lived, Cutoffs(outbox_ms=NOW))
    assert [row.id for row in lived.outbox(kinds=["rollback"])] == ["rollback/undone"]


def test_without_a_cutoff_everything_stays(lived: Store) -> None:
    assert lived.prunable(Cutoffs()).rows == lived.prune(Cutoffs(), NOW).rows == 0


def test_versions_go_and_other_flags_stay(store: Store) -> None:
    for name in ('release ["checkout","1"]', "kill", "frontier"):
        store.raise_flag(name, "{}", T0)
    store.raise_flag('release ["checkout","2"]', "{}", NOW)
    assert pruned(store, all_before(NOW - DAY_MS)) == Pruned(releases=1)
    assert store.flag('release ["checkout","1"]') is None
    assert all(store.flag(name) is not None for name in ("kill", "frontier", 'release ["checkout","2"]'))


def a_chain(store: Store, n: int = 12) -> None:
    store.append([LedgerRow(at_ms=T0 + number * DAY_MS, kind="note", body=b"%d" % number) for number in range(1, n + 1)])


@pytest.mark.parametrize("most", [2, 500])
def test_a_ledger_whose_beginning_was_cut_off_can_still_be_verified(store: Store, most: int) -> None:
    a_chain(store)
    before = store.anchor()
    assert store.prunable(Cutoffs(ledger_ms=T0 + 6 * DAY_MS)).ledger == 5
    assert pruned(store, Cutoffs(ledger_ms=T0 + 6 * DAY_MS), most=most).ledger == 5
    assert store.ledger()[0].seq == 6
    assert store.verify() == store.verify([before, store.anchor()]) == []
    store.append([a_note(body=b"later")])
    assert store.verify() == []


def test_the_last_entry_of_all_stays_when_everything_is_old(store: Store) -> None:
    a_chain(store)
    pruned(store, Cutoffs(ledger_ms=NOW - DAY_MS))
    assert [entry.kind for entry in store.ledger()] == ["ledger.cut"]
    assert store.verify() == []
    assert store.prune(Cutoffs(ledger_ms=NOW - DAY_MS), NOW).rows == 0
    pruned(store, Cutoffs(ledger_ms=NOW + DAY_MS))
    assert store.verify() == []


def test_who_cuts_more_off_than_was_said_is_found(store: Store) -> None:
    a_chain(store)
    pruned(store, Cutoffs(ledger_ms=T0 + 6 * DAY_MS))
    with store._writing() as connection:
        connection.execute(delete(ledger).where(ledger.c.seq == 6))
    assert [(flaw.seq, flaw.problem) for flaw in store.verify()] == [(6, "missing"), (7, "unproven")]


def test_who_says_another_cut_is_found(store: Store) -> None:
    a_chain(store)
    pruned(store, Cutoffs(ledger_ms=T0 + 6 * DAY_MS))
    with store._writing() as connection:
        connection.execute(update(ledger).where(ledger.c.kind == "ledger.cut").values(body=b'{"seq":5,"hash":"00","entries":5}'))
    assert {flaw.problem for flaw in store.verify()} == {"altered"}


def test_an_anchor_of_the_entry_that_was_cut_off_last_is_held_against_the_cut(store: Store) -> None:
    a_chain(store)
    fifth = store.ledger()[4]
    pruned(store, Cutoffs(ledger_ms=T0 + 6 * DAY_MS))
    assert store.verify([Anchor(seq=5, hash=fifth.hash)]) == []
    assert [(flaw.seq, flaw.problem) for flaw in store.verify([Anchor(seq=5, hash=bytes(32))])] == [(5, "altered")]
