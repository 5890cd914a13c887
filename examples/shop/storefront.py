"""The shop's services, each an HTTP server of its own: storefront asks promises and checkout, checkout asks the payment provider.

A wrong promise is a page that answers 200.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import ClientSession, web
from world import World, event
from world import promise as promised

__all__ = ["services"]

Tell = Callable[[tuple[str, int, dict[str, Any]]], None]


def services(world: World, tell: Tell, session: ClientSession, url_of: Callable[[str], str]) -> dict[str, web.Application]:
    """Make the services.

    Parameters
    ----------
    world : World
    tell : callable
        Writes an event to Kafka.
    session : aiohttp.ClientSession
        By which they ask one another.
    url_of : callable
        Where a service is.
    """

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def failed(service: str, region: str, status: int) -> web.Response:
        tell(event("errors", now_ms(), service=service, region=region, version=world.live[service, region]))
        return web.json_response({"error": f"{service} failed"}, status=status)

    async def promise(request: web.Request) -> web.Response:
        region = request.match_info["region"]
        version, minutes = world.live["promises", region], world.promised(region)
        tell(promised(now_ms(), region, version, minutes))
        return web.json_response({"minutes": minutes, "version": version})

    async def home(request: web.Request) -> web.Response:
        region = request.match_info["region"]
        if world.fails_anyway():
            return failed("storefront", region, 500)
        async with session.get(f"{url_of('promises')}/{region}/promise") as answer:
            found = await answer.json()
        return web.json_response({"delivery": f"in {found['minutes']} minutes", **found})

    async def order(request: web.Request) -> web.Response:
        async with session.post(f"{url_of('checkout')}/{request.match_info['region']}/orders", json=await request.json()) as answer:
            return web.json_response(await answer.json(), status=answer.status)

    async def check_out(request: web.Request) -> web.Response:
        region, minutes = request.match_info["region"], (await request.json())["minutes"]
        if world.checkout_fails(region):
            return failed("checkout", region, 500)
        async with session.post(f"{url_of('payments')}/{region}/pay") as paid:
            if paid.status != 200:
                return failed("checkout", region, 502)
        tell(event("orders", now_ms(), service="checkout", region=region, version=world.live["checkout", region]))
        world.send_off(region, minutes, now_ms())
        return web.json_response({"ordered": True}, status=201)

    async def pay(request: web.Request) -> web.Response:  # noqa: ARG001 - what aiohttp gives
        return web.json_response({"paid": False}, status=503) if world.payment_fails() else web.json_response({"paid": True})

    async def provider(request: web.Request) -> web.Response:
        world.provider_fails = float((await request.json())["fails"])
        return web.json_response({"fails": world.provider_fails})

    routes = {
        "storefront": [web.get("/{region}", home), web.post("/{region}/orders", order)],
        "promises": [web.get("/{region}/promise", promise)],
        "checkout": [web.post("/{region}/orders", check_out)],
        "payments": [web.post("/{region}/pay", pay), web.post("/provider", provider)],
    }
    found = {name: web.Application() for name in routes}
    for name, each in routes.items():
        found[name].add_routes(each)
    return found
