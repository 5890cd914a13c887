"""The dead man's probe: it is found by the detector, and comes through to somebody outside, or does not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from rollguard.detectors import Detect
from rollguard.incidents import Probe
from rollguard.responders import Heartbeat, PageError
from rollguard.service import probing
from rollguard.service.probing import Prober
from rollguard.store import Store
from tests.responders.faulty import Answer, Behaviour, Faulty

NOW_MS = 1_772_442_000_000


def test_a_probe_is_what_the_detector_found_each_time() -> None:
    prober = Prober()
    assert [prober.probe(at_ms) for at_ms in (NOW_MS, NOW_MS + 1)] == [Probe(at_ms=NOW_MS), Probe(at_ms=NOW_MS + 1)]


def test_a_detector_that_finds_nothing_makes_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    prober = Prober()
    # As many orders as ever, where none were to be: nothing is there to be found.
    well = probing._closed(probing.HOURS * 60, probing.HOURS * 60 + probing.NONE, probing.ORDERS)
    monkeypatch.setattr(probing, "_closed", lambda *_: well)
    assert prober.probe(NOW_MS) is None


def test_a_probe_costs_little_and_leaves_the_detector_as_it_was() -> None:
    prober = Prober()
    before = prober._warm
    prober.probe(NOW_MS)
    assert prober._warm == before
    assert Detect.restore(prober._settings, before).snapshot() == before


def beaten(tmp_path: Path, *behaviours: Behaviour, probes: tuple[int, ...], now_ms: int = NOW_MS) -> tuple[list[bool], int]:
    """Whether each look told somebody, after each probe twice; and how often they were asked."""
    store = Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")
    store.migrate()

    async def whole() -> tuple[list[bool], int]:
        async with Faulty(*behaviours) as server:
            heartbeat = Heartbeat(store, f"{server.url}/ping/a-secret-uuid")
            found = [await heartbeat.beat(now_ms)]
            for probe in probes:
                store.raise_flag(Heartbeat.FLAG, str(probe), now_ms)
                found += [await heartbeat.beat(now_ms), await heartbeat.beat(now_ms)]
            await heartbeat.close()
            return found, len(server.asked)

    return asyncio.run(whole())


def test_somebody_is_told_once_of_each_probe(tmp_path: Path) -> None:
    assert beaten(tmp_path, Answer(200), probes=(NOW_MS - 60_000, NOW_MS - 1_000)) == ([False, True, False, True, False], 2)


def test_a_probe_that_was_long_on_its_way_tells_nobody(tmp_path: Path) -> None:
    assert beaten(tmp_path, Answer(200), probes=(NOW_MS - 121_000,)) == ([False, False, False], 0)


def test_who_does_not_take_it_is_told_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert beaten(tmp_path, Answer(500), Answer(200), probes=(NOW_MS - 2_000, NOW_MS - 1_000)) == ([False, False, False, True, False], 2)
    assert "a-secret-uuid" not in capsys.readouterr().out


def test_what_is_no_url_is_refused_and_not_shown(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")
    with pytest.raises(PageError) as caught:
        Heartbeat(store, "hc-ping/a-secret-uuid")
    assert "a-secret-uuid" not in str(caught.value)


def test_the_url_of_a_heartbeat_is_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    assert beaten(tmp_path, Answer(200), probes=(NOW_MS - 1_000,)) == ([False, True, False], 1)
    assert "a-secret-uuid" not in "".join(record.getMessage() for record in caplog.records if record.name == "httpx")
