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

from rollguard.config import RollguardError
from rollguard.incidents import ChangeSeen
from rollguard.replay.report.charts import changes_seen, charts_of, clock_of, overview_of
from rollguard.replay.report.minutes import Minutes
from rollguard.replay.report.telling import percent, told

__all__ = ["ReportError", "drawn", "html_of"]

#: Files of our own that stand in the page as they are.
ASSETS = ("uplot.min.js", "uplot.min.css", "report.css", "report.js")
#: What stands in `report.json`: counted up when a page of today could not show one of yesterday.
FORMAT = 1


class ReportError(RollguardError):
    """A report that this version cannot show."""

    code = "case"


def drawn(
    summary: dict[str, Any], incidents: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]], minutes: Minutes, changes: Sequence[ChangeSeen]
) -> dict[str, Any]:
    """All that the page shows of one run, as values of JSON.

    Parameters
    ----------
    summary : dict
        As in `summary.json`.
    incidents : sequence of dict
        As in `incidents.jsonl`.
    lines : sequence of dict
        As in `timeline.jsonl`.
    minutes : Minutes
    changes : sequence of ChangeSeen
    """
    seen = changes_seen(changes)
    savings = {saving["incident_id"]: saving for saving in summary["savings"]}
    regions = sorted({place for metric in minutes.metrics for place in minutes.places(metric, "region")})
    shown = []
    for incident in incidents:
        saving = savings[incident["incident_id"]]
        returned = _returned(incident, lines)
        answers = told(incident, saving, regions, returned)
        shown.append(
            incident
            | {
                "told": answers,
                "charts": charts_of(incident, answers, summary, minutes, seen),
                "clock": clock_of(incident, saving, lines),
                "affected": None,
            }
        )
    return {"format": FORMAT, "name": summary["name"], "summary": summary, "incidents": shown, "overview": overview_of(summary, incidents, minutes, seen)}


def _returned(incident: dict[str, Any], lines: Sequence[dict[str, Any]]) -> str | None:
    """When everything that hurt was back for good, as far as was known."""
    mine = [line for line in lines if line["incident_id"] == incident["incident_id"] and "incident" in line]
    back: str | None = None
    for line in mine:
        recovering = line["incident"]["state"].startswith("recovering")
        back = (back or line["at"]) if recovering or line["event"] == "closed" else None
    return back


def html_of(runs: Sequence[dict[str, Any]]) -> str:
    """Write the page of one or several runs.

    Parameters
    ----------
    runs : sequence of dict
        As `drawn` gives them.

    Raises
    ------
    ReportError
        If one was made by another version.
    """
    for run in runs:
        if run.get("format") != FORMAT:
            raise ReportError(f"{run.get('name', 'report')}: its report was made by another version of Rollguard. Expected: one of this one; replay it again.")
    shown = [
        run | {"at": f"run-{number}", "incidents": [each | {"at": f"run-{number}-{place}"} for place, each in enumerate(run["incidents"])]}
        for number, run in enumerate(runs)
    ]
    asset = files("rollguard.replay.report") / "assets"
    texts = {name.replace(".", "_"): Markup((asset / name).read_text(encoding="utf-8")) for name in ASSETS}  # noqa: S704 - ours
    page: str = _template().render(runs=shown, charts=_embedded(_charts(shown)), **texts)
    return page


def _charts(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script draws, by the name of the box to draw it in."""
    found: dict[str, Any] = {}
    for run in runs:
        overview = {name: value for name, value in run["overview"].items() if name != "curves"}
        for curve in run["overview"]["curves"]:
            mine = [gap for gap in overview["gaps"] if gap["metric"] == curve["metric"]]
            found[f"{run['at']}/case/{curve['metric']}"] = overview | curve | {"kind": "case", "gaps": mine}
        for incident in run["incidents"]:
            for row in incident["charts"]:
                for chart in (row["whole"], *row["parts"]):
                    found[f"{run['at']}/{chart['id']}"] = chart | {"kind": "whole" if chart is row["whole"] else "part"}
            if incident["clock"] is not None:
                found[f"{run['at']}/{incident['clock']['id']}"] = incident["clock"] | {"kind": "clock"}
    return found


@cache
def _template() -> Any:
    source = (files("rollguard.replay.report") / "assets" / "report.html").read_text(encoding="utf-8")
    environment = Environment(loader=DictLoader({"report.html": source}), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = percent
    environment.filters["number"] = lambda number: f"{number:,.0f}"
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    environment.filters["change"] = lambda chart: f"{100.0 * (chart['counted'] / chart['usual'] - 1.0):+,.0f} %" if chart["usual"] > 0 else "unknown"
    return environment.get_template("report.html")


def _embedded(value: Any) -> Markup:
    """JSON that can stand inside of a script: nothing in it ends the script or begins another."""
    text = msgspec.json.encode(value, order="deterministic").decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign of HTML is left in it
