"""What `rollguard topics acls` says is what the brokers ask for: with it all goes, and without any one of it something does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollguard.streams.kafka import Grant, Role
from tests.cli.terminal import Said, said
from tests.live.servers import PASSWORDS, USER, Broker, Names, free_ports, until
from tests.live.workers import Process

SOURCES = ("orders", "errors", "deliveries")


class Shop:
    """A config of a shop whose user may do what was allowed, and the command line over it."""

    def __init__(self, broker: Broker, names: Names, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.broker, self.monkeypatch, self.capsys = broker, monkeypatch, capsys
        self.port = free_ports(1)[0]
        self.file = folder / "shop.yaml"
        kafka: dict[str, Any] = {"bootstrap_servers": broker.address("SASL_PLAINTEXT"), "prefix": names.prefix, "group": names.group}
        log_in = {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": USER,
            "sasl_plain_password": "env:TEST_PASSWORD",
        }
        config = {
            "sources": {name: {"topic": names.topic(name)} for name in SOURCES},
            # So that the worker writes the topic, too.
            "changes": {"topic": names.topic("deploys"), "http": {"keys": {"ci": {"secret": "env:TEST_SIGNING"}}}},
            "kafka": kafka | log_in,
            "store": {"url": f"sqlite:///{folder}/shop.db"},
            "http": {"port": self.port},
        }
        self.file.write_text(json.dumps(config))
        monkeypatch.setenv("TEST_PASSWORD", PASSWORDS[USER])
        monkeypatch.setenv("TEST_SIGNING", "whsec_" + "YWFh" * 8)
        for name in (*SOURCES, "deploys"):
            broker.create_topic(names.topic(name))

    def says(self, *words: object) -> Said:
        """Run `rollguard` with the config."""
        return said(self.monkeypatch, self.capsys, *words, "-c", self.file)

    def told(self, role: Role) -> list[tuple[str, Grant]]:
        """Each operation that a role is said to need."""
        grants = [Grant(**each) for each in json.loads(self.says("topics", "acls", "--for", role, "--json").out)]
        return [(operation.lower(), grant) for grant in grants for operation in grant.operations]

    def allow(self, operation: str, grant: Grant) -> None:
        """Allow one operation."""
        self.broker.allow(operation, grant.resource, grant.name, prefixed=grant.prefixed)

    def to_mend(self) -> int:
        """How much `rollguard check --live` finds wrong."""
        return int(json.loads(self.says("check", "--live", "--json").out)["mend"])


@pytest.fixture
def shop(broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    """A shop with its own topics, and a user who may do nothing."""
    return Shop(broker, names, tmp_path, monkeypatch, capsys)


def test_with_each_permission_less_is_wrong_and_with_all_of_them_topics_are_made_and_a_worker_runs(shop: Shop) -> None:
    assert "not allowed" in shop.says("topics", "create").err
    for operation, grant in shop.told("creator"):
        shop.allow(operation, grant)
    assert shop.says("topics", "create").out.count("created") == 4
    wrong = shop.to_mend()
    for operation, grant in shop.told("worker"):
        shop.allow(operation, grant)
        left = shop.to_mend()
        # The creator may look at settings, so that this one is given already.
        assert left < wrong or operation == "describe_configs", (operation, grant)
        wrong = left
    assert wrong == 0
    worker = Process(["worker", "-c", str(shop.file)], shop.file.with_suffix(".log"), shop.port)
    try:
        until(lambda: worker.ready, "a worker that reads every topic")
    finally:
        worker.end()
    assert "not allowed" not in worker.said


def test_a_person_may_speak_with_one_permission(shop: Shop, names: Names) -> None:
    for name in ("blocks", "signals", "commands", "deadletter"):
        shop.broker.create_topic(f"{names.prefix}.{name}")
    assert "not allowed" in shop.says("kill", "on").err
    ((operation, grant),) = shop.told("person")
    shop.allow(operation, grant)
    done = shop.says("kill", "on")
    assert (done.code, done.err) == (0, "")


def test_the_commands_are_those_of_kafka(shop: Shop, names: Names) -> None:
    lines = shop.says("topics", "acls", "--principal", "User:CN=shop worker").out.splitlines()
    commands = [line for line in lines if not line.startswith("# ")]
    assert len(commands) == 2 + len(SOURCES) + 1 == len(lines) / 2
    begin = f"kafka-acls.sh --bootstrap-server {shop.broker.address('SASL_PLAINTEXT')} --add --allow-principal 'User:CN=shop worker' --operation Read"
    assert f"{begin} --topic {names.topic('orders')}" in commands
    assert f"{begin} --group {names.group}. --resource-pattern-type prefixed" in commands
