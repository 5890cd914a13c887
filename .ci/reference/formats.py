"""The page of formats: what a case holds and what a replay writes, from the records that read and write them."""

from __future__ import annotations

import inspect
import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from rollguard.config import default_text, load
from rollguard.incidents import Decision, Entry, IncidentState, Plan, Suspect
from rollguard.incidents.changes import ChangeRecord
from rollguard.replay.reader import SUFFIXES
from rollguard.replay.scoring import labels
from rollguard.replay.timeline import line_of

__all__ = ["page"]

CHANGE = {
    "deploy_id": "names the change; records with one `deploy_id` are one change: a line for each region or wave",
    "service": "what was changed",
    "started_at": "from then on a place may be reached",
    "region": "the place that this record speaks of; left out: everywhere",
    "environment": "only changes to the config's `environment` can be guilty",
    "change_kind": "what was altered",
    "from_version": "the version that was live before",
    "version": "the version that it brings",
    "finished_at": "from then on the place is surely reached",
    "received_at": "when the record became known, if that was later than it says: nothing uses it before",
    "author": "never approves their own change",
    "approvals": "how many persons approved it; left out: nobody says",
    "ai_assisted": "whether AI wrote it or advised it; shown, and never evidence",
    "rollback": "`supported`: whether it can be undone, left out: no; `to_version`: what to go back to",
}
LABEL = {
    "id": "names the incident",
    "onset": "when customers first felt it",
    "end": "when it was over",
    "culprit": "`deploy_id` of the change that did it; null: no change did",
    "page": "whether a person is to be told",
    "rollback": "whether the culprit is to be rolled back",
    "metrics": "what it hurt",
    "regions": "where; empty: not said",
    "services": "of whom; empty: not said",
    "carriers": "changes that brought what the culprit set off: to blame one of them is right too",
    "data": "nothing was wrong with the shop, only with what is known of it",
    "oracle_s": "how long one who knows both rates would need, in seconds; null: they would never be sure",
    "lost_orders": "orders it cost",
}


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_kind(each) for each in inside))
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inside)
    if origin in {tuple, list}:
        return f"list of {_kind(inside[0])}"
    if origin is dict:
        return f"object of {_kind(inside[1])}"
    if annotation is NoneType:
        return "null"
    if inspect.isclass(annotation) and issubclass(annotation, msgspec.Struct):
        return "object"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "anything")


def _said(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring of a record says of each attribute."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.getdoc(struct).split("Attributes\n----------\n", 1)[1].splitlines():  # type: ignore[union-attr]
        if head := re.fullmatch(r"([a-z_, ]+) : .*", line):
            names = head[1].split(", ")
        elif line.startswith("    "):
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _written(struct: type[msgspec.Struct]) -> list[str]:
    """Rows of a record that we write: times as RFC 3339, so their names lose the unit."""
    said, types = _said(struct), get_type_hints(struct)
    rows = []
    for field in msgspec.structs.fields(struct):
        time = field.name.endswith("_ms")
        kind = _kind(types[field.name]).replace("whole number", "time") if time else _kind(types[field.name])
        rows.append(f"| `{field.name.removesuffix('_ms')}` | {kind} | {_cell(said.get(field.name, ''))} |")
    return rows


def _taken(struct: type[msgspec.Struct], meanings: dict[str, str]) -> list[str]:
    """Rows of a record that we read; a field that nothing is said about fails the build."""
    types = get_type_hints(struct)
    return [
        f"| `{field.name}` | {_kind(types[field.name])} | {'yes' if field.required else ''} | {_cell(meanings[field.name])} |"
        for field in msgspec.structs.fields(struct)
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("None", "null")


def _example() -> list[str]:
    at_ms = 1_772_442_000_000
    suspect = Suspect(deploy_id="eta-2.0", service="eta", version="2.0", probability=0.98, reasons=("began 20 s before the first wrong promise",))
    state = IncidentState(
        incident_id="inc-7a15159f", opened_at_ms=at_ms, onset_ms=at_ms - 60_000, closed_at_ms=None, state="open", verdict="guilty", metrics=("orders",),
        regions=("de",), services=("eta",), suspects=(suspect,), no_change_probability=0.01, orders_lost=14.0, orders_lost_interval=(5.0, 23.0),
        orders_lost_per_minute=20.0, orders_lost_per_minute_interval=(12.0, 28.0), saved_by_rollback=1100.0, saved_by_rollback_interval=(700.0, 1500.0),
        cost="14 orders lost so far", symptoms=("orders: 20 a minute, 60 expected",), data_quality=(),
    )  # fmt: skip
    decided = Decision(at_ms=at_ms, action="page", target="eta", reasons=("eta-2.0 is guilty",))
    entries = (
        Entry(at_ms=at_ms, event="opened", incident_id=state.incident_id, incident=state),
        Entry(at_ms=at_ms, event="decided", incident_id=state.incident_id, decision=decided),
    )
    return [line_of(entry).decode() for entry in entries]


def page() -> str:
    """The page, in Markdown."""
    settings = load(default_text(), name="default.yaml")
    suffixes = ", ".join(f"`{suffix}`" for suffix in SUFFIXES)
    events = [f"| `{name}.jsonl.gz` | {', '.join(f'`{theirs}`' for theirs in source.fields.values())} |" for name, source in sorted(settings.sources.items())]
    head_taken, head_written = ["| field | what | needed | meaning |", "|---|---|---|---|"], ["| field | what | meaning |", "|---|---|---|"]
    return "\n".join([
        "# Cases and results",
        "",
        "## A case",
        "",
        "A folder, so that anyone can hand one over: `rollguard replay CASE` reads it. Only one file of events is needed.",
        "",
        "| file | what is in it |",
        "|---|---|",
        "| `case.yaml` | `name`, `start`, `end` (RFC 3339); any key of the [config](config.md) over the defaults |",
        *events,
        f"| `{settings.changes.source}.jsonl` | [changes](#changes) |",
        "| `labels.json` | [what really happened](#labels); read by `rollguard score` alone, never by a replay |",
        "",
        f"Files of events end in {suffixes}: one JSON object a line, or a row, in order of arrival. Their names are those of the config's `sources`; so are the names of the",
        "fields, here as shipped. Times are epoch milliseconds or RFC 3339 with an offset.",
        "",
        "## Changes",
        "",
        "One JSON object a line of a case, or a record of the topic `changes.topic`. CDEvents (`dev.cdevents.service.deployed`, `upgraded`, `rolledback` and the like) are understood",
        "too. Fields that are not named here are left alone.",
        "",
        *head_taken,
        *_taken(ChangeRecord, CHANGE),
        "",
        "```json",
        '{"deploy_id": "eta-2.0", "service": "eta", "region": "de", "version": "2.0", "from_version": "1.4", "started_at": "2026-03-02T09:00:00Z",'
        ' "finished_at": "2026-03-02T09:01:00Z", "author": "dana", "approvals": 1, "rollback": {"supported": true, "to_version": "1.4"}}',
        "```",
        "",
        "## Labels",
        "",
        '`{"incidents": [...], "lost_orders": 120000}`, each incident with',
        "",
        *head_taken,
        *_taken(labels._Incident, LABEL),
        "",
        "## Results",
        "",
        "`rollguard replay CASE --out DIR` writes `timeline.jsonl`, `incidents.jsonl`, `summary.json` (what was read, refused, late and doubled), `report.html` and `report.json`.",
        "A live service says the same with `rollguard incidents list -c FILE --out DIR`. All times are event time, RFC 3339 in UTC.",
        "",
        "### timeline.jsonl",
        "",
        "What was said when, append-only: a line is never changed.",
        "",
        *head_written,
        *_written(Entry),
        "",
        "```json",
        *_example(),
        "```",
        "",
        "### incidents.jsonl",
        "",
        "The fold of the timeline: of each incident its last state, with `decisions`, all that were made. `acknowledged_by` and `helped` are left out while there is nothing to say.",
        "",
        *head_written,
        *_written(IncidentState),
        "",
        "A suspect:",
        "",
        *head_written,
        *_written(Suspect),
        "",
        "A decision; `plan`, `needs`, `approved_by` and `escalates` are left out where there is nothing to say:",
        "",
        *head_written,
        *_written(Decision),
        "",
        "A plan, which has its `hash` beside it, as `rollguard incidents approve --plan` wants it:",
        "",
        *head_written,
        *_written(Plan),
        "",
    ])  # fmt: skip
