"""What the database can refuse, one class for each thing that a caller can do about it."""

from __future__ import annotations

from typing import Literal

from rollguard.config import RollguardError

__all__ = ["DamagedError", "LogChangedError", "OffsetError", "StaleError", "StoreError"]


class StoreError(RollguardError):
    """The database cannot be reached, is full, damaged, or newer than this version. Nothing was half written.

    Parameters
    ----------
    where : str
        The database, without its password.
    problem : str
        What is wrong, without a full stop.
    advice : str
        What to do, as a sentence without its full stop.
    recoverable : bool
        Whether the same call may succeed later: locked, connection lost, full, serialization.

    Examples
    --------
    >>> print(StoreError("sqlite:///rollguard.db", "no such folder", "Create it first"))
    sqlite:///rollguard.db: no such folder. Create it first.
    """

    code = "store"

    def __init__(self, where: str, problem: str, advice: str, *, recoverable: bool = False) -> None:
        super().__init__(f"{where}: {problem}. {advice}.")
        self.where = where
        self.problem = problem
        self.advice = advice
        self.recoverable = recoverable


class DamagedError(StoreError):
    """Snapshots of a stage were kept and none of them is intact: the stage has to read its log from the start.

    Parameters
    ----------
    where : str
    stage : str
    """

    code = "damaged"

    def __init__(self, where: str, stage: str) -> None:
        super().__init__(
            where,
            f"{stage}: no snapshot of it is intact",
            "Read the log from its start; what was already written is not written twice. Look after the disk",
        )
        self.stage = stage


class StaleError(RollguardError):
    """Another owner has taken this stage since. Nothing was written.

    Parameters
    ----------
    stage : str
    epoch : int
        Ours.
    current : int
        Theirs; 0 when nobody ever claimed the stage.
    owner : str
        Who they are.
    """

    code = "stale"

    def __init__(self, stage: str, epoch: int, current: int, owner: str) -> None:
        holder = f"{owner} holds it with epoch {current}" if current else "nobody has claimed it"
        super().__init__(f"{stage}: refused: epoch {epoch} is over, {holder}. Nothing was written; stop the stage, and claim it only when it is yours again.")
        self.stage = stage
        self.epoch = epoch
        self.current = current
        self.owner = owner


class OffsetError(RollguardError):
    """An offset that does not follow from what was written before. Nothing was written.

    Parameters
    ----------
    stage : str
    what : {"snapshot", "batch"}
        A snapshot that lies before the newest one, or a batch that leaves records out.
    offset : int
        The one refused.
    expected : int
        Of a snapshot the least, of a batch the greatest that would have been taken.
    """

    code = "offset"

    def __init__(self, stage: str, what: Literal["snapshot", "batch"], offset: int, expected: int) -> None:
        problem = (
            f"its offset {offset} lies before {expected}, that of the newest one"
            if what == "snapshot"
            else f"it begins at {offset}, and records from {expected} on were never applied"
        )
        cure = "Restore the stage from its newest snapshot" if what == "snapshot" else f"Read from {expected} on, or say that they are lost (`gap`)"
        super().__init__(f"{stage}: {what} refused: {problem}. Nothing was written. {cure}.")
        self.stage = stage
        self.what = what
        self.offset = offset
        self.expected = expected


class LogChangedError(RollguardError):
    """The offsets kept for a stage belong to another log than the one it reads now.

    Parameters
    ----------
    stage : str
    kept : str
        The log that its offsets and snapshots are of.
    found : str
        The log that it is to read.
    """

    code = "log"

    def __init__(self, stage: str, kept: str, found: str) -> None:
        super().__init__(
            f"{stage}: not claimed: its snapshots and offsets are of the log {kept!r}, and this is {found!r}. "
            "Connect it to its own log, or start it anew (`restart`), which forgets them."
        )
        self.stage = stage
        self.kept = kept
        self.found = found
