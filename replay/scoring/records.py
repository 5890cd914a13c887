"""What became of one case: each labelled incident, each false page, each wrong rollback."""

from __future__ import annotations

from typing import Literal

import msgspec

from rollguard.replay.scoring.calibration import Guess

__all__ = ["CaseOutcome", "FalsePage", "LabelOutcome", "Split"]

Split = Literal["seen", "unseen"]


class LabelOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a labelled incident.

    Attributes
    ----------
    incident_id : str
    culprit : str or None
    can_be_missed : bool
        A page is due, and an oracle would have found it within half an hour, or nobody knows how long it would have needed.
    found : tuple of str
        Incidents that speak of it, the one that was told first first.
    paged_s : float or None
        From its onset to the first page, in seconds; None: nobody was told.
    oracle_s : float or None
    repeats : int
        Further pages about it.
    rank : int or None
        Of the culprit among the suspects, from 1; None: not among them, or there is none, or it was not told.
    verdict : str or None
    blamed : str or None
        Who is called guilty.
    wrongly_blamed : bool
        Somebody is, who did nothing.
    lost, billed : float or None
        Orders that it cost, and what the money clock said of all that speaks of it.
    rollback_due, rolled_back : bool
    saved : float
        Orders that the right rollback saved, by the money clock.
    """

    incident_id: str
    culprit: str | None
    can_be_missed: bool
    found: tuple[str, ...]
    paged_s: float | None
    oracle_s: float | None
    repeats: int
    rank: int | None
    verdict: str | None
    blamed: str | None
    wrongly_blamed: bool
    lost: float | None
    billed: float | None
    rollback_due: bool
    rolled_back: bool
    saved: float


class FalsePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page that nobody needed.

    Attributes
    ----------
    incident_id : str
    at : str
        RFC 3339.
    why : str
        Why it is false.
    """

    incident_id: str
    at: str
    why: str


class CaseOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a case.

    Attributes
    ----------
    name, kind : str
    split : {"seen", "unseen"}
    watched_ms : int
        Event time in which something could be found.
    labels : tuple of LabelOutcome
    right_pages : int
        Incidents that were rightly told, each once.
    false_pages : tuple of FalsePage
    rollbacks : int
        All that were decided.
    wrong_rollbacks : tuple of str
        A sentence each.
    innocent : int
        Found incidents that no change did, and those about no label that call somebody innocent guilty.
    falsely_blamed : tuple of str
        A sentence for each of them in which a change is called guilty.
    guesses : tuple of tuple of Guess
        All probabilities that were said, by incident: those of one exclude each other.
    briers : tuple of float
        Brier score of each found incident.
    remarks : tuple of str
        Everything that went wrong, a sentence each.
    """

    name: str
    kind: str
    split: Split
    watched_ms: int
    labels: tuple[LabelOutcome, ...]
    right_pages: int
    false_pages: tuple[FalsePage, ...]
    rollbacks: int
    wrong_rollbacks: tuple[str, ...]
    innocent: int
    falsely_blamed: tuple[str, ...]
    guesses: tuple[tuple[Guess, ...], ...]
    briers: tuple[float, ...]
    remarks: tuple[str, ...]
