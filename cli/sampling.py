"""Samples for `rollguard init`: the newest records of topics, or the first of files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rollguard.config import Kafka, RollguardError, near_match
from rollguard.config.inference import ROLES, Sample, topic_score
from rollguard.replay import EventFile, stem_of
from rollguard.streams.kafka import Access, KafkaError, RecordSeen, Topics, newest_records

__all__ = ["file_samples", "kafka_samples", "named"]

#: Topics that are looked at, where a cluster has more: those whose names say something first.
MOST_TOPICS = 60
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}\.[0-9]{1,15}")
_DECODE = msgspec.json.Decoder().decode


def named(option: str, texts: Sequence[str], known: Sequence[str] = ROLES) -> dict[str, str]:
    """Read texts of the form NAME=VALUE.

    Raises
    ------
    RollguardError
        If one is not, names what is not known, or names it again.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in known:
            near = near_match(name, known)
            hint = f" Did you mean '{near}'?" if near and name not in known else ""
            raise RollguardError(f"{option} {text}: cannot be used. Expected: NAME=VALUE with a NAME of {', '.join(known)}.{hint}", code="usage")
        if name in found:
            raise RollguardError(f"{option} {text}: {name} was named already. Leave one of them out.", code="usage")
        found[name] = value
    return found


def file_samples(files: Sequence[Path], most: int) -> list[Sample]:
    """Read the first records of files, each standing for a topic.

    Raises
    ------
    RollguardError
        If one is not of a form that is known, or nothing of it can be read.
    """
    found: list[Sample] = []
    for path in files:
        if stem_of(path) == path.name:
            raise RollguardError(f"--sample {path}: no form that is known. Expected: .jsonl or .csv (or .jsonl.gz, .jsonl.zst, .parquet).", code="usage")
        file = EventFile(path)
        lines: list[bytes] = []
        for batch in file:
            lines += batch.lines
            if len(lines) >= most:
                break
        if file.damage is not None and not lines:
            raise RollguardError(f"--sample {path}: {file.damage.partition(': ')[2]}", code="usage")
        sample = _sample(stem_of(path), lines[:most])
        records = [_typed(record) for record in sample.records] if file.lax else sample.records
        found.append(Sample(name=sample.name, records=records, unread=sample.unread, file=path.name))
    if len({each.name for each in found}) < len(found):
        raise RollguardError("--sample: two files of one name. Expected: one file for each topic, named as the topic is.", code="usage")
    return found


def kafka_samples(kafka: Kafka, wanted: Mapping[str, str], most: int) -> tuple[list[Sample], int]:
    """Read the newest records of topics; joins no group, commits nothing, creates nothing.

    Parameters
    ----------
    kafka : Kafka
    wanted : mapping of str to str
        Topics that were named, by role.
    most : int
        Records of each topic.

    Returns
    -------
    samples : list of Sample
    left_out : int
        Topics that were not looked at, since there are too many.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or a topic that was named may not be read.
    RollguardError
        If a topic that was named is not there.
    """
    return asyncio.run(_kafka_samples(kafka, wanted, most))


async def _kafka_samples(kafka: Kafka, wanted: Mapping[str, str], most: int) -> tuple[list[Sample], int]:
    access = Access(kafka)
    async with Topics.of(access) as topics:
        there = await topics.names()
    others = {name: n for name, n in there.items() if not name.startswith(f"{kafka.prefix}.")}
    for role, name in wanted.items():
        if name not in there:
            near = near_match(name, others)
            hint = f" Did you mean '{near}'?" if near else ""
            raise RollguardError(f"--topic {role}={name}: there is no such topic, or it may not be seen.{hint}", code="usage")
    order = sorted(others, key=lambda each: (each not in wanted.values(), -max(topic_score(each, role) for role in ROLES), each))
    looked = {name: others[name] for name in order[:MOST_TOPICS]}
    read = await newest_records(access, looked, most)
    return [_sample(name, _lines_of(name, read[name], wanted)) for name in sorted(read)], len(others) - len(looked)


def _lines_of(name: str, read: list[RecordSeen] | KafkaError, wanted: Mapping[str, str]) -> list[bytes]:
    """Values of records. A topic that may not be read is one without records, unless somebody named it."""
    if isinstance(read, KafkaError):
        if name in wanted.values():
            raise read
        return []
    return [record.value for record in read if record.value is not None]


def _sample(name: str, lines: Sequence[bytes]) -> Sample:
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            value = _DECODE(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            records.append(value)
    return Sample(name=name, records=records, unread=len(lines) - len(records))


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table, whose numbers stand in it as text."""
    return {key: _number(value) for key, value in row.items()}


def _number(value: Any) -> Any:
    if isinstance(value, str) and _WHOLE.fullmatch(value) and (value == "0" or not value.lstrip("+-").startswith("0")):
        return int(value)
    return float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
