"""How far event time has come in one partition, by the median of its last records."""

from collections import deque

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rollguard.streams.rows import Bools, Ints

__all__ = ["NEVER", "WINDOW", "Watermark"]

#: Records whose median is taken: up to ten clocks among them may be wrong.
WINDOW = 21
#: Stands for a watermark or frontier that is not known yet; before every time.
NEVER = -(2**62)


class Watermark:
    """Running maximum of the median event time of the last 21 records, less the lateness.

    Parameters
    ----------
    lateness_ms : int
        How long after its time an event may come.

    Attributes
    ----------
    mark_ms : int
        The watermark; `NEVER` before 21 records.
    window : (at most 21,) int64
        Event times of the last records, in order of arrival.
    """

    __slots__ = ("lateness_ms", "mark_ms", "window")

    def __init__(self, lateness_ms: int) -> None:
        self.lateness_ms = lateness_ms
        self.mark_ms = NEVER
        self.window: Ints = np.zeros(0, dtype=np.int64)

    def take(self, ts_ms: Ints) -> Ints:
        """Take records in order of arrival.

        Parameters
        ----------
        ts_ms : (n,) int64
            Their event times.

        Returns
        -------
        (n + 1,) int64
            The watermark before each of them, and after the last.
        """
        held = len(self.window)
        times = np.concatenate([self.window, ts_ms])
        marks = np.full(len(ts_ms) + 1, self.mark_ms, dtype=np.int64)
        if len(times) >= WINDOW:
            middle = WINDOW // 2
            # Numbers of half the width, where they fit, are put in order in half the time.
            earliest = int(times.min())
            narrow = (times - earliest).astype(np.int32 if int(times.max()) - earliest < 2**31 else np.int64)
            medians = np.partition(sliding_window_view(narrow, WINDOW), middle, axis=1)[:, middle].astype(np.int64)
            marks[WINDOW - held :] = np.maximum(medians + (earliest - self.lateness_ms), self.mark_ms)
            np.maximum.accumulate(marks, out=marks)
        self.mark_ms = int(marks[-1])
        self.window = times[-WINDOW:].copy()
        return marks

    def beyond(self, ts_ms: Ints, limits_ms: Ints, ahead_ms: int) -> Bools:
        """Say which records are ahead of every time they may be compared with. Changes nothing.

        Parameters
        ----------
        ts_ms, limits_ms : (n,) int64
            Event times in order of arrival, and the latest each may be by the log's own time.
        ahead_ms : int
            How far beyond the median a record may be.

        Returns
        -------
        (n,) bool
            True: beyond its limit, and more than `ahead_ms` beyond the median of the 21 records before it that are not.
        """
        suspect = ts_ms > limits_ms
        beyond = np.zeros(len(ts_ms), dtype=np.bool_)
        if not suspect.any():
            return beyond
        # One by one: whether a record belongs to the median of the next depends on the verdict about it.
        window = deque(self.window.tolist(), WINDOW)
        for at, (ts, doubtful) in enumerate(zip(ts_ms.tolist(), suspect.tolist(), strict=True)):
            if doubtful and (len(window) < WINDOW or ts > sorted(window)[WINDOW // 2] + ahead_ms):
                beyond[at] = True
            else:
                window.append(ts)
        return beyond
