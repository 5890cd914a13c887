"""What persons say reaches the desk through a real broker, and what is forged reaches the ledger alone."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import msgspec
import pytest

from rollguard.responders import KillSwitch
from rollguard.service import open_store
from tests.cli.terminal import said
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics

DANA, ERIN = ("whsec_" + base64.b64encode(f"{name}: a secret of over 24 bytes".encode()).decode() for name in ("dana", "erin"))
PEOPLE = "respond: {people: {dana: {secret: env:DANA_KEY}, erin: {secret: env:ERIN_KEY}}}\n"


def test_a_command_is_heard_and_a_forged_one_is_remembered(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DANA_KEY", DANA)
    monkeypatch.setenv("ERIN_KEY", ERIN)
    shop_topics(broker, names)
    with Service(broker, tmp_path / "live", names, PEOPLE) as service:
        worker = service.ready("--only", "desk", "--only", "changes", "--only", "respond")
        mute = ("mute", "checkout", "--for", "30m", "--reason", "we move", "-c", str(service.path()), "--as", "dana")
        told = said(monkeypatch, capsys, *mute, "--secret", "env:DANA_KEY")
        assert told.code == 0, told
        assert said(monkeypatch, capsys, *mute, "--secret", "env:ERIN_KEY").code == 0
        assert said(monkeypatch, capsys, "kill", "on", "-c", str(service.path())).code == 0
        store = open_store(service.settings)
        # As somebody does who has nothing but Kafka at hand; what was said last holds, so that it has to be known when it was said.
        assert said(monkeypatch, capsys, "kill", "off", "--as", "dana", "--secret", "env:DANA_KEY", "-c", str(service.path())).code == 0
        service.send(service.topic("commands"), [b'{"command": "kill", "on": true}'])
        until(lambda: (flag := store.flag(KillSwitch.FLAG)) is not None and flag.value == "on", "a kill switch that is on")
        flag = store.flag(KillSwitch.FLAG)
        assert flag is not None
        assert abs(flag.at_ms - time.time() * 1000) < 60_000
        until(lambda: len(store.ledger()) >= 5, "what was said in the ledger")
        found = {entry.kind: msgspec.json.decode(entry.body) for entry in store.ledger()}
        store.close()
        assert worker.end() == 0
        assert DANA[6:] not in worker.said
    assert set(found) == {"command.mute", "command.refused", "command.kill"}
    assert (found["command.mute"]["by"], found["command.mute"]["service"], found["command.mute"]["reason"]) == ("dana", "checkout", "we move")
    assert "mute of dana: " in found["command.refused"]["detail"]


def test_what_is_said_of_an_incident_that_is_not_there_or_by_nobody_is_not_sent(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(broker, tmp_path / "live", names, PEOPLE)
    told = said(monkeypatch, capsys, "incidents", "ack", "inc-1", "-c", str(service.path()), "--as", "dana")
    assert (told.code, "no such incident" in told.err) == (2, True)
    told = said(monkeypatch, capsys, "mute", "--for", "1h", "--reason", "x", "-c", str(service.path()), "--as", "dane")
    assert (told.code, "Did you mean 'dana'?" in told.err) == (2, True)
    told = said(monkeypatch, capsys, "incidents", "-c", str(service.path()), "ack", "inc-1", "--as", "dana")
    assert (told.code, "options go behind the command" in told.err or "Missing option" in told.err) == (2, True)
