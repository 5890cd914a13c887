"""Change records onto their topic: signed, if the topic wants that, and acknowledged by all brokers in sync."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rollguard.config import RollguardError
from rollguard.incidents import ChangeRecord
from rollguard.service.intake.taking import Write, as_written
from rollguard.streams.kafka import Outgoing

__all__ = ["AwayError", "writer"]

#: GitHub waits for ten seconds, Argo CD for as long as it is told.
WITHIN_S = 8.0


class AwayError(RollguardError):
    """Kafka has not acknowledged in time; it may all the same have the records, and a repeat is harmless."""

    code = "kafka_away"


def writer(
    topic: str,
    append: Callable[[str, Sequence[Outgoing]], Awaitable[None]],
    sign: Callable[[bytes], list[tuple[str, bytes]]],
    *,
    within_s: float = WITHIN_S,
) -> Write:
    """Make what writes change records.

    Parameters
    ----------
    topic : str
        Of the changes.
    append : callable
        Appends to a topic, and returns once all brokers in sync have the records.
    sign : callable
        Gives the headers of a value that is signed; none, if nobody signs.
    within_s : float
        Who waits longer has gone.
    """

    async def write(records: Sequence[ChangeRecord]) -> None:
        out = []
        for record in records:
            value = as_written(record)
            out.append(Outgoing(topic=topic, key=record.deploy_id.encode(), value=value, headers=tuple(sign(value))))
        try:
            async with asyncio.timeout(within_s):
                await append(topic, out)
        except TimeoutError:
            raise AwayError(f"topic {topic}: not acknowledged within {within_s:g} s. Expected: brokers in sync that take records") from None

    return write
