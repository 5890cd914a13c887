"""After a rollback: whether what hurt came back, as a sequential test between two stories.

One says that everything is as the baseline expects, the other that it hurts as much as before the rollback. Counts
are taken until one of them is a hundred times as likely; the chance to be wrong about a story that holds is then at most
one in a hundred, however often one looks (Wald; Ville).
"""

from __future__ import annotations

import math
from typing import Literal

from rollguard.config import Settings
from rollguard.incidents.books import Books, Sums
from rollguard.incidents.incident import Incident, symptoms_of
from rollguard.incidents.places import effect_of, region_row

__all__ = ["Outcome", "outcome_of"]

Outcome = Literal["back", "not_back", "open"]

#: What is on its way when a rollback is done hurts a little longer.
SETTLE_MS = 2 * 60_000
#: Odds, in nats, from which one of the stories is believed.
LOG_BOUND = math.log(100.0)
#: An effect is taken for no larger and no smaller than these factors on the mean.
SMALLEST, LARGEST = 1.1, 20.0


def outcome_of(incident: Incident, books: Books, settings: Settings) -> Outcome:
    """Whether the symptoms of an incident have come back since its rollback was done.

    Parameters
    ----------
    incident : Incident
        With the moment its rollback was done; without one nothing is known.
    books : Books
    settings : Settings

    Returns
    -------
    Outcome
        "not_back" as soon as one symptom surely stays, "back" when all surely came back. No evidence is "open".
    """
    if incident.undone_ms is None:
        return "open"
    done = incident.undone_ms // settings.bucket_ms
    first = (incident.undone_ms + SETTLE_MS) // settings.bucket_ms + 1
    found = []
    for symptom, onset in symptoms_of(books, settings, incident.signals):
        before, after = books.window(symptom.metric, onset, done - 1), books.since(symptom.metric, first)
        rows = [row for region in incident.regions or ("",) if (row := region_row(books, symptom, region)) is not None]
        for row in rows:
            effect = effect_of(before, row, symptom.direction)
            # A place that hardly hurt has little to say about whether it came back.
            if effect is not None and effect.relative > max(2.0 * effect.error, symptom.smallest):
                found.append(_nats(after, row, _factor(symptom.direction, effect.relative)))
    if any(nats >= LOG_BOUND for nats in found):
        return "not_back"
    return "back" if found and all(nats <= -LOG_BOUND for nats in found) else "open"


def _factor(direction: float, relative: float) -> float:
    """Factor on the mean of an effect, halved: what has half come back has not come back."""
    factor = 1.0 + direction * relative / 2.0
    return min(max(factor, SMALLEST), LARGEST) if direction > 0.0 else max(min(factor, 1.0 / SMALLEST), 1.0 / LARGEST)


def _nats(sums: Sums, row: int, factor: float) -> float:
    """Log likelihood ratio of "it hurts as it did" against "all is as expected"."""
    if row >= len(sums.expected) or sums.expected[row] <= 0.0:
        return 0.0
    observed, expected = float(sums.observed[row]), float(sums.expected[row])
    scatter = max(float(sums.variance[row]) / expected, 1.0)
    # The baseline's own error counts for neither story.
    slack = 1.0 + float(sums.slack[row]) / expected
    mean = expected * slack if factor > 1.0 else expected / slack
    return (observed * math.log(factor) - mean * (factor - 1.0)) / scatter
