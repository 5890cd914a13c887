"""Which topics are ours, and what is said of one that is not as it should be."""

from __future__ import annotations

import msgspec
import pytest

from rollguard.config import Kafka, default_text, load
from rollguard.streams.kafka import LARGEST_RECORD, Topic, TopicSeen, differences, own_topics, source_topics

OWN = own_topics(Kafka(prefix="shop"))


def as_it_should_be(topic: Topic) -> TopicSeen:
    return TopicSeen(name=topic.name, partitions=topic.partitions, replication=1, configs=dict(topic.configs))


def all_well() -> dict[str, TopicSeen]:
    return {topic.name: as_it_should_be(topic) for topic in OWN}


def with_configs(topic: Topic, **configs: str) -> dict[str, TopicSeen]:
    seen = as_it_should_be(topic)
    return all_well() | {topic.name: msgspec.structs.replace(seen, configs=topic.configs | {key.replace("_", "."): value for key, value in configs.items()})}


def test_our_topics_hold_our_largest_record_for_as_long_as_the_design_says() -> None:
    days = {topic.name: int(topic.configs["retention.ms"]) // 86_400_000 for topic in OWN}
    assert days == {"shop.blocks": 35, "shop.signals": 35, "shop.commands": 35, "shop.deadletter": 14}
    for topic in (OWN.blocks, OWN.signals):
        assert int(topic.configs["max.message.bytes"]) == 8 * 1024 * 1024 > LARGEST_RECORD
        assert (topic.partitions, topic.exact) == (1, True)


def test_what_is_as_it_should_be_makes_no_words() -> None:
    assert differences(OWN, all_well()) == []


@pytest.mark.parametrize("topic", list(OWN), ids=lambda topic: str(topic.name))
def test_a_missing_topic_is_wrong_and_the_command_that_makes_it_is_named(topic: Topic) -> None:
    there = all_well()
    del there[topic.name]
    (found,) = differences(OWN, there)
    assert (found.topic, found.wrong, found.problem) == (topic.name, True, "missing")
    assert "rollguard topics create" in str(found)


@pytest.mark.parametrize(
    ("configs", "wrong", "problem"),
    [
        ({"retention_ms": "86400000"}, False, "kept for 1d, and 35d are wanted"),
        ({"retention_bytes": "1000"}, False, "at most 1000 bytes"),
        ({"max_message_bytes": "1048588"}, True, "records of 1048588 bytes at most"),
        ({"cleanup_policy": "compact"}, True, "cleanup.policy is compact, and must be delete"),
        ({"message_timestamp_type": "LogAppendTime"}, True, "message.timestamp.type is LogAppendTime"),
    ],
)
def test_a_setting_that_is_too_little_is_said_with_the_command_that_mends_it(configs: dict[str, str], wrong: bool, problem: str) -> None:
    (found,) = differences(OWN, with_configs(OWN.signals, **configs))
    assert (found.topic, found.wrong) == ("shop.signals", wrong)
    assert problem in found.problem
    assert "kafka-configs --alter --entity-type topics --entity-name shop.signals --add-config" in str(found)


def test_more_room_than_is_asked_for_is_no_difference() -> None:
    assert differences(OWN, with_configs(OWN.blocks, retention_ms="-1", max_message_bytes="99999999")) == []
    assert differences(OWN, with_configs(OWN.blocks, retention_ms=str(99 * 86_400_000))) == []


def test_partitions_count_where_the_order_is_what_decisions_follow_from() -> None:
    there = {name: msgspec.structs.replace(seen, partitions=2) for name, seen in all_well().items()}
    assert [each.topic for each in differences(OWN, there) if each.wrong] == ["shop.blocks", "shop.signals"]


def test_settings_that_may_not_be_seen_and_partitions_without_a_leader_are_said() -> None:
    unseen = msgspec.structs.replace(as_it_should_be(OWN.signals), configs=None, leaderless=1)
    first, second = differences([OWN.signals], {"shop.signals": unseen})
    assert (first.wrong, "without a leader" in first.problem) == (True, True)
    assert (second.wrong, "DESCRIBE_CONFIGS" in second.advice) == (False, True)


def test_a_topic_that_two_sources_read_is_named_once() -> None:
    settings = load(default_text(), name="default.yaml")
    assert source_topics(settings) == ("deliveries", "errors", "orders", "deploys")
    both = settings.sources | {"again": settings.sources["orders"]}
    assert source_topics(settings.model_copy(update={"sources": both})) == ("orders", "deliveries", "errors", "deploys")
