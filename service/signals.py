"""Records of the signals log, on their way to it."""

from __future__ import annotations

from rollguard.incidents import LogCodec, LogRecord
from rollguard.streams.kafka import Outgoing

__all__ = ["to_signals"]

_CODEC = LogCodec()


def to_signals(record: LogRecord, codec: LogCodec = _CODEC) -> Outgoing:
    """Write a record for the signals log, by its id.

    Parameters
    ----------
    record : LogRecord
    codec : LogCodec, optional
        Of one's own, for ticks, whose names it remembers.
    """
    return Outgoing(topic="signals", key=codec.id_of(record).encode(), value=codec.encode(record))
