"""What each source contributes to each metric, numbered in one stable order."""

from typing import Literal

import msgspec

from rollguard.config import Settings

__all__ = ["Measure", "Part", "measures"]

Part = Literal["count", "sum", "bins", "k", "n"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One column of integers that a source contributes to a metric.

    Attributes
    ----------
    metric : str
        Its name in the settings.
    part : str
        `count` of events, `sum` of a field in units of 1/scale, `bins` of a distribution's histogram, or a ratio's `k` and `n`.
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
        By name of the metric, a ratio's `k` before its `n`: the order in which a file lists its metrics never enters.
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
            found.append(Measure(metric=name, part="sum", source=metric.source))
        else:
            found.append(Measure(metric=name, part="count", source=metric.source))
    return tuple(found)
