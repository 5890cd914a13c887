"""Sentences of what hurts, and of what is known of a change."""

from __future__ import annotations

from rollguard.config import Settings
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change
from rollguard.incidents.incident import Incident, symptoms_of
from rollguard.incidents.places import effect_of, region_row

__all__ = ["facts_of", "sentences_of"]


def facts_of(change: Change) -> tuple[str, ...]:
    """Facts about a change, in neutral words; none of them enters the probability."""
    facts = [f"{change.kind} change of {change.service} to {change.version or 'an unnamed version'}"]
    regions = sorted(region for region in change.reach if region)
    facts.append(f"reached {', '.join(regions)}" if regions else "reached everywhere")
    facts.append("approvals: not said" if change.approvals is None else f"approvals: {change.approvals}")
    facts.append(
        "AI involvement: unknown, its record does not say" if change.ai_assisted == "unknown" else f"AI involvement: {change.ai_assisted}, by its record"
    )
    return tuple(facts)


def sentences_of(incident: Incident, books: Books, settings: Settings) -> tuple[str, ...]:
    """A sentence for each symptom."""
    out = []
    for symptom, onset in symptoms_of(books, settings, incident.signals):
        sums = books.since(symptom.metric, onset)
        rows = [row for region in incident.regions if (row := region_row(books, symptom, region)) is not None]
        effects = [e for row in rows if (e := effect_of(sums, row, symptom.direction)) is not None]
        if not effects:
            pooled = effect_of(sums, region_row(books, symptom, ""), symptom.direction)
            effects = [pooled] if pooled is not None else []
        observed, expected = sum(e.observed for e in effects), sum(e.expected for e in effects)
        name = symptom.metric + (f" of {symptom.service}" if symptom.service else "")
        where = f" in {', '.join(incident.regions)}" if incident.regions else ""
        if settings.metrics[symptom.metric].kind == "distribution":
            out.append(f"{name}{where}: {observed:.0f} outside the usual range, {expected:.0f} expected")
        elif expected > 0:
            change = 100.0 * (observed - expected) / expected
            out.append(f"{name}{where}: {observed:.0f}, {expected:.0f} expected ({change:+.0f} %)")
        else:
            out.append(f"{name}{where}: away from its baseline, of which nothing is known any more")
    return tuple(out)
