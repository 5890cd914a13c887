"""A case from its folder to its timeline, incidents and summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rollguard.replay.case import Case
from rollguard.replay.pipeline import FileReport, Progress, Replay, Report
from rollguard.replay.timeline import fold, line_of, rfc3339

__all__ = ["ROLLBACK_TAKES_MS", "Run", "run_case"]

#: How long a rollback is taken to need, from the decision to its effect.
ROLLBACK_TAKES_MS = 120_000
_PRETTY = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Run:
    """What a replay gave.

    Attributes
    ----------
    name : str
        Of the case.
    timeline : list of bytes
        Lines of `timeline.jsonl`, without line ends.
    incidents : list of dict
        Their fold: lines of `incidents.jsonl`.
    summary : dict
        `summary.json`.
    """

    name: str
    timeline: list[bytes]
    incidents: list[dict[str, Any]]
    summary: dict[str, Any]

    def as_json(self) -> str:
        """Summary and incidents as one JSON object."""
        return msgspec.json.format(_PRETTY.encode({"summary": self.summary, "incidents": self.incidents}), indent=2).decode()

    def write(self, out: Path) -> None:
        """Write `timeline.jsonl`, `incidents.jsonl` and `summary.json` into a folder, which is made if need be."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "timeline.jsonl").write_bytes(b"".join(line + b"\n" for line in self.timeline))
        encoded = [_PRETTY.encode(incident) for incident in self.incidents]
        (out / "incidents.jsonl").write_bytes(b"".join(line + b"\n" for line in encoded))
        (out / "summary.json").write_bytes(msgspec.json.format(_PRETTY.encode(self.summary), indent=2) + b"\n")


def run_case(case: Case, on_progress: Callable[[Progress], None] | None = None) -> Run:
    """Replay a case.

    Parameters
    ----------
    case : Case
    on_progress : callable, optional
        Called after each batch of lines.

    Returns
    -------
    Run
    """
    replay = Replay(case.settings, case.files, case.deploys, start_ms=case.start_ms, end_ms=case.end_ms)
    timeline = [line_of(entry) for entry in replay.run(on_progress)]
    lines = [msgspec.json.decode(line) for line in timeline]
    incidents = fold(lines)
    return Run(case.name, timeline, incidents, _summary(case, replay.report, incidents, lines))


def _summary(case: Case, report: Report, incidents: list[dict[str, Any]], lines: list[dict[str, Any]]) -> dict[str, Any]:
    decisions = [decision for incident in incidents for decision in incident["decisions"]]
    return {
        "name": case.name,
        "start": rfc3339(report.first_ms),
        "end": rfc3339(report.last_ms),
        "watching_since": rfc3339(report.ready_ms),
        "incidents": len(incidents),
        "pages": sum(decision["action"] == "page" for decision in decisions),
        "rollbacks": sum(decision["action"] == "rollback" for decision in decisions),
        "orders_lost": round(sum(incident["orders_lost"] for incident in incidents), 1),
        "savings": [_savings(incident, lines) for incident in incidents],
        "sources": {source: _file(file) for source, file in sorted(report.files.items())},
        "changes": report.changes,
        "notes": _notes(case, report),
    }


def _savings(incident: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What the decided rollback would have saved: orders lost in all, less those lost until it took effect."""
    decided = next((d["at"] for d in incident["decisions"] if d["action"] == "rollback"), None)
    found: dict[str, Any] = {"incident_id": incident["incident_id"], "rollback_at": decided, "lost_until_effect": None, "saved": 0.0}
    if decided is None:
        return found
    effect_ms = _ms(decided) + ROLLBACK_TAKES_MS
    mine = [line for line in lines if line["incident_id"] == incident["incident_id"] and "incident" in line]
    until = next((line for line in mine if _ms(line["at"]) >= effect_ms), mine[-1])["incident"]["orders_lost"]
    return found | {"lost_until_effect": until, "saved": round(incident["orders_lost"] - until, 1)}


def _ms(when: str) -> int:
    return round(datetime.fromisoformat(when).timestamp() * 1000)


def _file(file: FileReport) -> dict[str, Any]:
    counts = file.counts
    return {
        "file": None if file.path is None else file.path.name,
        "read": counts.read,
        "kept": counts.kept,
        "late": counts.late,
        "doubled": counts.doubled,
        "refused": dict(sorted(counts.refused.items())),
    }


def _notes(case: Case, report: Report) -> list[str]:
    """One line for each thing that was wrong with the input."""
    notes = list(case.notes)
    for source, file in sorted(report.files.items()):
        if file.damage is not None:
            notes.append(file.damage)
        for reason, (count, first) in sorted(file.refused.items()):
            where = f"{file.path.name if file.path else source}:{first.offset}"
            others = f" ({count} like it: {reason})" if count > 1 else ""
            notes.append(f"{where}: event refused: {first.detail}{others}")
        counts = file.counts
        if file.path is not None and counts.read == 0 and file.damage is None:
            notes.append(f"{file.path.name}: the file is empty: {source} counts as silent.")
        elif counts.read and not counts.kept:
            notes.append(f"{source}: not one of {counts.read} events could be used.")
    shown = report.changes_refused[:5]
    notes += shown
    if len(report.changes_refused) > len(shown):
        notes.append(f"{len(report.changes_refused) - len(shown)} more change records were refused.")
    if report.last_ms is None:
        notes.append("no bucket was closed: there were too few events to know how late it is.")
    elif report.ready_ms is None:
        notes.append("nothing could be found: the case is shorter than the warm-up (`warmup`); hand over more days before the incident.")
    return notes
