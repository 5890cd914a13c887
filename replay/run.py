"""A case from its folder to its timeline, incidents and summary."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rollguard.config import Labels, Settings, format_duration, printable, rfc3339
from rollguard.incidents import ChangeSeen
from rollguard.replay.affected import listing
from rollguard.replay.case import Case
from rollguard.replay.out import make_out, no_out
from rollguard.replay.persons import Persons
from rollguard.replay.pipeline import FileReport, Progress, Replay, Report
from rollguard.replay.report import Minutes, drawn, html_of
from rollguard.replay.savings import savings_of
from rollguard.replay.span import span_of
from rollguard.replay.timeline import fold, line_of

__all__ = ["Run", "run_case", "run_of"]

SUMMARY, REPORT, PAGE = "summary.json", "report.json", "report.html"
#: Reasons that a line is no text, or no JSON: one kind of damage.
GARBLED = {"bom", "empty", "json", "nul", "utf8"}
#: Characters of a page for lists of what was touched: with its charts it stays below 1 MB.
MOST_LISTED = 450_000
#: Share of late events above which the order of arrival is in doubt.
MANY_LATE = 0.01
#: Reasons told of refused change records.
MOST_REASONS = 5
#: Where in a line it broke is no reason of its own.
BYTE = re.compile(r" \(byte \d+\)")
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
    report : dict or None
        What `report.html` shows; None where nobody asked for one.
    minutes : Minutes or None
        What was counted, where a report was asked for.
    known : sequence of ChangeSeen
        Every change that was known.
    """

    name: str
    timeline: list[bytes]
    incidents: list[dict[str, Any]]
    summary: dict[str, Any]
    report: dict[str, Any] | None = None
    minutes: Minutes | None = None
    known: Sequence[ChangeSeen] = ()

    def as_json(self) -> str:
        """Summary and incidents as one JSON object."""
        return msgspec.json.format(_PRETTY.encode({"summary": self.summary, "incidents": self.incidents}), indent=2).decode()

    def write(self, out: Path) -> None:
        """Write `timeline.jsonl`, `incidents.jsonl`, `summary.json`, and if there is a report `report.html` and `report.json`, of which it is made.

        The folder is made if need be. `summary.json` comes last, and an older one goes first: where it stands, the result is whole.

        Raises
        ------
        OutError
            If the folder or a file in it cannot be written.
        """
        make_out(out)
        files = {
            "timeline.jsonl": b"".join(line + b"\n" for line in self.timeline),
            "incidents.jsonl": b"".join(_PRETTY.encode(incident) + b"\n" for incident in self.incidents),
            **({} if self.report is None else {REPORT: _PRETTY.encode(self.report) + b"\n", PAGE: html_of([self.report]).encode()}),
            SUMMARY: msgspec.json.format(_PRETTY.encode(self.summary), indent=2) + b"\n",
        }
        parts = {name: out / f".{name}.part" for name in files}
        try:
            for name, content in files.items():
                parts[name].write_bytes(content)
            # From here on only names change; without its summary a result does not look whole.
            for name in (SUMMARY, *({REPORT, PAGE} - set(files))):
                (out / name).unlink(missing_ok=True)
            for name, part in parts.items():
                part.replace(out / name)
        except OSError as error:
            raise no_out(out, error, "what was written of the results is taken away again") from None
        finally:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)


def run_case(case: Case, on_progress: Callable[[Progress], None] | None = None, *, persons: Persons | None = None, report: bool = False) -> Run:
    """Replay a case.

    Parameters
    ----------
    case : Case
    on_progress : callable, optional
        Called after each batch of lines.
    persons : Persons, optional
        Who would have approved what waits for it; None: nobody.
    report : bool
        Whether a page is wanted; it takes a second look at the events of each incident, to list those it touched.

    Returns
    -------
    Run
    """
    span = span_of(case.settings, case.files, start_ms=case.start_ms, end_ms=case.end_ms)
    replay = Replay(case.settings, case.events(), case.changes(), start_ms=span.start_ms, end_ms=span.end_ms, persons=persons)
    run = run_of(case.name, replay, on_progress, notes=(*case.notes, *span.notes), report=report)
    if run.report is not None:
        left = MOST_LISTED
        for incident in run.report["incidents"]:
            if incident["metrics"]:
                incident["affected"] = listing(case, incident, left)
                left -= len(incident["affected"]["csv_gz"] or "")
    return run


def run_of(name: str, replay: Replay, on_progress: Callable[[Progress], None] | None = None, *, notes: Sequence[str] = (), report: bool = False) -> Run:
    """Let a replay run to its end.

    Parameters
    ----------
    name : str
        Of what is replayed.
    replay : Replay
    on_progress : callable, optional
        Called after each batch.
    notes : sequence of str
        What is to be told besides.
    report : bool
        Whether a page is wanted.
    """
    minutes = Minutes(replay.settings.bucket_ms)
    timeline = [line_of(entry) for entry in replay.run(on_progress, minutes.add if report else None)]
    lines = [msgspec.json.decode(line) for line in timeline]
    incidents = fold(lines)
    summary = _summary(name, replay, notes, incidents, lines)
    if not report:
        return Run(name, timeline, incidents, summary, known=replay.known)
    return Run(name, timeline, incidents, summary, drawn(summary, incidents, lines, minutes, replay.known), minutes, replay.known)


def _summary(name: str, replay: Replay, notes: Sequence[str], incidents: list[dict[str, Any]], lines: list[dict[str, Any]]) -> dict[str, Any]:
    report = replay.report
    decisions = [decision for incident in incidents for decision in incident["decisions"]]
    return {
        "name": name,
        "start": rfc3339(report.first_ms),
        "end": rfc3339(report.last_ms),
        "watching_since": rfc3339(report.ready_ms),
        "incidents": len(incidents),
        "pages": sum(decision["action"] == "page" for decision in decisions),
        "rollbacks": sum(decision["action"] == "rollback" for decision in decisions),
        "orders_lost": round(sum(incident["orders_lost"] for incident in incidents), 1),
        "savings": [savings_of(incident, lines) for incident in incidents],
        "sources": {source: _file(file) for source, file in sorted(report.files.items())},
        "changes": report.changes,
        "changes_refused": len(report.changes_refused),
        "notes": [printable(note) for note in (*notes, *_notes(replay))],
    }


def _file(file: FileReport) -> dict[str, Any]:
    counts = file.counts
    return {
        "topic" if file.is_topic else "file": file.name,
        "read": counts.read,
        "kept": counts.kept,
        "late": counts.late,
        "doubled": counts.doubled,
        "filtered": counts.filtered,
        "refused": dict(sorted(counts.refused.items())),
    }


def _notes(replay: Replay) -> list[str]:
    """One line for each thing that was wrong with the input."""
    report, notes = replay.report, []
    for source, file in sorted(report.files.items()):
        if file.name is not None:
            notes += _file_notes(replay.settings, source, file.name, file)
    if replay.change_records is not None:
        notes += _change_notes(replay.change_records.name, report)
    if report.last_ms is None or report.first_ms is None:
        notes.append("no bucket was closed: too few events could be used to know how late it is.")
    elif report.ready_ms is None:
        if report.last_ms - report.first_ms < replay.settings.warmup_ms:
            notes.append("nothing could be found: what was replayed is shorter than the warm-up (`warmup`); hand over more days before the incident.")
        else:
            notes.append("nothing could be found: no metric had enough history to learn from, as too little of it could be used.")
    return notes


def _file_notes(settings: Settings, source: str, name: str, file: FileReport) -> list[str]:
    counts = file.counts
    notes = [] if file.damage is None else [file.damage]
    # Behind the damage to a file hardly a line is what it was; and rubbish is rubbish, whatever it looks like.
    garbled = set(file.refused) if file.damage is not None else GARBLED & set(file.refused)
    for reasons in sorted([*([r] for r in set(file.refused) - garbled), *([sorted(garbled)] if garbled else [])]):
        first = min((file.refused[reason][1] for reason in reasons), key=lambda letter: letter.offset)
        number = sum(file.refused[reason][0] for reason in reasons)
        said = ", ".join(f"{file.refused[reason][0]:,} {reason}" for reason in reasons)
        many = "" if number == 1 else f" {number - 1:,} more like it." if len(reasons) == 1 else f" In all {number:,} ({said})."
        notes.append(f"{file.place(first)}: event refused: {first.detail}{many}")
    lateness = format_duration(settings.sources[source].lateness_ms)
    if counts.late > max(MANY_LATE * counts.read, 10):
        notes.append(
            f"{name}: {counts.late:,} of {counts.read:,} events came too late to count: more than `lateness` ({lateness}) behind those before them, or before "
            "the start. Expected: order of arrival; check the order of the records, and the clock and time zone of their times."
        )
    for label, since_ms in file.folded.items():
        most = settings.labels.max_values
        notes.append(
            f"{name}: {label} has more than {most:,} values (`labels.max_values`), first seen at {rfc3339(since_ms)}: the rest is watched together as "
            f"{Labels.OTHER}, every event counts. Name those that matter in `labels.keep`."
        )
    # Silence of a field is easily taken for all being well: a metric that nothing feeds is said to be blind.
    for field, number in sorted(counts.measured.items()):
        if counts.kept and not number:
            theirs = settings.sources[source].fields.get(field, field)
            blind = ", ".join(name for name, metric in sorted(settings.metrics.items()) if metric.source == source and metric.field == field)
            notes.append(f"{name}: none of its {counts.kept:,} events has the field '{theirs}': nothing is known of {blind}, which is not watched here.")
    if counts.read and counts.filtered == counts.read:
        notes.append(f"{name}: none of its {counts.read:,} records belongs to {source} (`sources.{source}.where`).")
    if counts.read == 0 and file.damage is None:
        notes.append(f"{name}: {'no record in this time' if file.is_topic else 'the file is empty'}: {source} counts as silent.")
    elif counts.read and not counts.kept and notes:
        notes[-1] += f" Not one of its {counts.read:,} events could be used."
    return notes


def _change_notes(name: str, report: Report) -> list[str]:
    notes = [] if report.changes_damage is None else [report.changes_damage]
    reasons: dict[str, list[int]] = {}
    for line, reason in report.changes_refused:
        reasons.setdefault(BYTE.sub("", reason), []).append(line)
    for reason, lines in list(reasons.items())[:MOST_REASONS]:
        many = f" {len(lines) - 1:,} more like it." if len(lines) > 1 else ""
        notes.append(f"{name}:{lines[0]}: change refused: {reason}. It is left out, the others count.{many}")
    rest = [line for lines in list(reasons.values())[MOST_REASONS:] for line in lines]
    if rest:
        notes.append(f"{name}:{rest[0]}: change refused, for yet another reason; so many: {len(rest):,}. They are left out, the others count.")
    return notes
