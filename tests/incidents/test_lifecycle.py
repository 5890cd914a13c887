"""The life of an incident: its table, and the desk driven by anything at all."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import get_args

import pytest
from hypothesis import currently_in_test_context, settings
from hypothesis import event as happened
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollguard.config import Policy
from rollguard.incidents import ChangeSeen, Desk, Entry, Kill
from rollguard.incidents.lifecycle import TRANSITIONS, Event, State, step
from tests.incidents.scenes import MINUTE, START, Hurt, Shop, at_ms, deploy, settings_with

STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)


def test_the_table_names_every_state_and_every_event() -> None:
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(STATES)
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


def test_every_state_can_be_reached_and_all_but_the_last_can_be_left() -> None:
    reached: set[State] = {"open"}
    for _ in STATES:
        reached |= {step(state, event) for state in reached for event in EVENTS}
    assert reached == set(STATES)
    assert {state for state, _ in TRANSITIONS} == set(STATES) - {"closed"}


class Life(RuleBasedStateMachine):
    """Any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state: State = "open"
        self.acted = False

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: Event) -> None:
        before, self.state = self.state, step(self.state, event)
        self.acted |= event == "rollback_decided" and before == "open"
        if before == "closed":
            assert self.state == "closed"
        if before == "acting" and self.state != "acting":
            assert event in {"all_returned", "not_helped", "not_done", "resolved"}
            self.acted = event == "all_returned"
        if self.state == "closed" and before != "closed":
            assert event == "resolved" or (event == "quiet" and before.startswith("recovering"))

    @invariant()
    def what_was_acted_on_stays_so(self) -> None:
        assert self.acted == (self.state in {"acting", "recovering_after_action"}) or self.state == "closed"


TestLife = Life.TestCase

REGIONS = ("eu-west", "us-east")
SERVICES = ("checkout", "payments")
PLACES = [*({"region": region} for region in REGIONS), *({"service": service} for service in SERVICES), {}, {"service": "checkout", "region": "eu-west"}]


class Story(RuleBasedStateMachine):
    """A desk under random signals, changes, gaps, a kill switch and restarts, in the order of event time."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = settings_with("policy: {cool_down: 2m, max_rollbacks: 2, max_rollbacks_per: 1h, known_good: 5m}")
        self.shop = Shop(settings=self.settings)
        self.desk = Desk(self.settings)
        self.bucket = START
        self.away: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        self.later: list[ChangeSeen] = []
        self.killed = False
        self.deploys = 0
        self.entries: list[Entry] = []
        self.ticks(12)

    def ticks(self, n: int) -> None:
        for _ in range(n):
            known = [seen for seen in self.later if seen.seen_ms <= at_ms(self.bucket)]
            self.later = [seen for seen in self.later if seen.seen_ms > at_ms(self.bucket)]
            fresh = self.desk.feed([*known, self.shop.tick(self.bucket)])
            if self.killed:
                assert not any(entry.decision and entry.decision.action == "rollback" for entry in fresh)
            assert all(entry.at_ms == at_ms(self.bucket) for entry in fresh)
            self.entries += fresh
            self.bucket += 1

    @rule(n=st.sampled_from([1, 3, 7, 30, 90]))
    def time_passes(self, n: int) -> None:
        self.ticks(n)

    @rule(
        regions=st.sampled_from([(None,), ("eu-west",), ("us-east",), REGIONS]),
        service=st.sampled_from(SERVICES),
        minutes=st.sampled_from([None, 1, 5]),
        reversible=st.booleans(),
        again=st.booleans(),
    )
    def something_ships(self, regions: tuple[str | None, ...], service: str, minutes: float | None, reversible: bool, again: bool) -> None:
        self.deploys += not (again and self.deploys)
        self.later += deploy(
            f"chg-{self.deploys}",
            started=at_ms(self.bucket),
            minutes=minutes,
            regions=regions,
            service=service,
            rollback={"supported": reversible, "to_version": "1.0"},
        )

    @rule(metric=st.sampled_from(["orders", "errors", "promised_minutes"]), labels=st.sampled_from(PLACES), ago=st.integers(0, 12))
    def a_series_leaves(self, metric: str, labels: dict[str, str], ago: int) -> None:
        if (metric, tuple(labels.items())) in self.away:
            return
        self.away.add((metric, tuple(labels.items())))
        self.shop.hurts.append(Hurt(metric, 0.3 if metric == "orders" else 8.0, self.bucket - ago, where=labels))
        # Twice: a repeat changes nothing.
        signal = self.shop.left(metric, self.bucket, self.bucket - ago, **labels)
        assert self.desk.feed([signal, signal]) == []

    @precondition(lambda self: self.away)
    @rule(data=st.data(), everything=st.booleans())
    def it_returns(self, data: st.DataObject, everything: bool) -> None:
        back = sorted(self.away) if everything else [data.draw(st.sampled_from(sorted(self.away)))]
        for metric, labels in back:
            self.away.discard((metric, labels))
            self.shop.hurts = [hurt for hurt in self.shop.hurts if (hurt.metric, tuple(hurt.where.items())) != (metric, labels)]
            assert self.desk.feed([self.shop.returned(metric, self.bucket, self.bucket, **dict(labels))]) == []

    @rule(region=st.sampled_from(REGIONS), service=st.sampled_from(SERVICES), calm=st.sampled_from([0, 9, 40]))
    def a_bad_version_ships_and_is_undone(self, region: str, service: str, calm: int) -> None:
        """Bring about what a rollback is for, which hardly ever happens by chance; how much calm lies before it decides whether one may happen."""
        self.ticks(calm)
        self.something_ships((region,), service, 1, reversible=True, again=False)
        self.ticks(4)
        self.a_series_leaves("orders", {"region": region}, 3)
        self.ticks(2)
        if ("orders", (("region", region),)) in self.away:
            self.away.discard(("orders", (("region", region),)))
            self.shop.hurts = [hurt for hurt in self.shop.hurts if (hurt.metric, dict(hurt.where)) != ("orders", {"region": region})]
            assert self.desk.feed([self.shop.returned("orders", self.bucket, self.bucket, region=region)]) == []
            self.ticks(1)

    @rule(on=st.booleans())
    def kill(self, on: bool) -> None:
        self.killed = on
        assert self.desk.feed([Kill(on=on)]) == []

    @rule(metric=st.sampled_from(["orders", "errors", "promised_minutes"]), n=st.integers(1, 20), silent=st.booleans())
    def data_goes_missing(self, metric: str, n: int, silent: bool) -> None:
        (self.shop.silent if silent else self.shop.missing)[metric] = range(self.bucket, self.bucket + n)

    @rule()
    def the_desk_restarts(self) -> None:
        self.desk = Desk.restore(self.settings, self.desk.snapshot())

    @rule()
    def old_records_come_again(self) -> None:
        last = self.shop.tick(self.bucket - 1)
        assert self.desk.feed([last, self.shop.left("orders", self.bucket - 1, self.bucket - 5, region="eu-west")]) == []

    def teardown(self) -> None:
        story(self.entries, acting=True)
        limits(self.entries, self.settings.policy)


def limits(entries: list[Entry], policy: Policy) -> None:
    """Check that no stretch of time holds more automatic rollbacks than the budget, and none of a service comes too soon, restarts or not."""
    decided = [entry.decision for entry in entries if entry.decision is not None and entry.decision.action == "rollback"]
    done = [(each.at_ms, each.plan.service) for each in decided if each.plan is not None and not each.approved_by]
    assert len(done) == len(decided)
    if currently_in_test_context():
        happened(f"{len(done)} rollbacks")
    for at, (last_ms, service) in enumerate(done):
        stretch = [(at_ms, name) for at_ms, name in done[: at + 1] if last_ms - at_ms < policy.max_rollbacks_per_ms]
        assert len(stretch) <= policy.max_rollbacks
        assert not [name for at_ms, name in done[:at] if name == service and last_ms - at_ms < policy.cool_down_ms]


def story(entries: list[Entry], *, acting: bool) -> None:
    """Check what holds of any timeline."""
    assert all(a.at_ms <= b.at_ms for a, b in itertools.pairwise(entries))
    by_incident: dict[str, list[Entry]] = {}
    for entry in entries:
        by_incident.setdefault(entry.incident_id, []).append(entry)
    for mine in by_incident.values():
        events = [entry.event for entry in mine]
        assert events[0] == "opened"
        assert events.count("opened") == 1
        assert "closed" not in events[:-1]
        actions = [entry.decision.action for entry in mine if entry.decision is not None]
        assert actions.count("page") <= 1
        assert actions.count("rollback") <= 1
        assert acting or "rollback" not in actions
        if "rollback" in actions:
            assert actions.index("page") < actions.index("rollback")
        for before, after in itertools.pairwise([entry.incident for entry in mine if entry.incident is not None]):
            assert (before.opened_at_ms, before.incident_id) == (after.opened_at_ms, after.incident_id)
            assert not (before.state == "acting" and after.state in {"open", "recovering", "closed"})
        for entry in mine:
            if entry.decision is not None and entry.decision.action == "hold":
                assert entry.decision.blocked_by
            if entry.incident is not None:
                total = entry.incident.no_change_probability + sum(suspect.probability for suspect in entry.incident.suspects)
                assert total <= 1.0 + 1e-4
    # No change is rolled back twice, whatever the incident and scope.
    culprits = Counter(deploy_id for deploy_id in rolled_back(entries))
    assert max(culprits.values(), default=0) <= 1


def rolled_back(entries: list[Entry]) -> list[str]:
    """Deploys that were rolled back: the first suspect of the incident's last state before the decision."""
    found, last = [], {}
    for entry in entries:
        if entry.incident is not None:
            last[entry.incident_id] = entry.incident
        elif entry.decision is not None and entry.decision.action == "rollback":
            found.append(last[entry.incident_id].suspects[0].deploy_id)
    return found


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)


def test_the_machine_that_drives_the_desk_can_make_it_act() -> None:
    # Else all of the above would hold of a desk that never does anything.
    machine = Story()
    machine.ticks(4 * MINUTE)
    machine.something_ships(("eu-west",), "checkout", 1, True, False)
    machine.ticks(4)
    machine.a_series_leaves("orders", {"region": "eu-west"}, 3)
    machine.ticks(2)
    assert len(rolled_back(machine.entries)) == 1
    machine.teardown()


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_bad_versions_keeps_to_budget_and_cool_down_whoever_restarts(seed: int) -> None:
    chance, machine = random.Random(seed), Story()  # noqa: S311 - repeats itself
    for _ in range(16):
        machine.a_bad_version_ships_and_is_undone(chance.choice(REGIONS), chance.choice(SERVICES), chance.choice([9, 40, 70]))
        if chance.random() < 0.3:
            machine.the_desk_restarts()
    machine.teardown()
    # Else it would not have been a storm.
    assert len(rolled_back(machine.entries)) >= 2
    held = [each for entry in machine.entries if entry.decision is not None for each in entry.decision.blocked_by]
    assert any("budget" in each or "cooling down" in each for each in held)
