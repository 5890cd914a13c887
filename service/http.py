"""The worker's own routes: what Prometheus reads, whether it lives, whether it works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import uvicorn
from mode import Service
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rollguard.config import Http

__all__ = ["HttpService", "routes"]


def routes(registry: CollectorRegistry, troubles: Callable[[], dict[str, str]]) -> Starlette:
    """Make the routes.

    Parameters
    ----------
    registry : CollectorRegistry
    troubles : callable
        What keeps each stage from working now, by its name; empty: it is ready.
    """

    async def metrics(request: Request) -> Response:  # noqa: ARG001 - what Starlette gives
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(request: Request) -> Response:  # noqa: ARG001 - the same
        return PlainTextResponse("alive\n")

    async def readyz(request: Request) -> Response:  # noqa: ARG001 - the same
        found = troubles()
        return JSONResponse({"ready": not found, "troubles": found}, status_code=503 if found else 200)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the worker."""
        yield


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
