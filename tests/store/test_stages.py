from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from sqlalchemy import event

from rollguard.store import LogChangedError, Owner, StaleError, Store, StoreError
from tests.store.conftest import Another
from tests.store.rows import T0, a_batch, everything

#: No test waits so long; one that does has locked itself out.
DEADLINE_S = 30.0


def until_it_goes(work: Callable[[], int]) -> int:
    """What a shell does about a database that somebody else holds."""
    while True:
        try:
            return work()
        except StoreError as error:
            assert error.recoverable  # noqa: PT017 - only one of many ends so


def test_each_claim_begins_an_epoch(store: Store) -> None:
    assert store.owner("desk") is None
    assert [store.claim("desk", name, T0) for name in ("host-a", "host-b", "host-b")] == [1, 2, 3]
    assert store.claim("detect/0", "host-a", T0 + 5) == 1
    assert store.owner("desk") == Owner(stage="desk", owner="host-b", epoch=3, claimed_ms=T0, log="", applied=None)
    assert store.owner("detect/0") == Owner(stage="detect/0", owner="host-a", epoch=1, claimed_ms=T0 + 5, log="", applied=None)


def test_nobody_writes_to_a_stage_that_was_never_claimed(store: Store) -> None:
    with pytest.raises(StaleError, match="desk: refused: epoch 1 is over, nobody has claimed it") as caught:
        store.record("desk", 1, a_batch(0, 1), T0)
    assert (caught.value.current, caught.value.owner) == (0, "")


def test_an_epoch_that_is_yet_to_come_is_no_better_than_one_that_is_over(store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    with pytest.raises(StaleError):
        store.record("desk", epoch + 1, a_batch(0, 1), T0)


def test_what_the_last_owner_wrote_is_there_for_the_next(another: Another, store: Store) -> None:
    store.record("desk", store.claim("desk", "host-a", T0), a_batch(0, 3), T0)
    standby = another()
    epoch = standby.claim("desk", "host-b", T0)
    kept, owner = standby.newest("desk"), standby.owner("desk")
    assert kept is not None
    assert owner is not None
    assert (kept.offset, owner.applied) == (3, 3)
    standby.record("desk", epoch, a_batch(kept.offset, 5), T0)


def test_of_those_who_claim_at_once_each_gets_an_epoch_and_one_may_write(another: Another, store: Store) -> None:
    n = 6
    barrier = Barrier(n)

    def race(number: int) -> tuple[int, bool]:
        own = another()
        barrier.wait(DEADLINE_S)
        epoch = until_it_goes(lambda: own.claim("desk", f"host-{number}", T0))
        # All have claimed before one writes, so that all but one are stale.
        barrier.wait(DEADLINE_S)
        try:
            until_it_goes(lambda: own.record("desk", epoch, a_batch(0, 2), T0).applied)
        except StaleError as error:
            assert error.current == n  # noqa: PT017 - only one of many ends so
            return epoch, False
        return epoch, True

    with ThreadPoolExecutor(n) as pool:
        told = sorted(pool.map(race, range(n)))
    assert told == [(epoch, epoch == n) for epoch in range(1, n + 1)]
    assert len(store.timeline()) == 2


def test_threads_of_one_process_share_a_store(store: Store) -> None:
    n = 6
    epochs = [store.claim(f"detect/{number}", "host-a", T0) for number in range(n)]
    barrier = Barrier(n)

    def work(number: int) -> int:
        barrier.wait(DEADLINE_S)
        for offset in range(5):
            store.keep(f"detect/{number}", epochs[number], offset=offset, state=b"%d" % number, now_ms=T0)
            store.append([])
        kept = store.newest(f"detect/{number}")
        assert kept is not None
        return kept.offset

    with ThreadPoolExecutor(n) as pool:
        assert list(pool.map(work, range(n))) == [4] * n


class Held:
    """Stops a store's thread just before it writes its n-th statement, until it is let go."""

    def __init__(self, store: Store, words: str) -> None:
        self.reached, self.go = Event(), Event()
        self.words = words
        event.listen(store._engine, "before_cursor_execute", self)

    def __call__(self, *arguments: object) -> None:
        if self.words in str(arguments[2]) and not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(DEADLINE_S)


def test_a_standby_that_claims_in_the_middle_of_a_transaction_waits_for_its_end(another: Another, store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    standby, held = another(wait_ms=100), Held(store, "INSERT INTO timeline")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.record, "desk", epoch, a_batch(0, 3), T0)
        assert held.reached.wait(DEADLINE_S)
        with pytest.raises(StoreError) as caught:
            standby.claim("desk", "host-b", T0)
        assert caught.value.recoverable
        held.go.set()
        assert writing.result(DEADLINE_S).applied == 3
    assert standby.claim("desk", "host-b", T0) == 2
    kept = standby.newest("desk")
    assert kept is not None
    assert kept.offset == 3
    with pytest.raises(StaleError):
        store.record("desk", epoch, a_batch(3, 6), T0)


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_worker_that_is_stopped_in_a_transaction_does_not_keep_the_standby_out(another: Another, store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0)
    before = everything(store)
    zombie, standby = another(wait_ms=150), another(wait_ms=150)
    held = Held(zombie, "INSERT INTO timeline")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(zombie.record, "desk", epoch, a_batch(0, 3), T0)
        assert held.reached.wait(DEADLINE_S)
        # The server ends the session of who says nothing; until then the standby tries again.
        assert until_it_goes(lambda: standby.claim("desk", "host-b", T0 + 1)) == 2
        held.go.set()
        with pytest.raises(StoreError) as caught:
            writing.result(DEADLINE_S)
    assert caught.value.recoverable
    with pytest.raises(StaleError):
        zombie.record("desk", epoch, a_batch(0, 3), T0)
    after = everything(store)
    assert after.pop("stages") != before.pop("stages")
    assert after == before


def test_offsets_of_one_log_are_not_taken_for_those_of_another(store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0, log="cluster-1/rollguard.signals")
    store.record("desk", epoch, a_batch(0, 3), T0)
    before = everything(store)
    with pytest.raises(LogChangedError, match=r"'cluster-1/rollguard.signals', and this is 'cluster-2/rollguard.signals'") as caught:
        store.claim("desk", "host-b", T0, log="cluster-2/rollguard.signals")
    assert (caught.value.stage, caught.value.kept, caught.value.found) == ("desk", "cluster-1/rollguard.signals", "cluster-2/rollguard.signals")
    assert everything(store) == before
    assert store.claim("desk", "host-b", T0, log="cluster-1/rollguard.signals") == 2
    assert store.claim("desk", "host-b", T0) == 3


def test_a_log_that_is_named_later_is_remembered(store: Store) -> None:
    store.claim("desk", "host-a", T0)
    store.claim("desk", "host-a", T0, log="cluster-1/rollguard.signals")
    with pytest.raises(LogChangedError):
        store.claim("desk", "host-a", T0, log="cluster-2/rollguard.signals")


def test_a_stage_that_starts_anew_forgets_offsets_and_snapshots_and_keeps_what_was_told(store: Store) -> None:
    epoch = store.claim("desk", "host-a", T0, log="old")
    store.record("desk", epoch, a_batch(50, 53), T0)
    before = everything(store)
    again = store.restart("desk", "host-a", T0, log="new")
    with pytest.raises(StaleError):
        store.record("desk", epoch, a_batch(53, 54), T0)
    assert store.newest("desk") is None
    assert store.owner("desk") == Owner(stage="desk", owner="host-a", epoch=again, claimed_ms=T0, log="new", applied=None)
    after = everything(store)
    for table in ("timeline", "incidents", "outbox", "ledger"):
        assert after[table] == before[table]
    assert store.record("desk", again, a_batch(0, 2), T0).timeline == 2
    assert [row.offset for row in store.timeline()] == [50, 51, 52, 0, 1]


def test_a_stage_can_start_anew_that_never_was(store: Store) -> None:
    assert store.restart("desk", "host-a", T0, log="new") == 1
