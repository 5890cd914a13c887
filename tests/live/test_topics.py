"""Topics on a real broker: asked about without making any, made once, held against what they should be."""

from __future__ import annotations

import asyncio

import pytest

from rollguard.config import Kafka
from rollguard.streams.kafka import Access, Difference, KafkaError, Topic, Topics, differences, own_topics, quiet_client_logs
from tests.live.servers import Broker, Names


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_client_logs()


def kafka_of(broker: Broker, names: Names) -> Kafka:
    return Kafka(bootstrap_servers=(broker.bootstrap,), prefix=names.prefix, group=names.group)


def created(kafka: Kafka, *topics: Topic) -> tuple[str, ...]:
    async def work() -> tuple[str, ...]:
        async with Topics.of(Access(kafka)) as cluster:
            return await cluster.create(topics)

    return asyncio.run(work())


def compared(kafka: Kafka) -> list[Difference]:
    own = list(own_topics(kafka))

    async def work() -> list[Difference]:
        async with Topics.of(Access(kafka)) as cluster:
            seen, _ = await cluster.describe([topic.name for topic in own], configs=True)
            return differences(own, seen)

    return asyncio.run(work())


def test_own_topics_are_made_once_and_are_as_they_should_be(broker: Broker, names: Names) -> None:
    kafka = kafka_of(broker, names)
    own = own_topics(kafka)
    assert [each.topic for each in compared(kafka) if each.problem == "missing"] == [topic.name for topic in own]
    assert created(kafka, *own) == tuple(topic.name for topic in own)
    assert compared(kafka) == []
    assert created(kafka, *own) == ()
    assert {name: n for name, n in broker.topics().items() if name.startswith(names.prefix)} == {topic.name: 1 for topic in own}


def test_two_who_create_at_once_both_find_them_there(broker: Broker, names: Names) -> None:
    kafka = kafka_of(broker, names)
    own = list(own_topics(kafka))

    async def twice() -> list[str]:
        access = Access(kafka)
        async with Topics.of(access) as one, Topics.of(access) as other:
            first, second = await asyncio.gather(one.create(own), other.create(own))
            return [*first, *second]

    assert sorted(asyncio.run(twice())) == sorted(topic.name for topic in own)
    assert compared(kafka) == []


def test_asking_about_a_missing_topic_creates_none(broker: Broker, names: Names) -> None:
    missing = [names.topic("orders"), names.topic("errors")]

    async def ask() -> None:
        async with Topics.of(Access(kafka_of(broker, names))) as cluster:
            seen, refused = await cluster.describe(missing, configs=True)
            assert (seen, sorted(refused)) == ({}, sorted(missing))
            assert await cluster.may_write(missing[0]) is not None
            with pytest.raises(KafkaError) as raised:
                await cluster.require(missing)
            assert raised.value.recoverable
            assert str(raised.value).startswith(f"topic {missing[0]}: there is no such topic (and 1 more: {missing[1]}).")

    asyncio.run(ask())
    assert not set(missing) & set(broker.topics())


def test_what_is_not_as_it_should_be_is_said_in_words_and_left_as_it_is(broker: Broker, names: Names) -> None:
    kafka = kafka_of(broker, names)
    own = own_topics(kafka)
    broker.create_topic(own.signals.name, 3, {"retention.ms": "86400000", "cleanup.policy": "compact"})
    broker.create_topic(own.commands.name, 2, {"retention.ms": "-1"})
    assert created(kafka, *own) == (own.blocks.name, own.deadletter.name)
    found = {(each.topic, each.wrong): each for each in compared(kafka)}
    signals = [each.problem for each in compared(kafka) if each.topic == own.signals.name]
    assert signals[0].startswith("3 partitions, and it must be 1")
    assert "cleanup.policy is compact, and must be delete" in signals
    assert any("takes records of 1048588 bytes at most" in each for each in signals)
    assert found[own.signals.name, False].problem.startswith("kept for 1d, and 35d are wanted")
    # More room, or more partitions where the order does not matter, is no difference.
    assert {topic for topic, _ in found} == {own.signals.name}
    assert broker.topics()[own.signals.name] == 3


def test_too_few_brokers_for_the_copies_are_said(broker: Broker, names: Names) -> None:
    kafka = kafka_of(broker, names).model_copy(update={"replication_factor": 3})
    with pytest.raises(KafkaError, match=r"fewer brokers than copies .*1 broker.*kafka\.replication_factor"):
        created(kafka, *own_topics(kafka))


def test_the_largest_record_of_ours_fits(broker: Broker, names: Names) -> None:
    kafka = kafka_of(broker, names)
    own = own_topics(kafka)
    created(kafka, own.signals)

    async def carry() -> int:
        access = Access(kafka)
        record = bytes(8 * 1024 * 1024 - 65_536 - 200)
        async with access.started(access.producer()) as producer:
            await producer.send_and_wait(own.signals.name, record)
        async with access.started(access.consumer(group=names.group, auto_offset_reset="earliest")) as consumer:
            consumer.subscribe([own.signals.name])
            while not (batches := await consumer.getmany(timeout_ms=5000)):
                pass
            ((got,),) = batches.values()
            assert got.value == record
            return len(got.value)

    assert asyncio.run(carry()) > 8_000_000
