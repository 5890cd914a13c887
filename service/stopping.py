"""How the worker ends: at the first signal everything finishes what is under way, side by side, and leaves its groups; at the second it ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import faust
import mode
import structlog
from mode import Service

__all__ = ["Graceful", "GracefulFaust", "end"]

log = structlog.get_logger()

#: One wave has so long to end: pages and rollbacks that are under way have 15 s of it.
WAVE_S = 20.0


class Graceful(mode.Worker):
    """A worker whose services end in waves: those of one wave side by side, since each has a group that others wait to take over.

    By itself mode stops one service after another, in the order in which they stand.
    """

    mundane_level = "debug"
    #: What ends first, what ends after it, and so on; the rest after them all.
    waves: Sequence[Sequence[Service]] = ()
    #: A signal has come.
    stopping = False

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        if self.stopping:
            _end_at_once(signal)
        self.stopping = True
        log.info("worker_stops", signal=signal.name)
        super()._schedule_shutdown(signal)

    async def _stop_on_signal(self, signal: signal.Signals) -> None:
        all_ended = True
        for wave in self.waves:
            all_ended = await end(wave, WAVE_S) and all_ended
        await super()._stop_on_signal(signal)
        log.info("worker_stopped")
        if not all_ended:
            # Python would wait for its thread. What it was to do is done: all others have committed, and told.
            os._exit(0)


class GracefulFaust(Graceful, faust.Worker):
    """The same beside a Faust app."""

    app: Any


async def end(wave: Sequence[Service], within_s: float) -> bool:
    """End services side by side; one that fails or does not end is told of, and keeps no other from ending. Whether all have ended.

    A consumer whose connection breaks while it is closed may never say that it has ended: aiokafka lets the cancellation of its pause through, and the
    thread of Faust that waits for it dies of it.
    """
    tasks = {asyncio.ensure_future(service.stop()): service for service in wave}
    if not tasks:
        return True
    done, late = await asyncio.wait(tasks, timeout=within_s)
    for task in late:
        log.error("service_does_not_end", service=type(tasks[task]).__name__, waited_s=within_s)
    for task in done:
        if (error := None if task.cancelled() else task.exception()) is not None:
            log.error("service_not_ended_well", service=type(tasks[task]).__name__, exc_info=error)
    return not late


def _end_at_once(number: signal.Signals) -> None:
    log.warning("worker_ends_at_once", signal=number.name)
    # As by the signal itself, so that whoever started us sees that it did not end well.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
