"""Clients on a real broker: every way to log in, and the one line that says why one does not."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from rollguard.config import Kafka
from rollguard.streams.kafka import Access, KafkaError, SecretError, Topics, quiet_client_logs, retrying
from tests.live.servers import CLIENT_KEY_PASSWORD, PASSWORDS, STRANGER, USER, Broker, Names

SECRETS = (*PASSWORDS.values(), CLIENT_KEY_PASSWORD, "not-the-password")
SCRAM = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": USER, "sasl_plain_password": "env:TEST_PASSWORD"}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", PASSWORDS[USER])
    monkeypatch.setenv("TEST_STRANGER", PASSWORDS[STRANGER])
    monkeypatch.setenv("TEST_WRONG", "not-the-password")
    monkeypatch.setenv("TEST_KEY_PASSWORD", CLIENT_KEY_PASSWORD)
    quiet_client_logs()


def settings(broker: Broker, listener: str, **keys: Any) -> Kafka:
    """The config's section for a listener."""
    protocol = "SSL" if listener == "MUTUAL" else listener
    return Kafka.model_validate({"bootstrap_servers": broker.address(listener), "security_protocol": protocol} | keys)


def reached(kafka: Kafka) -> int:
    """How many brokers answer."""
    return len(asyncio.run(Access(kafka).reach()))


def refusal(kafka: Kafka) -> KafkaError:
    """Why nobody answers: one line, without a secret, and with no connection left behind."""

    async def asked() -> int:
        before = open_files()
        with pytest.raises(KafkaError) as raised_inside:
            await Access(kafka).reach()
        raised.append(raised_inside.value)
        return open_files() - before

    raised: list[KafkaError] = []
    assert asyncio.run(asked()) == 0
    (error,) = raised
    text = str(error)
    assert "\n" not in text
    assert not [secret for secret in SECRETS if secret in text]
    assert str(error.where) == f"broker {kafka.bootstrap_servers[0]}"
    return error


def open_files() -> int:
    """Files and sockets that this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_every_way_to_log_in_works(broker: Broker) -> None:
    folder = broker.certificates
    trusted = {"cafile": str(folder / "ca.pem")}
    ours = {"certfile": str(folder / "client.pem"), "keyfile": str(folder / "client.key"), "password": "env:TEST_KEY_PASSWORD"}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("PLAINTEXT", {}),
        ("SSL", {"ssl_context": trusted}),
        ("MUTUAL", {"ssl_context": trusted | ours}),
        ("SASL_PLAINTEXT", SCRAM),
        ("SASL_PLAINTEXT", SCRAM | {"sasl_mechanism": "PLAIN"}),
        ("SASL_SSL", SCRAM | {"ssl_context": trusted}),
        ("SASL_SSL", SCRAM | {"sasl_mechanism": "PLAIN", "ssl_context": trusted}),
    ]
    for listener, keys in ways:
        assert reached(settings(broker, listener, **keys)) == 1, (listener, keys)


@pytest.mark.parametrize(
    ("listener", "keys", "words", "recoverable"),
    [
        ("SASL_PLAINTEXT", SCRAM | {"sasl_plain_password": "env:TEST_WRONG"}, "wrong user or password .*sasl_plain_password", False),
        ("SASL_SSL", SCRAM | {"sasl_plain_password": "env:TEST_WRONG", "ssl_context": {"cafile": "ca.pem"}}, "wrong user or password", False),
        ("SASL_PLAINTEXT", SCRAM | {"sasl_mechanism": "PLAIN", "sasl_plain_username": "nobody"}, "wrong user or password .*sasl_plain_username", False),
        ("SASL_PLAINTEXT", SCRAM | {"sasl_mechanism": "SCRAM-SHA-256"}, "is not offered.*kafka.sasl_mechanism", False),
        ("PLAINTEXT", SCRAM | {"security_protocol": "SASL_PLAINTEXT"}, "nobody logs in there.*security_protocol", False),
        ("SSL", {}, "certificate is not trusted.*local issuer.*cafile", False),
        ("MUTUAL", {"ssl_context": {"cafile": "ca.pem"}}, "TLS failed.*bad certificate.*certfile", False),
        ("PLAINTEXT", {"security_protocol": "SSL"}, "(connection was closed|TLS failed).*security_protocol", True),
        ("SSL", {"security_protocol": "PLAINTEXT"}, "connection was closed.*security_protocol", True),
        ("SASL_PLAINTEXT", {"security_protocol": "PLAINTEXT"}, "connection was closed.*security_protocol", True),
    ],
)
def test_one_line_says_why_nobody_answers(broker: Broker, listener: str, keys: dict[str, Any], words: str, recoverable: bool) -> None:
    told = keys | {"ssl_context": {key: str(broker.certificates / name) for key, name in keys.get("ssl_context", {}).items()}}
    error = refusal(settings(broker, listener, **told))
    assert re.search(words, str(error)), str(error)
    assert error.recoverable is recoverable


def test_an_authority_that_signed_nothing_and_a_name_that_is_not_the_brokers_are_told_apart(broker: Broker) -> None:
    other = refusal(settings(broker, "SSL", ssl_context={"cafile": str(broker.certificates / "other-ca.pem")}))
    assert "unable to get local issuer certificate" in other.problem
    localhost = broker.address("SSL").replace("127.0.0.1", "localhost")
    name = refusal(settings(broker, "SSL", bootstrap_servers=localhost, ssl_context={"cafile": str(broker.certificates / "ca.pem")}))
    assert "not valid for 'localhost'" in name.problem


def test_no_broker_no_host_and_a_hanging_one_are_told_apart(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nobody listens there" in refusal(Kafka(bootstrap_servers=("127.0.0.1:1",))).problem
    assert "no connection" in refusal(Kafka(bootstrap_servers=("no-such-host.invalid:9092",))).problem
    # The module's own test may shorten its patience.
    monkeypatch.setattr("rollguard.streams.kafka.clients.CONNECT_MS", 300)
    broker.pause()
    try:
        error = refusal(Kafka(bootstrap_servers=(broker.bootstrap,)))
    finally:
        broker.resume()
    assert "no answer in time" in error.problem
    assert error.recoverable


def test_of_several_servers_one_that_answers_will_do_and_what_somebody_must_mend_is_told_first(broker: Broker) -> None:
    assert reached(Kafka(bootstrap_servers=("127.0.0.1:1", broker.bootstrap))) == 1
    keys = {"bootstrap_servers": ["127.0.0.1:1", broker.address("SASL_PLAINTEXT")], "sasl_plain_password": "env:TEST_WRONG"}
    with pytest.raises(KafkaError) as raised:
        reached(settings(broker, "SASL_PLAINTEXT", **(SCRAM | keys)))
    assert raised.value.where == f"broker {broker.address('SASL_PLAINTEXT')}"


def test_a_consumer_and_a_producer_start_and_carry_records(broker: Broker, names: Names) -> None:
    topic = names.topic("orders")
    broker.create_topic(topic, 2)

    async def carry() -> list[bytes]:
        access = Access(Kafka(bootstrap_servers=(broker.bootstrap,)))
        async with access.started(access.producer()) as producer:
            for number in range(10):
                await producer.send_and_wait(topic, b"%d" % number)
        got: list[bytes] = []
        async with access.started(access.consumer(group=names.group, auto_offset_reset="earliest")) as consumer:
            consumer.subscribe([topic])
            while len(got) < 10:
                for records in (await consumer.getmany(timeout_ms=5000)).values():
                    got += [record.value for record in records]
        return got

    assert sorted(asyncio.run(carry())) == [b"%d" % number for number in range(10)]


def test_what_a_user_may_not_do_names_topic_or_group(broker: Broker, names: Names) -> None:
    topic = names.topic("orders")
    broker.create_topic(topic)
    kafka = settings(broker, "SASL_PLAINTEXT", **SCRAM)
    access = Access(kafka)

    async def asked() -> tuple[str, str]:
        async with Topics.of(access) as topics:
            with pytest.raises(KafkaError) as denied:
                await topics.require([topic])
            group = await topics.may_join(names.group)
        assert group is not None
        assert not denied.value.recoverable
        assert denied.value.where == f"topic {topic}"
        assert group.where == f"group {names.group}"
        return str(denied.value), str(group)

    for text in asyncio.run(asked()):
        assert "not allowed" in text
        assert "kafka-acls" in text
    broker.allow("describe", "topic", topic)

    async def write() -> None:
        async with access.started(access.producer()) as producer:
            await producer.send_and_wait(topic, b"x")

    async def read() -> None:
        async with access.started(access.consumer(group=names.group)) as consumer:
            consumer.subscribe([topic])
            while True:
                await consumer.getmany(timeout_ms=1000)

    broker.allow("write", "topic", names.topic("another"))
    with pytest.raises(KafkaError, match=f"topic {topic}: not allowed"):
        asyncio.run(write())
    with pytest.raises(KafkaError, match=f"group {names.group}: not allowed"):
        asyncio.run(read())


def test_a_producer_whose_user_may_write_nowhere_says_so(broker: Broker) -> None:
    keys = SCRAM | {"sasl_plain_username": STRANGER, "sasl_plain_password": "env:TEST_STRANGER"}
    access = Access(settings(broker, "SASL_PLAINTEXT", **keys))

    async def start() -> None:
        async with access.started(access.producer()):
            pass

    with pytest.raises(KafkaError, match=r"not allowed.*write to Rollguard's own topics"):
        asyncio.run(start())


def test_a_secret_is_shown_by_nothing(broker: Broker, names: Names, caplog: pytest.LogCaptureFixture) -> None:
    broker.allow("write", "topic", names.prefix, prefixed=True)
    access = Access(settings(broker, "SASL_PLAINTEXT", **(SCRAM | {"sasl_mechanism": "PLAIN"})))
    caplog.set_level("DEBUG")
    quiet_client_logs()

    async def told() -> str:
        async with access.started(access.client()) as client, access.started(access.producer()) as producer:
            return f"{access!r} {access} {access.kafka!r} {client!r} {producer!r}"

    assert PASSWORDS[USER] not in asyncio.run(told()) + caplog.text


def test_after_one_line_it_is_tried_until_the_broker_is_back(broker: Broker) -> None:
    access = Access(Kafka(bootstrap_servers=(broker.bootstrap,)))
    lines: list[str] = []
    broker.stop()

    def told(error: KafkaError) -> None:
        lines.append(str(error))
        assert error.recoverable

    async def wait() -> int:
        start = asyncio.get_running_loop().run_in_executor(None, broker.start)
        brokers = await retrying(access.reach, tell=told, first_s=0.05, longest_s=0.1)
        await start
        return len(brokers)

    assert asyncio.run(wait()) == 1
    assert "nobody listens there" in lines[0]
    assert len(lines) == len({*lines}) <= 4


def test_a_key_that_everyone_may_read_and_one_with_another_password_are_refused(broker: Broker, tmp_path: Path) -> None:
    key, certificate = tmp_path / "client.key", broker.certificates / "client.pem"
    key.write_bytes((broker.certificates / "client.key").read_bytes())
    for mode, password, words in ((0o644, "env:TEST_KEY_PASSWORD", "mode 0644"), (0o600, "env:TEST_WRONG", ""), (0o600, None, "")):
        key.chmod(mode)
        told = {"certfile": str(certificate), "keyfile": str(key), "password": password}
        with pytest.raises(SecretError) as raised:
            Access(settings(broker, "MUTUAL", ssl_context=told))
        assert words in str(raised.value)
        assert "kafka.ssl_context" in raised.value.key
        assert not [secret for secret in SECRETS if secret in str(raised.value)]
