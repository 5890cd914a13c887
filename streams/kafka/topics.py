"""Topics: our own as they should be, what is there instead, and making them. Asking never creates one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiokafka.errors as theirs
import msgspec
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest

from rollguard.config import Kafka, Settings, format_duration
from rollguard.streams.kafka.clients import LARGEST_RECORD, Access
from rollguard.streams.kafka.errors import KafkaError, explained

__all__ = ["Difference", "OwnTopics", "Topic", "TopicSeen", "Topics", "differences", "own_topics", "source_topics"]

MIB = 1024 * 1024
DAY_MS = 86_400_000
TIMEOUT_MS = 15_000
#: So often a thing is asked again that Kafka is still about to make: new topics, a group's coordinator.
ASKED = 40
ASKED_EVERY_S = 0.25

_TOPIC_RESOURCE = 2


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it should be.

    Attributes
    ----------
    name : str
    partitions : int
    exact : bool
        Whether another number of partitions is wrong.
    configs : dict of str to str
        Its settings, by Kafka's names.
    """

    name: str
    partitions: int = 1
    exact: bool = False
    configs: dict[str, str] = {}


class OwnTopics(msgspec.Struct, frozen=True, kw_only=True):
    """The topics that are Rollguard's own.

    Attributes
    ----------
    blocks : Topic
        What ingest counted, and frontiers.
    signals : Topic
        The one log that the desk is a function of.
    commands : Topic
        What operators ask for.
    deadletter : Topic
        What was refused, and why.
    """

    blocks: Topic
    signals: Topic
    commands: Topic
    deadletter: Topic

    def __iter__(self) -> Iterator[Topic]:
        return iter((self.blocks, self.signals, self.commands, self.deadletter))


class TopicSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is.

    Attributes
    ----------
    name : str
    partitions : int
    replication : int
        Copies of its first partition.
    leaderless : int
        Partitions that no broker leads.
    configs : dict of str to str, or None
        All settings; None: the user may not ask for them.
    """

    name: str
    partitions: int
    replication: int
    leaderless: int = 0
    configs: dict[str, str] | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What is not as it should be.

    Attributes
    ----------
    topic : str
    problem, advice : str
        In words: what is wrong, what to do.
    wrong : bool
        Whether Rollguard must not run so; else it is worse than it could be.
    """

    topic: str
    problem: str
    advice: str
    wrong: bool = True

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.problem}. {self.advice[:1].upper()}{self.advice[1:]}."


def own_topics(kafka: Kafka) -> OwnTopics:
    """Say which topics are Rollguard's own, and how they should be.

    Examples
    --------
    >>> [topic.name for topic in own_topics(Kafka(prefix="shop"))]
    ['shop.blocks', 'shop.signals', 'shop.commands', 'shop.deadletter']
    """

    def configs(days: int, **more: int) -> dict[str, str]:
        kept = {"cleanup.policy": "delete", "retention.ms": days * DAY_MS, "retention.bytes": -1, "message.timestamp.type": "CreateTime"}
        return {key: str(value) for key, value in kept.items()} | {key.replace("_", "."): str(value) for key, value in more.items()}

    def topic(name: str, configs: dict[str, str], *, exact: bool = False) -> Topic:
        return Topic(name=f"{kafka.prefix}.{name}", configs=configs, exact=exact)

    large = LARGEST_RECORD + 65_536
    return OwnTopics(
        blocks=topic("blocks", configs(35, max_message_bytes=large), exact=True),
        signals=topic("signals", configs(35, max_message_bytes=large), exact=True),
        commands=topic("commands", configs(35)),
        deadletter=topic("deadletter", configs(14)),
    )


def source_topics(settings: Settings) -> tuple[str, ...]:
    """The topics of others that Rollguard reads: the sources' and the changes', each once."""
    return tuple(dict.fromkeys([*(source.topic for _, source in sorted(settings.sources.items())), settings.changes.topic]))


def differences(wanted: Iterable[Topic], seen: Mapping[str, TopicSeen]) -> list[Difference]:
    """Hold topics against what is there.

    Parameters
    ----------
    wanted : iterable of Topic
    seen : dict of str to TopicSeen
        Those that exist, by name.

    Returns
    -------
    list of Difference
        In the order of the topics; empty: all well.
    """
    found: list[Difference] = []
    for topic in wanted:
        there = seen.get(topic.name)
        if there is None:
            found.append(Difference(topic=topic.name, problem="missing", advice="`rollguard topics create` makes it"))
            continue
        if there.leaderless:
            problem = f"{there.leaderless} of {there.partitions} partitions without a leader"
            found.append(Difference(topic=topic.name, problem=problem, advice="see to the brokers"))
        if topic.exact and there.partitions != topic.partitions:
            problem = f"{there.partitions} partitions, and it must be {topic.partitions}: its order is what all decisions follow from"
            advice = "a topic never shrinks: stop Rollguard, name another kafka.prefix, and create the topics anew"
            found.append(Difference(topic=topic.name, problem=problem, advice=advice))
        if there.configs is None:
            problem = "its settings were not checked, as the user may not ask for them"
            found.append(Difference(topic=topic.name, problem=problem, advice="allow DESCRIBE_CONFIGS to have them checked", wrong=False))
            continue
        found += [each for key, value in topic.configs.items() if (each := _setting(topic.name, key, value, there.configs)) is not None]
    return found


def _setting(topic: str, key: str, value: str, there: Mapping[str, str]) -> Difference | None:
    """Hold one setting against what it should be; more room than asked for is no difference."""
    has = there.get(key)
    advice = f"run kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {key}={value}"
    if has is None or has == value:
        return None
    if key in {"retention.ms", "retention.bytes", "max.message.bytes"}:
        if _room(key, has) >= _room(key, value):
            return None
        if key == "retention.ms":
            problem = f"kept for {format_duration(int(has))}, and {format_duration(int(value))} are wanted: a new baseline has less to learn from"
            return Difference(topic=topic, problem=problem, advice=advice, wrong=False)
        if key == "retention.bytes":
            problem = f"at most {has} bytes of a partition are kept, so old records may go before their time"
            return Difference(topic=topic, problem=problem, advice=advice, wrong=False)
        return Difference(topic=topic, problem=f"takes records of {has} bytes at most, and {value} may come", advice=advice)
    return Difference(topic=topic, problem=f"{key} is {has}, and must be {value}", advice=advice)


def _room(key: str, value: str) -> float:
    number = int(value)
    return math.inf if number < 0 and key.startswith("retention") else number


class Topics:
    """What the brokers say of topics and groups, over one connected client.

    Parameters
    ----------
    access : Access
    client : AIOKafkaClient
        Started. `Topics.of` makes both for a block.
    """

    def __init__(self, access: Access, client: AIOKafkaClient) -> None:
        self._access = access
        self._client = client

    @classmethod
    @asynccontextmanager
    async def of(cls, access: Access) -> AsyncIterator[Topics]:
        """Connect for a block.

        Raises
        ------
        KafkaError
            If nobody answers, or for what is refused in the block.
        """
        async with access.started(access.client()) as client:
            yield cls(access, client)

    async def describe(self, names: Sequence[str], *, configs: bool = False) -> tuple[dict[str, TopicSeen], dict[str, KafkaError]]:
        """Look at topics.

        Parameters
        ----------
        names : sequence of str
        configs : bool
            Ask for their settings too.

        Returns
        -------
        dict of str to TopicSeen
            Those that are there and may be seen.
        dict of str to KafkaError
            Of each other one, why not.
        """
        # Without the flag Kafka creates what is asked for, where brokers allow that (they do as shipped).
        answer = await self._ask(MetadataRequest(list(names), allow_auto_topic_creation=False))
        seen: dict[str, TopicSeen] = {}
        refused: dict[str, KafkaError] = {}
        for code, name, _, partitions in answer.topics:
            if theirs.for_code(code) not in {theirs.NoError, theirs.LeaderNotAvailableError}:
                refused[name] = _refusal(name, code)
                continue
            replication = len(partitions[0][3]) if partitions else 0
            leaderless = sum(leader < 0 for _, _, leader, *_ in partitions)
            seen[name] = TopicSeen(name=name, partitions=len(partitions), replication=replication, leaderless=leaderless)
        if configs and seen:
            for name, found in (await self._configs(sorted(seen))).items():
                seen[name] = msgspec.structs.replace(seen[name], configs=found)
        return seen, refused

    async def names(self) -> dict[str, int]:
        """All topics that the user may see, but for Kafka's own, and how many partitions each has; asking creates none."""
        answer = await self._ask(MetadataRequest(None, allow_auto_topic_creation=False))
        topics = [(name, len(partitions)) for code, name, internal, partitions in answer.topics if not code and not internal]
        return {name: n for name, n in sorted(topics) if not name.startswith("__")}

    async def require(self, names: Sequence[str]) -> dict[str, TopicSeen]:
        """Look at topics that must be there.

        Raises
        ------
        KafkaError
            Of the first that is not, or may not be seen; how many more there are is said too.
        """
        seen, refused = await self.describe(names)
        missing = [refused[name] for name in names if name in refused]
        if not missing:
            return seen
        first = missing[0]
        if len(missing) == 1:
            raise first
        problem = f"{first.problem} (and {len(missing) - 1} more: {', '.join(each.where.removeprefix('topic ') for each in missing[1:])})"
        raise KafkaError(
            where=first.where, problem=problem, expected=first.expected, advice=first.advice, recoverable=all(each.recoverable for each in missing)
        )

    async def create(self, wanted: Sequence[Topic]) -> tuple[str, ...]:
        """Create the topics that are not there, and wait until they are. What is there stays as it is.

        Returns
        -------
        tuple of str
            Names of those that were created.

        Raises
        ------
        KafkaError
            Of the first that could not be; the others are there by then.
        """
        seen, _ = await self.describe([topic.name for topic in wanted])
        missing = [topic for topic in wanted if topic.name not in seen]
        if not missing:
            return ()
        factor = self._access.kafka.replication_factor or -1
        requests: list[tuple[Any, ...]] = [(topic.name, topic.partitions, factor, [], sorted(topic.configs.items())) for topic in missing]
        answer = await self._ask(CreateTopicsRequest(requests, TIMEOUT_MS, validate_only=False), controller=True)
        created: list[str] = []
        failed: list[KafkaError] = []
        order = {topic.name: place for place, topic in enumerate(missing)}
        for name, code, said in sorted(answer.topic_errors, key=lambda each: order[each[0]]):
            error = theirs.for_code(code)
            if error is theirs.NoError:
                created.append(name)
            elif error is theirs.TopicAuthorizationFailedError:
                where = f"topic {name}"
                advice = "allow it with kafka-acls, or have somebody else run `rollguard topics create`"
                failed.append(KafkaError(where=where, problem="not allowed to create it", expected="an ACL for CREATE", advice=advice))
            elif error is not theirs.TopicAlreadyExistsError:
                failed.append(explained(error(said), f"topic {name}"))
        await self._await_leaders(created)
        if failed:
            raise failed[0]
        return tuple(created)

    async def may_write(self, topic: str) -> KafkaError | None:
        """Ask whether we may write to a topic, and write nothing: a batch without records is refused, but the permission is looked at first."""
        request = ProduceRequest(transactional_id=None, required_acks=-1, timeout=TIMEOUT_MS, topics=[(topic, [(0, b"")])])
        return await self._may(topic, request, "write to", "WRITE")

    async def may_read(self, topic: str) -> KafkaError | None:
        """Ask whether we may read a topic."""
        return await self._may(topic, FetchRequest(0, 0, 1, 0, [(topic, [(0, 0, 1)])]), "read", "READ")

    async def _may(self, topic: str, request: Any, what: str, operation: str) -> KafkaError | None:
        """Send a request to the leader of a topic's first partition; whatever it says but "not allowed" is a yes."""
        metadata = await self._ask(MetadataRequest([topic], allow_auto_topic_creation=False))
        ((code, _, _, partitions),) = metadata.topics
        if code:
            return _refusal(topic, code)
        leader = next((leader for _, number, leader, *_ in partitions if number == 0), -1)
        answer = await self._client.send(leader, request)
        if theirs.for_code(answer.topics[0][1][0][1]) is theirs.TopicAuthorizationFailedError:
            expected = f"an ACL for {operation}"
            return KafkaError(where=f"topic {topic}", problem=f"not allowed to {what} it", expected=expected, advice="allow it with kafka-acls")
        return None

    async def may_join(self, group: str) -> KafkaError | None:
        """Ask whether we may be in a group, without joining: a heartbeat of nobody is refused, but the permission is looked at first."""
        code = 0
        for _ in range(ASKED):
            try:
                node = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
                code = (await self._client.send(node, HeartbeatRequest(group, -1, ""))).error_code
            except theirs.GroupAuthorizationFailedError:
                code = theirs.GroupAuthorizationFailedError.errno
            except theirs.GroupCoordinatorNotAvailableError:
                # The first group of a cluster: Kafka is about to make the topic for offsets.
                await asyncio.sleep(ASKED_EVERY_S)
                continue
            break
        if code == theirs.GroupAuthorizationFailedError.errno:
            advice = "allow it with kafka-acls, best for all groups that begin so"
            return KafkaError(where=f"group {group}", problem="not allowed to join it", expected="an ACL for READ on the group", advice=advice)
        return None

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str] | None]:
        answer = await self._ask(DescribeConfigsRequest([(_TOPIC_RESOURCE, name, None) for name in names]))
        found: dict[str, dict[str, str] | None] = {}
        for code, _, _, name, entries in answer.resources:
            found[name] = None if code else {key: value for key, value, *_ in entries if value is not None}
        return found

    async def _await_leaders(self, names: Sequence[str]) -> None:
        """Wait until created topics can be used."""
        for _ in range(ASKED if names else 0):
            seen, _ = await self.describe(names)
            if len(seen) == len(names) and not any(each.leaderless or not each.partitions for each in seen.values()):
                return
            await asyncio.sleep(ASKED_EVERY_S)

    async def _ask(self, request: Any, *, controller: bool = False) -> Any:
        node = self._client.get_random_node()
        if controller and self._client.cluster.controller is not None:
            node = self._client.cluster.controller.nodeId
        return await self._client.send(node, request)


def _refusal(topic: str, code: int) -> KafkaError:
    """What Kafka says of a topic that cannot be looked at."""
    return explained(theirs.for_code(code)(), f"topic {topic}")
