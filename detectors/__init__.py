"""Closed buckets in, signals out. Never reads a clock, a topic or a deploy."""

from rollguard.detectors.detect import Detect
from rollguard.detectors.records import Account, SeriesName, Signal, Split, Tick

__all__ = ["Account", "Detect", "SeriesName", "Signal", "Split", "Tick"]
