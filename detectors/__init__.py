"""Closed buckets in, signals out. Never reads a clock, a topic or a deploy."""

from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.detect import Detect
from rollguard.detectors.limits import Direction, divergences, least_rate, needed_half_life, smallest_change, visible_change
from rollguard.detectors.records import Account, SeriesName, Signal, Split, Tick
from rollguard.detectors.series import SeriesTree

__all__ = [
    "Account",
    "Detect",
    "Direction",
    "SeriesName",
    "SeriesTree",
    "Signal",
    "Split",
    "Tick",
    "divergences",
    "least_rate",
    "log_thresholds",
    "needed_half_life",
    "smallest_change",
    "visible_change",
]
