"""What one would ask of an incident first, and the answers: what broke, where, since when, at what cost, who did it, and what was done."""

from __future__ import annotations

import re
from typing import Any

from rollguard.config import ms_of
from rollguard.replay.report.words import in_words, lasting, listed, weight_of

__all__ = ["percent", "told"]

#: Words of an action, as something that was done.
DONE = {"page": "page", "rollback": "roll back", "hold": "no rollback yet", "observe": "only watched"}
#: What is said between one plan and the next is of no use to who reads it afterwards.
_SUPERSEDED = re.compile(r"the plan \w+ is (replaced|withdrawn)")
_COUNTED = re.compile(r": ([\d,]+)( outside the usual range)?, ([\d,]+) expected")


def told(incident: dict[str, Any], saving: dict[str, Any], regions: list[str], returned: str | None = None) -> dict[str, Any]:
    """The answers of one incident.

    Parameters
    ----------
    incident : dict
        A line of `incidents.jsonl`.
    saving : dict
        What its rollback would have saved, as in `summary.json`.
    regions : list of str
        All regions that were counted.
    returned : str or None
        When everything was back, where that is known.

    Returns
    -------
    dict
        `title` and `lead`, sentences; `metrics`, those that hurt, the first symptom first; `where`, `lasted`, `who`, `sure`, `done`, `cost`; `suspects`
        and `decisions` in words.
    """
    metrics = _first_symptom_first(incident)
    first = incident["suspects"][0] if incident["suspects"] else None
    where = _where(incident["regions"], regions)
    return {
        "title": _title(incident, metrics, where, first),
        "lead": _lead(incident, saving),
        "metrics": metrics,
        "broke": [_without_places(in_words(symptom), incident) for symptom in _whole_first(incident["symptoms"], metrics)],
        "where": where,
        "services": incident["services"],
        "returned": returned,
        "lasted": lasting(ms_of(incident["closed_at"]) - ms_of(incident["onset"])) if incident["closed_at"] else None,
        "cost": _cost(incident, saving),
        "who": _who(incident, first),
        "done": _done(incident, saving),
        "suspects": [
            suspect | {"reasons": [{"text": in_words(reason), "weight": weight_of(reason)} for reason in suspect["reasons"]]}
            for suspect in incident["suspects"]
        ],
        "decisions": _decisions(incident),
        "would_change": [in_words(each) for each in incident["would_change"]],
        "helped": in_words(incident.get("helped") or ""),
    }


def _first_symptom_first(incident: dict[str, Any]) -> list[str]:
    page = next((each for each in incident["decisions"] if each["action"] == "page"), None)
    reasons = " ".join(page["reasons"]) if page is not None else ""
    at = {metric: place if (place := reasons.find(metric)) >= 0 else len(reasons) for metric in incident["metrics"]}
    return sorted(incident["metrics"], key=lambda metric: (at[metric], metric))


def _whole_first(symptoms: list[str], metrics: list[str]) -> list[str]:
    """What hurts as a whole before its parts, in the order in which it began."""

    def rank(symptom: str) -> tuple[bool, int]:
        head = symptom.partition(" in ")[0]
        return " of " in head, next((at for at, metric in enumerate(metrics) if head.startswith(metric)), len(metrics))

    return sorted(symptoms, key=rank)


def _without_places(symptom: str, incident: dict[str, Any]) -> str:
    """A symptom without the places that all of the incident has, and its metric as words."""
    short = symptom.replace(f" in {', '.join(incident['regions'])}:", ":", 1)
    short = _COUNTED.sub(lambda found: f": {found[1]} instead of {found[3]}{found[2] or ''}", short)
    for metric in incident["metrics"]:
        short = short.replace(metric, metric.replace("_", " "), 1)
    return short


def _cost(incident: dict[str, Any], saving: dict[str, Any]) -> str:
    if incident["closed_at"] is None:
        return in_words(incident["cost"].removeprefix("cost: "))
    low, high = incident["orders_lost_interval"]
    said = f"About {incident['orders_lost']:,.0f} orders lost in all (95 %: {low:,.0f} to {high:,.0f})."
    if saving["rollback_at"] is None:
        return said
    return (
        f"{said} A rollback needs {lasting(ms_of(saving['effect_at']) - ms_of(saving['rollback_at']))} from its decision to its effect: "
        f"{saving['lost_until_effect']:,.0f} were lost by then, the other {saving['saved']:,.0f} would have been saved."
    )


def _where(hurt: list[str], known: list[str]) -> str:
    if not hurt:
        return "everywhere"
    if len(known) > 1 and set(hurt) >= set(known):
        return f"everywhere ({', '.join(hurt)})"
    return ", ".join(hurt) + (f", of {len(known)} regions" if len(known) > len(hurt) else "")


def _title(incident: dict[str, Any], metrics: list[str], where: str, first: dict[str, Any] | None) -> str:
    if not metrics or (not incident["suspects"] and incident["data_quality"] == incident["symptoms"]):
        return str(in_words(incident["symptoms"][0])) if incident["symptoms"] else "The data could not be trusted"
    hurt, place = listed(metrics), "everywhere" if where.startswith("everywhere") else f"in {listed(incident['regions'])}"
    if incident["verdict"] == "guilty" and first is not None:
        return f"A change of {first['service']} hurt {hurt} {place}"
    sentence = f"{hurt} {'was' if len(metrics) == 1 and not metrics[0].endswith('s') else 'were'} hurt {place}"
    end = "and no known change did it" if incident["verdict"] == "no_change" else "and it is not clear who did it"
    return f"{sentence[0].upper()}{sentence[1:]}, {end}"


def _lead(incident: dict[str, Any], saving: dict[str, Any]) -> str:
    onset_ms = ms_of(incident["onset"])
    page = next((each for each in incident["decisions"] if each["action"] == "page"), None)
    said = [f"About {incident['orders_lost']:,.0f} orders were lost." if incident["orders_lost"] >= 0.5 else "No orders are known to be lost."]
    if page is not None:
        said.append(f"Rollguard would have paged {lasting(ms_of(page['at']) - onset_ms)} after it began.")
    if saving["rollback_at"] is not None:
        done = f"Rolled back {lasting(ms_of(saving['rollback_at']) - onset_ms)} after it began, as it would have decided, "
        said.append(done + f"{saving['saved']:,.0f} of them would have been saved.")
    return " ".join(said)


def _who(incident: dict[str, Any], first: dict[str, Any] | None) -> str:
    none = f"no change: {percent(incident['no_change_probability'])}"
    if first is None:
        return "no change is suspected" if incident["verdict"] != "no_change" else f"no known change ({percent(incident['no_change_probability'])} sure)"
    name = f"{first['deploy_id']}, {first['service']} {first['version'] or ''}".strip()
    if incident["verdict"] == "guilty":
        return f"{name} ({percent(first['probability'])} sure)"
    if incident["verdict"] == "no_change":
        return f"no known change ({percent(incident['no_change_probability'])} sure)"
    return f"not clear. {name}: {percent(first['probability'])}; {none}"


def _done(incident: dict[str, Any], saving: dict[str, Any]) -> list[str]:
    onset_ms = ms_of(incident["onset"])
    done = []
    for action in ("page", "rollback"):
        first = next((each for each in incident["decisions"] if each["action"] == action), None)
        if first is not None:
            words = {"page": "page", "rollback": f"roll back {_target(first)}"}[action]
            done.append(f"{words}, after {lasting(ms_of(first['at']) - onset_ms)}")
    if saving["rollback_at"] is None:
        held = [each for each in incident["decisions"] if each["action"] == "hold" and each["blocked_by"]]
        done.append("no rollback" + (f": {in_words(held[-1]['blocked_by'][0])}" if held else ""))
    return done or ["nothing"]


def _decisions(incident: dict[str, Any]) -> list[dict[str, Any]]:
    """Decisions in words; holds that follow one another for the same reason are one."""
    onset_ms = ms_of(incident["onset"])
    found: list[dict[str, Any]] = []
    for decision in incident["decisions"]:
        why_not = [in_words(reason) for reason in decision["blocked_by"] if not _SUPERSEDED.match(reason)]
        row = {
            "at": decision["at"],
            "after": lasting(ms_of(decision["at"]) - onset_ms),
            "action": decision["action"],
            "words": DONE[decision["action"]],
            "target": _target(decision),
            "grounds": [in_words(reason) for reason in decision["reasons"] if reason.startswith("grounds")],
            "why": [in_words(reason) for reason in decision["reasons"]],
            "why_not": why_not,
            "again": 0,
        }
        before = found[-1] if found else None
        if before is not None and before["action"] == "hold" == row["action"] and before["why_not"][:1] == why_not[:1]:
            row |= {"again": before["again"] + 1}
            found[-1] = row
        else:
            found.append(row)
    return found


def _target(decision: dict[str, Any]) -> str:
    return (decision["target"] or "").replace(" -> ", " to ").replace(" @ ", " in ")


def percent(share: float) -> str:
    """A probability in per cent. None is certain.

    Examples
    --------
    >>> percent(0.9999), percent(0.54), percent(0.0001)
    ('> 99 %', '54 %', '< 1 %')
    """
    if share >= 0.995:
        return "> 99 %"
    return "< 1 %" if share < 0.005 else f"{100.0 * share:.0f} %"
