"""Closed buckets in, signals out. Never reads a clock, a topic or a deploy."""

from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.calibration import Calibration, Shown
from rollguard.detectors.detect import Detect
from rollguard.detectors.limits import Direction, divergences, least_rate, needed_half_life, smallest_change, visible_change
from rollguard.detectors.recipe import ModelError
from rollguard.detectors.records import Account, SeriesName, Signal, Split, Tick
from rollguard.detectors.series import SeriesTree
from rollguard.detectors.slow import fast_settings, slow_settings

__all__ = [
    "Account",
    "Calibration",
    "Detect",
    "Direction",
    "ModelError",
    "SeriesName",
    "SeriesTree",
    "Shown",
    "Signal",
    "Split",
    "Tick",
    "divergences",
    "fast_settings",
    "least_rate",
    "log_thresholds",
    "needed_half_life",
    "slow_settings",
    "smallest_change",
    "visible_change",
]
