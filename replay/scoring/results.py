"""What Rollguard found in a case, as `rollguard replay --out` wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rollguard.config import RollguardError, ms_of

__all__ = ["Found", "Result", "ResultError", "Undo", "found_of", "is_whole", "read_result"]

SUMMARY, INCIDENTS = "summary.json", "incidents.jsonl"


class ResultError(RollguardError):
    """A folder that is no result of a replay."""

    code = "case"


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """A rollback that was decided.

    Attributes
    ----------
    at_ms : int
    deploy_id : str
        The change that is undone.
    """

    at_ms: int
    deploy_id: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that was found.

    Attributes
    ----------
    incident_id : str
    onset_ms, opened_ms : int
    closed_ms : int or None
        None: still open at the end.
    paged_ms : int or None
        When a person was first told of it; None: nobody was.
    verdict : {"guilty", "no_change", "inconclusive"}
    metrics, regions, services : tuple of str
        No region: everywhere.
    suspects : tuple of (str, float)
        Deploy id and probability, most probable first.
    no_change : float
        Probability that no change did it.
    orders_lost : float
    undone : tuple of Undo
    saved : float
        Orders that its first rollback saved, by the money clock.
    doubts : tuple of str
        What it says of the data's quality.
    blocked : tuple of str
        What kept it from a rollback when that was last said.
    """

    incident_id: str
    onset_ms: int
    opened_ms: int
    closed_ms: int | None = None
    paged_ms: int | None = None
    verdict: str = "inconclusive"
    metrics: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    suspects: tuple[tuple[str, float], ...] = ()
    no_change: float = 1.0
    orders_lost: float = 0.0
    undone: tuple[Undo, ...] = ()
    saved: float = 0.0
    doubts: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def seen_ms(self) -> int:
        """When it was told, or at least seen."""
        return self.opened_ms if self.paged_ms is None else self.paged_ms

    @property
    def blamed(self) -> str | None:
        """The change that is called guilty; None: none is."""
        return self.suspects[0][0] if self.verdict == "guilty" and self.suspects else None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found in a case.

    Attributes
    ----------
    name : str
        Of its folder.
    watched_ms : int
        Event time in which anything could be found.
    found : tuple of Found
        In the order in which they were opened.
    """

    name: str
    watched_ms: int = 0
    found: tuple[Found, ...] = ()


def is_whole(folder: Path) -> bool:
    """Whether a replay has written its result there to the end."""
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    return isinstance(summary, dict) and "savings" in summary and (folder / INCIDENTS).is_file()


def read_result(folder: Path) -> Result:
    """Read what a replay wrote.

    Raises
    ------
    ResultError
        If something is missing or broken there.
    """
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=dict[str, Any])
        lines = (folder / INCIDENTS).read_bytes().splitlines()
        since, until = summary.get("watching_since"), summary.get("end")
        watched_ms = ms_of(until) - ms_of(since) if since is not None and until is not None else 0
    except OSError as error:
        raise ResultError(
            f"{folder}: {Path(error.filename or '').name}: {(error.strerror or '').lower()}. Expected: what `rollguard replay --out` wrote."
        ) from None
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise ResultError(f"{folder / SUMMARY}: {error}. Expected: what `rollguard replay --out` wrote; replay it again.") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(found_of(msgspec.json.decode(line, type=dict[str, Any]), summary["savings"]))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            told = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ResultError(f"{folder / INCIDENTS}:{number}: {told}. Expected: what `rollguard replay --out` wrote; replay it again.") from None
    if len(found) != summary.get("incidents", len(found)):
        raise ResultError(f"{folder / INCIDENTS}: {len(found)} incidents, and {SUMMARY} tells of {summary['incidents']}. Replay it again.")
    return Result(name=folder.name, watched_ms=watched_ms, found=tuple(found))


def found_of(incident: dict[str, Any], savings: list[dict[str, Any]]) -> Found:
    """One incident of a result.

    Parameters
    ----------
    incident : dict
        A line of `incidents.jsonl`.
    savings : list of dict
        Of `summary.json`.
    """
    decisions = incident["decisions"]
    pages = [ms_of(each["at"]) for each in decisions if each["action"] == "page"]
    suspects = tuple((str(each["deploy_id"]), float(each["probability"])) for each in incident["suspects"])
    first = suspects[0][0] if suspects else ""
    # What was undone stands in the plan; of a result without one it was the first suspect.
    undone = tuple(
        Undo(at_ms=ms_of(each["at"]), deploy_id=each["plan"]["deploy_id"] if each.get("plan") else first) for each in decisions if each["action"] == "rollback"
    )
    return Found(
        incident_id=incident["incident_id"],
        onset_ms=ms_of(incident["onset"]),
        opened_ms=ms_of(incident["opened_at"]),
        closed_ms=None if incident["closed_at"] is None else ms_of(incident["closed_at"]),
        paged_ms=min(pages, default=None),
        verdict=incident["verdict"],
        metrics=tuple(incident["metrics"]),
        regions=tuple(incident["regions"]),
        services=tuple(incident["services"]),
        suspects=suspects,
        no_change=float(incident["no_change_probability"]),
        orders_lost=float(incident["orders_lost"]),
        undone=undone,
        saved=next((float(each["saved"]) for each in savings if each["incident_id"] == incident["incident_id"]), 0.0),
        doubts=tuple(incident["data_quality"]),
        blocked=next((tuple(each["blocked_by"]) for each in reversed(decisions) if each["action"] == "hold"), ()),
    )
