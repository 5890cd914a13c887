"""The commands around the live service, as far as they need no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiokafka import ConsumerRecord

from rollguard.cli.responder_findings import responders_found
from rollguard.incidents import Desk, LogCodec
from rollguard.service import DeskWork, DeskWorks
from rollguard.store import Batch, Store, TimelineRow
from tests.cli.terminal import Said, said
from tests.incidents import scenes
from tests.incidents.scenes import settings_with

LINES = (
    b'{"at":"2026-03-02T10:00:30Z","event":"opened","incident_id":"inc-1","incident":{"onset":"2026-03-02T10:00:00Z","state":"open",'
    b'"verdict":"guilty","orders_lost":12.0,"suspects":[{"deploy_id":"chg-1","probability":0.97}]}}',
    b'{"at":"2026-03-02T10:05:00Z","event":"updated","incident_id":"inc-1","incident":{"onset":"2026-03-02T10:00:00Z","state":"open",'
    b'"verdict":"guilty","orders_lost":99.0,"suspects":[{"deploy_id":"chg-1","probability":0.99}]}}',
)


Rollguard = Callable[..., Said]


@pytest.fixture
def rollguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rollguard:
    return partial(said, monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(f"store: {{url: 'sqlite:///{tmp_path / 'rollguard.db'}'}}\n", encoding="utf-8")
    return path


def found_before(config: Path) -> None:
    store = Store.open(f"sqlite:///{config.parent / 'rollguard.db'}")
    store.migrate()
    epoch = store.claim("desk", "test", 0)
    at_ms = (1_772_445_630_000, 1_772_445_900_000)
    rows = tuple(
        TimelineRow(id=f"{at}/0", at_ms=when, incident_id="inc-1", event="updated", line=line, offset=at)
        for at, (line, when) in enumerate(zip(LINES, at_ms, strict=True))
    )
    store.record("desk", epoch, Batch(from_offset=0, to_offset=2, timeline=rows), 0)
    store.close()


def test_without_an_incident_that_is_said(rollguard: Rollguard, config: Path) -> None:
    assert "No incident so far." in rollguard("incidents", "-c", str(config)).out


def test_incidents_are_listed_with_suspect_and_cost(rollguard: Rollguard, config: Path) -> None:
    found_before(config)
    out = rollguard("incidents", "-c", str(config)).out
    assert "inc-1" in out
    assert "chg-1 99 %" in out
    assert "99" in out


def test_what_was_known_by_a_time_is_what_stands_before_it(rollguard: Rollguard, config: Path) -> None:
    found_before(config)
    out = rollguard("incidents", "-c", str(config), "--until", "2026-03-02T10:01:00Z", "--json").out
    assert [each["orders_lost"] for each in msgspec.json.decode(out)] == [12.0]


def test_incidents_are_written_as_a_replay_writes_them(rollguard: Rollguard, config: Path, tmp_path: Path) -> None:
    found_before(config)
    rollguard("incidents", "-c", str(config), "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "timeline.jsonl").read_bytes() == b"".join(line + b"\n" for line in LINES)
    assert msgspec.json.decode((tmp_path / "out" / "incidents.jsonl").read_bytes())["incident_id"] == "inc-1"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("worker", "--only", "ingset"), "Did you mean 'ingest'?"),
        (("produce", ".", "--speed", "fast"), "--speed fast: no pace. Expected: a number above 0, as 100, or max."),
        (("incidents", "--until", "noon"), "--until noon: no time. Expected: RFC 3339 with an offset"),
        (("replay", "--from", "2026-03-02T09:00:00"), "no offset. Expected: RFC 3339 with one. Did you mean 2026-03-02T09:00:00Z?"),
        (("replay", "--from", "2026-03-02T09:00Z", "--to", "2026-03-02T08:00Z"), "--to 2026-03-02T08:00Z: not after --from 2026-03-02T09:00Z."),
        (("replay", ".", "--from", "2026-03-02T09:00Z"), "one of them"),
        (("replay",), "Expected: the folder of a case, or --all DIR, or --from TIME with -c FILE"),
        (("replay", ".", "--to", "2026-03-02T09:00Z"), "--to: means nothing without --from"),
    ],
)
def test_a_wrong_word_is_told_with_what_was_expected(rollguard: Rollguard, config: Path, words: tuple[str, ...], text: str) -> None:
    told = rollguard(*words, "-c", str(config))
    assert told.code == 2
    assert text in told.err


def test_a_password_in_the_url_of_the_database_is_refused_and_not_shown(rollguard: Rollguard, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("store: {url: 'postgresql://rollguard:hunter2@db/rollguard'}\n", encoding="utf-8")
    told = rollguard("incidents", "-c", str(path))
    assert told.code == 2
    assert "store.password" in told.err
    assert "hunter2" not in told.err + told.out


def test_one_incident_is_shown_with_its_decisions_and_who_was_told(rollguard: Rollguard, config: Path) -> None:
    settings = settings_with()
    store = Store.open(f"sqlite:///{config.parent / 'rollguard.db'}")
    store.migrate()
    works = DeskWorks(settings, None, store, "test", lambda: 0)  # type: ignore[arg-type]  # no log is written to
    epoch = store.claim("desk", "test", 0)
    work = DeskWork(works, epoch, Desk(settings), offset=0, kept=0)
    shop, codec = scenes.Shop(), LogCodec()
    for offset, record in enumerate(shop.log(scenes.START - 60 * scenes.MINUTE, scenes.START + 8 * scenes.MINUTE, [*scenes.regional(shop), *scenes.deploy()])):
        value = codec.encode(record)
        asyncio.run(work.write(work.feed([ConsumerRecord("signals", 0, offset, 0, 0, b"", value, None, 0, len(value), ())], scenes.START_MS)))
    (row,) = store.incidents()
    store.close()
    told = rollguard("incidents", "show", row.incident_id, "-c", str(config))
    assert told.code == 0, told
    assert f"{row.incident_id}: " in told.out
    assert "hurt     orders in eu-west" in told.out
    assert "page" in told.out
    assert "page log: waiting" in told.out
    shown = msgspec.json.decode(rollguard("incidents", "show", row.incident_id, "-c", str(config), "--json").out)
    assert shown["decisions"]
    assert shown["told"][0]["to"] == "log"
    assert "Did you mean" in rollguard("incidents", "show", row.incident_id[:-1], "-c", str(config)).err


def test_the_kill_switch_is_turned_off_by_somebody_with_a_name(rollguard: Rollguard, config: Path) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write("respond: {people: {dana: {secret: env:DANA}}}\n")
    assert "kill off: who says so? Expected: --as NAME" in rollguard("kill", "off", "-c", str(config)).err
    assert "Did you mean 'dana'?" in rollguard("kill", "off", "--as", "dane", "-c", str(config)).err


def test_pagers_targets_and_keys_that_cannot_work_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WELL", "whsec_" + "YWFh" * 8)
    monkeypatch.setenv("NO_KEY", "planted secret")
    (tmp_path / "switch").write_text("on")
    text = f"""
respond:
  pagers:
    bridge: {{kind: webhook, url: 'https://x', secret: env:WELL}}
    oncall: {{kind: pagerduty, secret: env:NO_KEY}}
    chat: {{kind: slack, secret: env:UNSET}}
  targets: {{mine: {{kind: webhook, url: 'https://x', secret: env:WELL}}, theirs: {{kind: webhook, url: 'https://x', secret: env:NO_KEY}}}}
  people: {{dana: {{secret: env:WELL}}, erin: {{secret: env:NO_KEY}}}}
  kill_switch: {tmp_path / "switch"}
"""
    found = {each.what: (each.state, each.text) for each in responders_found(settings_with(text))}
    assert {what: state for what, (state, _) in found.items()} == {
        "pager bridge": "ok",
        "pager oncall": "mend",
        "pager chat": "mend",
        "target mine": "ok",
        "target theirs": "mend",
        "person dana": "ok",
        "person erin": "mend",
        "kill switch": "note",
    }
    assert "nothing is rolled back without a person" in found["target mine"][1]
    assert "UNSET" in found["pager chat"][1]
    assert "planted" not in str(found)
