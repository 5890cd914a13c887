"""From "one false page a month for everything" to a threshold for every series."""

from __future__ import annotations

import math

import numpy as np

from rollguard.config import Settings
from rollguard.detectors.evidence import Floats
from rollguard.detectors.series import SeriesTree

__all__ = ["log_thresholds"]


def log_thresholds(settings: Settings, n_metrics: int, tree: SeriesTree) -> Floats:
    """Thresholds of a metric's series in nats.

    A run length of `gamma` buckets to a false alarm needs an e-detector to pass `gamma`. The budget is split evenly
    over metrics, over the ways of pooling, and over the series of each: a split of 1/w costs log(w) nats, so a series
    that pools everything stays the quickest however many fine ones there are.

    Parameters
    ----------
    settings : Settings
        Budget and bucket.
    n_metrics : int
        Watched metrics.
    tree : SeriesTree
        The metric's series.

    Returns
    -------
    (n_series,) float64
        Nats.

    References
    ----------
    The union bound over e-detectors: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2022.
    """
    gamma = settings.budget.per_ms / settings.bucket_ms / settings.budget.false_pages
    shares = float(n_metrics * tree.n_levels) * tree.level_sizes().astype(np.float64)
    return np.log(shares) + math.log(gamma)
