"""A case before it happens: who is to be hurt, when and how much, what becomes of the data, and what a scorer may expect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rollguard.replay.simulation.shop import MINUTE_MS, REGIONS, Change, Floats, Ints

__all__ = ["SOURCES", "Fault", "Harm", "Plan", "Surge", "fraction"]

SOURCES = ("orders", "deliveries", "errors")


def fraction(change: Change, region: int, ts_ms: Ints) -> Floats:
    """Share of a place that has a change at some moments: it grows from start to finish of its wave.

    Examples
    --------
    >>> fraction(Change("c", "cart", "code", "1", "2", (("eu-west", 0, 100),), ("a",), 1, "no", True), 0, np.array([-5, 25, 500]))
    array([0.  , 0.25, 1.  ])
    """
    out = np.zeros(len(ts_ms))
    for name, began_ms, done_ms in change.reach:
        if name == REGIONS[region]:
            out = np.maximum(out, np.clip((ts_ms - began_ms) / max(done_ms - began_ms, 1), 0.0, 1.0))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """One thing that goes wrong, as customers feel it.

    Attributes
    ----------
    change : Change or None
        Who has it, is hurt by it; None: everybody in `regions`.
    regions : tuple of int
        Places in `REGIONS` where it hurts.
    since_ms : dict of int to int
        From when on it hurts, by region; who meets the change before is well.
    end_ms : int
        When somebody undoes it.
    grows_ms : int
        It grows to its full size in so long; 0: it is there at once.
    wrong : float
        Share of promises that are wrong, 0..1.
    slip : float or None
        What a wrong promise is of the right one; None: it is absurd, within the minute or in weeks.
    loss : float
        Share of customers who leave, 0..1.
    loss_after_ms, loss_grows_ms : int
        They begin to leave so long after it began, and it takes so long until that share leaves.
    errors : dict of int to float
        Errors that each customer sees besides the usual ones, by place in `SERVICES`.
    errors_after_ms, errors_grow_ms : int
        The same of errors.
    """

    change: Change | None
    regions: tuple[int, ...]
    since_ms: dict[int, int]
    end_ms: int
    grows_ms: int = 0
    wrong: float = 0.0
    slip: float | None = None
    loss: float = 0.0
    loss_after_ms: int = 0
    loss_grows_ms: int = 0
    errors: dict[int, float] = field(default_factory=dict)
    errors_after_ms: int = 0
    errors_grow_ms: int = 0

    @property
    def onset_ms(self) -> int:
        """When it may first hurt anybody."""
        return min(self.since_ms.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the shipped config that show it."""
        shown = {"promised_minutes": self.wrong, "orders": self.loss, "errors": sum(self.errors.values())}
        return tuple(name for name, size in shown.items() if size > 0.0)

    def met(self, region: int, ts_ms: Ints) -> Floats:
        """Share of customers who meet it, 0..1."""
        since_ms = self.since_ms.get(region)
        if since_ms is None:
            return np.zeros(len(ts_ms))
        here = np.ones(len(ts_ms)) if self.change is None else fraction(self.change, region, ts_ms)
        return np.where((ts_ms >= since_ms) & (ts_ms < self.end_ms), here, 0.0)

    def strength(self, region: int, ts_ms: Ints, *, after_ms: int = 0, grows_ms: int = 0) -> Floats:
        """How much of its full size a symptom has for who meets it, 0..1."""
        since_ms = self.since_ms.get(region)
        if since_ms is None:
            return np.zeros(len(ts_ms))
        return _ramp(ts_ms, since_ms, self.grows_ms) * _ramp(ts_ms, since_ms + after_ms, grows_ms)

    def leaving(self, region: int, ts_ms: Ints) -> Floats:
        """Probability that a customer who meets it leaves."""
        return self.loss * self.strength(region, ts_ms, after_ms=self.loss_after_ms, grows_ms=self.loss_grows_ms)

    def failing(self, region: int, ts_ms: Ints) -> Floats:
        """Share of its full errors that a customer who meets it sees."""
        return self.strength(region, ts_ms, after_ms=self.errors_after_ms, grows_ms=self.errors_grow_ms)

    def misled(self, region: int, ts_ms: Ints) -> Floats:
        """Probability that a customer who meets it is promised a wrong time."""
        return self.wrong * self.strength(region, ts_ms)


def _ramp(ts_ms: Ints, since_ms: int, grows_ms: int) -> Floats:
    if grows_ms == 0:
        return (ts_ms >= since_ms).astype(np.float64)
    return np.clip((ts_ms - since_ms) / grows_ms, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """More or less demand than usual, and nothing wrong with it.

    Attributes
    ----------
    regions : tuple of int
    since_ms, until_ms : int
    factor : float
    grows_ms : int
        It comes and goes in so long.
    """

    regions: tuple[int, ...]
    since_ms: int
    until_ms: int
    factor: float
    grows_ms: int = 10 * MINUTE_MS

    def at(self, ts_ms: Ints) -> Floats:
        """Factor on demand at some moments."""
        up, down = ((ts_ms - self.since_ms) / self.grows_ms, (self.until_ms - ts_ms) / self.grows_ms)
        return 1.0 + (self.factor - 1.0) * np.clip(np.minimum(up, down), 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What becomes of the data on its way, while the shop is well.

    Attributes
    ----------
    how : str
        `lost`: it never arrives; `late`: it arrives `size` ms later; `doubled`: a share `size` of it arrives again, soon or within ten minutes; `skewed`: the
        clock of one host, which writes a share `size` of the events, is off by `shift_ms`.
    sources : tuple of str
    regions : tuple of int
    since_ms, until_ms : int
    size : float
    shift_ms : int
    """

    how: Literal["lost", "late", "doubled", "skewed"]
    sources: tuple[str, ...] = SOURCES
    regions: tuple[int, ...]
    since_ms: int
    until_ms: int
    size: float = 1.0
    shift_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens in a case.

    Attributes
    ----------
    changes : tuple of Change
        All that ship, whoever is guilty.
    harms : tuple of Harm
        Each is an incident.
    culprits : tuple of (Change or None)
        Of each harm: who did it.
    carriers : dict of str to str
        By a culprit's deploy id: the change whose fault it woke up.
    surges : tuple of Surge
    faults : tuple of Fault
        Of these, `lost` ones are an incident too: a page is right, and nothing is to be undone.
    unrecorded : frozenset of str
        Deploy ids of which no record was ever kept.
    accused : Change or None
        Who looks guilty, and is not.
    note : str
        What a reader of the labels should know.
    """

    changes: tuple[Change, ...]
    harms: tuple[Harm, ...] = ()
    culprits: tuple[Change | None, ...] = ()
    carriers: dict[str, str] = field(default_factory=dict)
    surges: tuple[Surge, ...] = ()
    faults: tuple[Fault, ...] = ()
    unrecorded: frozenset[str] = frozenset()
    accused: Change | None = None
    note: str = ""

    @property
    def named(self) -> frozenset[str]:
        """Deploy ids that the labels name, or mean."""
        changes = [change for change in (*self.culprits, self.accused) if change is not None]
        return frozenset(change.deploy_id for change in changes) | frozenset(self.carriers.values())
