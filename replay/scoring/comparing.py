"""Two scores beside each other: what got better, what got worse, case by case."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

from rollguard.replay.scoring.measures import MEASURES, Measure, Measured
from rollguard.replay.scoring.records import CaseOutcome, LabelOutcome
from rollguard.replay.scoring.score import Score, score_of
from rollguard.replay.scoring.telling import figure, figure_of, table

__all__ = ["Difference", "comparison_of", "differences"]

#: A delay has changed if it did by so much of itself, and by a bucket more or less.
DELAY_SHARE, DELAY_S = 0.2, 10.0
#: A bill has changed if its error did by so much of what was lost.
BILL_SHARE = 0.05
#: What happens more often than that by chance alone may be chance.
CHANCE = 0.05
#: Differences of figures that are smaller are of the last digits.
SAME = 1e-9

#: Whether it got better; the case; what.
Difference = tuple[bool, str, str]


def comparison_of(old: Score, new: Score, *, names: tuple[str, str] = ("A", "B")) -> str:
    """Compare two scores, as Markdown for a pull request.

    Only cases that both have count in its figures; the others are named.

    Parameters
    ----------
    old, new : Score
    names : tuple of str
        What they are called.
    """
    mine, others = {case.name: case for case in old.cases}, {case.name: case for case in new.cases}
    both = sorted(name for name in mine.keys() & others.keys() if _truth_of(mine[name]) == _truth_of(others[name]))
    # Figures of other cases would be figures of something else.
    old, new = (score_of([cases[name] for name in both]) for cases in (mine, others))
    found = [difference for name in both for difference in differences(mine[name], others[name])]
    better, worse = ([f"- **{case}**: {what}" for good, case, what in found if good is which] for which in (True, False))
    lines = [f"{names[0]} → {names[1]}, {len(both)} cases: {len(better)} better, {len(worse)} worse.", ""]
    lines += table(["measure", names[0], names[1], "difference", ""], _rows(old, new))
    lines += ["", f"## Worse ({len(worse)})", "", *(worse or ["Nothing."]), "", f"## Better ({len(better)})", "", *(better or ["Nothing."])]
    if strange := sorted(mine.keys() & others.keys() - set(both)):
        lines += ["", f"Labelled in another way in {names[1]}, and not compared: {', '.join(strange)}."]
    for name, only in ((names[0], mine.keys() - others.keys()), (names[1], others.keys() - mine.keys())):
        if only:
            lines += ["", f"Only in {name}, and not compared: {', '.join(sorted(only))}."]
    return "\n".join(lines) + "\n"


def _truth_of(case: CaseOutcome) -> list[tuple[str, str | None, float | None, float | None]]:
    """What its labels say; cases of one name may still be others."""
    return [(label.incident_id, label.culprit, label.lost, label.oracle_s) for label in case.labels]


def differences(old: CaseOutcome, new: CaseOutcome) -> Iterator[Difference]:
    """What got better or worse in one case.

    Parameters
    ----------
    old, new : CaseOutcome
        Of the same case.

    Yields
    ------
    tuple of (bool, str, str)
        Whether it got better, the case, and what.
    """
    before = {label.incident_id: label for label in old.labels}
    for label in new.labels:
        if label.incident_id in before:
            for good, what in _of_label(before[label.incident_id], label):
                yield good, new.name, f"{label.incident_id}: {what}"
    for what, was, now in (
        ("false pages", len(old.false_pages), len(new.false_pages)),
        ("wrong rollbacks", len(old.wrong_rollbacks), len(new.wrong_rollbacks)),
        ("false blame", len(old.falsely_blamed), len(new.falsely_blamed)),
    ):
        if was != now:
            yield now < was, new.name, f"{what}: {was} → {now}"


def _of_label(old: LabelOutcome, new: LabelOutcome) -> Iterator[tuple[bool, str]]:
    if (old.paged_s is None) != (new.paged_s is None):
        yield new.paged_s is not None, "missed → paged" if new.paged_s is not None else "paged → missed"
        return
    if old.paged_s is not None and new.paged_s is not None and abs(new.paged_s - old.paged_s) > max(DELAY_S, DELAY_SHARE * old.paged_s):
        yield new.paged_s < old.paged_s, f"paged after {old.paged_s:.0f} s → {new.paged_s:.0f} s"
    if old.repeats != new.repeats:
        yield new.repeats < old.repeats, f"duplicates: {old.repeats} → {new.repeats}"
    if old.rank != new.rank:
        was, now = ("not a suspect" if rank is None else f"suspect {rank}" for rank in (old.rank, new.rank))
        yield (new.rank or 1_000) < (old.rank or 1_000), f"{new.culprit or old.culprit}: {was} → {now}"
    if old.wrongly_blamed != new.wrongly_blamed:
        yield old.wrongly_blamed, f"{(old if old.wrongly_blamed else new).blamed} is {'no longer' if old.wrongly_blamed else 'now'} wrongly called guilty"
    if old.culprit is not None and not (old.wrongly_blamed or new.wrongly_blamed) and (old.blamed is None) != (new.blamed is None):
        yield new.blamed is not None, f"{new.blamed or old.blamed} is {'now' if new.blamed else 'no longer'} called guilty"
    if old.rolled_back != new.rolled_back and new.rollback_due:
        yield new.rolled_back, "rollback missed → decided" if new.rolled_back else "rollback decided → missed"
    errors = [abs(each.billed - each.lost) / each.lost if each.lost and each.billed is not None else None for each in (old, new)]
    if errors[0] is not None and errors[1] is not None and abs(errors[1] - errors[0]) > BILL_SHARE:
        yield errors[1] < errors[0], f"bill off by {figure(errors[0], 'share')} → {figure(errors[1], 'share')}"


def _rows(old: Score, new: Score) -> list[list[str]]:
    rows = []
    for each in MEASURES:
        was, now = old.parts[0][each.name], new.parts[0][each.name]
        difference, word = "", ""
        if was.value is not None and now.value is not None:
            moved = now.value - was.value
            sign = "+" if moved >= 0 and each.form != "signed" else ""
            # Of two shares the difference is in points, not in per cent of one of them.
            difference = sign + figure(moved, each.form).replace("%", "points")
            gain = _gain(each, was.value, now.value)
            word = "" if abs(gain) < SAME else ("better" if gain > 0 else "worse") + (", may be chance" if _may_be_chance(each, gain, old, new) else "")
        rows.append([each.title, figure_of(was), figure_of(now), difference, word])
    return rows


def _gain(each: Measure, was: float, now: float) -> float:
    """How much better a figure got; negative: it got worse."""
    return {"higher": now - was, "lower": was - now, "nearer to 0": abs(was) - abs(now)}[each.better]


def _may_be_chance(each: Measure, gain: float, old: Score, new: Score) -> bool:
    """Whether a coin would often bring as few of the cases that changed against a gain; of a figure that no case has alone, whether intervals touch.

    References
    ----------
    W. J. Dixon and A. M. Mood, "The statistical sign test", JASA 41, 1946; both sides, equal cases left out.
    """
    if not each.by_case:
        return _touch(old.parts[0][each.name], new.parts[0][each.name])
    pairs = [(each.take([before]), each.take([after])) for before, after in zip(old.cases, new.cases, strict=True) if before != after]
    gains = [_gain(each, was[0], now[0]) for was, now in pairs if was is not None and now is not None]
    better, worse = sum(gain >= SAME for gain in gains), sum(gain <= -SAME for gain in gains)
    n, against = better + worse, worse if gain > 0 else better
    return n == 0 or 2 * sum(comb(n, k) for k in range(against + 1)) > CHANCE * 2**n


def _touch(one: Measured, other: Measured) -> bool:
    """Whether two intervals have anything in common; of a figure without one nobody knows."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high
