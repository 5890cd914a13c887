"""Deliveries as GitHub, Argo CD and pipelines send them, and a receiver that writes into a list."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers
from rollguard.incidents import ChangeRecord
from rollguard.service.http import routes
from rollguard.service.intake import Counted, Limits, Receiver, channels_of, routes_of
from rollguard.service.signing import signature, signer
from rollguard.streams.kafka import Outgoing
from tests.service.test_http import nobody

CI, PROMISES = "whsec_" + "YWFh" * 8, "whsec_" + "YmJi" * 8
GITHUB, ARGOCD = "a secret that GitHub was given", "a-token-of-argocd"
CONFIG = """
changes:
  http:
    keys:
      ci: {secret: env:CI_KEY, services: [checkout, "promise-*"]}
      all: {secret: env:ALL_KEY}
    github:
      shop: {secret: env:GITHUB_SECRET}
    argocd:
      shop: {secret: env:ARGOCD_TOKEN}
"""
RECORD = {"deploy_id": "chg-1", "service": "checkout", "started_at": "2026-03-02T09:00:00Z", "finished_at": "2026-03-02T09:05:00Z", "version": "4.11.0"}


def settings_of(text: str = CONFIG) -> Settings:
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml")])


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CI_KEY", CI), ("ALL_KEY", PROMISES), ("GITHUB_SECRET", GITHUB), ("ARGOCD_TOKEN", ARGOCD + "\n")):
        monkeypatch.setenv(name, value)


@dataclass
class Door:
    """The routes of a config, with what went through them."""

    settings: Settings = field(default_factory=settings_of)
    away: bool = False
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    clock_s: float = 0.0
    written: list[ChangeRecord] = field(default_factory=list)
    letters: list[dict[str, str]] = field(default_factory=list)
    ledger: list[Mapping[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        receiver = Receiver(
            environment=self.settings.environment,
            source="deploys",
            write=self._write,
            put_away=self._put_away,
            remember=self._remember,
            limits=Limits(self.settings.changes.http.rate, lambda: self.clock_s),
            counted=Counted(self.registry),
        )
        self.app = routes(self.registry, dict, nobody, more=routes_of(receiver, channels_of(self.settings), lambda: self.now_ms))

    def post(self, path: str, body: bytes, headers: Mapping[str, str | bytes] | None = None, **more: Any) -> httpx.Response:
        async def whole() -> httpx.Response:
            # What a server would answer with 500 is raised here.
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://worker") as client:
                return await client.post(path, content=body, headers=dict(headers or {}), **more)  # type: ignore[arg-type]

        return asyncio.run(whole())

    def github(self, event: str, message: object, *, secret: str = GITHUB, delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958") -> httpx.Response:
        body = msgspec.json.encode(message)
        signed = {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
        return self.post("/changes/github", body, {"content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery} | signed)

    def signed(self, body: bytes, *, secret: str = CI, at_ms: int | None = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        at = datetime.fromtimestamp((self.now_ms if at_ms is None else at_ms) / 1000, UTC)
        told = {name: text.decode() for name, text in signature(signer(secret, "ci"), body, "msg-1", at)}
        return self.post("/changes", body, told | dict(headers or {}))

    def argocd(self, message: object, *, token: str = ARGOCD) -> httpx.Response:
        return self.post("/changes/argocd", msgspec.json.encode(message), {"authorization": f"Bearer {token}"})

    def refused(self, channel: str, reason: str) -> float:
        return self.registry.get_sample_value("rollguard_refused_changes_total", {"channel": channel, "reason": reason}) or 0.0

    async def _write(self, records: Sequence[ChangeRecord]) -> None:
        if self.away:
            raise RollguardError("broker 10.0.0.1:9092: not reached")
        self.written += records

    async def _put_away(self, letter: Outgoing) -> None:
        self.letters.append({name: text.decode() for name, text in letter.headers})

    async def _remember(self, told: Mapping[str, str]) -> None:
        self.ledger.append(told)


def deployment(state: str | None, *, at: str = "2026-03-02T09:05:00Z", run: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """An event in the form of GitHub's documentation: of a deployment, or of a status, where one is given."""
    found = {
        "id": 145988746,
        "sha": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        "ref": "v4.11.0",
        "task": "deploy",
        "payload": {},
        "original_environment": "production",
        "environment": "production",
        "description": None,
        "creator": {"login": "dana", "id": 21031067, "type": "User"},
        "created_at": "2026-03-02T09:00:00Z",
        "updated_at": at,
    } | changed
    message: dict[str, Any] = {
        "action": "created",
        "deployment": found,
        "repository": {"id": 186853002, "name": "checkout", "full_name": "shop/checkout", "owner": {"login": "shop"}},
        "sender": {"login": "dana", "id": 21031067, "type": "User"},
        "workflow_run": run,
    }
    if state is not None:
        creator = {"login": "github-actions[bot]", "type": "Bot"}
        message["deployment_status"] = {"id": 209916254, "state": state, "creator": creator, "environment": "production", "created_at": at, "updated_at": at}
    return message
