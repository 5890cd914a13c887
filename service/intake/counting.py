"""What is counted of changes and webhooks that come in, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["Counted"]


class Counted:
    """Counters and gauges; labels are ways to come in, who sent it, reasons, and the config's names of clusters.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.taken = Counter("rollguard_taken_changes", "Change records that were written to the topic of changes", ["channel"], registry=registry)
        self.refused = Counter("rollguard_refused_changes", "Changes that were refused", ["channel", "reason"], registry=registry)
        self.webhooks = Counter("rollguard_refused_webhooks", "Webhooks beside those of changes that were refused", ["sender", "reason"], registry=registry)
        self.heard = Gauge(
            "rollguard_watch_heard_timestamp_seconds", "When an API server last said something of its Deployments", ["cluster"], registry=registry
        )
