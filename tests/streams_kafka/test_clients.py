"""From the config to what aiokafka is given, and how often one tries."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import pytest

from rollguard.config import Kafka
from rollguard.streams.kafka import LARGEST_RECORD, Access, KafkaError, SecretError, pauses, quiet_client_logs, retrying

SECRET = "hunter2-hunter2"  # noqa: S105 - that it is never shown is the point
SASL = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": "me", "sasl_plain_password": "env:TEST_SECRET"}


def test_each_key_reaches_the_client_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    kafka = Kafka.model_validate(SASL | {"bootstrap_servers": "a:1, b:2", "client_id": "mine"})
    assert Access(kafka).arguments() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "mine",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": SECRET,
    }
    assert Access(Kafka()).arguments() == {"bootstrap_servers": ["127.0.0.1:9092"], "client_id": "rollguard", "security_protocol": "PLAINTEXT"}
    assert Access(Kafka(security_protocol="SSL")).arguments()["ssl_context"].check_hostname


def test_an_access_shows_no_secret_and_cannot_be_changed_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    access = Access(Kafka.model_validate(SASL))
    access.arguments().clear()
    assert access.arguments()["sasl_plain_password"] == SECRET
    assert SECRET not in f"{access} {access!r} {access.kafka!r}"


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        (SASL | {"sasl_plain_password": "env:NO_SUCH_VARIABLE"}, "kafka.sasl_plain_password"),
        ({"security_protocol": "SSL", "ssl_context": {"cafile": "no/such/file"}}, "kafka.ssl_context.cafile"),
        ({"security_protocol": "SSL", "ssl_context": {"certfile": "no/such/file"}}, "kafka.ssl_context.certfile"),
    ],
)
def test_what_is_not_where_the_config_says_is_told_by_its_key(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(SecretError) as raised:
        Access(Kafka.model_validate(keys))
    assert raised.value.key == key


def test_a_file_of_certificates_that_holds_none_is_told(tmp_path: Any) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(SecretError, match=r"kafka\.ssl_context.*ca\.pem"):
        Access(Kafka.model_validate({"security_protocol": "SSL", "ssl_context": {"cafile": str(path)}}))


def test_a_consumer_commits_nothing_by_itself_and_is_heard_of_thrice_a_session() -> None:
    async def made() -> None:
        access = Access(Kafka.model_validate({"session_timeout": "12s"}))
        consumer = access.consumer(group="g")
        assert not consumer._enable_auto_commit
        assert (consumer._session_timeout_ms, consumer._auto_offset_reset) == (12_000, "none")
        assert consumer._heartbeat_interval_ms <= 4_000
        await consumer.stop()
        producer = access.producer()
        assert (producer._sender._acks, producer._max_request_size) == (-1, LARGEST_RECORD)
        assert producer._txn_manager is not None
        await producer.stop()

    asyncio.run(made())


def test_a_client_that_cannot_start_is_closed_behind_its_error() -> None:
    async def start() -> None:
        access = Access(Kafka(bootstrap_servers=("127.0.0.1:1",)))
        for client in (access.consumer(group="g"), access.producer(), access.admin(), access.client()):
            with pytest.raises(KafkaError, match=r"^broker 127\.0\.0\.1:1: nobody listens there"):
                async with access.started(client):
                    pass

    quiet_client_logs()
    asyncio.run(start())


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(pauses(0.5, 3.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_repetition_is_not_told_again_and_something_new_is() -> None:
    answers: list[KafkaError | int] = [
        KafkaError(where="topic a", problem="missing"),
        KafkaError(where="topic a", problem="missing"),
        KafkaError(where="topic b", problem="missing"),
        KafkaError(where="topic a", problem="missing"),
        7,
    ]
    told: list[str] = []

    async def attempt() -> int:
        answer = answers.pop(0)
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    async def whole() -> int:
        return await retrying(attempt, tell=lambda error: told.append(error.where), first_s=0.0, longest_s=0.0)

    assert asyncio.run(whole()) == 7
    assert told == ["topic a", "topic b", "topic a"]


def test_what_is_no_matter_of_kafka_is_not_tried_again() -> None:
    async def attempt() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(retrying(attempt, tell=lambda _: None, first_s=0.0, longest_s=0.0))


def test_it_can_be_given_up() -> None:
    async def attempt() -> None:
        raise KafkaError(where="broker", problem="away")

    async def whole() -> None:
        heard = asyncio.Event()
        task = asyncio.create_task(retrying(attempt, tell=lambda _: heard.set(), first_s=3600.0, longest_s=3600.0))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(whole())
