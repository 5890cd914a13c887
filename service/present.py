"""The present: stages decide in the past of their log, and nothing is done on a past that is over."""

from rollguard.responders import Executor

__all__ = ["FRESH_MS", "TOO_LATE_MS", "lateness_of"]

#: Data older than this are not acted on, nor is a plan older than that.
FRESH_MS, TOO_LATE_MS = Executor.FRESH_MS, 2 * 60_000


def lateness_of(frontier_ms: int, now_ms: int) -> int:
    """Say how far what was decided on lies back: 0 while it may be acted on.

    Parameters
    ----------
    frontier_ms : int
        End of the bucket it was decided on, epoch ms.
    now_ms : int
        The clock on the wall, epoch ms.

    Returns
    -------
    int
        Milliseconds.

    Examples
    --------
    >>> lateness_of(1_000_000, 1_030_000), lateness_of(1_000_000, 11_800_000)
    (0, 10800000)
    """
    late_ms = now_ms - frontier_ms
    return late_ms if late_ms > FRESH_MS else 0
