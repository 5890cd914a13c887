"""Before the worker begins: it waits for brokers and topics, and meanwhile already says that it lives, and has a person told when it stays blind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from rollguard.streams.kafka import Access, KafkaError, Topics, retrying

__all__ = ["wait_for_topics"]

log = structlog.get_logger()


async def wait_for_topics(access: Access, names: Sequence[str], meanwhile: Callable[[Callable[[], str]], Awaitable[None]]) -> bool:
    """Wait until Kafka answers and every topic is there; each trouble is told once.

    Parameters
    ----------
    access : Access
    names : sequence of str
    meanwhile : callable
        Is run from the first trouble on until all is there, and cancelled then; is given what says the trouble.

    Returns
    -------
    bool
        False: a signal came first.
    """
    trouble = ""
    troubled, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def look() -> None:
        async with Topics.of(access) as topics:
            await topics.require(names)

    def tell(error: KafkaError) -> None:
        nonlocal trouble
        trouble = str(error)
        log.error("waiting_for_kafka", error=trouble)
        troubled.set()

    async def mind() -> None:
        await troubled.wait()
        await meanwhile(lambda: trouble)

    waiting, stopped, minding = (asyncio.ensure_future(each) for each in (retrying(look, tell=tell), stop.wait(), mind()))
    try:
        # `meanwhile` never ends by itself: if it does, it broke, and says why.
        await asyncio.wait([waiting, stopped, minding], return_when=asyncio.FIRST_COMPLETED)
        for each in (waiting, minding):
            if each.done():
                each.result()
        return waiting.done()
    finally:
        for task in (waiting, stopped, minding):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
