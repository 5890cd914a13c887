"""Kafka at the edge of the house: clients, topics, and the shell that drives a stage. Never knows what a stage concludes."""

from rollguard.streams.kafka.acls import Grant, Role, commands_of, grants
from rollguard.streams.kafka.clients import LARGEST_RECORD, Access, BrokerSeen, group_of, pauses, quiet_client_logs, retrying
from rollguard.streams.kafka.errors import CLIENT_ERRORS, KafkaError, explained
from rollguard.streams.kafka.log import KafkaLogs
from rollguard.streams.kafka.records import Bounds, Logs, Outgoing
from rollguard.streams.kafka.sampling import RecordSeen, newest_records
from rollguard.streams.kafka.secrets import SecretError, find_secret, found_secrets
from rollguard.streams.kafka.shell import LostError, Reader, Shell, Work, Works
from rollguard.streams.kafka.stretches import Stretches
from rollguard.streams.kafka.topics import Difference, OwnTopics, Topic, Topics, TopicSeen, differences, own_topics, source_topics

__all__ = [
    "CLIENT_ERRORS",
    "LARGEST_RECORD",
    "Access",
    "Bounds",
    "BrokerSeen",
    "Difference",
    "Grant",
    "KafkaError",
    "KafkaLogs",
    "Logs",
    "LostError",
    "Outgoing",
    "OwnTopics",
    "Reader",
    "RecordSeen",
    "Role",
    "SecretError",
    "Shell",
    "Stretches",
    "Topic",
    "TopicSeen",
    "Topics",
    "Work",
    "Works",
    "commands_of",
    "differences",
    "explained",
    "find_secret",
    "found_secrets",
    "grants",
    "group_of",
    "newest_records",
    "own_topics",
    "pauses",
    "quiet_client_logs",
    "retrying",
    "source_topics",
]
