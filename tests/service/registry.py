"""The metrics of a worker that runs every part, as it registers them."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from rollguard.config import Layer, default_text, load_layers
from rollguard.service.gauges import Gauges
from rollguard.service.intake import Counted
from rollguard.service.metrics import Metrics

SETTINGS = load_layers([Layer(default_text(), "default.yaml")])


def whole_registry() -> CollectorRegistry:
    """All that `/metrics` can show, with the shipped settings."""
    registry = Metrics(SETTINGS).registry
    registry.register(Gauges(SETTINGS, (), None, lambda: 0))
    Counted(registry)
    return registry


def shown_labels() -> dict[str, frozenset[str]]:
    """Labels of each metric of ours, by the name under which it is shown."""
    found: dict[str, frozenset[str]] = {}
    for collector in whole_registry()._collector_to_names:
        # A counter knows its labels itself; what is worked out when asked knows them by family.
        each: Any
        for each in [collector] if hasattr(collector, "_labelnames") else collector.collect():
            (family,) = each.collect() if hasattr(each, "collect") else (each,)
            if not family.name.startswith("process_"):
                found[family.name + ("_total" if family.type == "counter" else "")] = frozenset(each._labelnames)
    return found
