"""What `rollguard check --live` says of each thing that it tried."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from rollguard.cli.places import Places
from rollguard.config import RollguardError
from rollguard.streams.kafka import KafkaError, SecretError

__all__ = ["Finding", "State", "kafka_to_mend", "to_mend"]

State = Literal["ok", "note", "mend"]
_KEY = re.compile(r"\bkafka(?:\.[a-z_]+)+")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried.

    Attributes
    ----------
    state : {"ok", "note", "mend"}
        `mend`: a worker cannot do its work like this.
    what : str
        As `brokers`, `topic orders`.
    text : str
        What was found; if it is to be mended, how.
    where : str
        File, line and key that it comes from, as `shop.yaml:12: sources.orders.topic`; empty: no key alone.
    """

    state: State
    what: str
    text: str
    where: str = ""


def to_mend(what: str, error: RollguardError, where: str = "") -> Finding:
    """What an error says, under the thing that it names."""
    text = str(error)
    named = error.where if isinstance(error, KafkaError) else error.key if isinstance(error, SecretError) else what
    return Finding(state="mend", what=named, text=text.removeprefix(f"{named}: "), where=where)


def kafka_to_mend(error: SecretError | KafkaError, places: Places) -> Finding:
    """What keeps us from the brokers, with the first key that the error names."""
    key = error.key if isinstance(error, SecretError) else next(iter(_KEY.findall(f"{error.where} {error.advice} {error.expected}")), None)
    return to_mend("kafka", error, "" if key is None else places.of(*key.split(".")))
