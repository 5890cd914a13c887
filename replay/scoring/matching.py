"""Which found incident speaks of which labelled one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollguard.replay.scoring.labels import Label
from rollguard.replay.scoring.results import Found

__all__ = ["GRACE_MS", "Match", "in_common", "match", "overlaps"]

#: So long after its end an incident may still be told: what is averaged over an hour, or looked at once an hour, is seen late.
GRACE_MS = 30 * 60_000
#: An onset is an estimate: it may lie so long after the end of what it is the onset of.
SLACK_MS = 5 * 60_000
#: Onsets that are so far apart speak only e⁻¹ as much for each other.
NEAR_MS = 10 * 60_000


@dataclass(frozen=True, slots=True)
class Match:
    """A labelled incident with all that was found of it.

    Attributes
    ----------
    label : Label
    found : tuple of Found
        In the order in which they were told; none: it was missed.
    """

    label: Label
    found: tuple[Found, ...]

    @property
    def first(self) -> Found | None:
        """The one that was told first."""
        return self.found[0] if self.found else None


def match(labels: Iterable[Label], found: Iterable[Found]) -> tuple[list[Match], list[Found]]:
    """Give each found incident to the labelled one that it speaks of.

    A found incident may speak of a labelled one if all of this holds:

    - it was told (or, where nobody is paged, opened) from the label's onset until half an hour after its end. A page before the onset cannot know of
      it and is false, even if the incident is open long enough to swallow the real one;
    - its own onset, which is an estimate, is not later than five minutes after the label's end: what begins afterwards is something else;
    - they have a metric or a region in common. No region stands for everywhere, on either side;
    - of a label that is a gap in the data: it says itself that the data are in doubt. Who pages that orders fell, when only the pipe was broken, is wrong.

    Of several labels it goes to the one that is most alike in metrics, regions, services and onset; who is blamed plays no part, else a right blame would
    make itself right. Where a label is left with nothing while another has several, it gets the one of them that fits it best: two incidents at once, told
    by two pages, are both found. What a label has beyond the first are repeats. What belongs to no label is false.

    Parameters
    ----------
    labels : iterable of Label
    found : iterable of Found

    Returns
    -------
    list of Match
        One for each label, by onset.
    list of Found
        Those that speak of none.
    """
    labels = sorted(labels, key=lambda each: (each.onset_ms, each.incident_id))
    given: dict[str, list[Found]] = {label.incident_id: [] for label in labels}
    stray: list[Found] = []
    for each in sorted(found, key=lambda each: (each.seen_ms, each.incident_id)):
        fitting = [label for label in labels if _may_speak_of(each, label)]
        if fitting:
            given[max(fitting, key=lambda label: _likeness(each, label)).incident_id].append(each)
        else:
            stray.append(each)
    for label in labels:
        if not given[label.incident_id]:
            _share(label, given)
    return [Match(label, tuple(sorted(given[label.incident_id], key=_told))) for label in labels], stray


def overlaps(found: Found, label: Label) -> bool:
    """Whether both were at some moment, and in a place or metric in common."""
    return found.onset_ms <= label.end_ms and (found.closed_ms is None or found.closed_ms >= label.onset_ms) and in_common(found, label)


def in_common(found: Found, label: Label) -> bool:
    """Whether a metric or a region is the same; no region stands for everywhere."""
    metrics = set(found.metrics) & set(label.metrics)
    everywhere = not found.regions or not label.regions
    return bool(metrics) or everywhere or bool(set(found.regions) & set(label.regions))


def _share(label: Label, given: dict[str, list[Found]]) -> None:
    """Give a label that has nothing one of those of another that has several."""
    rich = [(name, each) for name, several in given.items() if len(several) > 1 for each in several if _may_speak_of(each, label)]
    if not rich:
        return
    name, best = max(rich, key=lambda pair: (_likeness(pair[1], label), pair[1].incident_id))
    given[name].remove(best)
    given[label.incident_id].append(best)


def _told(found: Found) -> tuple[bool, int, str]:
    # What nobody was told of comes after what somebody was.
    return found.paged_ms is None, found.seen_ms, found.incident_id


def _may_speak_of(found: Found, label: Label) -> bool:
    in_time = label.onset_ms <= found.seen_ms <= label.end_ms + GRACE_MS and found.onset_ms <= label.end_ms + SLACK_MS
    return in_time and in_common(found, label) and (not label.is_gap or bool(found.doubts))


def _likeness(found: Found, label: Label) -> float:
    near = math.exp(-abs(found.onset_ms - label.onset_ms) / NEAR_MS)
    return 2.0 * _alike(found.metrics, label.metrics) + 2.0 * _alike(found.regions, label.regions) + _alike(found.services, label.services) + near


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of names in common, 0..1; where one side says nothing it is half."""
    if not one or not other:
        return 0.5
    return len(set(one) & set(other)) / len(set(one) | set(other))
