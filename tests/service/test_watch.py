"""Rollguard watching over itself: a real database, real receivers, and a clock that a test turns on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from rollguard.config import Settings
from rollguard.responders import Executor, Notice, make_pager
from rollguard.service.alarm import APART_MS, LEASE_MS
from rollguard.service.blindness import Reason
from rollguard.service.watch import CHANGES, Watch
from rollguard.store import Batch, IncidentRow, OutboxRow, Store
from rollguard.streams.kafka import KafkaError
from tests.incidents.scenes import settings_with
from tests.responders.faulty import Answer, Behaviour, Faulty
from tests.servers.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]

START_MS, SECOND_MS, MINUTE_MS = 1_772_442_000_000, 1_000, 60_000
TAKEN = Answer(202)
SIGNING = "whsec_" + "YWFh" * 8


@dataclass
class World:
    """What watches share: a clock, a database, brokers that answer or do not, receivers."""

    settings: Settings
    store: Store
    receivers: dict[str, Faulty]
    now_ms: int = START_MS
    brokers: bool = True
    desk: bool | None = True
    offset: int = 0
    made: list[Watch] = field(default_factory=list)

    async def reach(self) -> None:
        if not self.brokers:
            raise KafkaError(where="broker 127.0.0.1:9092", problem="nobody listens there", recoverable=True)

    def watch(self, *, desk: bool | None = True) -> Watch:
        """A worker's."""
        pagers = {name: make_pager(name, pager, SIGNING) for name, pager in self.settings.respond.pagers.items()}
        made = Watch(self.settings, self.store, reach=self.reach, pagers=pagers, has_desk=lambda: desk, now_ms=lambda: self.now_ms)
        self.made.append(made)
        return made

    async def go_on(self, span_ms: int, *watches: Watch, moves: bool = True, step_ms: int = 5 * SECOND_MS) -> None:
        """Let time go on, and look every few seconds; `moves`: buckets close meanwhile."""
        for _ in range(span_ms // step_ms):
            self.now_ms += step_ms
            if moves:
                self.move()
            await asyncio.gather(*(watch.look() for watch in watches))

    def move(self) -> None:
        """Close a bucket, as the desk says it."""
        self.store.raise_flag(Executor.FRONTIER, str(self.now_ms - 30 * SECOND_MS), self.now_ms)

    def write_page(self, pager: str, incident_id: str = "i-1") -> None:
        """A page that the desk decided."""
        epoch = self.store.claim("desk", "test", self.now_ms)
        notice = Notice(pager=pager, event="trigger", incident={"incident_id": incident_id})
        key = f"{incident_id}/{pager}"
        row = OutboxRow(id=key, offset=self.offset, kind="page", incident_id=incident_id, dedup_key=key, at_ms=self.now_ms, body=msgspec.json.encode(notice))
        state = IncidentRow(
            offset=self.offset, incident_id=incident_id, opened_at_ms=self.now_ms, closed_at_ms=None, state="open", verdict="inconclusive", body=b"{}"
        )
        self.store.record("desk", epoch, Batch(from_offset=self.offset, to_offset=self.offset + 1, incidents=(state,), outbox=(row,), gap=True), self.now_ms)
        self.offset += 1

    def told(self, name: str = "oncall") -> list[tuple[str, str]]:
        """What a receiver was told: event and key, in order."""
        return [(asked.json()["type"].rpartition(".")[2], asked.json()["data"]["dedup_key"]) for asked in self.receivers[name].asked]


@asynccontextmanager
async def a_world(where: str, *, config: str = "", oncall: Sequence[Behaviour] = (TAKEN,)) -> AsyncIterator[World]:
    """A world with two receivers; only `oncall` is paged by itself."""
    async with Faulty(*oncall) as first, Faulty(TAKEN) as second:
        pagers = "".join(f"{name}: {{kind: webhook, url: '{each.url}', secret: env:X, timeout: 2s}}, " for name, each in (("oncall", first), ("other", second)))
        settings = settings_with(f"respond: {{pagers: {{{pagers}}}, page: [oncall]}}\n{config}")
        store = Store.open(where, wait_ms=300)
        store.migrate()
        world = World(settings, store, {"oncall": first, "other": second})
        try:
            yield world
        finally:
            for each in world.made:
                for alarm in each._alarms.values():
                    for pager in alarm.pagers.values():
                        await pager.close()
            store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'rollguard.db'}"


def key(reason: Reason) -> str:
    return f"rollguard/rollguard/blind/{reason}"


def run(story: Callable[[World], object], where: str, *, config: str = "", oncall: Sequence[Behaviour] = (TAKEN,)) -> None:
    async def whole() -> None:
        async with a_world(where, config=config, oncall=oncall) as world:
            await story(world)  # type: ignore[misc]  # every story is a coroutine

    asyncio.run(whole())


def test_while_all_is_well_nobody_is_told(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        await world.go_on(10 * MINUTE_MS, watch, step_ms=30 * SECOND_MS)
        assert world.told() == []
        assert watch.blind == dict.fromkeys(("brokers", "changes", "database", "frontier", "outbox"))
        assert watch.troubles == {}

    run(story, where)


def test_a_desk_that_catches_up_says_how_far_it_is_and_when_it_is_there(where: str) -> None:
    async def story(world: World) -> None:
        one, other = world.watch(), world.watch(desk=False)
        for minutes in range(30, -1, -1):
            world.now_ms += 5 * SECOND_MS
            world.store.raise_flag(Executor.FRONTIER, str(world.now_ms - minutes * MINUTE_MS), world.now_ms)
            await asyncio.gather(one.look(), other.look())

    with capture_logs() as told:
        run(story, where)
    said = [(each["event"], each["behind_s"]) for each in told if each["event"] in {"catching_up", "caught_up"}]
    assert said == [("catching_up", 60 * minutes) for minutes in (30, 24, 18, 12, 6)] + [("caught_up", 300)]


def test_a_desk_that_stands_still_does_not_catch_up(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        world.store.raise_flag(Executor.FRONTIER, str(world.now_ms - 20 * MINUTE_MS), world.now_ms)
        await watch.look()
        await world.go_on(MINUTE_MS, watch, moves=False)

    with capture_logs() as told:
        run(story, where)
    assert [each["event"] for each in told].count("catching_up") == 1


def test_a_frontier_that_stands_still_is_paged_by_one_of_several_workers_and_ends_by_itself(where: str) -> None:
    async def story(world: World) -> None:
        one, other = world.watch(), world.watch()
        world.move()
        await world.go_on(2 * MINUTE_MS, one, other, moves=False)
        assert world.told() == []
        await world.go_on(MINUTE_MS, one, other, moves=False)
        assert world.told() == [("trigger", key("frontier"))]
        text = " ".join(world.receivers["oncall"].asked[0].json()["data"]["lines"])
        assert "event time stands still at 2026-03-02T" in text
        await world.go_on(MINUTE_MS, one, other)
        assert world.told() == [("trigger", key("frontier")), ("resolve", key("frontier"))]

    run(story, where)


def test_a_reason_is_paged_about_once_an_hour_at_most(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        world.brokers = False
        await world.go_on(2 * MINUTE_MS, watch, step_ms=20 * SECOND_MS)
        for _ in range(3):
            world.brokers = True
            await world.go_on(2 * MINUTE_MS, watch, step_ms=20 * SECOND_MS)
            world.brokers = False
            await world.go_on(5 * MINUTE_MS, watch, step_ms=20 * SECOND_MS)
        assert [event for event, _ in world.told()] == ["trigger", "resolve"]
        world.now_ms += APART_MS
        await world.go_on(MINUTE_MS, watch, step_ms=20 * SECOND_MS)
        assert [event for event, _ in world.told()] == ["trigger", "resolve", "trigger"]

    run(story, where)


def test_a_start_in_between_tells_nothing_twice_and_ends_what_was_told(where: str) -> None:
    async def story(world: World) -> None:
        world.brokers = False
        await world.go_on(2 * MINUTE_MS, world.watch())
        await world.go_on(2 * MINUTE_MS, world.watch())
        assert world.told() == [("trigger", key("brokers"))]
        world.brokers = True
        await world.go_on(MINUTE_MS, world.watch())
        assert world.told() == [("trigger", key("brokers")), ("resolve", key("brokers"))]

    run(story, where)


def test_who_died_while_telling_has_it_told_by_another(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        alarm = watch._alarms["brokers"]
        taken = msgspec.json.encode({"phase": "telling", "at_ms": START_MS, "paged_ms": 0, "pagers": []}).decode()
        assert world.store.exchange_flag(alarm.flag, None, taken, START_MS)
        world.brokers = False
        await world.go_on(LEASE_MS - 5 * SECOND_MS, watch)
        assert world.told() == []
        await world.go_on(LEASE_MS, watch)
        assert world.told() == [("trigger", key("brokers"))]

    run(story, where)


def test_without_a_database_whoever_has_the_desk_tells(where: str) -> None:
    async def story(world: World) -> None:
        desk, idle = world.watch(desk=True), world.watch(desk=False)
        await world.go_on(10 * SECOND_MS, desk, idle)
        real = world.store
        # What is open cannot be asked any more: every statement fails as on a disk that is gone.
        for watch in (desk, idle):
            watch.store = _broken(where)
        await world.go_on(2 * MINUTE_MS, desk, idle, moves=False, step_ms=20 * SECOND_MS)
        assert world.told() == [("trigger", key("database"))]
        assert "database" in desk.troubles
        assert "frontier" not in desk.blind
        for watch in (desk, idle):
            watch.store = real
        await world.go_on(MINUTE_MS, desk, idle)
        assert world.told() == [("trigger", key("database")), ("resolve", key("database"))]

    run(story, where)


def _broken(where: str) -> Store:
    """A store whose database is not there: of PostgreSQL a port where nobody listens, of SQLite one without tables."""
    url = where.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine("sqlite://") if url.startswith("sqlite") else create_engine(url.rpartition(":")[0] + ":1/nothing")
    return Store(engine, "a database that is away")


def test_a_silent_change_feed_is_paged_after_its_quiet_time(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        world.store.raise_flag(CHANGES, str(world.now_ms), world.now_ms)
        await world.go_on(9 * MINUTE_MS, watch, step_ms=MINUTE_MS)
        assert world.told() == []
        await world.go_on(2 * MINUTE_MS, watch, step_ms=MINUTE_MS)
        assert world.told() == [("trigger", key("changes"))]
        world.store.raise_flag(CHANGES, str(world.now_ms), world.now_ms)
        await world.go_on(2 * MINUTE_MS, watch, step_ms=MINUTE_MS)
        assert world.told() == [("trigger", key("changes")), ("resolve", key("changes"))]

    run(story, where, config="changes: {quiet: 10m}")


def test_a_page_that_is_not_delivered_is_told_to_another_pager(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        await world.go_on(10 * SECOND_MS, watch)
        world.write_page("oncall")
        await world.go_on(6 * MINUTE_MS, watch, step_ms=20 * SECOND_MS)
        assert world.told("oncall") == []
        assert world.told("other") == [("trigger", key("outbox"))]
        assert watch.outbox_is_stuck
        (row,) = world.store.due(["page"], world.now_ms, 1, taken_by="carrier", lease_ms=MINUTE_MS)
        assert world.store.settle(row.id, "carrier", "sent", world.now_ms)
        await world.go_on(MINUTE_MS, watch, step_ms=20 * SECOND_MS)
        assert world.told("other") == [("trigger", key("outbox")), ("resolve", key("outbox"))]
        assert not watch.outbox_is_stuck

    run(story, where)


def test_a_pager_that_refuses_makes_another_tell(where: str) -> None:
    async def story(world: World) -> None:
        world.brokers = False
        await world.go_on(2 * MINUTE_MS, world.watch(), step_ms=20 * SECOND_MS)
        assert world.told("other") == [("trigger", key("brokers"))]

    run(story, where, oncall=[Answer(403)])


def test_where_the_desk_has_paged_that_time_stands_still_nobody_is_paged_twice(where: str) -> None:
    async def story(world: World) -> None:
        watch = world.watch()
        world.move()
        world.write_page("oncall", "gap/time/1772442000000")
        (row,) = world.store.due(["page"], world.now_ms, 1, taken_by="carrier", lease_ms=MINUTE_MS)
        assert world.store.settle(row.id, "carrier", "sent", world.now_ms)
        await world.go_on(5 * MINUTE_MS, watch, moves=False, step_ms=20 * SECOND_MS)
        assert watch.blind["frontier"] is not None
        assert world.told() == []

    run(story, where)
