"""What the brokers say of the topics that a worker reads and writes, and what their newest records say of the config."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from rollguard.cli.event_findings import change_findings, source_findings
from rollguard.cli.findings import Finding, State, to_mend
from rollguard.cli.places import Places
from rollguard.config import Settings, format_duration, near_match
from rollguard.streams.kafka import (
    Access,
    KafkaError,
    OwnTopics,
    RecordSeen,
    Topics,
    TopicSeen,
    differences,
    newest_records,
    source_topics,
)

__all__ = ["own_findings", "topic_findings"]

#: Newest records of a topic that are read.
SAMPLE = 500
LONGEST_MS = 10 * 365 * 86_400_000
#: Units of an age, and up to how many of each it is told in.
UNITS_MS = {1000: 120, 60_000: 120, 3_600_000: 48, 86_400_000: math.inf}


async def topic_findings(settings: Settings, access: Access, topics: Topics, places: Places) -> list[Finding]:
    """The topics of others: there, readable, fresh, set up as events need it, and read by the config."""
    names = list(source_topics(settings))
    seen, refused = await topics.describe(names, configs=True)
    there = await topics.names() if refused else {}
    for name in list(seen):
        if not seen[name].leaderless and (denied := await topics.may_read(name)) is not None:
            refused[name] = denied
    readable = {name: seen[name].partitions for name in names if name not in refused and not seen[name].leaderless}
    read = await newest_records(access, readable, SAMPLE)
    now_ms = round(1000 * time.time())
    found: list[Finding] = []
    for name in names:
        keys = _keys(settings, name)
        where = places.of(*keys[0])
        records = read.get(name, [])
        if name in refused:
            found.append(_refused(name, refused[name], there, where))
        elif isinstance(records, KafkaError):
            found.append(to_mend("kafka", records, where))
        elif seen[name].leaderless:
            text = f"{seen[name].leaderless} partitions without a leader. See to the brokers."
            found.append(Finding(state="mend", what=f"topic {name}", text=text, where=where))
        else:
            found.append(_fresh(settings, seen[name], records, now_ms, where))
            found += _set_up(settings, seen[name], where)
            for source in (key[1] for key in keys if key[0] == "sources"):
                found += source_findings(settings, source, records, now_ms, places)
            if name == settings.changes.topic:
                found += change_findings(settings, records, places)
    changes = settings.changes.topic
    # Also of a topic that may not even be looked at: reading it and writing it are two permissions, and both are told at once.
    is_there = not seen[changes].leaderless if changes in seen else not refused[changes].recoverable
    if settings.changes.is_written and is_there and (denied := await topics.may_write(changes)) is not None:
        found.append(to_mend("kafka", denied, places.of("changes", "topic")))
    return [*found, *_shared(settings, places)]


def _keys(settings: Settings, topic: str) -> list[tuple[str, ...]]:
    """The keys that name a topic."""
    keys: list[tuple[str, ...]] = [("sources", name, "topic") for name, source in sorted(settings.sources.items()) if source.topic == topic]
    return [*keys, ("changes", "topic")] if settings.changes.topic == topic else keys


def _refused(name: str, error: KafkaError, there: Mapping[str, int], where: str) -> Finding:
    finding = to_mend("kafka", error, where)
    near = near_match(name, there) if error.recoverable else None
    return finding if near is None else Finding(state="mend", what=finding.what, text=f"{finding.text} Did you mean '{near}'?", where=where)


def _age(age_ms: int) -> str:
    """An age in a unit that a person can read: whole seconds, minutes, hours or days."""
    unit = next(unit for unit, most in UNITS_MS.items() if age_ms < most * unit)
    return format_duration(age_ms // unit * unit)


def _fresh(settings: Settings, seen: TopicSeen, records: Sequence[RecordSeen], now_ms: int, where: str) -> Finding:
    what, text = f"topic {seen.name}", f"{seen.partitions} {'partition' if seen.partitions == 1 else 'partitions'}"
    if not records:
        return Finding(state="note", what=what, text=f"{text}, no record yet")
    age_ms = now_ms - max(record.at_ms for record in records)
    span = _age(abs(age_ms))
    if age_ms > -1000:
        return Finding(state="ok", what=what, text=f"{text}, newest record {span} ago")
    allowed_ms = min((source.ahead_ms for source in settings.sources.values() if source.topic == seen.name), default=60_000)
    state: State = "mend" if -age_ms > allowed_ms else "note"
    return Finding(
        state=state, what=what, text=f"{text}, newest record {span} in the future: see to its producer's clock", where=where if state == "mend" else ""
    )


def _set_up(settings: Settings, seen: TopicSeen, where: str) -> Iterator[Finding]:
    """Settings of a topic under which events are lost, or known for too short a time."""
    configs, what = seen.configs or {}, f"topic {seen.name}"
    alter = f"kafka-configs --alter --entity-type topics --entity-name {seen.name} --add-config"
    if "compact" in configs.get("cleanup.policy", ""):
        text = "it is compacted, so of events with one key all but the last go away, counted or not. Expected: cleanup.policy=delete."
        yield Finding(state="mend", what=what, text=f"{text} Run {alter} cleanup.policy=delete.", where=where)
    if configs.get("message.timestamp.type") == "LogAppendTime":
        text = "its records have the brokers' time (LogAppendTime): what a producer's clock says cannot be held against it"
        yield Finding(state="note", what=what, text=text, where=where)
    kept_ms = int(configs.get("retention.ms", "-1"))
    if 0 <= kept_ms < settings.lookback_ms and "delete" in configs.get("cleanup.policy", "delete"):
        kept, lookback = format_duration(kept_ms), format_duration(settings.lookback_ms)
        text = f"kept for {kept}, shorter than the look-back of {lookback}: what was read is not lost, but a replay or a first start knows no more than that"
        yield Finding(state="note", what=what, text=f"{text}. Run {alter} retention.ms={settings.lookback_ms}, or lower lookback.", where=where)


def _shared(settings: Settings, places: Places) -> Iterator[Finding]:
    """Sources that read the same records of one topic."""
    readers: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, source in sorted(settings.sources.items()):
        weight = "" if source.points is None else source.points.weight
        readers[source.topic, repr(sorted(source.where.items())), weight].append(name)
    for (topic, _, _), names in sorted(readers.items()):
        if len(names) > 1:
            text = f"{' and '.join(names)} read the same records, so each event counts as both. Say with `where` which records are whose."
            yield Finding(state="mend", what=f"topic {topic}", text=text, where=places.of("sources", names[1], "topic"))


async def own_findings(settings: Settings, own: OwnTopics, topics: Topics, places: Places) -> list[Finding]:
    """Our own topics: there, as they should be, and ours to write and read."""
    seen, refused = await topics.describe([topic.name for topic in own], configs=True)
    found: list[Finding] = []
    for topic in own:
        what, where = f"topic {topic.name}", places.of("kafka", "prefix")
        if topic.name in refused and not refused[topic.name].recoverable:
            found.append(to_mend("kafka", refused[topic.name], where))
            continue
        wrong = [
            Finding(state="mend" if each.wrong else "note", what=what, text=str(each).removeprefix(f"{what}: "), where=where)
            for each in differences([topic], seen)
        ]
        if topic.name in seen:
            if topic.name in {own.blocks.name, own.signals.name}:
                wrong = [*_too_short(settings, seen[topic.name], places.of("lookback")), *wrong]
            denied = [await topics.may_write(topic.name), await topics.may_read(topic.name)]
            wrong += [to_mend("kafka", each, where) for each in denied if each is not None]
        found += wrong or [Finding(state="ok", what=what, text="as it should be")]
    return found


def _too_short(settings: Settings, seen: TopicSeen, where: str) -> Iterator[Finding]:
    """A log of ours that forgets what is still needed."""
    kept_ms = int((seen.configs or {}).get("retention.ms", "-1"))
    needed_ms = max(settings.lookback_ms, settings.warmup_ms)
    if 0 <= kept_ms < needed_ms:
        kept, needed = format_duration(kept_ms), format_duration(needed_ms)
        text = f"kept for {kept}, shorter than the look-back and warm-up ({needed}): whoever reads it anew misses suspects and baselines."
        advice = f"Run kafka-configs --alter --entity-type topics --entity-name {seen.name} --add-config retention.ms={35 * 86_400_000}."
        yield Finding(state="mend", what=f"topic {seen.name}", text=f"{text} {advice}", where=where)
