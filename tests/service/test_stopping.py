"""A service that fails, or never says that it has ended, keeps no other from ending."""

from __future__ import annotations

import asyncio

from mode import Service
from structlog.testing import capture_logs

from rollguard.service.stopping import end


class Fine(Service):
    ended = False

    async def on_shutdown(self) -> None:
        self.ended = True


class Stuck(Fine):
    async def on_stop(self) -> None:
        await asyncio.Event().wait()


class Broken(Service):
    async def on_stop(self) -> None:
        raise ConnectionError("closed")


def test_all_but_the_stuck_one_end_and_it_is_told_of() -> None:
    async def ended() -> tuple[Fine, Fine]:
        stuck, fine = Stuck(), Fine()
        services = [stuck, Broken(), fine]
        for service in services:
            await service.start()
        await end(services, 0.2)
        return stuck, fine

    with capture_logs() as lines:
        stuck, fine = asyncio.run(ended())
    assert [(line["event"], line["service"]) for line in lines if line["log_level"] == "error"] == [
        ("service_does_not_end", "Stuck"),
        ("service_not_ended_well", "Broken"),
    ]
    assert (stuck.ended, fine.ended) == (False, True)
