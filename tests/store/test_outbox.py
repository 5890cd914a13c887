from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule, run_state_machine_as_test
from msgspec.structs import replace

from rollguard.store import Batch, OutboxKind, OutboxRow, Outcome, Store
from rollguard.store.tables import METADATA
from tests.store.conftest import Another
from tests.store.rows import T0, a_note, a_page, a_rollback, everything

LEASE_MS = 1_000
ALL: tuple[OutboxKind, ...] = ("page", "rollback", "advice")


def write(store: Store, *rows: OutboxRow) -> None:
    """As the desk does: each row caused by a log record of its own."""
    owner = store.owner("desk")
    epoch, at = (owner.epoch, owner.applied or 0) if owner else (store.claim("desk", "host-a", T0), 0)
    placed = tuple(replace(row, offset=at + place) for place, row in enumerate(rows))
    store.record("desk", epoch, Batch(from_offset=at, to_offset=at + len(rows), outbox=placed), T0)


def take(store: Store, now_ms: int, *, by: str = "a", limit: int = 10) -> list[str]:
    return [row.id for row in store.due(ALL, now_ms, limit, taken_by=by, lease_ms=LEASE_MS)]


def one(store: Store, row_id: str) -> OutboxRow:
    return next(row for row in store.outbox() if row.id == row_id)


def test_what_is_due_is_handed_out_once_while_its_lease_runs(store: Store) -> None:
    write(store, a_page(name="page"), a_rollback(name="rollback"), replace(a_page(name="advice"), kind="advice"))
    rows = store.due(ALL, T0, 10, taken_by="a", lease_ms=LEASE_MS)
    assert [row.id for row in rows] == ["page", "rollback", "advice"]
    assert rows == store.outbox()
    assert {(row.state, row.attempts, row.taken_by, row.taken_ms, row.lease_until_ms) for row in rows} == {("taken", 1, "a", T0, T0 + LEASE_MS)}
    assert take(store, T0 + LEASE_MS - 1, by="b") == []


def test_only_the_kinds_that_were_asked_for_are_taken_and_no_more_than_the_limit(store: Store) -> None:
    write(store, a_page(name="page-1", incident="inc-1"), a_rollback(name="rollback"), a_page(name="page-2", incident="inc-2"))
    assert [row.id for row in store.due(["rollback"], T0, 10, taken_by="a", lease_ms=LEASE_MS)] == ["rollback"]
    assert take(store, T0, limit=1) == ["page-1"]
    assert take(store, T0, limit=1) == ["page-2"]
    assert store.due([], T0, 10, taken_by="a", lease_ms=LEASE_MS) == []


def test_a_page_whose_sender_died_is_due_again_and_counts_it(store: Store) -> None:
    write(store, a_page(name="page"))
    assert take(store, T0, by="a") == ["page"]
    assert take(store, T0 + LEASE_MS, by="b") == ["page"]
    assert one(store, "page").attempts == 2
    assert not store.settle("page", "a", "sent", T0 + LEASE_MS), "it is another's now"
    assert store.settle("page", "b", "sent", T0 + LEASE_MS)
    assert take(store, T0 + 10 * LEASE_MS) == []


def test_a_sender_that_was_slow_still_tells_what_it_sent_when_nobody_else_took_it(store: Store) -> None:
    write(store, a_page(name="page"))
    take(store, T0, by="a")
    assert store.settle("page", "a", "sent", T0 + 5 * LEASE_MS, detail="202")
    assert (one(store, "page").state, one(store, "page").settled_ms, one(store, "page").detail) == ("sent", T0 + 5 * LEASE_MS, "202")


def test_a_rollback_whose_taker_died_is_never_due_again_and_is_listed_as_unknown(store: Store) -> None:
    write(store, a_rollback(name="rollback"))
    assert take(store, T0, by="a") == ["rollback"]
    assert store.unknown(T0 + LEASE_MS - 1) == []
    for later in (LEASE_MS, 100 * LEASE_MS):
        assert take(store, T0 + later, by="b") == []
        assert [row.id for row in store.unknown(T0 + later)] == ["rollback"]


def test_what_became_of_an_unknown_rollback_may_be_told_by_who_looked(store: Store) -> None:
    write(store, a_rollback(name="rollback"))
    take(store, T0, by="a")
    assert not store.settle("rollback", "b", "unknown", T0 + LEASE_MS - 1), "it is not over yet"
    assert store.settle("rollback", "b", "unknown", T0 + LEASE_MS, follow=[a_page(None, name="ask a person")])
    assert store.unknown(T0 + LEASE_MS) == []
    assert store.settle("rollback", "a person", "done", T0 + 9 * LEASE_MS)
    assert not store.settle("rollback", "a", "failed", T0 + 9 * LEASE_MS), "what is known stays known"
    assert [(row.id, row.state) for row in store.outbox()] == [("rollback", "done"), ("ask a person", "waiting")]


def test_a_rollback_that_expired_is_not_handed_out_and_is_listed_until_it_is_told(store: Store) -> None:
    write(store, a_rollback(name="rollback", not_after_ms=T0 + 50))
    assert store.overdue(T0 + 50) == []
    assert take(store, T0 + 51) == []
    assert [row.id for row in store.overdue(T0 + 51)] == ["rollback"]
    assert not store.settle("rollback", "a", "done", T0 + 51), "nobody took it"
    assert not store.settle("rollback", "a", "expired", T0 + 50), "it has not yet"
    assert store.settle("rollback", "a", "expired", T0 + 51, follow=[replace(a_page(None, name="advice"), kind="advice")])
    assert (one(store, "rollback").state, one(store, "rollback").taken_by, store.overdue(T0 + 51)) == ("expired", "a", [])
    assert take(store, T0 + 51) == ["advice"]


def test_a_page_never_expires(store: Store) -> None:
    write(store, a_page(name="page"))
    assert take(store, T0 + 10**12) == ["page"]


def test_who_is_about_to_act_can_ask_whether_it_is_still_theirs(store: Store) -> None:
    write(store, a_rollback(name="rollback", not_after_ms=T0 + 500), a_page(name="page"))
    assert not store.holds("rollback", "a", T0)
    take(store, T0)
    assert store.holds("rollback", "a", T0 + 500)
    assert not store.holds("rollback", "a", T0 + 501), "it has expired"
    assert store.holds("page", "a", T0 + LEASE_MS - 1)
    assert not store.holds("page", "a", T0 + LEASE_MS), "its lease has"
    assert not store.holds("page", "a", T0 - 1), "a clock that was set back proves nothing"
    assert not store.holds("page", "b", T0)
    assert not store.holds("nothing", "a", T0)
    store.settle("rollback", "a", "failed", T0)
    assert not store.holds("rollback", "a", T0)


def test_a_page_that_is_tried_again_waits_for_its_time(store: Store) -> None:
    write(store, a_page(name="page"))
    take(store, T0)
    assert store.settle("page", "a", "retry", T0 + 10, next_ms=T0 + 500, detail="429")
    assert take(store, T0 + 499) == []
    assert take(store, T0 + 500) == ["page"]
    assert one(store, "page").attempts == 2


def test_of_one_key_the_next_is_due_when_the_one_before_is_settled(store: Store) -> None:
    write(store, a_page(name="opened"), a_page(name="other", incident="inc-2"), a_page(name="closed"))
    assert take(store, T0) == ["opened", "other"]
    store.settle("opened", "a", "retry", T0, next_ms=T0 + 500)
    assert take(store, T0 + 1) == []
    assert take(store, T0 + 500) == ["opened"]
    store.settle("opened", "a", "parked", T0 + 500, detail="400")
    assert take(store, T0 + 501) == ["closed"]


def test_a_row_may_say_not_before(store: Store) -> None:
    write(store, replace(a_page(name="escalation"), next_ms=T0 + 60_000))
    assert take(store, T0 + 59_999) == []
    assert take(store, T0 + 60_000) == ["escalation"]


@pytest.mark.parametrize("kind", ["page", "advice"])
def test_a_clock_that_is_set_back_does_not_hold_pages_up(store: Store, kind: OutboxKind) -> None:
    write(store, replace(a_page(name="x"), kind=kind))
    hour = 3_600_000
    take(store, T0 + hour)
    assert take(store, T0 + hour - LEASE_MS // 2, by="b") == [], "the clocks of two hosts are never the same"
    assert take(store, T0, by="b") == ["x"]
    store.settle("x", "b", "retry", T0 + hour, next_ms=T0 + hour + 500)
    assert take(store, T0, by="b") == ["x"]


def test_a_clock_that_is_set_back_does_not_hide_a_rollback_of_which_nobody_spoke(store: Store) -> None:
    write(store, a_rollback(name="rollback", not_after_ms=T0 + 3_700_000))
    take(store, T0 + 3_600_000)
    assert [row.id for row in store.unknown(T0)] == ["rollback"]
    assert take(store, T0, by="b") == []


@pytest.mark.parametrize(
    ("kind", "outcome", "next_ms"),
    [
        ("page", "done", None),
        ("page", "failed", None),
        ("page", "unknown", None),
        ("page", "expired", None),
        ("page", "retry", None),
        ("page", "sent", T0),
        ("rollback", "retry", T0),
        ("rollback", "sent", None),
        ("rollback", "parked", None),
        ("rollback", "done", T0),
    ],
)
def test_an_outcome_that_a_kind_does_not_have_is_a_mistake_of_its_writer(store: Store, kind: str, outcome: Outcome, next_ms: int | None) -> None:
    write(store, a_page(name="page"), a_rollback(name="rollback"))
    take(store, T0)
    before = everything(store)
    with pytest.raises(ValueError, match=f"^{kind}: "):
        store.settle(kind, "a", outcome, T0, next_ms=next_ms)
    assert everything(store) == before


def test_what_follows_from_an_outcome_is_written_with_it_and_once(store: Store) -> None:
    write(store, a_page(name="page"))
    take(store, T0)
    for _ in range(2):
        assert store.settle("page", "a", "parked", T0, follow=[a_page(None, name="by mail", incident="inc-9")], ledger_rows=[a_note(body=b"parked")])
    assert [row.id for row in store.outbox()] == ["page", "by mail"]
    assert [entry.body for entry in store.ledger()] == [b"parked"]


def test_what_follows_from_an_outcome_that_is_not_theirs_to_tell_is_not_written(store: Store) -> None:
    write(store, a_page(name="page"))
    before = everything(store)
    for row_id in ("page", "nothing"):
        assert not store.settle(row_id, "a", "sent", T0, follow=[a_page(None, name="by mail")], ledger_rows=[a_note()])
    assert everything(store) == before


def test_what_follows_keeps_the_rules_of_the_outbox(store: Store) -> None:
    write(store, a_page(name="page"))
    take(store, T0)
    with pytest.raises(ValueError, match="has to expire"):
        store.settle("page", "a", "sent", T0, follow=[replace(a_rollback(None), not_after_ms=None)])
    assert one(store, "page").state == "taken"


def test_rows_are_listed_by_kind_and_state(store: Store) -> None:
    write(store, a_page(name="page-1", incident="inc-1"), a_rollback(name="rollback"), a_page(name="page-2", incident="inc-2"))
    take(store, T0, limit=1)
    assert [row.id for row in store.outbox(kinds=["page"])] == ["page-1", "page-2"]
    assert [row.id for row in store.outbox(states=["waiting"])] == ["rollback", "page-2"]
    assert [row.id for row in store.outbox(kinds=["page"], states=["taken"])] == ["page-1"]


def test_those_who_take_at_once_share_what_is_due(another: Another, store: Store) -> None:
    n, rows = 4, 24
    write(store, *(a_rollback(name=f"rollback-{number}", key=f"key-{number}") for number in range(rows)))
    barrier = Barrier(n)

    def taking(who: int) -> list[str]:
        own, mine = another(wait_ms=20_000), list[str]()
        barrier.wait(30)
        while found := take(own, T0, by=f"host-{who}", limit=2):
            mine += found
        return mine

    with ThreadPoolExecutor(n) as pool:
        taken = [name for mine in pool.map(taking, range(n)) for name in mine]
    assert len(taken) == len(set(taken))
    # Who finds all that is left locked by another comes again later.
    taken += take(store, T0, limit=rows)
    assert sorted(taken) == sorted(f"rollback-{number}" for number in range(rows))


class Responders(RuleBasedStateMachine):
    """Two senders that die, sleep, lose their answers and disagree about the time; a pager, and a target that counts."""

    store: Store

    rows: Bundle[tuple[str, int, OutboxRow]] = Bundle("rows")

    def __init__(self) -> None:
        super().__init__()
        self.now = {"a": T0, "b": T0}
        self.born = {"a": 0, "b": 0}
        self.pages: set[str] = set()
        self.accepted: list[str] = []
        self.rolled_back: list[str] = []
        self.called: set[tuple[str, str]] = set()
        self.taken: list[str] = []

    @initialize()
    def empty(self) -> None:
        with self.store._writing() as connection:
            for name in ("outbox", "stages"):
                connection.execute(METADATA.tables[name].delete())
        self.epoch = self.store.claim("desk", "host-a", T0)
        self.at = 0

    def name(self, who: str) -> str:
        """Each start has a name of its own."""
        return f"{who}{self.born[who]}"

    def write(self, row: OutboxRow) -> None:
        self.store.record("desk", self.epoch, Batch(from_offset=self.at, to_offset=self.at + 1, outbox=(replace(row, offset=self.at),)), T0)
        self.at += 1

    @rule(incident=st.sampled_from(["inc-1", "inc-2"]))
    def decide_to_page(self, incident: str) -> None:
        row = a_page(name=f"page-{self.at}", incident=incident)
        self.write(row)
        self.pages.add(row.id)

    @rule(key=st.sampled_from(["checkout", "search", "cart"]), patience=st.sampled_from([500, 5_000, 10**9]))
    def decide_to_roll_back(self, key: str, patience: int) -> None:
        self.write(a_rollback(name=f"rollback-{self.at}", key=key, not_after_ms=max(self.now.values()) + patience))

    @rule(to=st.integers(0, 3))
    def read_the_log_again(self, to: int) -> None:
        """A desk that is restored decides again about records that were applied."""
        for at in range(min(to, self.at)):
            self.store.record("desk", self.epoch, Batch(from_offset=at, to_offset=at + 1, outbox=(a_page(at, name=f"page-{at}"),)), T0)

    @rule(target=rows, who=st.sampled_from("ab"), kinds=st.sampled_from([("page",), ("rollback",), ALL]), limit=st.integers(1, 3))
    def take(self, who: str, kinds: tuple[OutboxKind, ...], limit: int) -> Any:
        found = self.store.due(kinds, self.now[who], limit, taken_by=self.name(who), lease_ms=LEASE_MS)
        for row in found:
            self.taken.append(row.id)
            assert row.kind == "page" or self.taken.count(row.id) == 1, "a rollback was handed out twice"
            assert row.not_after_ms is None or row.not_after_ms >= self.now[who]
        return multiple(*((who, self.born[who], row) for row in found))

    @rule(held=rows)
    def act(self, held: tuple[str, int, OutboxRow]) -> None:
        """Call the world, without telling: a death after this loses the answer."""
        who, born, row = held
        if born != self.born[who]:
            return
        if row.kind == "page":
            self.accepted.append(row.id)
        elif (who, row.id) not in self.called and self.store.holds(row.id, self.name(who), self.now[who]):
            # Of one row in hand a sender makes one call; that it is in one hand alone is what is tested.
            self.called.add((who, row.id))
            self.rolled_back.append(row.dedup_key)
            assert row.not_after_ms is not None
            assert self.now[who] <= row.not_after_ms

    @rule(held=consumes(rows), outcome=st.sampled_from(["good", "bad", "unknown"]))
    def tell(self, held: tuple[str, int, OutboxRow], outcome: str) -> None:
        who, born, row = held
        if born != self.born[who]:
            return
        now = self.now[who]
        if row.kind == "rollback":
            told: Outcome = "unknown" if outcome == "unknown" else "done" if row.dedup_key in self.rolled_back else "failed"
            self.store.settle(row.id, self.name(who), told, now)
        elif row.id in self.accepted and outcome == "good":
            self.store.settle(row.id, self.name(who), "sent", now)
        else:
            self.store.settle(row.id, self.name(who), "retry", now, next_ms=now + 300)

    @rule(who=st.sampled_from("ab"))
    def die(self, who: str) -> None:
        self.born[who] += 1

    @rule(who=st.sampled_from("ab"), by=st.sampled_from([1, 400, 999, 1_000, 2_500, -300, -5_000]))
    def time_passes(self, who: str, by: int) -> None:
        self.now[who] += by

    @rule(who=st.sampled_from("ab"))
    def ask_what_is_unknown(self, who: str) -> None:
        for row in self.store.unknown(self.now[who]):
            known: Outcome = "done" if row.dedup_key in self.rolled_back else "unknown"
            assert self.store.settle(row.id, "a person", known, self.now[who])

    @rule(who=st.sampled_from("ab"))
    def tell_what_expired(self, who: str) -> None:
        for row in self.store.overdue(self.now[who]):
            assert row.id not in self.taken
            assert self.store.settle(row.id, self.name(who), "expired", self.now[who])

    @invariant()
    def nothing_was_rolled_back_twice(self) -> None:
        assert len(self.rolled_back) == len(set(self.rolled_back))

    def teardown(self) -> None:
        if not hasattr(self, "epoch"):
            return
        now = max(self.now.values()) + 10 * LEASE_MS
        while found := self.store.due(["page"], now, 5, taken_by="the last", lease_ms=LEASE_MS):
            for row in found:
                self.accepted.append(row.id)
                assert self.store.settle(row.id, "the last", "sent", now)
        assert self.pages <= set(self.accepted), "a page was lost"
        assert {row.id for row in self.store.outbox(kinds=["page"])} == self.pages
        rollbacks = self.store.outbox(kinds=["rollback"])
        assert len({row.dedup_key for row in rollbacks}) == len(rollbacks)
        listed = {row.id for row in self.store.unknown(now)}
        assert {row.id for row in rollbacks if row.state == "taken"} == listed, "of each rollback that was taken something is known, or it is listed"


def test_each_page_is_sent_at_least_once_and_each_rollback_at_most_once(store: Store) -> None:
    machine = type("Machine", (Responders,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30))
