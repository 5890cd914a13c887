"""Which curves a page draws, and what it marks in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollguard.config import ms_of
from rollguard.incidents import ChangeSeen
from rollguard.replay.report.minutes import EVERYWHERE, MINUTE_MS, Curve, Minutes, Place

__all__ = ["changes_seen", "charts_of", "clock_of", "overview_of"]

#: Time before the onset and after the end that a chart shows.
AROUND_MS = 45 * MINUTE_MS
#: Points of a chart at the most: of a metric as a whole, of one place, of the whole case.
MOST_WHOLE, MOST_PLACE, MOST_CASE, MOST_CLOCK = 600, 300, 3_000, 400
#: Events that a point of a chart is expected to stand for, where that leaves so many points: below, chance hides the story.
LEAST_EVENTS, LEAST_POINTS = 16, 48
#: With more incidents than this on a page, each has fewer points: the page stays small enough to be sent.
FULL_INCIDENTS = 4
#: Charts of one incident at the most: metrics, and places of each.
MOST_METRICS, MOST_PLACES = 4, 8
#: Changes drawn in the overview, and marked in a chart.
MOST_CHANGES, MOST_MARKED = 400, 3
#: Who is less suspected than this is no mark in a chart.
LEAST_MARKED = 0.05

Json = dict[str, Any]


def changes_seen(changes: Sequence[ChangeSeen]) -> dict[str, Json]:
    """Changes by id, each with the moment it reached each place."""
    seen: dict[str, Json] = {}
    for change in sorted(changes, key=lambda each: each.started_ms):
        known = seen.setdefault(change.deploy_id, {"id": change.deploy_id, "service": change.service, "version": change.version, "waves": {}})
        known["waves"].setdefault(change.region or "", change.started_ms)
    return seen


def overview_of(summary: Json, incidents: Sequence[Json], minutes: Minutes, changes: dict[str, Json]) -> Json:
    """The whole case: every metric everywhere, incidents, changes, and where the data had gaps."""
    start_ms, end_ms = ms_of(summary["start"] or "1970-01-01T00:00:00Z"), ms_of(summary["end"] or "1970-01-01T00:00:01Z")
    return {
        "start_s": start_ms // 1000,
        "end_s": end_ms // 1000,
        "watching_s": None if summary["watching_since"] is None else ms_of(summary["watching_since"]) // 1000,
        "curves": [
            _curve(curve) | {"metric": metric, "spread": []}
            for metric in minutes.metrics
            if any((curve := minutes.curve(metric, [EVERYWHERE], start_ms, end_ms, most=MOST_CASE)).observed)
        ],
        "incidents": [
            {
                "from_s": ms_of(incident["onset"]) // 1000,
                "to_s": ms_of(incident["closed_at"]) // 1000 if incident["closed_at"] else end_ms // 1000,
                "metrics": incident["metrics"],
            }
            for incident in incidents
        ],
        "changes": [
            {"at_s": min(change["waves"].values()) // 1000, "id": change["id"], "service": change["service"]}
            for change in list(changes.values())[:MOST_CHANGES]
        ],
        "gaps": [{"metric": gap.metric, "kind": gap.kind, "from_s": gap.start_ms // 1000, "to_s": gap.end_ms // 1000} for gap in minutes.gaps()],
    }


def charts_of(incident: Json, answers: Json, summary: Json, minutes: Minutes, changes: dict[str, Json]) -> list[Json]:
    """For each metric that hurts: as a whole where it hurts, then place by place, those that hurt and those that stayed well."""
    share = min(FULL_INCIDENTS / max(summary["incidents"], 1), 1.0)
    onset_ms = ms_of(incident["onset"])
    ended_ms = ms_of(incident["closed_at"] or summary["end"])
    # What lies behind the recovery says nothing of how much it hurt.
    hurt_until_ms = ms_of(answers["returned"]) if answers["returned"] else ended_ms
    marks = _marks(incident, changes)

    def chart(metric: str, places: Sequence[Place], name: str, most: int, *, hurt: bool, shown: list[Json]) -> Json:
        since_ms, until_ms = onset_ms - AROUND_MS, min(ended_ms + AROUND_MS, ms_of(summary["end"]))
        events = _only(minutes.curve(metric, places, since_ms, until_ms, most=1).expected)
        around = minutes.curve(metric, places, since_ms, until_ms, most=max(min(round(share * most), int(events) // LEAST_EVENTS), LEAST_POINTS))
        inside = minutes.curve(metric, places, onset_ms, hurt_until_ms, most=1)
        counts = {"counted": _only(inside.observed), "usual": _only(inside.expected)}
        return _curve(around) | counts | {"id": f"{incident['incident_id']}/{metric}/{name}", "metric": metric, "place": name, "hurt": hurt, "marks": shown}

    found = []
    for metric in answers["metrics"][:MOST_METRICS]:
        regions = [("region", place) for place in incident["regions"] if place in minutes.places(metric, "region")]
        others = [("region", place) for place in minutes.places(metric, "region") if place not in incident["regions"]]
        # A metric without services hurts nobody by service.
        services = [("service", place) for place in incident["services"] if len(minutes.places(metric, "service")) > 1]
        services = [place for place in services if place[1] in minutes.places(metric, "service")]
        whole = chart(metric, regions or [EVERYWHERE], "where it hurts" if regions and others else "everywhere", MOST_WHOLE, hurt=True, shown=marks)
        parts = [
            chart(metric, [place], place[1], MOST_PLACE, hurt=hurt, shown=[mark for mark in marks if mark["place"] in {None, place[1]} or place[0] != "region"])
            for hurt, places in ((True, [*regions, *services]), (False, others))
            for place in places[:MOST_PLACES]
        ]
        outside = any(text.startswith(metric) and "outside the usual range" in text for text in incident["symptoms"])
        found.append({"metric": metric, "whole": whole, "parts": parts, "outside": outside})
    return found


def clock_of(incident: Json, saving: Json, lines: Sequence[Json]) -> Json | None:
    """Orders lost, as Rollguard knew it from minute to minute, and where a rollback would have ended that."""
    known: dict[int, Json] = {}
    for line in lines:
        if line["incident_id"] == incident["incident_id"] and "incident" in line:
            known[ms_of(line["at"]) // MINUTE_MS] = line["incident"]
    if len(known) < 2 or incident["orders_lost"] < 0.5:
        return None
    minutes = sorted(known)[:: -(-len(known) // MOST_CLOCK)]
    states = [known[minute] for minute in minutes]
    return {
        "id": f"{incident['incident_id']}//clock",
        "at_s": [minute * 60 for minute in minutes],
        "lost": [round(state["orders_lost"], 1) for state in states],
        "low": [round(state["orders_lost_interval"][0], 1) for state in states],
        "high": [round(state["orders_lost_interval"][1], 1) for state in states],
        "effect_s": None if saving["effect_at"] is None else ms_of(saving["effect_at"]) // 1000,
        "with_rollback": saving["lost_until_effect"],
    }


def _curve(curve: Curve) -> Json:
    return {
        "start_s": curve.start_ms // 1000,
        "step_s": curve.step_ms // 1000,
        "observed": [_short(value) for value in curve.observed],
        "expected": [_short(value) for value in curve.expected],
        "spread": [_short(value) for value in curve.spread],
    }


def _short(value: float | None) -> float | int | None:
    """A number with no more digits than one can see."""
    if value is None or value == int(value):
        return None if value is None else int(value)
    return round(value) if value >= 1000 else round(value, 1) if value >= 10 else value


def _only(values: list[float | None]) -> float:
    return sum(value or 0.0 for value in values)


def _marks(incident: Json, changes: dict[str, Json]) -> list[Json]:
    """Onset, suspects, page and rollback decision."""
    found = [{"at_s": ms_of(incident["onset"]) // 1000, "kind": "onset", "text": "began", "place": None}]
    for suspect in [each for each in incident["suspects"] if each["probability"] >= LEAST_MARKED][:MOST_MARKED]:
        for place, at_ms in changes.get(suspect["deploy_id"], {"waves": {}})["waves"].items():
            found.append({"at_s": at_ms // 1000, "kind": "change", "text": f"{suspect['deploy_id']} starts", "place": place or None})
    for action in ("page", "rollback"):
        first = next((each for each in incident["decisions"] if each["action"] == action), None)
        if first is not None:
            found.append({"at_s": ms_of(first["at"]) // 1000, "kind": action, "text": {"page": "page", "rollback": "roll back"}[action], "place": None})
    if incident["closed_at"] is not None:
        found.append({"at_s": ms_of(incident["closed_at"]) // 1000, "kind": "closed", "text": "closed", "place": None})
    return found
