"""An interrupt ends a command, wherever it lands."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interrupts_never_lost"]

#: After so long an interrupt that was lost is raised again.
AGAIN_S = 0.05


@contextmanager
def interrupts_never_lost() -> Iterator[None]:
    """Raise an interrupt again that landed where Python only reports and forgets it.

    While an object is being taken away (a closed file, say) an exception cannot travel: Python prints that it was ignored,
    and the command would go on as if nobody had pressed Ctrl-C.
    """
    usual = sys.unraisablehook

    def report(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            usual(lost)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = report
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        sys.unraisablehook = usual
        signal.signal(signal.SIGALRM, before)
