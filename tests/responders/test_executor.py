"""The executor in a simulated world: it dies at any call, targets fail in every way, and nothing is rolled back twice or wrongly."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from rollguard.incidents import Plan, RolledBack
from rollguard.responders.executor import Executor, Intent
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, UnknownError
from rollguard.responders.switch import KillSwitch
from rollguard.store import Batch, OutboxRow, Store
from tests.incidents.scenes import settings_with

T0 = 1_772_442_000_000
SETTINGS = settings_with(
    "respond: {targets: {all: {kind: webhook, url: 'https://deployer', secret: env:X, cas: native, confirm: 30s}}, target: all}\n"
    "services: {checkout: {mode: auto}}\n"
)


def chance_of(seed: int) -> random.Random:
    """A world's chance."""
    return random.Random(seed)  # noqa: S311 - repeats itself


class Died(BaseException):
    """The process ended here."""


class World:
    """What is live, and all that was done to it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.live: dict[str | None, str] = {}
        self.done: list[str] = []
        self.wrong: list[str] = []

    def act(self, step: Step) -> None:
        """Roll back, whatever is live: a careless deployer, so that every mistake of ours shows."""
        if self.live.get(step.region, step.expected_version) != step.expected_version:
            self.wrong.append(step.intent)
        self.done.append(step.intent)
        self.live[step.region] = step.to_version


class Deployer:
    """A target that fails in every way, by chance."""

    cas: Literal["native"] = "native"

    def __init__(self, world: World, calls: Calls, troubles: float) -> None:
        self.world = world
        self.calls = calls
        self.troubles = troubles

    async def current(self, step: Step) -> str:
        self.calls.count()
        if self.world.chance.random() < self.troubles:
            raise RefusedError("deployer", "cannot be read")
        return self.world.live.get(step.region, step.expected_version)

    async def plan(self, step: Step) -> Prepared:
        version = await self.current(step)
        if version != step.expected_version:
            raise MovedError("deployer", f"{version} is live")
        return Prepared(step=step, version=version, what=f"{step.service} to {step.to_version} in {step.region}")

    async def execute(self, prepared: Prepared) -> str:
        self.calls.count()
        step, roll = prepared.step, self.world.chance.random()
        if self.world.chance.random() < self.troubles / 2:
            self.world.live[step.region] = "hot-fix"
        # Compare and set is the target's own.
        if self.world.live.get(step.region, step.expected_version) != step.expected_version:
            raise MovedError("deployer", "moved")
        if roll < self.troubles / 3:
            raise RefusedError("deployer", "403")
        if roll < 2 * self.troubles / 3:
            raise UnknownError("deployer", "no answer, nothing done")
        self.world.act(step)
        self.calls.count()
        if roll < self.troubles:
            raise UnknownError("deployer", "no answer, but done")
        return "taken"

    async def confirm(self, step: Step) -> Confirmed:
        self.calls.count()
        if self.world.chance.random() < self.troubles:
            return "going"
        return "live" if self.world.live.get(step.region) == step.to_version else "failed"

    async def close(self) -> None:
        """Do nothing."""


class Calls:
    """Counts calls to the outside, and dies at one of them."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.made = 0

    def count(self) -> None:
        self.made += 1
        if self.made == self.last:
            raise Died


class Mortal:
    """A store whose caller may die before or after each call."""

    def __init__(self, store: Store, calls: Calls) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self._calls.count()
            found = getattr(self._store, name)(*given, **named)
            self._calls.count()
            return found

        return call


def ask(store: Store, number: int, *, places: tuple[str, ...] = ("eu-west",), approved_by: tuple[str, ...] = ()) -> str:
    """A rollback is decided."""
    incident = f"inc-{number}"
    plan = Plan(incident_id=incident, deploy_id=f"chg-{number}", service="checkout", expected_version="2.0", to_version="1.0", places=places)
    row = OutboxRow(
        id=f"{incident}/rollback",
        kind="rollback",
        incident_id=incident,
        dedup_key=f"checkout/chg-{number}/{','.join(places)}",
        at_ms=T0,
        not_after_ms=T0 + 120_000,
        offset=number,
        body=msgspec.json.encode(Intent(plan=plan, approved_by=approved_by)),
    )
    epoch = store.claim("desk", "test", T0)
    store.record("desk", epoch, Batch(from_offset=number, to_offset=number + 1, outbox=(row,), gap=True), T0)
    return row.id


class Life:
    """An executor, its world, and a clock that goes on."""

    def __init__(self, store: Store, world: World, *, troubles: float = 0.0) -> None:
        self.store = store
        self.world = world
        self.troubles = troubles
        self.now_ms = T0
        self.told: list[RolledBack] = []
        self.lives = 0

    async def _tell(self, record: RolledBack) -> None:
        self.told.append(record)

    async def _sleep(self, seconds: float) -> None:
        self.now_ms += round(1000 * seconds)

    def run(self, last: int | None = None) -> int:
        """Look once, dying at a call; how many calls there were."""
        calls = Calls(last)
        self.lives += 1
        self.store.raise_flag(Executor.FRONTIER, str(self.now_ms - 20_000), self.now_ms)
        target = Deployer(self.world, calls, self.troubles)
        executor = Executor(
            Mortal(self.store, calls),  # type: ignore[arg-type]  # behaves as one, until it dies
            SETTINGS,
            targets={"all": target},
            tell=self._tell,
            now_ms=lambda: self.now_ms,
            taken_by=f"life-{self.lives}",
            sleep=self._sleep,
        )

        async def both() -> None:
            await executor.sweep()
            await executor.once()

        with suppress(Died):
            asyncio.run(both())
        return calls.made


def state(store: Store, row_id: str) -> str:
    return next(row.state for row in store.outbox(kinds=["rollback"]) if row.id == row_id)


def test_a_rollback_is_carried_out_once_and_said_to_be(store: Store) -> None:
    life = Life(store, World(chance_of(1)))
    row = ask(store, 1, places=("eu-west", "us-east"))
    life.run()
    life.run()
    assert state(store, row) == "done"
    assert len(life.world.done) == 2
    assert [each.outcome for each in life.told] == ["done"]
    assert [entry.kind for entry in store.ledger()] == ["rollback.intent", "rollback.done"]


def test_who_dies_at_any_call_has_rolled_back_once_at_most_and_it_ends_known_or_with_a_person(store: Store) -> None:
    ask(store, 0)
    calls = Life(store, World(chance_of(1))).run()
    assert calls > 10
    for last in range(1, calls + 1):
        row = ask(store, last)
        life = Life(store, World(chance_of(1)))
        life.run(last)
        for _ in range(3):
            life.now_ms += 400_000
            life.run()
        assert len(life.world.done) <= 1
        assert life.world.wrong == []
        assert state(store, row) in {"done", "unknown", "expired", "failed"}, f"dead at call {last} of {calls}"
        assert state(store, row) != "failed" or not life.world.done
    assert store.verify() == []


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_nothing_is_rolled_back_twice_or_wrongly(store: Store, seed: int) -> None:
    assert_safe(store, seed)


@pytest.mark.live_long
def test_over_ten_thousand_seeds_nothing_is_rolled_back_twice_or_wrongly(figure: Callable[[str], None]) -> None:
    outcomes: Counter[str] = Counter()
    # In memory, so that it takes minutes: what is on disk after a kill is what tests/store and tests/live look at.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108 - a folder of its own in it
        for hundred in range(100):
            store = Store.open(f"sqlite:///{folder}/{hundred}.db")
            store.migrate()
            for seed in range(1_000 + 100 * hundred, 1_100 + 100 * hundred):
                outcomes[assert_safe(store, seed)] += 1
            store.close()
    figure(f"{outcomes.total()} seeds, none twice or wrong: {dict(outcomes.most_common())}")


def assert_safe(store: Store, seed: int) -> str:
    """Live through a seed's troubles and deaths; how it ended."""
    chance = chance_of(seed)
    life = Life(store, World(chance), troubles=chance.choice([0.0, 0.2, 0.6]))
    row = ask(store, seed + 1, places=chance.choice([("eu-west",), ("eu-west", "us-east"), ()]))
    for _ in range(chance.randint(1, 4)):
        life.run(chance.randint(1, 40))
        life.now_ms += chance.choice([1_000, 30_000, 400_000])
    for _ in range(3):
        life.now_ms += 400_000
        life.run()
    assert len(life.world.done) == len(set(life.world.done)), f"seed {seed}"
    assert life.world.wrong == [], f"seed {seed}"
    outcome = state(store, row)
    assert outcome in {"done", "unknown", "expired", "failed"}, f"seed {seed}"
    return outcome


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [(KillSwitch.FLAG, "on", "the kill switch is on"), (Executor.FRONTIER, str(T0 - 61_000), "older than a minute")],
)
def test_what_may_not_be_done_any_more_is_not(store: Store, flag: str, value: str, words: str) -> None:
    life = Life(store, World(chance_of(1)))
    row = ask(store, 1)
    store.raise_flag(Executor.FRONTIER, str(T0), T0)
    executor = Executor(store, SETTINGS, targets={"all": Deployer(life.world, Calls(None), 0.0)}, tell=life._tell, now_ms=lambda: T0, taken_by="one")
    store.raise_flag(flag, value, T0)
    asyncio.run(executor.once())
    assert state(store, row) == "failed"
    assert life.world.done == []
    assert words in life.told[0].detail


@pytest.mark.parametrize(
    ("broken", "outcome", "words"), [("plan", "failed", "nothing was changed"), ("execute", "unknown", "nobody knows"), ("confirm", "unknown", "took it")]
)
def test_a_target_that_breaks_ends_nothing_else_and_is_told(store: Store, broken: str, outcome: str, words: str) -> None:
    life, row = Life(store, World(chance_of(1))), ask(store, 1)
    target = Deployer(life.world, Calls(None), 0.0)

    async def breaks(_: object) -> None:
        raise KeyError("metadata")

    setattr(target, broken, breaks)
    store.raise_flag(Executor.FRONTIER, str(T0), T0)
    executor = Executor(store, SETTINGS, targets={"all": target}, tell=life._tell, now_ms=lambda: T0, taken_by="one", sleep=life._sleep)
    asyncio.run(executor.once())
    assert state(store, row) == outcome
    assert words in life.told[0].detail
    assert "KeyError" in life.told[0].detail
    assert len(life.world.done) == (broken == "confirm")
