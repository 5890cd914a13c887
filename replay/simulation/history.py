"""The changes of a case: all are drawn by one function, and only then one of them is found guilty.

So nothing on paper tells it apart: not its id, its time, its authors, nor how it was rolled out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from rollguard.config import rfc3339
from rollguard.replay.simulation.files import change_record
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, REGIONS, Change, Ints, Rng, first_versions, ordinary_changes

__all__ = ["LOOKBACK_MS", "Wanted", "change_history", "recorded"]

LOOKBACK_MS = 72 * HOUR_MS
#: Changes on a working day, least and most; at weekends half of them.
CHANGES_A_DAY = (16.0, 40.0)
AT_WEEKENDS = 0.5
#: Share of changes that were never recorded, and of records of a wave that were lost, came twice, or late.
UNRECORDED, WAVE_LOST, TWICE, LATE = 0.01, 0.005, 0.02, 0.04
LATE_MIN = (1.0, 30.0)
#: 1 January 1970 was a Thursday.
THURSDAY = 3
IDS = range(1_000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a change must be like to do a kind of harm; all else is left to chance.

    Attributes
    ----------
    services, kinds : frozenset of str or None
        None: whichever.
    reach : str
        `one`: a single place; `all`: every place; `at once`: every place at the same time; `waves`: one place after another; `any`.
    one_author : bool
    """

    services: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    reach: Literal["any", "one", "all", "at once", "waves"] = "any"
    one_author: bool = False

    def fits(self, change: Change) -> bool:
        """Whether a change is like that."""
        began = [began_ms for _, began_ms, _ in change.reach]
        places, at_once = len(began), len(set(began)) == 1
        shape = {"any": True, "one": places == 1, "all": places == len(REGIONS), "at once": places == len(REGIONS) and at_once, "waves": not at_once}
        return (
            shape[self.reach]
            and (self.services is None or change.service in self.services)
            and (self.kinds is None or change.kind in self.kinds)
            and not (self.one_author and len(set(change.authors)) > 1)
        )


def change_history(rng: Rng, start_ms: int, end_ms: int, *, busy_ms: int | None = None) -> list[Change]:
    """Draw all changes of a shop over some days, in order of their beginning.

    Parameters
    ----------
    rng : Rng
    start_ms, end_ms : int
        The first ones ship three days before the start, as the feed of changes is older than the data.
    busy_ms : int, optional
        An hour from then on, eight to twenty more ship.
    """
    since_ms = start_ms - LOOKBACK_MS
    moments = _moments(rng, since_ms, end_ms)
    if busy_ms is not None:
        moments = np.concatenate([moments, rng.integers(busy_ms, busy_ms + HOUR_MS, rng.integers(8, 21))])
    drawn = ordinary_changes(rng, np.sort(moments), first_versions(rng))
    ids = rng.choice(np.array(IDS), len(drawn), replace=False).tolist()
    return [_with_papers(rng, replace(change, deploy_id=f"chg-{number}")) for change, number in zip(drawn, ids, strict=True)]


def _moments(rng: Rng, since_ms: int, end_ms: int) -> Ints:
    """Moments at which changes begin: Poisson, fewer at weekends."""
    most = rng.uniform(*CHANGES_A_DAY)
    moments: Ints = rng.integers(since_ms, end_ms, rng.poisson(most * (end_ms - since_ms) / DAY_MS))
    weekday = (moments // DAY_MS + THURSDAY) % 7
    return moments[(weekday < 5) | (rng.random(len(moments)) < AT_WEEKENDS)]


def _with_papers(rng: Rng, change: Change) -> Change:
    """One author or two, and now and then a change that its pipeline cannot undo."""
    authors = change.authors[: int(rng.integers(1, 3))]
    return replace(change, authors=authors, reversible=change.reversible and bool(rng.random() > 0.05))


def recorded(rng: Rng, changes: Iterable[Change], *, unrecorded: frozenset[str], never: frozenset[str]) -> list[dict[str, Any]]:
    """Records of changes as the feed has them: some late, some twice, some missing.

    Parameters
    ----------
    rng : Rng
    changes : iterable of Change
    unrecorded : frozenset of str
        Deploy ids without a record.
    never : frozenset of str
        Deploy ids that never lose every record, since labels name them.

    Returns
    -------
    list of dict
        In the order in which they came.
    """
    out: list[tuple[int, str, int, dict[str, Any]]] = []
    for change in changes:
        lost = rng.random(len(change.reach)) < WAVE_LOST
        gone = rng.random() < UNRECORDED
        if change.deploy_id in never and lost.all():
            lost[:] = False
        if change.deploy_id in unrecorded or (gone and change.deploy_id not in never):
            lost[:] = True
        for number in np.flatnonzero(~lost).tolist():
            _, began_ms, done_ms = change.reach[number]
            record, known_ms = change_record(change, number), began_ms
            if rng.random() < LATE:
                known_ms = done_ms + round(rng.uniform(*LATE_MIN) * MINUTE_MS)
                record["received_at"] = rfc3339(known_ms)
            out += [(known_ms, change.deploy_id, number, record)] * (2 if rng.random() < TWICE else 1)
    out.sort(key=lambda each: each[:3])
    return [record for *_, record in out]
