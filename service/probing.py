"""The dead man's probe: an anomaly that we make ourselves, found by the same detector, so that silence is never taken for health.

It goes from the stage that detects through the signals log, the desk, the database and the responder to somebody outside, who pages when it stays away.
Whatever stands still on that way stops it: no blocks, a detector that finds nothing, a broker, a database.
"""

from __future__ import annotations

import numpy as np

from rollguard.config import Layer, default_text, load_layers
from rollguard.detectors import Detect, Signal
from rollguard.incidents import Probe
from rollguard.streams import Closed

__all__ = ["Prober"]

_CONFIG = "bucket: 60s\nwarmup: 1h\nmetrics: {errors: null, promised_minutes: null, actual_minutes: null}\n"
#: Buckets in which all is well, of so many orders; and so many without one, in which it has to be found.
HOURS, ORDERS, NONE = 3, 600, 5
_START = 20_000 * 1440


class Prober:
    """Makes probes, each from what the detector found."""

    def __init__(self) -> None:
        self._settings = load_layers([Layer(default_text(), "default.yaml"), Layer(_CONFIG, "probe.yaml")])
        detect = Detect(self._settings)
        usual = HOURS * 60
        detect.feed(_closed(0, usual, ORDERS))
        self._warm = detect.snapshot()

    def probe(self, at_ms: int) -> Probe | None:
        """Find the anomaly anew; None: the detector did not, and nobody is to be told that all is well.

        Parameters
        ----------
        at_ms : int
            How far event time has come.
        """
        detect = Detect.restore(self._settings, self._warm)
        found = detect.feed(_closed(HOURS * 60, HOURS * 60 + NONE, 0))
        left = any(isinstance(each, Signal) and each.kind == "left" for each in found)
        return Probe(at_ms=at_ms) if left else None


def _closed(since: int, until: int, orders: int) -> Closed:
    n = until - since
    bucket = np.arange(_START + since, _START + until, dtype=np.int64) if orders else np.zeros(0, dtype=np.int64)
    well = {"orders": np.zeros(n, dtype=bool)}
    return Closed(
        start=_START + since,
        end=_START + until,
        keys=(("checkout", "here", "1"),),
        bucket=bucket,
        measure=np.zeros(len(bucket), dtype=np.int16),
        key=np.zeros(len(bucket), dtype=np.int32),
        bin=np.zeros(len(bucket), dtype=np.int16),
        value=np.full(len(bucket), orders, dtype=np.int64),
        missing=well,
        silent=well,
        unsettled=well,
        unknown={},
    )
