"""What each source contributes to each metric, numbered in one stable order."""

from typing import Literal

import msgspec

from rollguard.config import Settings

__all__ = ["Measure", "Part", "measures"]

Part = Literal["count", "sum", "bins", "k", "n", "late", "refused"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One column of integers that a source contributes to a metric, or says of itself.

    Attributes
    ----------
    metric : str
        Its name in the settings; "" for what a source says of itself.
    part : str
        `count` of events, `sum` of a field in units of 1/scale, `bins` of a distribution's histogram, a ratio's `k` and `n`;
        of a source its `late` events and `refused` lines, which stand in the bucket that was the frontier when they came.
    source : str
        The source whose events it is made of; a ratio's `n` comes from the metric's `against`.
    """

    metric: str
    part: Part
    source: str


def measures(settings: Settings) -> tuple[Measure, ...]:
    """Every measure of the settings; its place here is its number in blocks.

    Parameters
    ----------
    settings : Settings
        Only the metrics matter.

    Returns
    -------
    tuple of Measure
        By name of the metric, a ratio's `k` before its `n`, then by source: the order in which a file lists them never enters.
    """
    found: list[Measure] = []
    for name, metric in sorted(settings.metrics.items()):
        kind = str(metric.kind)
        if kind == "ratio":
            found.append(Measure(metric=name, part="k", source=metric.source))
            if metric.against is not None:
                found.append(Measure(metric=name, part="n", source=metric.against))
        elif kind == "distribution":
            found.append(Measure(metric=name, part="bins", source=metric.source))
        elif kind == "sum":
            # How many events a sum is made of says how far it can be trusted.
            found += [Measure(metric=name, part="count", source=metric.source), Measure(metric=name, part="sum", source=metric.source)]
        else:
            found.append(Measure(metric=name, part="count", source=metric.source))
    for source in sorted(settings.sources):
        found += [Measure(metric="", part="late", source=source), Measure(metric="", part="refused", source=source)]
    return tuple(found)
