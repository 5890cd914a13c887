"""The carrier: every page reaches a receiver at least once and is one incident there, whatever the pagers do."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollguard.config import Pager as PagerConfig
from rollguard.config import Settings
from rollguard.incidents import Desk
from rollguard.responders import Carrier, Pager, make_pager
from rollguard.service.notices import rows_of
from rollguard.store import Batch, IncidentRow, OutboxRow, Store
from tests.incidents.scenes import MINUTE, START, Shop, at_ms, deploy, regional, settings_with
from tests.responders.faulty import DRIP, HTML, RESET, SILENT, Answer, Behaviour, Faulty

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()
TAKEN = Answer(204)
CONFIG = """
respond:
  pagers:
    oncall: {kind: webhook, url: "http://127.0.0.1:1", secret: env:X, timeout: 150ms}
    second: {kind: webhook, url: "http://127.0.0.1:2", secret: env:X, timeout: 150ms}
  page: [oncall]
  fallback: [second]
  storm: {pages: 3, per: 10m}
"""


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_ms = at_ms(START + 10 * MINUTE)

    def __call__(self) -> int:
        return self.now_ms


def pager(name: str, receiver: Faulty) -> Pager:
    config = PagerConfig.model_validate({"kind": "webhook", "url": receiver.url, "secret": "env:X", "timeout": "150ms"})
    return make_pager(name, config, SECRET)


def rows_for(settings: Settings, suffix: str = "") -> list[OutboxRow]:
    """What the world is told of a regional culprit; with a suffix, of another incident like it."""
    desk = Desk(settings)
    shop = Shop(settings=settings)
    found: list[OutboxRow] = []
    for offset, record in enumerate(shop.log(START, START + 8 * MINUTE, [*regional(shop), *deploy()])):
        entries = desk.feed([record])
        now_ms = entries[0].at_ms if entries else 0
        found += rows_of(record, entries, desk.state_of, settings, offset=offset, late_ms=20_000, now_ms=now_ms)
    if not suffix:
        return found
    renamed = msgspec.json.decode(msgspec.json.encode(found).replace(found[0].incident_id.encode(), f"inc-{suffix}".encode()), type=list[OutboxRow])
    bodies = [row.body.replace(found[0].incident_id.encode(), f"inc-{suffix}".encode()) for row in found]
    return [msgspec.structs.replace(row, body=body) for row, body in zip(renamed, bodies, strict=True)]


def filled(path: Path, rows: Sequence[OutboxRow]) -> Store:
    store = Store.open(f"sqlite:///{path / 'rollguard.db'}")
    store.migrate()
    epoch = store.claim("desk", "test", 0)
    told = [msgspec.structs.replace(row, offset=number, ordinal=0) for number, row in enumerate(each for each in rows if each.kind != "rollback")]
    store.record("desk", epoch, Batch(from_offset=0, to_offset=len(told), outbox=tuple(told)), 0)
    return store


async def carried(store: Store, settings: Settings, clock: Clock, pagers: dict[str, Pager], *, rounds: int = 30, name: str = "one") -> Carrier:
    """Carry until nothing waits; the clock goes on by half a minute a round."""
    carrier = Carrier(store, settings.respond, pagers, clock, name)
    carrier.remember()
    for _ in range(rounds):
        await carrier.once()
        if not store.outbox(kinds=["page", "advice"], states=["waiting", "taken"]):
            break
        clock.now_ms += 30_000
    return carrier


def keys(receiver: Faulty) -> set[str]:
    return {asked.json()["data"]["dedup_key"] for asked in receiver.asked}


@pytest.mark.parametrize(
    "behaviour",
    [Answer(429), Answer(429, b"", {"retry-after": "7"}), Answer(500), Answer(400, b"no"), RESET, SILENT, DRIP, HTML],
    ids=["429", "429-after", "500", "400", "reset", "silent", "drip", "html"],
)
def test_whatever_a_pager_does_somebody_is_told_and_of_one_incident(tmp_path: Path, behaviour: Behaviour) -> None:
    settings = settings_with(CONFIG)

    async def story() -> tuple[set[str], set[str], list[OutboxRow]]:
        clock = Clock()
        store = filled(tmp_path, rows_for(settings))
        async with Faulty(behaviour) as first, Faulty(TAKEN) as second:
            pagers = {"oncall": pager("oncall", first), "second": pager("second", second)}
            await carried(store, settings, clock, pagers, rounds=8)
            found = keys(first), keys(second), store.outbox(kinds=["page", "advice"])
            for each in pagers.values():
                await each.close()
        assert store.verify() == []
        store.close()
        return found

    tried, told, rows = asyncio.run(story())
    assert len(told) == 1
    assert tried == told
    sent = [row for row in rows if row.dedup_key.endswith("/second")]
    assert sent
    assert all(row.state == "sent" for row in sent)
    assert all(row.state in {"waiting", "parked"} for row in rows if row.dedup_key.endswith("/oncall"))


def test_a_pager_that_recovers_gets_every_page_in_order(tmp_path: Path) -> None:
    settings = settings_with(CONFIG)

    async def story() -> list[Any]:
        clock = Clock()
        store = filled(tmp_path, rows_for(settings))
        async with Faulty(Answer(503), Answer(503), TAKEN) as receiver:
            oncall = pager("oncall", receiver)
            await carried(store, settings, clock, {"oncall": oncall})
            assert {row.state for row in store.outbox(kinds=["page", "advice"])} == {"sent"}
            await oncall.close()
            store.close()
            return [asked.json()["data"] for asked in receiver.asked[2:]]

    first, second = asyncio.run(story())
    assert first["lines"][0].startswith("hurt: orders in eu-west")
    assert first["lines"][1].startswith("cost: ")
    assert first["lines"][2].startswith("suspects: chg-1 (checkout 2.0) ")
    assert first["lines"][3] == "rolled back now: checkout -> 1.0 @ eu-west; what became of it is told next"
    assert first["lines"][4] == "to stop all rollbacks: rollguard kill on -c FILE"
    assert second["dedup_key"] == first["dedup_key"]


def test_a_storm_collapses_into_one_page_that_counts_all_also_after_a_start_in_its_middle(tmp_path: Path) -> None:
    settings = settings_with(CONFIG)

    async def story() -> list[Any]:
        clock = Clock()
        rows = [row for number in range(9) for row in rows_for(settings, f"{number}")]
        store = filled(tmp_path, rows)
        async with Faulty(TAKEN) as receiver:
            oncall = pager("oncall", receiver)
            half = Carrier(store, settings.respond, {"oncall": oncall}, clock, "one")
            await half.once()
            await carried(store, settings, clock, {"oncall": oncall}, name="two")
            await oncall.close()
            store.close()
            return [asked.json()["data"] for asked in receiver.asked]

    told = asyncio.run(story())
    alone = {page["dedup_key"] for page in told if not page["dedup_key"].startswith("storm/")}
    together = [page for page in told if page["dedup_key"] == "storm/oncall"]
    assert len(alone) == 3
    assert together[-1]["title"] == "6 more incidents at once"
    assert sorted(together[-1]["details"]["incidents"]) == sorted({f"inc-{number}" for number in range(9)} - alone)


def test_alertmanager_is_told_again_with_what_is_known_now_as_long_as_an_incident_is_open(tmp_path: Path) -> None:
    settings = settings_with(
        CONFIG.replace('oncall: {kind: webhook, url: "http://127.0.0.1:1", secret: env:X', 'oncall: {kind: alertmanager, url: "http://127.0.0.1:1"')
    )

    async def story(closed_at_ms: int | None) -> list[Any]:
        clock = Clock()
        (tmp_path / str(closed_at_ms)).mkdir()
        rows = rows_for(settings)
        store = filled(tmp_path / str(closed_at_ms), rows)
        known = msgspec.json.decode(rows[0].body)["incident"] | {"symptoms": ["orders in eu-west: worse"]}
        row = IncidentRow(
            incident_id=rows[0].incident_id,
            opened_at_ms=1,
            closed_at_ms=closed_at_ms,
            state="open",
            verdict="guilty",
            body=msgspec.json.encode({"incident": known}),
            offset=50,
        )
        store.record("desk", 1, Batch(from_offset=50, to_offset=51, incidents=(row,), gap=True), 0)
        async with Faulty(Answer(200, b"{}")) as receiver:
            config = PagerConfig.model_validate({"kind": "alertmanager", "url": receiver.url})
            pagers = {"oncall": make_pager("oncall", config, None)}
            carrier = await carried(store, settings, clock, pagers)
            told = len(receiver.asked)
            await carrier.renew()
            await pagers["oncall"].close()
            store.close()
            return [asked.json() for asked in receiver.asked[told:]]

    ((alert,),) = asyncio.run(story(None))
    assert alert["annotations"]["summary"] == "orders in eu-west: worse"
    assert asyncio.run(story(99)) == []


def test_a_pager_that_the_config_no_longer_has_is_told_by_the_fallback(tmp_path: Path) -> None:
    settings = settings_with(CONFIG)

    async def story() -> set[str]:
        clock = Clock()
        store = filled(tmp_path, rows_for(settings))
        async with Faulty(TAKEN) as second:
            other = pager("second", second)
            await carried(store, settings, clock, {"second": other})
            await other.close()
            told = keys(second)
        store.close()
        return told

    assert len(asyncio.run(story())) == 1


def test_a_row_that_another_version_wrote_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    settings = settings_with(CONFIG)
    first, *_ = rows_for(settings)
    lacking = msgspec.json.decode(first.body)
    del lacking["incident"]["symptoms"]
    bodies = {"no json": b"{", "no notice": b"[]", "lacks a field": msgspec.json.encode(lacking)}
    broken = [msgspec.structs.replace(first, id=name, dedup_key=name, body=body) for name, body in bodies.items()]

    async def story() -> tuple[set[str], dict[str, str]]:
        store = filled(tmp_path, [*broken, *rows_for(settings)])
        async with Faulty(TAKEN) as receiver:
            oncall = pager("oncall", receiver)
            await carried(store, settings, Clock(), {"oncall": oncall})
            await oncall.close()
            told = keys(receiver)
        states: dict[str, str] = {row.id: row.state for row in store.outbox(kinds=["page", "advice"])}
        assert [entry.kind for entry in store.ledger()].count("page.parked") == len(broken)
        store.close()
        return told, states

    told, states = asyncio.run(story())
    assert told == {first.incident_id}
    assert {name for name, state in states.items() if state == "parked"} == bodies.keys()
    assert "waiting" not in states.values()
