"""One case held against its labels: what was found, what was missed, what was wrong, and why."""

from __future__ import annotations

from hashlib import blake2b
from math import isfinite

import msgspec

from rollguard.config import rfc3339
from rollguard.replay.scoring.calibration import brier, guesses_of
from rollguard.replay.scoring.labels import Label, Truth
from rollguard.replay.scoring.matching import GRACE_MS, Match, match, overlaps
from rollguard.replay.scoring.records import CaseOutcome, FalsePage, LabelOutcome, Split
from rollguard.replay.scoring.results import Found, Result

__all__ = ["causes_of", "judge_case", "split_of"]

#: Only what an oracle finds within so many seconds can be missed.
ORACLE_S = 1_800.0


def split_of(name: str) -> Split:
    """Which half a case belongs to: by a hash of its name, so that neither who adds cases nor who tunes can choose.

    Examples
    --------
    >>> split_of("promise-7"), split_of("provider-7")
    ('seen', 'unseen')
    """
    return "unseen" if blake2b(name.encode(), digest_size=1).digest()[0] & 1 else "seen"


def judge_case(truth: Truth, result: Result) -> CaseOutcome:
    """Compare what was found in a case with what really happened there.

    Parameters
    ----------
    truth : Truth
    result : Result
        Of the same case.
    """
    matches, stray = match(truth.labels, result.found)
    causes = _causes(matches, stray, truth)
    false_pages = [*(_false(each, truth) for each in stray if each.paged_ms is not None), *_unwanted(matches)]
    undone = [(each, undo) for each in result.found for undo in each.undone]
    wrong_undone = tuple(text for each, undo in undone if (text := _wrong_undo(each.incident_id, undo.at_ms, undo.deploy_id, truth)))
    # A stray that blames another than those who did something then is as false as one where nobody did anything.
    strays = {each.incident_id for each in stray if each.blamed is not None and each.blamed not in causes[each.incident_id]}
    innocent = [each for each in result.found if not causes[each.incident_id] or each.incident_id in strays]
    falsely_blamed = tuple(
        f"{each.incident_id}: {each.blamed} is called guilty, though {_who(causes[each.incident_id])} did it" for each in innocent if each.blamed
    )
    # Where no change was known, or nothing was counted, nothing was weighed.
    weighed = [each for each in result.found if each.suspects]
    labels = tuple(_label_outcome(each, truth) for each in matches)
    remarks = (
        *(text for each, outcome in zip(matches, labels, strict=True) for text in _remarks(each, outcome, result.found)),
        *(f"false page {each.at} ({each.incident_id}): {each.why}" for each in false_pages),
        *(f"false blame: {text}" for text in falsely_blamed),
        *(f"wrong rollback: {text}" for text in wrong_undone),
    )
    return CaseOutcome(
        name=truth.name,
        kind=truth.kind,
        split=split_of(truth.name if truth.seed is None else f"{truth.kind}-{truth.seed}"),
        watched_ms=result.watched_ms,
        labels=labels,
        right_pages=sum(_is_told(each) and _is_wanted(each.label) for each in matches),
        false_pages=tuple(false_pages),
        rollbacks=len(undone),
        wrong_rollbacks=wrong_undone,
        innocent=len(innocent),
        falsely_blamed=falsely_blamed,
        guesses=tuple(guesses_of(each.suspects, each.no_change, causes[each.incident_id]) for each in weighed),
        briers=tuple(brier(each.suspects, each.no_change, causes[each.incident_id]) for each in weighed),
        remarks=remarks,
    )


def causes_of(truth: Truth, result: Result) -> dict[str, frozenset[str]]:
    """Changes that really did what each found incident speaks of, by its id; empty: none did.

    Parameters
    ----------
    truth : Truth
    result : Result
        Of the same case.
    """
    return _causes(*match(truth.labels, result.found), truth)


def _causes(matches: list[Match], stray: list[Found], truth: Truth) -> dict[str, frozenset[str]]:
    return {each.incident_id: each.label.causes for each in _each(matches)} | {each.incident_id: _causes_about(each, truth) for each in stray}


class _Given(msgspec.Struct, frozen=True):
    incident_id: str
    label: Label


def _each(matches: list[Match]) -> list[_Given]:
    return [_Given(found.incident_id, each.label) for each in matches for found in each.found]


def _is_told(match_: Match) -> bool:
    return match_.first is not None and match_.first.paged_ms is not None


def _is_wanted(label: Label) -> bool:
    # Who says that the data are in doubt, where they are, is right even where nobody has to be woken for it.
    return label.page or label.is_gap


def _causes_about(found: Found, truth: Truth) -> frozenset[str]:
    """Changes that did something while a stray incident was open: it may have swallowed a real one."""
    return frozenset().union(*(label.causes for label in truth.labels if overlaps(found, label)))


def _unwanted(matches: list[Match]) -> list[FalsePage]:
    return [
        FalsePage(incident_id=found.incident_id, at=rfc3339(found.paged_ms), why=f"{each.label.incident_id} is labelled as nothing to be told of")
        for each in matches
        if not _is_wanted(each.label)
        for found in each.found
        if found.paged_ms is not None
    ]


def _false(found: Found, truth: Truth) -> FalsePage:
    paged_ms = found.seen_ms
    what = f"{', '.join(found.metrics) or 'no metric'} in {', '.join(found.regions) or 'all regions'}"
    early = next((label for label in truth.labels if overlaps(found, label) and paged_ms < label.onset_ms), None)
    gap = next((label for label in truth.labels if label.is_gap and overlaps(found, label)), None)
    if early is not None:
        why = f"{what}: {(early.onset_ms - paged_ms) / 1000:.0f} s before {early.incident_id} began"
    elif gap is not None:
        why = f"{what}: told as a fault of the shop, but only the data of {gap.incident_id} were in doubt"
    else:
        why = f"{what}: no labelled incident there"
    return FalsePage(incident_id=found.incident_id, at=rfc3339(paged_ms), why=why)


def _wrong_undo(incident_id: str, at_ms: int, deploy_id: str, truth: Truth) -> str:
    """Why a rollback is wrong; empty: it is right."""
    when = f"{deploy_id} at {rfc3339(at_ms)} ({incident_id})"
    # Half an hour after it was over there is nothing left to undo, and a page would be false as well.
    mine = [label for label in truth.labels if deploy_id in label.causes and label.onset_ms <= at_ms <= label.end_ms + GRACE_MS]
    if not mine:
        return f"{when}: it did nothing then"
    return "" if any(label.rollback for label in mine) else f"{when}: it did it, but is labelled as not to be rolled back"


def _label_outcome(match_: Match, truth: Truth) -> LabelOutcome:
    label, first = match_.label, match_.first
    paged = [each for each in match_.found if each.paged_ms is not None]
    told = first if paged else None
    rank = None if told is None else next((at for at, (deploy_id, _) in enumerate(told.suspects, 1) if deploy_id in label.causes), None)
    # Whoever is blamed wrongly on any of its pages counts, and is the one that is told of.
    wrongly = next((each.blamed for each in match_.found if each.blamed is not None and each.blamed not in _guilty(each, label, truth)), None)
    blamed = wrongly if wrongly is not None or told is None else told.blamed
    undone = [
        (each, undo)
        for each in match_.found
        for undo in each.undone
        if undo.deploy_id in label.causes and label.onset_ms <= undo.at_ms <= label.end_ms + GRACE_MS
    ]
    return LabelOutcome(
        incident_id=label.incident_id,
        culprit=label.culprit,
        can_be_missed=label.page and (label.oracle_s is None or label.oracle_s <= ORACLE_S),
        found=tuple(each.incident_id for each in match_.found),
        paged_s=None if told is None else (told.seen_ms - label.onset_ms) / 1000,
        oracle_s=label.oracle_s,
        repeats=max(len(paged) - 1, 0),
        rank=rank,
        verdict=None if told is None else told.verdict,
        blamed=blamed,
        wrongly_blamed=bool(label.causes) and wrongly is not None,
        lost=label.lost_orders,
        billed=round(sum(each.orders_lost for each in match_.found), 1) if match_.found else None,
        rollback_due=label.rollback,
        rolled_back=bool(undone),
        saved=round(max((each.saved for each, _ in undone), default=0.0), 1),
    )


def _guilty(found: Found, label: Label, truth: Truth) -> frozenset[str]:
    """Whom an incident may blame: of two at once, to blame the other one's culprit is a wrong rank, but nobody innocent is blamed."""
    return frozenset().union(label.causes, *(other.causes for other in truth.labels if overlaps(found, other)))


def _who(causes: frozenset[str]) -> str:
    return " and ".join(sorted(causes)) or "no change"


def _remarks(match_: Match, outcome: LabelOutcome, found: tuple[Found, ...]) -> list[str]:
    label, name = match_.label, match_.label.incident_id
    where = f"{', '.join(label.metrics) or 'no metric'} in {', '.join(label.regions) or 'all regions'}"
    said: list[str] = []
    if outcome.paged_s is None:
        if label.page:
            inside = next((each.incident_id for each in found if overlaps(each, label)), None)
            oracle = ""
            if label.oracle_s is not None:
                oracle = f"; an oracle needs {label.oracle_s:.0f} s" if isfinite(label.oracle_s) else "; an oracle is never sure"
            said.append(f"missed {name} ({where}{oracle})" + (f": {inside} was open then, and speaks of something else" if inside else ""))
            if not outcome.can_be_missed:
                said[-1] += "; not counted, for no oracle finds it within half an hour"
        return said
    if outcome.repeats:
        said.append(f"{name} was paged {outcome.repeats + 1} times: {', '.join(outcome.found)}")
    first = match_.first
    if label.causes and outcome.rank != 1 and first is not None:
        leading = f"{first.suspects[0][0]} ({100 * first.suspects[0][1]:.0f} %)" if first.suspects else "nobody"
        place = "not among the suspects" if outcome.rank is None else f"suspect number {outcome.rank} ({100 * first.suspects[outcome.rank - 1][1]:.0f} %)"
        said.append(f"wrong suspect of {name}: {label.culprit} is {place}, {leading} comes first")
    if outcome.wrongly_blamed:
        said.append(f"wrong blame: {outcome.blamed} is called guilty of {name}, which {label.culprit} did")
    if outcome.rollback_due and not outcome.rolled_back:
        why = "" if first is None else "".join(f"; {each}" for each in first.blocked if not each.startswith("the verdict is "))
        said.append(f"missed rollback of {label.culprit} in {name}: the verdict is {(outcome.verdict or '').replace('_', ' ')}{why}")
    return said
