"""One delivery: proven, limited, read, held against what its key may speak for, and written to the topic of changes before anybody is told that it was taken.

What is written depends on the delivery alone, so that a repeat of it has the same ids and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec
import structlog

from rollguard.config import RollguardError
from rollguard.incidents import ChangeRecord, ChangeRefusedError, sightings_of
from rollguard.service.intake.counting import Counted
from rollguard.service.intake.limits import Limits
from rollguard.service.intake.records import Channel, Delivery, ForeignError, LimitedError, Proven, Said, TurnedAwayError, UnusableError
from rollguard.streams.kafka import Outgoing

__all__ = ["Receiver", "Write", "as_written"]

log = structlog.get_logger()
#: A name in a change: more is no name.
LONGEST = 200
#: So much of what was refused is kept.
MOST_KEPT = 16_384
_NAMES = ("deploy_id", "service", "region", "environment", "version", "from_version", "author")
_ENCODER = msgspec.json.Encoder(order="deterministic")
#: Writes records to the topic of changes, and returns once all brokers in sync have them.
Write = Callable[[Sequence[ChangeRecord]], Awaitable[None]]


def as_written(record: ChangeRecord) -> bytes:
    """Give the bytes of a record on the topic: the same for the same change."""
    return _ENCODER.encode({name: value for name, value in msgspec.to_builtins(record).items() if value is not None})


class Receiver:
    """Takes deliveries of every channel.

    Parameters
    ----------
    environment : str
        The one whose changes count.
    source : str
        What the config calls the changes.
    write : callable
        See `Write`.
    put_away : callable
        Keeps a dead letter.
    remember : callable
        Writes into the ledger that somebody wanted something they may not.
    limits : Limits
    counted : Counted
    """

    def __init__(
        self,
        *,
        environment: str,
        source: str,
        write: Write,
        put_away: Callable[[Outgoing], Awaitable[None]],
        remember: Callable[[Mapping[str, str]], Awaitable[None]],
        limits: Limits,
        counted: Counted,
    ) -> None:
        self._environment = environment
        self._source = source
        self._write = write
        self._put_away = put_away
        self._remember = remember
        self._limits = limits
        self._counted = counted

    async def take(self, channel: Channel, delivery: Delivery) -> tuple[int, str]:
        """Take a delivery: how many records were written, and what there is to say of it.

        Raises
        ------
        TurnedAwayError
            It is not taken, and a repeat of it would not be either.
        RollguardError
            Kafka is away: whoever sent it has to try again.
        """
        proven: Proven | None = None
        try:
            try:
                proven = channel.prove(delivery)
            except TurnedAwayError:
                # Who knocks without a key spends of one bucket, and when it is empty leaves no trace but a number.
                self._limits.spend(f"{channel.name}: without a key of ours")
                raise
            self._limits.spend(f"{channel.name}: {proven.key}")
            said = channel.read(proven, delivery)
            found = [record for record in said.records if self._counts(record, proven, said)]
        except TurnedAwayError as error:
            await self.turn_away(channel, error, delivery, "" if proven is None else proven.key)
            raise
        if not found:
            return 0, said.note or "a change to another environment"
        await self._write(found)
        self._counted.taken.labels(channel.name).inc(len(found))
        log.info("change_taken", channel=channel.name, key=proven.key, delivery=_id_of(delivery), changes=[record.deploy_id for record in found])
        return len(found), said.note

    async def turn_away(self, channel: Channel, error: TurnedAwayError, delivery: Delivery | None = None, key: str = "") -> None:
        """Count what is not taken, and keep it where that may matter."""
        self._counted.refused.labels(channel.name, error.code).inc()
        if isinstance(error, LimitedError):
            return
        log.warning("change_refused", channel=channel.name, key=key, reason=error.code, detail=str(error))
        told = {"source": self._source, "channel": channel.name, "key": key, "reason": error.code, "detail": str(error)}
        try:
            if error.kept and delivery is not None:
                await self._put_away(_dead_letter(told, delivery))
            if error.remembered:
                await self._remember(told)
        except RollguardError as trouble:
            # The answer is the same: what was refused is refused, whether or not it could be kept.
            log.error("refused_change_is_not_kept", channel=channel.name, reason=error.code, error=str(trouble))  # noqa: TRY400 - the text says it all

    def _counts(self, record: ChangeRecord, proven: Proven, said: Said) -> bool:
        """Whether a record is a change to our environment, which its key may speak of."""
        for name in _NAMES:
            if len(getattr(record, name) or "") > LONGEST:
                raise UnusableError(f"{name} has more than {LONGEST} letters. Expected: a name")
        for patterns in (proven.services, said.services):
            if patterns is not None and not any(fnmatchcase(record.service, pattern) for pattern in patterns):
                raise ForeignError(f"the key {proven.key!r} may not speak for the service {record.service[:64]!r}. Expected: one of {', '.join(patterns)}")
        try:
            return bool(sightings_of(record, environment=self._environment))
        except ChangeRefusedError as error:
            raise UnusableError(str(error)) from None


def _id_of(delivery: Delivery) -> str:
    """What its sender calls it; for a person who looks for it there."""
    return (delivery.header("x-github-delivery") or delivery.header("webhook-id"))[:100]


def _dead_letter(told: Mapping[str, str], delivery: Delivery) -> Outgoing:
    digest = hashlib.blake2b(delivery.body, digest_size=8).hexdigest()
    headers = {**told, "timestamp": str(delivery.now_ms), "delivery": _id_of(delivery), "bytes": str(len(delivery.body))}
    return Outgoing(
        topic="deadletter",
        key=f"{told['channel']}/{digest}".encode(),
        value=delivery.body[:MOST_KEPT],
        headers=tuple((name, text.encode("utf-8", "replace")) for name, text in headers.items()),
    )
