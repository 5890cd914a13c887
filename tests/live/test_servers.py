"""The broker of the tests themselves: where it comes from, and what it does when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.servers import Broker, Names, NoServerError, running_broker


def test_without_any_way_to_a_broker_each_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROLLGUARD_TEST_KAFKA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerError) as raised, running_broker(tmp_path):
        pass
    for word in ("ROLLGUARD_TEST_KAFKA", "no java and no mvn", "no docker"):
        assert word in str(raised.value), word


def test_a_broker_that_was_named_is_used_and_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLGUARD_TEST_KAFKA", "kafka.example:9092")
    with running_broker(tmp_path) as broker:
        assert broker.bootstrap == "kafka.example:9092"
        with pytest.raises(pytest.skip.Exception, match="somebody else's"):
            broker.stop()


def test_topics_and_their_partitions_outlive_a_restart_and_a_kill(broker: Broker, names: Names) -> None:
    topic = names.topic("orders")
    broker.create_topic(topic, 2)
    broker.add_partitions(topic, 4)
    broker.kill()
    broker.start()
    assert broker.topics()[topic] == 4
    broker.delete_topics([topic])
    assert topic not in broker.topics()


def test_a_figure_stands_in_the_summary(figure: Callable[[str], None], request: pytest.FixtureRequest) -> None:
    figure("1 broker")
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    assert terminal is not None
