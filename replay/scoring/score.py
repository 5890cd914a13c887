"""All figures of a set of cases: in all, by half, by kind, and case by case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from rollguard.config import RollguardError
from rollguard.replay.case import case_folders, sizes_of
from rollguard.replay.scoring.bars import Checked
from rollguard.replay.scoring.calibration import Reliability, chance_error, reliability
from rollguard.replay.scoring.judging import judge_case
from rollguard.replay.scoring.labels import Truth, read_truth
from rollguard.replay.scoring.measures import Measured, measure
from rollguard.replay.scoring.records import CaseOutcome
from rollguard.replay.scoring.results import ResultError, is_whole, read_result

__all__ = ["Halves", "Part", "Score", "ScoresError", "read_outcomes", "read_score", "score_of"]

Halves = Literal["seen", "unseen", "both"]
#: Names told of results that are missing.
MOST_NAMES = 8


class ScoresError(RollguardError):
    """A file that holds no score."""

    code = "case"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of some of the cases.

    Attributes
    ----------
    name : str
        "all", "seen", "unseen", or a kind.
    cases, incidents : int
        How many, and how many are labelled in them.
    measures : tuple of Measured
    reliability : tuple of Reliability
    chance : float or None
        What the calibration error would be by chance alone.
    """

    name: str
    cases: int
    incidents: int
    measures: tuple[Measured, ...]
    reliability: tuple[Reliability, ...] = ()
    chance: float | None = None

    def __getitem__(self, name: str) -> Measured:
        """One figure by the name of its measure."""
        return next((each for each in self.measures if each.name == name), Measured(name=name))


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `rollguard score` says.

    Attributes
    ----------
    parts : tuple of Part
        All cases that were asked for; where both halves were, each of them too.
    kinds : tuple of Part
        Of the same cases, by kind.
    cases : tuple of CaseOutcome
        By name.
    bars : tuple of Checked
        Bars and what was reached, where they were asked for.
    """

    parts: tuple[Part, ...]
    kinds: tuple[Part, ...]
    cases: tuple[CaseOutcome, ...]
    bars: tuple[Checked, ...] = ()

    def as_json(self) -> str:
        """Write it for machines; `read_score` reads it."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1).decode()


def score_of(outcomes: Sequence[CaseOutcome], *, split: Halves = "both") -> Score:
    """Measure everything on some cases.

    Parameters
    ----------
    outcomes : sequence of CaseOutcome
        In any order.
    split : {"seen", "unseen", "both"}
        Only one half, or both, each of them apart as well.
    """
    cases = sorted((each for each in outcomes if split in {"both", each.split}), key=lambda each: each.name)
    halves = [_part(half, [each for each in cases if each.split == half]) for half in ("seen", "unseen")] if split == "both" else []
    kinds = [_part(kind, [each for each in cases if each.kind == kind]) for kind in sorted({each.kind for each in cases})]
    return Score(parts=(_part("all" if split == "both" else split, cases), *halves), kinds=tuple(kinds), cases=tuple(cases))


def _part(name: str, cases: Sequence[CaseOutcome]) -> Part:
    said = [guesses for each in cases for guesses in each.guesses]
    return Part(
        name=name,
        cases=len(cases),
        incidents=sum(len(each.labels) for each in cases),
        measures=measure(cases),
        reliability=reliability([guess for guesses in said for guess in guesses]),
        chance=chance_error(said),
    )


def read_outcomes(cases: Path, results: Path) -> list[CaseOutcome]:
    """Read labels and results of a folder of cases, and compare them.

    Raises
    ------
    CaseError
        If there is no case.
    LabelsError
        If labels are missing or broken.
    ScoresError
        If a case is there twice.
    ResultError
        If a case has no result, or a broken one.
    """
    folders = case_folders(cases)
    truths = [read_truth(folder) for folder in folders]
    _refuse_copies(folders, truths)
    missing = [folder.name for folder in folders if not is_whole(results / folder.name)]
    if missing:
        more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
        raise ResultError(
            f"{results}: no whole result of {', '.join(missing[:MOST_NAMES])}{more}. Expected: one for each case; "
            f"make them: rollguard replay --all {cases} --out {results}"
        )
    return [judge_case(truth, read_result(results / truth.name)) for truth in truths]


def _refuse_copies(folders: Sequence[Path], truths: Sequence[Truth]) -> None:
    """Refuse a case that is there under two names: it would count twice. Told by its labels and by the names and sizes of its files."""
    known: dict[tuple[object, ...], Path] = {}
    for folder, truth in zip(folders, truths, strict=True):
        other = known.setdefault((truth.labels, truth.seed, *sizes_of(folder)), folder)
        if other is not folder:
            raise ScoresError(f"{folder}: a copy of {other}: the same labels, and files of the same names and sizes. Nothing was scored; move one away.")


def read_score(path: Path) -> Score:
    """Read what `rollguard score --json` wrote.

    Raises
    ------
    ScoresError
        If it is no such file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Score)
    except FileNotFoundError:
        raise ScoresError(f"{path}: no such file. Expected: what `rollguard score CASES RESULTS --json` wrote, or a folder of results.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScoresError(f"{path}: {error}. Expected: what `rollguard score CASES RESULTS --json` wrote.") from None
