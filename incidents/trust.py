"""How far a service's verdicts may be trusted to act by themselves: by how many of them people found right."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LEAST_JUDGED", "NEEDED", "Record", "lower_bound"]

#: Trust begins when so many verdicts were judged, and a lower bound on the share of right ones is this.
LEAST_JUDGED, NEEDED = 11, 0.8
#: One-sided 95 %.
_Z = 1.6448536269514722
#: Judgements that are remembered: what a service was like a year ago says little.
REMEMBERED = 100


def lower_bound(right: int, judged: int) -> float:
    """Lower end of the one-sided 95 % Wilson interval of a share.

    Parameters
    ----------
    right, judged : int
        0 <= right <= judged.

    Returns
    -------
    float
        0..1; 0 when nothing was judged.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> round(lower_bound(11, 11), 3), round(lower_bound(10, 11), 3)
    (0.803, 0.677)
    """
    if judged == 0:
        return 0.0
    share = right / judged
    centre = share + _Z * _Z / (2.0 * judged)
    spread = _Z * math.sqrt(share * (1.0 - share) / judged + _Z * _Z / (4.0 * judged * judged))
    return max(centre - spread, 0.0) / (1.0 + _Z * _Z / judged) if right else 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """What people found of a service's verdicts, the last ones last.

    Attributes
    ----------
    judged : tuple of (str, bool)
        Incident, and whether its verdict was right.
    """

    judged: tuple[tuple[str, bool], ...] = ()

    def with_judgement(self, incident_id: str, *, right: bool) -> Record:
        """Take a judgement; a later one of the same incident takes its place."""
        others = tuple(each for each in self.judged if each[0] != incident_id)
        return Record((*others, (incident_id, right))[-REMEMBERED:])

    @property
    def why_not(self) -> str:
        """What keeps it from being trusted, in a sentence; empty: nothing does."""
        judged, right = len(self.judged), sum(right for _, right in self.judged)
        bound = lower_bound(right, judged)
        if judged >= LEAST_JUDGED and bound >= NEEDED:
            return ""
        told = f"{right} of {judged} judged verdicts were right (at least {100.0 * bound:.0f} % of all, by that)"
        return f"{told}; {LEAST_JUDGED} judged and {100.0 * NEEDED:.0f} % are needed"
