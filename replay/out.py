"""Where results are written, and what is said when they cannot be."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rollguard.config import RollguardError

__all__ = ["OutError", "make_out", "no_out"]


class OutError(RollguardError):
    """Results cannot be written where they were asked for."""

    code = "out"


def make_out(out: Path) -> None:
    """Make a folder for results, before any work is done for them.

    Raises
    ------
    OutError
        If it cannot be made, or nothing can be written into it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise no_out(out, error, "nothing was written") from None


def no_out(out: Path, error: OSError, done: str, *, expected: str = "a folder, or a place where one can be made") -> OutError:
    """Say why nothing can be written there."""
    reason = "it is a file" if isinstance(error, FileExistsError) else (error.strerror or str(error)).lower()
    return OutError(f"{out}: results cannot be written there: {reason}. Expected: {expected}; {done}.")
