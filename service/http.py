"""The worker's own routes: what Prometheus reads, whether it lives, whether it works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
import uvicorn
from mode import Service
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rollguard.config import Http, RollguardError
from rollguard.incidents import GateAnswer, GateQuestion
from rollguard.service.commands import CommandRefusedError
from rollguard.service.intake import TurnedAwayError, body_of, turned_away
from rollguard.service.pagerduty import SIGNATURE

__all__ = ["HttpService", "routes", "serve"]


#: What a pipeline sees that looks at nothing but the status.
_STATUS = {"pass": 200, "wait": 503, "block": 409}


Take = Callable[[str, bytes], Awaitable[None]]


def routes(
    registry: CollectorRegistry,
    troubles: Callable[[], dict[str, str]],
    gate: Callable[[GateQuestion], GateAnswer],
    pagerduty: Take | None = None,
    more: Sequence[Route] = (),
) -> Starlette:
    """Make the routes.

    Parameters
    ----------
    registry : CollectorRegistry
    troubles : callable
        What keeps each stage from working now, by its name; empty: it is ready.
    gate : callable
        Answers a pipeline; asks the database.
    pagerduty : callable, optional
        Takes the signature and the body of a webhook of PagerDuty's; raises a `RollguardError` of what is forged.
    more : sequence of Route
        By which changes come in.
    """

    async def metrics(request: Request) -> Response:  # noqa: ARG001 - what Starlette gives
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(request: Request) -> Response:  # noqa: ARG001 - the same
        return PlainTextResponse("alive\n")

    async def readyz(request: Request) -> Response:  # noqa: ARG001 - the same
        found = troubles()
        return JSONResponse({"ready": not found, "troubles": found}, status_code=503 if found else 200)

    async def may_go_on(request: Request) -> Response:
        given = request.query_params
        if not given.get("service") or not given.get("version"):
            error = "of what? Expected: /gate?service=NAME&version=VERSION, and region=REGION and author=NAME as they are known"
            return JSONResponse({"error": error}, status_code=400)
        asked = GateQuestion(service=given["service"], version=given["version"], region=given.get("region"), authors=tuple(given.getlist("author")))
        try:
            found = await asyncio.to_thread(gate, asked)
        except RollguardError as error:
            found = GateAnswer(answer="wait", reasons=(f"nobody knows: {error}",), needs=0, has=0)
        headers = {"retry-after": "30"} if found.answer == "wait" else {}
        return Response(msgspec.json.encode(found), status_code=_STATUS[found.answer], media_type="application/json", headers=headers)

    async def told(request: Request) -> Response:
        try:
            await take(request.headers.get(SIGNATURE, ""), await body_of(request))
        except TurnedAwayError as error:
            return turned_away(error)
        except CommandRefusedError as error:
            return JSONResponse({"error": str(error)}, status_code=401)
        except RollguardError as error:
            # PagerDuty tries again.
            return JSONResponse({"error": str(error)}, status_code=503)
        return Response(status_code=202)

    paths = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/gate": may_go_on}
    found = [Route(path, answer) for path, answer in paths.items()]
    if pagerduty is not None:
        take = pagerduty
        found.append(Route("/pagerduty", told, methods=["POST"]))
    return Starlette(routes=[*found, *more])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the worker."""
        yield


async def serve(http: Http, app: Starlette) -> None:
    """Serve the routes until cancelled; where the config has no port, only wait for that."""
    if not http.port:
        await asyncio.Event().wait()
    server = _Server(uvicorn.Config(app, host=http.host, port=http.port, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


class HttpService(Service):
    """Serves the routes in the worker's loop.

    Parameters
    ----------
    http : Http
    app : Starlette
    """

    mundane_level = "debug"

    def __init__(self, http: Http, app: Starlette) -> None:
        self.server = _Server(uvicorn.Config(app, host=http.host, port=http.port, log_config=None, access_log=False, lifespan="off"))
        super().__init__()

    @Service.task
    async def _serve(self) -> None:
        await self.server.serve()

    async def on_stop(self) -> None:
        """Let the server end."""
        self.server.should_exit = True
