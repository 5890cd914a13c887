"""Moments as text: RFC 3339 in UTC outside, epoch milliseconds inside."""

from datetime import UTC, datetime
from typing import Literal, overload

__all__ = ["ms_of", "rfc3339"]


@overload
def rfc3339(when_ms: int, *, timespec: Literal["auto", "milliseconds"] = "auto") -> str: ...
@overload
def rfc3339(when_ms: int | None, *, timespec: Literal["auto", "milliseconds"] = "auto") -> str | None: ...
def rfc3339(when_ms: int | None, *, timespec: Literal["auto", "milliseconds"] = "auto") -> str | None:
    """Time of a moment, RFC 3339 UTC.

    Parameters
    ----------
    when_ms : int or None
        Epoch ms; None stays None.
    timespec : {"auto", "milliseconds"}
        Auto: with milliseconds only where there are some.

    Examples
    --------
    >>> rfc3339(1772442000000), rfc3339(1772442000000, timespec="milliseconds")
    ('2026-03-02T09:00:00Z', '2026-03-02T09:00:00.000Z')
    >>> rfc3339(1772442000250)
    '2026-03-02T09:00:00.250Z'
    """
    if when_ms is None:
        return None
    moment = datetime.fromtimestamp(when_ms / 1000, UTC)
    text = moment.isoformat(timespec="milliseconds" if when_ms % 1000 or timespec == "milliseconds" else "seconds")
    return text.replace("+00:00", "Z")


def ms_of(when: str) -> int:
    """Epoch ms of a time that `rfc3339` wrote.

    Examples
    --------
    >>> ms_of("2026-03-02T09:00:00.250Z")
    1772442000250
    """
    return round(datetime.fromisoformat(when).timestamp() * 1000)
