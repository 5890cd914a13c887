"""What comes by HTTP, what it said, and why it is not taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import msgspec

from rollguard.config import RollguardError
from rollguard.incidents import ChangeRecord

__all__ = [
    "Channel",
    "Delivery",
    "ForeignError",
    "ForgedError",
    "LimitedError",
    "LongBodyError",
    "Proven",
    "Said",
    "SlowBodyError",
    "TurnedAwayError",
    "UnusableError",
]


class TurnedAwayError(RollguardError):
    """A request that is not taken; holds no secret and no signature."""

    code = "turned_away"
    status: ClassVar[int] = 400
    kept: ClassVar[bool] = False
    """As a dead letter."""
    remembered: ClassVar[bool] = False
    """In the ledger: somebody wanted what they may not."""
    after_s: int | None = None
    """When to try again."""


class ForgedError(TurnedAwayError):
    """Nobody who may has signed it."""

    code = "forged"
    status = 401
    kept = True
    remembered = True


class ForeignError(TurnedAwayError):
    """A key that speaks for a service which is not its own."""

    code = "foreign"
    status = 403
    kept = True
    remembered = True


class UnusableError(TurnedAwayError):
    """It cannot be read, or says nothing that a change has to say."""

    code = "unusable"
    kept = True


class LongBodyError(TurnedAwayError):
    """A body that is too long to be read."""

    code = "too_long"
    status = 413


class SlowBodyError(TurnedAwayError):
    """A body that does not come."""

    code = "too_slow"
    status = 408


class LimitedError(TurnedAwayError):
    """Too many requests of one key.

    Parameters
    ----------
    whose : str
    after_s : int
    """

    code = "limited"
    status = 429

    def __init__(self, whose: str, after_s: int) -> None:
        self.after_s = after_s
        super().__init__(f"{whose}: too many requests. Expected: no more than `changes.http.rate` says; try again in {after_s} s")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as it came.

    Attributes
    ----------
    headers : mapping of str to str
        By name in lower case.
    body : bytes
    now_ms : int
        When it came, epoch ms UTC.
    """

    headers: Mapping[str, str]
    body: bytes
    now_ms: int

    def header(self, name: str) -> str:
        """A header; empty: it has none."""
        return self.headers.get(name, "")


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent it, and of what they may speak.

    Attributes
    ----------
    key : str
        Name in the config.
    services : tuple of str
        Patterns.
    """

    key: str
    services: tuple[str, ...]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery says.

    Attributes
    ----------
    records : sequence of ChangeRecord
        None: it tells of no change.
    note : str
        For whoever looks at the answer.
    services : tuple of str or None
        Patterns that hold besides those of the key; None: no others.
    """

    records: Sequence[ChangeRecord]
    note: str = ""
    services: tuple[str, ...] | None = None


class Channel(Protocol):
    """A way by which changes come; a module each."""

    name: str
    path: str

    def prove(self, delivery: Delivery) -> Proven:
        """Make sure who sent it.

        Raises
        ------
        ForgedError
        """

    def read(self, proven: Proven, delivery: Delivery) -> Said:
        """Read what it says.

        Raises
        ------
        TurnedAwayError
        """
