"""Routes of the channels: a request in, an answer by which its sender knows whether to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollguard.config import RollguardError
from rollguard.service.intake.records import Channel, Delivery, LongBodyError, SlowBodyError, TurnedAwayError
from rollguard.service.intake.taking import Receiver

__all__ = ["LONGEST", "WITHIN_S", "body_of", "routes_of"]

log = structlog.get_logger()
#: No longer body is read.
LONGEST = 1_048_576
#: A body has to be there by then.
WITHIN_S = 10.0


async def body_of(request: Request, longest: int = LONGEST) -> bytes:
    """Read a body, no more of it than is allowed, and no longer.

    Raises
    ------
    LongBodyError, SlowBodyError
    """
    said = request.headers.get("content-length", "")
    too_long = LongBodyError(f"a body of more than {longest} bytes. Expected: at most that")
    if said.isascii() and said.isdigit() and int(said[:19]) > longest:
        raise too_long
    read = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > longest:
                    raise too_long
    except (TimeoutError, ClientDisconnect):
        raise SlowBodyError(f"no whole body within {WITHIN_S:g} s. Expected: all of it at once") from None
    return bytes(read)


def turned_away(error: TurnedAwayError) -> Response:
    """Answer that it is not taken, and why."""
    headers = {} if error.after_s is None else {"retry-after": str(error.after_s)}
    if isinstance(error, LongBodyError | SlowBodyError):
        # Else the server reads on, and drops what it reads, for as long as somebody cares to send.
        headers["connection"] = "close"
    return JSONResponse({"error": str(error), "reason": error.code}, status_code=error.status, headers=headers)


def routes_of(receiver: Receiver, channels: Iterable[Channel], now_ms: Callable[[], int]) -> list[Route]:
    """Make a route for each channel.

    Parameters
    ----------
    receiver : Receiver
    channels : iterable of Channel
    now_ms : callable
        The clock on the wall.
    """
    return [Route(channel.path, _taking(receiver, channel, now_ms), methods=["POST"]) for channel in channels]


def _taking(receiver: Receiver, channel: Channel, now_ms: Callable[[], int]) -> Callable[[Request], object]:
    async def taken(request: Request) -> Response:
        try:
            body = await body_of(request)
        except TurnedAwayError as error:
            await receiver.turn_away(channel, error)
            return turned_away(error)
        try:
            records, note = await receiver.take(channel, Delivery(headers=dict(request.headers), body=body, now_ms=now_ms()))
        except TurnedAwayError as error:
            return turned_away(error)
        except RollguardError as error:
            log.error("change_not_written", channel=channel.name, error=str(error))  # noqa: TRY400 - the text says it all
            # Not what the broker said: whoever sent it need not know what our network looks like.
            told = {"error": "it could not be written to Kafka, and is not taken. Try again", "reason": error.code}
            return JSONResponse(told, status_code=503, headers={"retry-after": "5"})
        return JSONResponse({"taken": records, "note": note}, status_code=202)

    return taken
