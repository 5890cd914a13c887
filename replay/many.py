"""Many cases at once, each in a process of its own; what is done already is kept."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec

from rollguard.config import Layer, RollguardError, printable
from rollguard.replay.case import Case, open_case, sizes_of
from rollguard.replay.otherwise import Switches, made_with, run_otherwise
from rollguard.replay.run import SUMMARY

__all__ = ["Done", "Work", "replay_all"]


@dataclass(frozen=True, slots=True)
class Work:
    """One case that is to be replayed.

    Attributes
    ----------
    folder : Path
        Of the case.
    out : Path
        Of its result.
    layers : tuple of Layer
        Config between the defaults and the case's own.
    switches : Switches
    again : bool
        Even if its result is there.
    """

    folder: Path
    out: Path
    layers: tuple[Layer, ...]
    switches: Switches
    again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it.

    Attributes
    ----------
    name : str
        Of the case's folder.
    state : {"replayed", "kept", "broken"}
    summary : dict
        As in `summary.json`; empty of a broken one.
    trouble : str
        Why it is broken, in a sentence.
    """

    name: str
    state: Literal["replayed", "kept", "broken"]
    summary: dict[str, Any]
    trouble: str = ""


def replay_all(works: Sequence[Work], jobs: int) -> Iterator[Done]:
    """Replay cases, so many at a time; one that is broken does not stop the others.

    A result is kept if its summary is whole, it is no older than the case's files, and it was made under the same settings of files of
    the same names and sizes.

    Parameters
    ----------
    works : sequence of Work
    jobs : int
        Processes, >= 1.

    Yields
    ------
    Done
        In the order in which they are done.
    """
    # Spawned, not forked: whoever calls has a thread that draws the bar, and a fork takes its locks along.
    with ProcessPoolExecutor(min(jobs, max(len(works), 1)), mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_replayed, work): work for work in works}
        try:
            for future in as_completed(waiting):
                error = future.exception()
                # A mistake of ours in one case: told, and the others go on. A process that was ended takes along all that is not done.
                yield future.result() if error is None else Done(waiting[future].folder.name, "broken", {}, _told(error))
        finally:
            for future in waiting:
                future.cancel()


def _replayed(work: Work) -> Done:
    name = work.folder.name
    try:
        case = open_case(work.folder, work.layers)
        sizes = blake2b(msgspec.json.encode(sizes_of(case.path)), digest_size=8).hexdigest()
        made = f"{made_with(case.settings, work.switches)}/{sizes}"
        kept = None if work.again else _kept(work, case, made)
        if kept is not None:
            return Done(name, "kept", kept)
        run = run_otherwise(case, work.switches)
        run = replace(run, summary=run.summary | {"made_with": made})
        run.write(work.out)
    except (RollguardError, OSError) as error:
        return Done(name, "broken", {}, _told(error))
    return Done(name, "replayed", run.summary)


def _kept(work: Work, case: Case, made: str) -> dict[str, Any] | None:
    """The summary of a result that is there, whole, and still holds."""
    path = work.out / SUMMARY
    try:
        written = path.stat().st_mtime_ns
        summary = msgspec.json.decode(path.read_bytes())
        newest = max(each.stat().st_mtime_ns for each in case.path.iterdir())
    except (OSError, msgspec.DecodeError):
        return None
    is_whole = isinstance(summary, dict) and "savings" in summary and (work.out / "incidents.jsonl").is_file()
    return summary if is_whole and newest <= written and summary.get("made_with") == made else None


def _told(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return (
            "the process that replayed it was ended from outside, as where memory runs out. Run the same command again, with fewer --jobs: what is done is kept"
        )
    text = str(error) if isinstance(error, (RollguardError, OSError)) else f"{type(error).__name__}: {error}"
    return printable(" ".join(text.split()))
