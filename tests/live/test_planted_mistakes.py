"""`rollguard check` against mistakes that operators make: each planted alone into a config that works, found, and said where and how to mend."""

from __future__ import annotations

import base64
import copy
import json
import logging
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from rollguard.config import Kafka, rfc3339
from rollguard.streams.kafka import Access, own_topics
from tests.cli.terminal import Said, said
from tests.live.servers import PASSWORDS, USER, Broker, Names, free_ports, fresh_names, in_a_loop
from tests.servers.alertmanager import Alertmanager, alertmanager
from tests.servers.kubernetes import READER, Cluster, cluster
from tests.servers.postgres import postgres_server
from tests.servers.receivers import serving

__all__ = ["alertmanager", "cluster", "postgres_server"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SIGNING = "whsec_" + base64.b64encode(b"a signing secret of 24 bytes or more").decode()
#: No output may hold one of these.
SECRETS = (*PASSWORDS.values(), "not-the-password", "hunter2-in-clear", "planted-pagerduty-key", "postgres-secret-9c", SIGNING, READER)


@dataclass
class Shop:
    """A shop whose config works, to plant a mistake into."""

    broker: Broker
    names: Names
    folder: Path
    request: pytest.FixtureRequest
    monkeypatch: pytest.MonkeyPatch
    config: dict[str, Any]
    stack: ExitStack = field(default_factory=ExitStack)

    def topic(self, name: str) -> str:
        return self.names.topic(name)

    def with_orders(self, name: str, change: Callable[[dict[str, Any], int], None]) -> None:
        """Read orders from another topic, whose events are as others but for a change."""
        topic = self.topic(f"orders-{name}")
        if topic not in self.broker.topics():
            self.broker.create_topic(topic)
            send(self.broker, topic, [changed(order(n), n, change) for n in range(60)])
        self.config["sources"]["orders"]["topic"] = topic

    def log_in(self, user: str = USER, password: str = "env:TEST_PASSWORD") -> None:  # noqa: S107 - where it stands
        """Reach the brokers as somebody who may do only what he is allowed."""
        self.config["kafka"] |= {
            "bootstrap_servers": self.broker.address("SASL_PLAINTEXT"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }

    def own(self, prefix: str, *, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """Use own topics of another prefix, whose log of signals is set up otherwise."""
        for each in own_topics(Kafka(prefix=prefix)):
            if each.name not in self.broker.topics():
                changed_too = each.name.endswith(".signals")
                more = {key.replace("_", "."): value for key, value in (configs or {}).items()} if changed_too else {}
                self.broker.create_topic(each.name, partitions if changed_too else 1, each.configs | more)
        self.config["kafka"]["prefix"] = prefix

    def check(self, capsys: pytest.CaptureFixture[str], *words: str) -> Said:
        file = self.folder / "shop.yaml"
        file.write_text(json.dumps(self.config, indent=1), encoding="utf-8")
        return said(self.monkeypatch, capsys, "check", "-c", file, "--live", *words)


def changed(event: dict[str, Any], n: int, change: Callable[[dict[str, Any], int], None]) -> bytes:
    change(event, n)
    return json.dumps(event).encode()


def order(n: int) -> dict[str, Any]:
    now_ms = round(1000 * time.time()) - 60_000 + 1000 * n
    return {"event_id": f"e-{now_ms}-{n}", "ts": now_ms, "service": "checkout", "region": ("eu-west", "us-east")[n % 2], "version": "4.11.0"}


def send(broker: Broker, topic: str, values: list[bytes]) -> None:
    async def work() -> None:
        access = Access(Kafka(bootstrap_servers=(broker.bootstrap,)))
        async with access.started(access.producer()) as producer:
            for value in values:
                await producer.send(topic, value)
            await producer.flush()

    in_a_loop(work)


@pytest.fixture(scope="module")
def town(kafka: Broker) -> tuple[Broker, Names]:
    """Topics of a shop that works, filled once for all mistakes."""
    names = fresh_names()
    for name in ("orders", "errors", "deliveries"):
        kafka.create_topic(names.topic(name), 2)
        more = {"promised_minutes": 30.0, "actual_minutes": 31.5} if name == "deliveries" else {}
        send(kafka, names.topic(name), [json.dumps(order(n) | more).encode() for n in range(60)])
    kafka.create_topic(names.topic("deploys"))
    change = {"deploy_id": "d-1", "service": "checkout", "environment": "production", "version": "4.11.0", "started_at": rfc3339(round(1000 * time.time()))}
    send(kafka, names.topic("deploys"), [json.dumps(change).encode()])
    for each in own_topics(Kafka(prefix=names.prefix)):
        kafka.create_topic(each.name, 1, each.configs)
    for resource, name in (("topic", names.prefix), ("group", names.group)):
        for operation in ("describe", "read", *(("describe_configs", "write") if resource == "topic" else ())):
            kafka.allow(operation, resource, name, prefixed=True)
    return kafka, names


@pytest.fixture
def shop(town: tuple[Broker, Names], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    broker, names = town
    for name, value in {"TEST_PASSWORD": PASSWORDS[USER], "TEST_WRONG": "not-the-password", "TEST_SIGNING": SIGNING, "TEST_READER": READER}.items():
        monkeypatch.setenv(name, value)
    config = {
        "bucket": "10s",
        "environment": "production",
        "lookback": "72h",
        "kafka": {"bootstrap_servers": broker.bootstrap, "prefix": names.prefix, "group": names.group},
        "sources": {name: {"topic": names.topic(name), "fields": {"service": "service", "version": "version"}} for name in ("orders", "errors", "deliveries")},
        "metrics": {"orders": {"source": "orders"}},
        "changes": {"topic": names.topic("deploys")},
        "store": {"url": f"sqlite:///{tmp_path}/shop.db"},
        "http": {"port": free_ports(1)[0]},
    }
    shop = Shop(broker, names, tmp_path, request, monkeypatch, copy.deepcopy(config))
    with shop.stack:
        yield shop


@dataclass(frozen=True)
class Planted:
    """A mistake, and what has to be said of it.

    Attributes
    ----------
    what : str
        In words.
    key : str
        Of the config, to which the operator is sent.
    says : tuple of str
        What is wrong and how to mend it.
    plant : callable
        Plants it.
    """

    what: str
    key: str
    says: tuple[str, ...]
    plant: Callable[[Shop], None]


def _set(*path: str, to: Any) -> Callable[[Shop], None]:
    def plant(shop: Shop) -> None:
        here = shop.config
        for part in path[:-1]:
            here = here.setdefault(part, {})
        value = to(shop) if callable(to) else to
        here[path[-1]] = value

    return plant


def _log_in(**changed: str) -> Callable[[Shop], None]:
    def plant(shop: Shop) -> None:
        shop.log_in()
        shop.config["kafka"] |= changed

    return plant


def _wrong_listener(listener: str, protocol: str, **context: str) -> Callable[[Shop], None]:
    def plant(shop: Shop) -> None:
        shop.config["kafka"] |= {"bootstrap_servers": shop.broker.address(listener), "security_protocol": protocol}
        if context:
            shop.config["kafka"]["ssl_context"] = {name: str(shop.broker.certificates / file) for name, file in context.items()}

    return plant


def _unreadable(shop: Shop) -> None:
    topic = fresh_names().topic("hidden")
    shop.broker.create_topic(topic)
    shop.broker.allow("describe", "topic", topic)
    shop.log_in()
    shop.config["sources"]["orders"]["topic"] = topic


def _unwritable(shop: Shop) -> None:
    prefix = fresh_names().prefix
    shop.own(prefix)
    for operation in ("describe", "describe_configs", "read"):
        shop.broker.allow(operation, "topic", prefix, prefixed=True)
    shop.log_in()


def _no_group(shop: Shop) -> None:
    shop.log_in()
    shop.config["kafka"]["group"] = fresh_names().group


def _in_seconds(event: dict[str, Any], _: int) -> None:
    event["ts"] //= 1000


def _in_another_zone(event: dict[str, Any], _: int) -> None:
    event["ts"] -= 2 * HOUR_MS


def _ahead(event: dict[str, Any], n: int) -> None:
    event["ts"] += (197 + n) * MINUTE_MS


def _without_offset(event: dict[str, Any], _: int) -> None:
    event["ts"] = rfc3339(event["ts"]).removesuffix("Z")


def _own(**configs: str) -> Callable[[Shop], None]:
    return lambda shop: shop.own(fresh_names().prefix, configs=configs)


def _in_two(shop: Shop) -> None:
    shop.own(fresh_names().prefix, partitions=2)


def _compacted(shop: Shop) -> None:
    topic = fresh_names().topic("orders")
    shop.broker.create_topic(topic, 1, {"cleanup.policy": "compact"})
    shop.config["sources"]["orders"]["topic"] = topic


def _shared(shop: Shop) -> None:
    shop.config["sources"]["errors"]["topic"] = shop.topic("orders")


def _secret_file(mode: int | None) -> Callable[[Shop], None]:
    def plant(shop: Shop) -> None:
        file = shop.folder / "password"
        if mode is not None:
            file.write_text(PASSWORDS[USER])
            file.chmod(mode)
        shop.log_in(password=f"file:{file}")

    return plant


def _newer(shop: Shop) -> None:
    with sqlite3.connect(shop.folder / "shop.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.close()


def _no_database(shop: Shop) -> None:
    server: str = shop.request.getfixturevalue("postgres_server")
    shop.config["store"] = {"url": make_url(server).set(database="no_such_database").render_as_string()}


def _wrong_postgres_password(shop: Shop) -> None:
    """A user who has to say a password, on a server that asks nobody else for one."""
    server: str = shop.request.getfixturevalue("postgres_server")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked")
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'postgres-secret-9c'")
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        try:
            before = rules.read_text()
            rules.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{before}")
        except OSError as error:
            pytest.skip(f"a server of somebody else's: {error}")
        connection.execute("SELECT pg_reload_conf()")
    shop.stack.callback(rules.write_text, before)
    url = make_url(server).set(username="locked").render_as_string()
    shop.config["store"] = {"url": url, "password": "env:TEST_WRONG"}


def _pager(**pager: Any) -> Callable[[Shop], None]:
    return _set("respond", to={"pagers": {"oncall": pager}, "page": ["oncall"]})


def _no_alertmanager(shop: Shop) -> None:
    url = answering(shop, 404)
    _pager(kind="alertmanager", url=url)(shop)


def _refusing(shop: Shop) -> None:
    url = answering(shop, 401)
    shop.config["respond"] = {"targets": {"deployer": {"kind": "webhook", "url": url, "secret": "env:TEST_SIGNING"}}, "target": "deployer"}
    shop.config["services"] = {"checkout": {"target": "deployer"}}


def _no_rights(shop: Shop) -> None:
    server: Cluster = shop.request.getfixturevalue("cluster")
    target = {"kind": "kubernetes", "url": server.url, "secret": "env:TEST_READER", "ca_file": str(server.ca_file)}
    shop.config["respond"] = {"targets": {"cluster": target}, "target": "cluster"}


def answering(shop: Shop, status: int) -> str:
    """A web server that says the same to everything."""

    class Handler(BaseHTTPRequestHandler):
        def _say(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b'{"error": "signature does not verify"}'
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._say()

        def do_POST(self) -> None:
            self._say()

    return shop.stack.enter_context(serving(Handler))


def _taken_port(shop: Shop) -> None:
    shop.stack.enter_context(socket.create_server(("127.0.0.1", shop.config["http"]["port"])))


#: docs/check.md shows the same rows.
MISTAKES = (
    Planted("a key mistyped", "sources.orders.latenes", ("unknown key", "Did you mean 'lateness'?"), _set("sources", "orders", "latenes", to="20s")),
    Planted("a span without its unit", "bucket", ("10 has no unit", "Expected:"), _set("bucket", to=10)),
    Planted(
        "a metric of no source",
        "metrics.orders.source",
        ("there is no source 'orderss'", "Did you mean 'orders'?"),
        _set("metrics", "orders", "source", to="orderss"),
    ),
    Planted(
        "a password in the config itself",
        "kafka.sasl_plain_password",
        ("a secret does not stand in a config", "env:NAME of a variable, or file:PATH"),
        _log_in(sasl_plain_password="hunter2-in-clear"),
    ),
    Planted(
        "a pager that nobody declared",
        "respond.page[0]",
        ("there is no pager 'onkall'",),
        _set("respond", to={"pagers": {"oncall": {"kind": "log"}}, "page": ["onkall"]}),
    ),
    Planted(
        "the brokers' port wrong",
        "kafka.bootstrap_servers",
        ("nobody listens there", "Start it, or mend"),
        _set("kafka", "bootstrap_servers", to="127.0.0.1:1"),
    ),
    Planted(
        "the password wrong",
        "kafka.sasl_plain_username",
        ("wrong user or password", "mend kafka.sasl_plain_username"),
        _log_in(sasl_plain_password="env:TEST_WRONG"),
    ),
    Planted(
        "a way to log in that is not offered",
        "kafka.sasl_mechanism",
        ("this way to log in is not offered", "Expected: a kafka.sasl_mechanism that the brokers offer"),
        _log_in(sasl_mechanism="SCRAM-SHA-256"),
    ),
    Planted(
        "TLS to a port without it",
        "kafka.bootstrap_servers",
        ("the connection was closed", "kafka.security_protocol"),
        _wrong_listener("PLAINTEXT", "SSL", cafile="ca.pem"),
    ),
    Planted(
        "no TLS to a port with it", "kafka.bootstrap_servers", ("the connection was closed", "kafka.security_protocol"), _wrong_listener("SSL", "PLAINTEXT")
    ),
    Planted(
        "a certificate of an authority that is not trusted",
        "kafka.ssl_context.cafile",
        ("its certificate is not trusted", "Mend cafile"),
        _wrong_listener("SSL", "SSL", cafile="other-ca.pem"),
    ),
    Planted(
        "a secret's variable not set",
        "kafka.sasl_plain_password",
        ("there is no such variable", "set where Rollguard is started"),
        _log_in(sasl_plain_password="env:NOT_SET"),
    ),
    Planted(
        "a secret's file not there", "kafka.sasl_plain_password", ("no such file or directory", "Expected: a file that Rollguard may read"), _secret_file(None)
    ),
    Planted("a secret's file that everyone may read", "kafka.sasl_plain_password", ("mode 0644", "chmod 600"), _secret_file(0o644)),
    Planted(
        "a topic's name mistyped",
        "sources.orders.topic",
        ("there is no such topic", "Did you mean '", "-orders'?"),
        _set("sources", "orders", "topic", to=lambda shop: shop.topic("ordrs")),
    ),
    Planted("no topic of changes", "changes.topic", ("there is no such topic", "Create it, or mend its name"), _set("changes", "topic", to="nothing-like-it")),
    Planted("no right to read a topic", "sources.orders.topic", ("not allowed to read it", "an ACL for READ", "kafka-acls"), _unreadable),
    Planted("no right to write Rollguard's own topics", "kafka.prefix", ("not allowed to write to it", "an ACL for WRITE", "kafka-acls"), _unwritable),
    Planted("no right to a consumer group", "kafka.group", ("not allowed to join it", "an ACL for READ on the group", "kafka-acls"), _no_group),
    Planted("a topic of events compacted", "sources.orders.topic", ("it is compacted", "cleanup.policy=delete"), _compacted),
    Planted("an own log kept for too short", "lookback", ("shorter than the look-back", "--add-config retention.ms="), _own(retention_ms=str(HOUR_MS))),
    Planted(
        "an own log with the brokers' time",
        "kafka.prefix",
        ("message.timestamp.type is LogAppendTime", "kafka-configs --alter"),
        _own(message_timestamp_type="LogAppendTime"),
    ),
    Planted("an own log in two partitions", "kafka.prefix", ("2 partitions, and it must be 1", "name another kafka.prefix"), _in_two),
    Planted("two sources of the same records", "sources.orders.topic", ("each event counts as both", "Say with `where`"), _shared),
    Planted(
        "a field's name wrong",
        "sources.orders.fields.service",
        ("has no field 'servicee'", "Did you mean 'service'?"),
        _set("sources", "orders", "fields", "service", to="servicee"),
    ),
    Planted(
        "a field that may be absent, its name wrong",
        "sources.orders.fields.version",
        ("has 'versiion'", "Did you mean 'version'?"),
        _set("sources", "orders", "fields", "version", to="versiion"),
    ),
    Planted(
        "a `where` that no record meets",
        "sources.orders.where",
        ("is meant by its `where`", "service is checkout"),
        _set("sources", "orders", "where", to={"service": ["checkoutt"]}),
    ),
    Planted(
        "seconds declared as milliseconds", "sources.orders.epoch", ("it looks like seconds", "set `epoch: s`"), lambda shop: shop.with_orders("s", _in_seconds)
    ),
    Planted(
        "times without an offset",
        "sources.orders.fields.ts",
        ("a time without an offset", "end it with Z"),
        lambda shop: shop.with_orders("naive", _without_offset),
    ),
    Planted(
        "local time sent as UTC",
        "sources.orders.fields.ts",
        ("2h behind their records'", "looks like a time zone", "Mend it where events are made"),
        lambda shop: shop.with_orders("zone", _in_another_zone),
    ),
    Planted(
        "a producer's clock ahead",
        "sources.orders.fields.ts",
        ("ahead of their records' time", "Mend the producer's clock"),
        lambda shop: shop.with_orders("ahead", _ahead),
    ),
    Planted("an environment that no change is of", "environment", ("is of environment 'live'", "set environment: production"), _set("environment", to="live")),
    Planted("no such database", "store.url", ('database "no_such_database" does not exist', "See to store.url"), _no_database),
    Planted("the database's password wrong", "store.password", ("password authentication failed", "store.password"), _wrong_postgres_password),
    Planted("a database of a newer version", "store.url", ("newer than any that this version knows", "Run the newer version"), _newer),
    Planted("the port of /metrics taken", "http.port", ("address already in use", "or set http.port"), _taken_port),
    Planted(
        "a pager's key not set",
        "respond.pagers.oncall.secret",
        ("there is no such variable", "set where Rollguard is started"),
        _pager(kind="pagerduty", secret="env:NOT_SET"),
    ),
    Planted(
        "Alertmanager's address wrong",
        "respond.pagers.oncall.url",
        ("cannot be reached", "mend it here"),
        _pager(kind="alertmanager", url="http://127.0.0.1:1"),
    ),
    Planted("something else at Alertmanager's address", "respond.pagers.oncall.url", ("is no Alertmanager", "Expected: the address of one"), _no_alertmanager),
    Planted("a deployer that refuses our signature", "respond.targets.deployer", ("answered 401", "hold `secret` against"), _refusing),
    Planted(
        "a Kubernetes account without the right", "respond.targets.cluster", ("we may not patch deployments", "Expected: a Role with these verbs"), _no_rights
    ),
)


def test_the_shop_that_mistakes_are_planted_into_works(shop: Shop, capsys: pytest.CaptureFixture[str], alertmanager: Alertmanager) -> None:
    shop.log_in()
    shop.config["respond"] = {"pagers": {"oncall": {"kind": "alertmanager", "url": alertmanager.url}}, "page": ["oncall"]}
    done = shop.check(capsys)
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.splitlines()[-1] == "nothing to mend"
    for source in ("orders", "errors", "deliveries"):
        assert f"ok    source {source}: the newest 60 records can be read" in done.out
    assert "changes: 1 of the newest 1 change are of environment production" in done.out
    assert "pager oncall: reached" in done.out
    assert not any(secret in done.out for secret in SECRETS)


@pytest.mark.parametrize("mistake", MISTAKES, ids=[each.what.replace(" ", "-") for each in MISTAKES])
def test_a_planted_mistake_is_found_and_its_place_and_its_cure_are_said(
    mistake: Planted, shop: Shop, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    mistake.plant(shop)
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    done = shop.check(capsys)
    assert done.code in {1, 2}, done.out
    lines = [line for line in (done.out if done.code == 1 else done.err).splitlines() if done.code == 2 or line.startswith("mend ")]
    told = [line for line in lines if all(words.lower() in line.lower() for words in mistake.says)]
    assert told, "\n".join(lines)
    place = re.compile(rf"(\S*\.yaml):(\d+): {re.escape(mistake.key)}(?=\)|:|$)")
    found = next((match for line in told if (match := place.search(line))), None)
    assert found is not None, "\n".join(told)
    if found[1].endswith("shop.yaml"):
        written = (shop.folder / "shop.yaml").read_text().splitlines()[int(found[2]) - 1]
        assert re.sub(r"\[\d+\]$", "", mistake.key).rpartition(".")[2] in written or "[" in mistake.key
    assert not any(secret in done.out + done.err + caplog.text for secret in SECRETS)


def test_each_mistake_is_found_alone(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """What is planted is what is told, and nothing besides: a check that cries everywhere finds nothing."""
    shop.with_orders("s", _in_seconds)
    done = shop.check(capsys)
    assert sum(line.startswith("mend ") for line in done.out.splitlines()) == 1, done.out


def test_a_machine_reads_where_each_mistake_is(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.config["sources"]["orders"]["topic"] = shop.topic("ordrs")
    done = shop.check(capsys, "--json")
    (found,) = [each for each in json.loads(done.out)["findings"] if each["state"] == "mend"]
    assert re.search(r"shop\.yaml:\d+: sources\.orders\.topic$", found["where"])


def test_checking_leaves_no_trace_on_the_brokers(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    before = shop.broker.topics()
    shop.config["sources"]["orders"]["topic"] = "never-created-by-asking"
    shop.check(capsys)
    assert shop.broker.topics() == before


def test_the_docs_show_what_is_planted_here_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in page.splitlines() if line.startswith("| ") and line.count("|") == 4]
    assert rows[1:] == [(each.what, f"`{each.key}`", " … ".join(each.says)) for each in MISTAKES]


def test_at_least_twenty_mistakes_are_planted() -> None:
    assert len({each.what for each in MISTAKES}) == len(MISTAKES) >= 20
