"""The shop's deployer: deploys versions, says so on Kafka, and takes signed calls of Rollguard to go back.

It is what a deployer of one's own needs to be a target of the kind `webhook` with `cas: native`: it compares and sets in one step, and the same intent
acts once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from world import REGIONS, World

__all__ = ["Deployer"]

#: Seconds that a roll-out takes in a region.
TAKES_S = 1.0


class Deployer:
    """Holds what is live.

    Parameters
    ----------
    world : World
    announce : callable
        Writes a record to the topic of changes.
    secret : str
        What Rollguard's calls are signed with, whsec_…
    """

    def __init__(self, world: World, announce: Callable[[dict[str, Any]], None], secret: str) -> None:
        self.world = world
        self.announce = announce
        self.webhook = Webhook(secret)
        self.done: set[str] = set()
        #: Every call to go back, for whoever wants to know how often it was asked.
        self.calls: list[dict[str, Any]] = []
        self._going: set[asyncio.Task[None]] = set()

    @property
    def app(self) -> web.Application:
        """Its routes."""
        found = web.Application()
        found.add_routes(
            [web.post("/current", self._current), web.post("/rollback", self._back), web.post("/deploy", self._deploy), web.get("/calls", self._told)]
        )
        return found

    def deployed_long_ago(self, at_ms: int) -> None:
        """Say that what is live now was deployed at a time."""
        for service, region in self.world.live:
            record = self._record(f"old-{service}", service, region, None, self.world.live[service, region])
            self.announce(record | {"author": "erin", "approvals": 2, "started_at": _stamp(at_ms), "finished_at": _stamp(at_ms + 60_000)})

    def signed(self, value: bytes) -> list[tuple[str, bytes]]:
        """Headers that sign the record of a change, as Standard Webhooks says."""
        name, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
        found = {"webhook-id": name, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": self.webhook.sign(name, now, value.decode())}
        return [(header, text.encode()) for header, text in found.items()]

    def deploy(self, service: str, version: str, regions: Iterable[str], more: Mapping[str, Any]) -> str:
        """Deploy a version, and give the id of the change; `more` stands in its record too."""
        deploy_id = f"chg-{uuid.uuid4().hex[:8]}"
        for region in regions:
            self._start(deploy_id, service, region, version, more)
        return deploy_id

    async def _deploy(self, request: web.Request) -> web.Response:
        """Deploy a version: `{"service", "version", "regions", "author", ...}`; what else there is stands in the record of the change."""
        asked = await request.json()
        service, version = asked.pop("service"), asked.pop("version")
        regions = asked.pop("regions", None) or list(REGIONS)
        before = {region: self.world.live[service, region] for region in regions}
        return web.json_response({"deploy_id": self.deploy(service, version, regions, asked), "before": before}, status=202)

    async def _current(self, request: web.Request) -> web.Response:
        asked = await self._verified(request)
        if isinstance(asked, web.Response):
            return asked
        versions = {self.world.live[asked["service"], region] for region in self._regions(asked)}
        return web.json_response({"version": "/".join(sorted(versions))})

    async def _back(self, request: web.Request) -> web.Response:
        asked = await self._verified(request)
        if isinstance(asked, web.Response):
            return asked
        self.calls.append(asked)
        intent, service = asked["intent"], asked["service"]
        if intent in self.done:
            return web.json_response({"taken": intent}, status=202)
        # Nothing comes between comparing and setting, since nothing is awaited.
        moved = {region: version for region in self._regions(asked) if (version := self.world.live[service, region]) != asked["expected_version"]}
        if moved:
            return web.json_response({"live": moved}, status=409)
        self.done.add(intent)
        for region in self._regions(asked):
            self._start(f"undo-{intent}", service, region, asked["to_version"], {"author": "rollguard", "change_kind": "code"})
        return web.json_response({"taken": intent}, status=202)

    async def _told(self, request: web.Request) -> web.Response:  # noqa: ARG002 - what aiohttp gives
        live = {f"{service}@{region}": version for (service, region), version in self.world.live.items()}
        return web.json_response({"calls": self.calls, "live": live})

    async def _verified(self, request: web.Request) -> Any:
        """The body of a call that Rollguard signed; else the answer that refuses it."""
        try:
            return self.webhook.verify(await request.read(), dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=401)

    def _start(self, deploy_id: str, service: str, region: str, version: str, more: Mapping[str, Any]) -> None:
        """Begin a roll-out: live right away, finished a little later."""
        record = self._record(deploy_id, service, region, self.world.live[service, region], version) | dict(more)
        self.world.live[service, region] = version
        started_ms = time.time_ns() // 1_000_000
        self.announce(record | {"started_at": _stamp(started_ms)})

        async def finish() -> None:
            await asyncio.sleep(TAKES_S)
            self.announce(record | {"started_at": _stamp(started_ms), "finished_at": _stamp(time.time_ns() // 1_000_000)})

        task = asyncio.ensure_future(finish())
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    @staticmethod
    def _record(deploy_id: str, service: str, region: str, before: str | None, version: str) -> dict[str, Any]:
        """What is said of a change, but for its times."""
        return {
            "deploy_id": deploy_id,
            "service": service,
            "region": region,
            "environment": "production",
            "change_kind": "code",
            "from_version": before,
            "version": version,
            "rollback": {"supported": before is not None, "to_version": before},
        }

    @staticmethod
    def _regions(asked: Mapping[str, Any]) -> list[str]:
        return list(REGIONS) if asked.get("region") is None else [asked["region"]]


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
