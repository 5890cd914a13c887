"""`rollguard topics` and `rollguard check --live` on a real broker: each thing that is wrong is found, and said how to mend."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from rollguard.config import Kafka
from rollguard.streams.kafka import Access
from tests.cli.terminal import Said, said
from tests.live.servers import PASSWORDS, STRANGER, USER, Broker, Names, free_ports

SOURCES = ("orders", "errors", "deliveries")


class Shop:
    """A config of a shop on the broker, and the command line over it."""

    def __init__(self, broker: Broker, names: Names, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.broker, self.names, self.folder = broker, names, folder
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.kafka: dict[str, Any] = {"bootstrap_servers": broker.bootstrap, "prefix": names.prefix, "group": names.group}
        self.more: dict[str, Any] = {"store": {"url": f"sqlite:///{folder}/shop.db"}, "http": {"port": free_ports(1)[0]}}

    def says(self, *words: object) -> Said:
        """Run `rollguard` with the config."""
        config = {
            "sources": {name: {"topic": self.names.topic(name)} for name in SOURCES},
            "changes": {"topic": self.names.topic("deploys")},
            "kafka": self.kafka,
        } | self.more
        file = self.folder / "shop.yaml"
        file.write_text(json.dumps(config))
        return said(self.monkeypatch, self.capsys, *words, "-c", file)

    def finds(self) -> tuple[int, dict[str, list[tuple[str, str]]]]:
        """Exit code of `check --live`, and by what was tried: how it is and the text."""
        done = self.says("check", "--live", "--json")
        assert done.err == ""
        found: dict[str, list[tuple[str, str]]] = {}
        for each in json.loads(done.out)["findings"]:
            found.setdefault(each["what"], []).append((each["state"], each["text"]))
        return done.code, found

    def to_mend(self) -> dict[str, str]:
        """What is to be mended, by what it is."""
        code, found = self.finds()
        mend = {what: " ".join(text for state, text in each if state == "mend") for what, each in found.items() if any(state == "mend" for state, _ in each)}
        assert code == (1 if mend else 0)
        return mend

    def log_in(self, user: str = USER, password: str = "env:TEST_PASSWORD") -> None:  # noqa: S107 - where it stands
        """Reach the brokers as somebody who may do only what he is allowed."""
        self.kafka |= {
            "bootstrap_servers": self.broker.address("SASL_PLAINTEXT"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }


@pytest.fixture
def shop(broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    """A shop without any topic."""
    monkeypatch.setenv("TEST_PASSWORD", PASSWORDS[USER])
    monkeypatch.setenv("TEST_STRANGER", PASSWORDS[STRANGER])
    monkeypatch.setenv("TEST_WRONG", "not-the-password")
    return Shop(broker, names, tmp_path, monkeypatch, capsys)


def test_from_nothing_to_nothing_to_mend(shop: Shop) -> None:
    assert set(shop.to_mend()) == {f"topic {shop.names.topic(name)}" for name in (*SOURCES, "deploys")} | {
        f"topic {shop.names.prefix}.{name}" for name in ("blocks", "signals", "commands", "deadletter")
    }
    first = shop.says("topics", "create", "--sources", "--partitions", "3")
    assert (first.code, first.err, first.out.count("created")) == (0, "", 8)
    again = shop.says("topics", "create", "--sources")
    assert (again.code, again.err, again.out.count("there ")) == (0, "", 8)
    assert shop.broker.topics()[shop.names.topic("orders")] == 3
    code, found = shop.finds()
    assert code == 0
    assert found[f"topic {shop.names.topic('orders')}"] == [("note", "3 partitions, no record yet")]
    assert found[f"topic {shop.names.prefix}.signals"] == [("ok", "as it should be")]
    assert found["brokers"] == [("ok", "1 broker, reached with PLAINTEXT")]
    for stage in ("ingest", "detect", "desk", "changes"):
        assert found[f"group {shop.names.group}.{stage}"] == [("ok", "may be joined")]
    assert not (shop.folder / "shop.db").exists()


def test_own_topics_alone_are_created_unless_the_others_are_asked_for(shop: Shop) -> None:
    assert shop.says("topics", "create").out.count("created") == 4
    assert not {shop.names.topic(name) for name in SOURCES} & set(shop.broker.topics())
    wrong = shop.says("topics", "create", "--partitions", "2")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--sources" in wrong.err


def test_topics_are_listed_for_a_person_and_for_a_machine(shop: Shop) -> None:
    shop.broker.create_topic(f"{shop.names.prefix}.signals", 2)
    shop.broker.create_topic(shop.names.topic("orders"), 4)
    rows = {row["topic"]: row for row in json.loads(shop.says("topics", "list", "--json").out)}
    assert (rows[shop.names.topic("orders")]["partitions"], rows[shop.names.topic("orders")]["problems"]) == (4, [])
    assert (rows[shop.names.topic("errors")]["partitions"], rows[shop.names.topic("errors")]["problems"]) == (None, ["missing"])
    assert "must be 1" in rows[f"{shop.names.prefix}.signals"]["problems"][0]
    done = shop.says("topics", "list")
    assert (done.code, done.err) == (0, "")
    for word in ("source orders", "missing", "it must be 1", "7d"):
        assert word in done.out, word


def test_a_topic_that_is_wrong_makes_create_and_check_fail(shop: Shop) -> None:
    signals = f"{shop.names.prefix}.signals"
    shop.broker.create_topic(signals, 2)
    done = shop.says("topics", "create", "--sources")
    assert done.code == 1
    assert f"topic {signals}: 2 partitions, and it must be 1" in done.err
    mend = shop.to_mend()
    assert set(mend) == {f"topic {signals}"}
    assert "it must be 1" in mend[f"topic {signals}"]


def test_a_fresh_record_and_one_from_the_future_are_told(shop: Shop) -> None:
    shop.says("topics", "create", "--sources")

    async def send(topic: str, ahead_ms: int) -> None:
        access = Access(Kafka(bootstrap_servers=(shop.broker.bootstrap,)))
        async with access.started(access.producer()) as producer:
            now = (await producer.send_and_wait(topic, b"{}")).timestamp
            await producer.send_and_wait(topic, b"{}", timestamp_ms=now + ahead_ms, partition=0)

    asyncio.run(send(shop.names.topic("orders"), -7_200_000))
    asyncio.run(send(shop.names.topic("errors"), 600_000))
    _, found = shop.finds()
    assert found[f"topic {shop.names.topic('orders')}"][0][1].endswith(" ago")
    assert "in the future: see to its producer's clock" in found[f"topic {shop.names.topic('errors')}"][0][1]


def test_nobody_at_the_other_end_is_one_line_and_the_rest_is_still_tried(shop: Shop) -> None:
    shop.kafka["bootstrap_servers"] = "127.0.0.1:1"
    code, found = shop.finds()
    assert code == 1
    assert found["broker 127.0.0.1:1"] == [("mend", "nobody listens there. Expected: a broker. Start it, or mend kafka.bootstrap_servers.")]
    assert {"config", "database", "http"} <= set(found)
    for words in (("topics", "list"), ("topics", "create")):
        done = shop.says(*words)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "nobody listens there" in done.err


def test_a_wrong_password_and_a_missing_one_are_told_by_their_keys(shop: Shop) -> None:
    shop.log_in(password="env:TEST_WRONG")
    mend = shop.to_mend()
    (what,) = mend
    assert what == f"broker {shop.broker.address('SASL_PLAINTEXT')}"
    assert "wrong user or password" in mend[what]
    shop.log_in(password="env:NO_SUCH_VARIABLE")
    mend = shop.to_mend()
    assert mend == {
        "kafka.sasl_plain_password": "env:NO_SUCH_VARIABLE: there is no such variable. Expected: the variable NO_SUCH_VARIABLE set where Rollguard is started."
    }
    assert shop.says("topics", "list").code == 2


def test_each_permission_that_is_missing_is_found_and_none_when_all_are_there(shop: Shop) -> None:
    shop.says("topics", "create", "--sources")
    shop.log_in(STRANGER, "env:TEST_STRANGER")
    mend = shop.to_mend()
    assert set(mend) == {f"topic {shop.names.topic(name)}" for name in (*SOURCES, "deploys")} | {
        f"topic {shop.names.prefix}.{name}" for name in ("blocks", "signals", "commands", "deadletter")
    } | {f"group {shop.names.group}.{stage}" for stage in ("ingest", "detect", "desk", "changes")}
    assert all("not allowed" in text and "kafka-acls" in text for text in mend.values())
    shop.log_in()
    allow = shop.broker.allow
    allow("describe", "topic", shop.names.prefix, prefixed=True)
    allow("describe", "group", shop.names.group, prefixed=True)
    assert set(shop.to_mend()) == set(mend)
    allow("read", "topic", shop.names.prefix, prefixed=True)
    allow("read", "group", shop.names.group, prefixed=True)
    assert set(shop.to_mend()) == {f"topic {shop.names.prefix}.{name}" for name in ("blocks", "signals", "commands", "deadletter")}
    allow("write", "topic", f"{shop.names.prefix}.", prefixed=True)
    code, found = shop.finds()
    assert code == 0
    assert found[f"topic {shop.names.prefix}.blocks"][0][0] == "note"
    assert "DESCRIBE_CONFIGS" in found[f"topic {shop.names.prefix}.blocks"][0][1]
    allow("describe_configs", "topic", shop.names.prefix, prefixed=True)
    assert shop.finds()[1][f"topic {shop.names.prefix}.blocks"] == [("ok", "as it should be")]


def test_one_who_may_not_create_topics_is_told_whom_to_ask(shop: Shop) -> None:
    shop.log_in(STRANGER, "env:TEST_STRANGER")
    done = shop.says("topics", "create")
    assert (done.code, done.out) == (1, "")
    assert f"topic {shop.names.prefix}.blocks: not allowed to create it. Expected: an ACL for CREATE." in done.err


def test_a_port_in_use_and_a_database_that_is_none_are_found(shop: Shop) -> None:
    shop.says("topics", "create", "--sources")
    (shop.folder / "shop.db").write_bytes(b"no database at all" * 100)
    with socket.create_server(("127.0.0.1", shop.more["http"]["port"])):
        mend = shop.to_mend()
    assert set(mend) == {"database", "http"}
    assert "not a database" in mend["database"]
    assert "in use" in mend["http"]
    shop.more["store"] = {"url": f"sqlite:///{shop.folder}/no/such/folder.db"}
    assert "there is no folder" in shop.to_mend()["database"]
    shop.more["store"] = {"url": "postgresql://me@127.0.0.1:1/shop", "password": "env:TEST_PASSWORD"}
    text = shop.to_mend()["database"]
    assert "refused" in text
    assert PASSWORDS[USER] not in text


def test_a_person_reads_a_line_each(shop: Shop) -> None:
    done = shop.says("check", "--live")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines[0] == "ok    config: no mistakes"
    assert lines[-1] == "8 to mend"
    assert sum(line.startswith("mend  topic ") for line in lines) == 8
    assert shop.says("check", "--live", "somewhere").code == 2
