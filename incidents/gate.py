"""Whether a version may go on to the next place: asked by a pipeline before it does, answered from what is known of incidents, changes and approvals.

What is not known counts against it: a pipeline can ask again, a lost order does not come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from rollguard.config import Settings, folded
from rollguard.incidents.records import ChangeSeen, Command

__all__ = ["GateAnswer", "GateQuestion", "Release", "answered", "learnt", "release_of"]

#: A suspect that is less likely than this has not caused it.
MAY_HAVE = 0.05
_ANYWHERE = "*"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one version of one service.

    Attributes
    ----------
    service, version : str
    deploy_ids, authors : tuple of str
    approvals : int or None
        What its records say; the least, where they differ; None: they do not say.
    reached : dict of str to int
        When it first started in a region, epoch ms; `*`: everywhere as one.
    allowed_by : dict of str to int
        Persons who said that it may go on, and when.
    """

    service: str
    version: str
    deploy_ids: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    approvals: int | None = None
    reached: Mapping[str, int] = {}
    allowed_by: Mapping[str, int] = {}


class GateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline asks: may this go on.

    Attributes
    ----------
    service, version : str
    region : str or None
        Where to; None: everywhere.
    authors : tuple of str
        Besides those that are known.
    """

    service: str
    version: str
    region: str | None = None
    authors: tuple[str, ...] = ()


class GateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says.

    Attributes
    ----------
    answer : {"pass", "wait", "block"}
        wait: ask again, or see that what is missing comes. block: this version goes no further.
    reasons : tuple of str
        Sentences; of a pass what was looked at.
    needs, has : int
        Approvals.
    """

    answer: Literal["pass", "wait", "block"]
    reasons: tuple[str, ...]
    needs: int
    has: int


def release_of(record: ChangeSeen | Command) -> tuple[str, str] | None:
    """Service and version that a record speaks of; None: of none."""
    if isinstance(record, Command) and record.verb != "allow":
        return None
    return (record.service, record.version) if record.service and record.version else None


def learnt(known: Release, record: ChangeSeen | Command) -> Release:
    """Take in one more record; a repeat changes nothing, and no order matters.

    Parameters
    ----------
    known : Release
    record : ChangeSeen or Command
        One that `release_of` says is of this release.
    """
    if isinstance(record, Command):
        at_ms = min(record.at_ms, known.allowed_by.get(record.by, record.at_ms))
        return replace(known, allowed_by={**known.allowed_by, record.by: at_ms})
    place = record.region or _ANYWHERE
    started_ms = min(record.started_ms, known.reached.get(place, record.started_ms))
    said = [each for each in (known.approvals, record.approvals) if each is not None]
    return replace(
        known,
        deploy_ids=tuple(sorted({*known.deploy_ids, record.deploy_id})),
        authors=tuple(sorted({*known.authors, *([record.author] if record.author else [])})),
        approvals=min(said, default=None),
        reached={**known.reached, place: started_ms},
    )


def answered(
    asked: GateQuestion, known: Release, incidents: Sequence[Mapping[str, Any]], settings: Settings, *, now_ms: int, frontier_ms: int | None, undone: str
) -> GateAnswer:
    """Answer a pipeline.

    Parameters
    ----------
    asked : GateQuestion
    known : Release
        What is known of this version; empty where nothing is.
    incidents : sequence of dict
        Open ones, as in the timeline.
    settings : Settings
    now_ms : int
        The clock on the wall.
    frontier_ms : int or None
        How far what is known reaches; None: nothing is.
    undone : str
        Incident in which this version was rolled back; empty: in none.
    """
    gate = settings.respond.gate
    blocks = [f"it was rolled back in {undone}: what mends it is another version"] if undone else []
    waits: list[str] = []
    for incident in incidents:
        share, reasons = _suspected(asked, known, incident)
        if share >= MAY_HAVE:
            blocks.append(f"{reasons} may have caused {_of(incident)} ({100 * share:.0f} %)")
        elif asked.service in incident["services"] or share > 0.0:
            waits.append(f"{asked.service} is not well: {_of(incident)}")
    needs, has, approvals = _approvals(asked, known, settings)
    waits += approvals
    reach = {} if asked.region is None else {place: at_ms for place, at_ms in known.reached.items() if place != asked.region}
    left_ms = max(reach.values(), default=0) + gate.bake_ms - now_ms
    if reach and left_ms > 0:
        waits.append(f"it reached {', '.join(sorted(reach))} only a while ago: {-(-left_ms // 1000)} s more have to pass without an incident")
    waits += [f"nothing goes on now: {span.reason}" for span in settings.respond.freezes if span.holds(asked.service, now_ms)]
    if frontier_ms is None or now_ms - frontier_ms > gate.blind_ms:
        seen = "nothing is known of the shop yet" if frontier_ms is None else f"what is known of the shop is {(now_ms - frontier_ms) / 1000:.0f} s old"
        waits.append(f"{seen}, so nobody can say that it is well")
    if not blocks and not waits:
        well = (f"no open incident that {asked.service} {asked.version} may have caused", f"{has} of {needs} approvals", "the data are fresh")
        return GateAnswer(answer="pass", reasons=well, needs=needs, has=has)
    return GateAnswer(answer="block" if blocks else "wait", reasons=(*blocks, *waits), needs=needs, has=has)


def _suspected(asked: GateQuestion, known: Release, incident: Mapping[str, Any]) -> tuple[float, str]:
    """How likely it is that this version did it."""
    mine = [
        each for each in incident["suspects"] if each["deploy_id"] in known.deploy_ids or (each["service"], each["version"]) == (asked.service, asked.version)
    ]
    first = max(mine, key=lambda each: each["probability"], default=None)
    return (0.0, "") if first is None else (float(first["probability"]), str(first["deploy_id"]))


def _of(incident: Mapping[str, Any]) -> str:
    what = "; ".join(incident["symptoms"]) or ", ".join(incident["metrics"])
    return f"{incident['incident_id']}, which is open: {what}"


def _approvals(asked: GateQuestion, known: Release, settings: Settings) -> tuple[int, int, list[str]]:
    """Approvals that it needs by how far it reaches, those it has, and what is missing."""
    gate, people = settings.respond.gate, settings.respond.people
    elsewhere = [place for place in known.reached if place != asked.region]
    needs = gate.one_region if asked.region is not None and not elsewhere else gate.everywhere
    authors = {folded(name) for name in (*known.authors, *asked.authors)}
    counted, refused = [], []
    for name in sorted(known.allowed_by):
        person = people.get(name)
        if person is None or person.bot:
            refused.append(f"{name} is {'a bot' if person is not None else 'nobody that the config knows'}, and does not count")
        elif authors & {folded(each) for each in (name, *person.aliases)}:
            refused.append(f"{name} is an author of it, and does not count")
        else:
            counted.append(name)
    # Of a version whose author is not known one of them may be the author.
    strangers = 1 if counted and not authors else 0
    has = max(known.approvals or 0, len(counted) - strangers)
    if has >= needs:
        return needs, has, []
    reach = f"{asked.region} alone" if needs == gate.one_region and asked.region is not None and not elsewhere else "more than one region"
    how = f"rollguard allow {asked.service} {asked.version} --as YOU -c FILE"
    missing = f"it reaches {reach}, which needs {needs} {'approval' if needs == 1 else 'approvals'}, and has {has}: {how}"
    unsaid = ["nobody says who its author is, so one who allows it counts for nothing"] if strangers else []
    return needs, has, [missing, *refused, *unsaid]
