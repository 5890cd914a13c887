"""`rollguard init` on topics of other names and fields: from nothing but a broker to a worker that finds something."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from rollguard.config import Layer, default_text, load_layers, read_layer
from rollguard.detectors import Signal
from rollguard.incidents import LogCodec
from tests.cli.terminal import said
from tests.live.servers import PASSWORDS, USER, Broker, Names, free_ports, fresh_names, until
from tests.live.workers import Process, Service
from tests.properties.shop import REGIONS, a_shop

#: An hour and a half of orders; in the last quarter of an hour one place has none.
SHOP = a_shop(hours=1.5, per_second=2.0)


def renamed(fields: dict[str, object], at_ms: int, number: int) -> bytes:
    """An order as another shop writes it."""
    shop = {"svc": fields["service"], "market": fields["region"]}
    return json.dumps({"orderNumber": f"n-{number}", "occurredAt": at_ms / 1000, "shop": shop, "release": fields["version"], "total": 12.5}).encode()


def test_from_other_names_to_a_first_signal(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = {"orders": names.topic("purchases"), "errors": names.topic("web.exceptions"), "changes": names.topic("releases")}
    for topic in topics.values():
        broker.create_topic(topic)
    now_ms = round(1000 * time.time())
    events = SHOP.events["orders"]
    shift_ms = now_ms - max(event.ts_ms for event in events) - 60_000
    stop_ms = now_ms - 15 * 60_000
    with Service(broker, tmp_path / "live", names) as service:
        lines = [
            (event.ts_ms + shift_ms, renamed(event.fields, event.ts_ms + shift_ms, number))
            for number, event in enumerate(events)
            if event.fields["region"] != REGIONS[0] or event.ts_ms + shift_ms < stop_ms
        ]
        service.send(topics["orders"], [line for _, line in lines], at_ms=now_ms)
        wrong = [
            {"uuid": f"u-{n}", "when": (now_ms - 5_000_000 + 10_000 * n) / 1000, "app": "web", "market": REGIONS[n % 3], "statusCode": 500} for n in range(490)
        ]
        service.send(topics["errors"], [json.dumps(each).encode() for each in wrong], at_ms=now_ms)
        change = {"deploy_id": "d-1", "service": "checkout", "environment": "prod", "started_at": now_ms - 16 * 60_000, "version": "9"}
        service.send(topics["changes"], [json.dumps(change).encode()], at_ms=now_ms)

        config = tmp_path / "rollguard.yaml"
        words = (
            "--topic",
            f"orders={topics['orders']}",
            "--topic",
            f"errors={topics['errors']}",
            "--topic",
            f"changes={topics['changes']}",
            "--topic",
            "deliveries=-",
        )
        own = fresh_names().prefix
        where = ("--bootstrap", broker.bootstrap, "--prefix", own, "--store", f"sqlite:///{tmp_path}/init.db")
        before = broker.topics()
        done = said(monkeypatch, capsys, "init", *where, *words, "--out", config, "--yes")
        assert (done.code, done.err) == (0, ""), done
        assert broker.topics() == before
        assert f"orders: {topics['orders']}: 500 of 500 records of the sample can be read" in done.out
        settings = load_layers([Layer(default_text(), "default.yaml"), read_layer(config)])
        fields = settings.sources["orders"].fields
        assert {ours: str(theirs) for ours, theirs in fields.items()} == {
            "id": "orderNumber",
            "ts": "occurredAt",
            "service": "shop.svc",
            "region": "shop.market",
            "version": "release",
        }
        assert (settings.environment, settings.sources["orders"].epoch) == ("prod", "s")

        (port,) = free_ports(1)
        with config.open("a") as file:
            file.write(f"http: {{port: {port}}}\nwarmup: 30m\n")
        assert said(monkeypatch, capsys, "topics", "create", "-c", config).code == 0
        checked = said(monkeypatch, capsys, "check", "-c", config, "--live")
        assert checked.code == 0, checked.out
        worker = Process(["worker", "-c", str(config), "--logs", "json"], tmp_path / "worker.log", port)
        service.processes.append(worker)
        until(lambda: worker.ready, "a worker that is ready")

        def signalled() -> bool:
            told = [LogCodec().decode(record.value) for record in service.read(f"{own}.signals")]
            return any(isinstance(each, Signal) and each.series.metric == "orders" and each.kind == "left" for each in told)

        until(signalled, "a signal of orders that left their baseline", 120.0)
        assert worker.end() == 0


def test_a_person_finds_their_topics_without_naming_them(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = names.topic("orders")
    broker.create_topic(topic, 3)
    with Service(broker, tmp_path / "live", names) as service:
        service.send(topic, [renamed({"service": "checkout", "region": "eu-west", "version": "1"}, 1_775_001_603_000 + n, n) for n in range(30)], 1)
        service.send(topic, [b"{rubbish", None], 2)
        done = said(monkeypatch, capsys, "init", "--bootstrap", broker.bootstrap, "--topic", f"orders={topic}", "--out", tmp_path / "r.yaml", "--json")
    told = msgspec.json.decode(done.out)
    assert (told["inferred"]["sources"]["orders"]["records"], told["read"]["orders"]) == (30, {"read": 30, "of": 31, "first_refused": "is no object of JSON"})
    missing = said(monkeypatch, capsys, "init", "--bootstrap", broker.bootstrap, "--topic", f"orders={topic}x", "--out", tmp_path / "q.yaml", "--yes")
    assert (missing.code, missing.out) == (2, "")
    assert f"Did you mean '{topic}'?" in missing.err


def test_brokers_that_ask_who_it_is_are_sampled_and_the_config_says_how(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, out = names.topic("orders"), tmp_path / "r.yaml"
    broker.create_topic(topic)
    for operation in ("read", "describe"):
        broker.allow(operation, "topic", topic)
    monkeypatch.setenv("TEST_PASSWORD", PASSWORDS[USER])
    monkeypatch.setenv("TEST_WRONG", "not-the-password")
    ca = broker.certificates / "ca.pem"
    who = ("--security-protocol", "SASL_SSL", "--sasl-mechanism", "SCRAM-SHA-512", "--user", USER, "--cafile", ca)
    words = ("init", "--bootstrap", broker.address("SASL_SSL"), *who, "--topic", f"orders={topic}", "--out", out, "--yes")
    with Service(broker, tmp_path / "live", names) as service:
        service.send(topic, [renamed({"service": "checkout", "region": "eu-west", "version": "1"}, 1_775_001_603_000 + n, n) for n in range(30)])

    refused = said(monkeypatch, capsys, *words, "--password", "env:TEST_WRONG")
    assert (refused.code, refused.out) == (1, "")
    assert "wrong user or password" in refused.err
    assert "kafka.sasl_plain_password" in refused.err
    assert "not-the-password" not in refused.err
    # Nothing that does not work is left behind.
    assert not out.exists()

    done = said(monkeypatch, capsys, *words, "--password", "env:TEST_PASSWORD")
    assert (done.code, done.err) == (0, ""), done
    assert f"orders: {topic}: 30 of 30 records of the sample can be read" in done.out
    text = out.read_text(encoding="utf-8")
    assert PASSWORDS[USER] not in text + done.out
    kafka = load_layers([Layer(default_text(), "default.yaml"), read_layer(out)]).kafka
    assert (kafka.security_protocol, kafka.sasl_mechanism, kafka.sasl_plain_username) == ("SASL_SSL", "SCRAM-SHA-512", USER)
    assert (kafka.sasl_plain_password, str(kafka.ssl_context.cafile)) == ("env:TEST_PASSWORD", str(ca))
    # What it says is how the others reach the brokers.
    listed = said(monkeypatch, capsys, "topics", "list", "-c", out)
    assert "wrong user or password" not in listed.err
    assert topic in listed.out
