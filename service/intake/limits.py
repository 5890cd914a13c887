"""How many requests a key may make: a bucket of tokens each, which fills at an even pace."""

from __future__ import annotations

import math
from collections.abc import Callable

from rollguard.config import Rate
from rollguard.service.intake.records import LimitedError

__all__ = ["Limits"]


class Limits:
    """Buckets by name. Names are the config's own: their number is bounded.

    Parameters
    ----------
    rate : Rate
    clock_s : callable
        A clock that only goes forward, in seconds.
    """

    def __init__(self, rate: Rate, clock_s: Callable[[], float]) -> None:
        self._most = float(rate.requests)
        self._per_s = rate.requests * 1000 / rate.per_ms
        self._clock_s = clock_s
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, name: str) -> None:
        """Take one token.

        Raises
        ------
        LimitedError
            If none is left; says when there will be one.
        """
        now_s = self._clock_s()
        left, at_s = self._left.get(name, (self._most, now_s))
        left = min(self._most, left + (now_s - at_s) * self._per_s)
        self._left[name] = (max(left - 1, 0.0) if left >= 1 else left, now_s)
        if left < 1:
            raise LimitedError(name, max(1, math.ceil((1 - left) / self._per_s)))
