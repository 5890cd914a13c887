"""A page that one would attach to a post-mortem: what broke, where, since when, what it cost, who did it, how sure that is, and what was done.

One file of HTML that asks nobody for anything. Every text is escaped by the template; data for the charts stand in it as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from rollguard.config import ms_of
from rollguard.incidents import ChangeSeen
from rollguard.replay.minutes import MINUTE_MS, Minutes

__all__ = ["drawn", "html_of"]

#: Time before the onset and after the end that a chart shows, and points at the most.
AROUND_MS, MOST_POINTS = 45 * MINUTE_MS, 400
#: Charts of one incident: so many metrics, and so many places of each, those that hurt first.
MOST_METRICS, MOST_PLACES = 4, 6
#: Changes drawn in the overview.
MOST_CHANGES = 400


def drawn(name: str, summary: dict[str, Any], incidents: Sequence[dict[str, Any]], minutes: Minutes, changes: Sequence[ChangeSeen]) -> dict[str, Any]:
    """All that the page shows of one run, as values of JSON.

    Parameters
    ----------
    name : str
    summary : dict
        As in `summary.json`.
    incidents : sequence of dict
        As in `incidents.jsonl`.
    minutes : Minutes
    changes : sequence of ChangeSeen
    """
    seen: dict[str, dict[str, Any]] = {}
    for change in sorted(changes, key=lambda each: each.started_ms):
        known = seen.setdefault(change.deploy_id, {"id": change.deploy_id, "service": change.service, "version": change.version, "waves": {}})
        known["waves"].setdefault(change.region or "", change.started_ms)
    return {
        "name": name,
        "summary": summary,
        "incidents": [incident | {"charts": _charts(incident, summary, minutes, seen)} for incident in incidents],
        "changes": list(seen.values())[:MOST_CHANGES],
    }


def html_of(runs: Sequence[dict[str, Any]]) -> str:
    """Write the page of one or several runs.

    Parameters
    ----------
    runs : sequence of dict
        As `drawn` gives them.
    """
    charts = {chart["id"]: chart for run in runs for incident in run["incidents"] for chart in incident["charts"]}
    asset = files("rollguard.replay") / "assets"
    page: str = _template().render(
        runs=[_overview(run) for run in runs],
        charts=_embedded(charts),
        uplot_js=Markup((asset / "uplot.min.js").read_text(encoding="utf-8")),  # noqa: S704 - ours
        uplot_css=Markup((asset / "uplot.min.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        report_css=Markup((asset / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        report_js=Markup((asset / "report.js").read_text(encoding="utf-8")),  # noqa: S704 - ours
    )
    return page


@cache
def _template() -> Any:
    source = (files("rollguard.replay") / "assets" / "report.html").read_text(encoding="utf-8")
    environment = Environment(loader=DictLoader({"report.html": source}), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["share"] = lambda share: f"{100.0 * share:.0f} %"
    environment.filters["number"] = lambda number: f"{number:,.0f}"
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment.get_template("report.html")


def _embedded(value: Any) -> Markup:
    """JSON that can stand inside of a script: nothing in it ends the script or begins another."""
    text = msgspec.json.encode(value, order="deterministic").decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign of HTML is left in it


def _overview(run: dict[str, Any]) -> dict[str, Any]:
    """The run with places on a line from its beginning to its end, in per cent."""
    summary = run["summary"]
    start_ms, end_ms = ms_of(summary["start"] or "1970-01-01T00:00:00Z"), ms_of(summary["end"] or "1970-01-01T00:00:01Z")
    span_ms = max(end_ms - start_ms, 1)

    def at(ms: float) -> float:
        return round(min(max(100.0 * (ms - start_ms) / span_ms, 0.0), 100.0), 3)

    bars = []
    for incident in run["incidents"]:
        left = at(ms_of(incident["onset"]))
        right = at(ms_of(incident["closed_at"])) if incident["closed_at"] else 100.0
        bars.append({"id": incident["incident_id"], "left": left, "width": max(round(right - left, 3), 0.4), "verdict": incident["verdict"]})
    ticks = [{"left": at(min(change["waves"].values())), "text": f"{change['id']} ({change['service']})"} for change in run["changes"]]
    return run | {"bars": bars, "ticks": ticks}


def _charts(incident: dict[str, Any], summary: dict[str, Any], minutes: Minutes, changes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    onset_ms = ms_of(incident["onset"])
    ended_ms = ms_of(incident["closed_at"] or summary["end"])
    marks = _marks(incident, changes)
    found = []
    for metric in incident["metrics"][:MOST_METRICS]:
        hurt = [place for place in incident["regions"] if place]
        others = [place for place in minutes.places(metric) if place not in hurt]
        for place in [*hurt, *others][:MOST_PLACES] or [""]:
            curve = minutes.curve(metric, place, onset_ms - AROUND_MS, ended_ms + AROUND_MS, most=MOST_POINTS)
            found.append(
                {
                    "id": f"{incident['incident_id']}/{metric}/{place}",
                    "metric": metric,
                    "place": place or "everywhere",
                    "hurt": place in hurt or not place,
                    "minutes": (curve.at_ms[1] - curve.at_ms[0]) // MINUTE_MS if len(curve.at_ms) > 1 else 1,
                    "at_s": [ms // 1000 for ms in curve.at_ms],
                    "observed": curve.observed,
                    "expected": curve.expected,
                    "low": [None if e is None or s is None else round(max(e - 2 * s, 0.0), 2) for e, s in zip(curve.expected, curve.spread, strict=True)],
                    "high": [None if e is None or s is None else round(e + 2 * s, 2) for e, s in zip(curve.expected, curve.spread, strict=True)],
                    "marks": [mark for mark in marks if mark["place"] in {None, place} or not place],
                }
            )
    return found


def _marks(incident: dict[str, Any], changes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What a chart marks: onset, suspects, the page and the rollback."""
    found = [{"at_s": ms_of(incident["onset"]) // 1000, "kind": "onset", "text": "began", "place": None}]
    for suspect in incident["suspects"][:3]:
        for place, at_ms in changes.get(suspect["deploy_id"], {"waves": {}})["waves"].items():
            found.append({"at_s": at_ms // 1000, "kind": "change", "text": suspect["deploy_id"], "place": place or None})
    for action in ("page", "rollback"):
        first = next((each for each in incident["decisions"] if each["action"] == action), None)
        if first is not None:
            found.append({"at_s": ms_of(first["at"]) // 1000, "kind": action, "text": {"page": "paged", "rollback": "rollback decided"}[action], "place": None})
    return found
