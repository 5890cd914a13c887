"""A deployer of one's own, asked by signed HTTP: what is live, and to go back.

Both calls are POST with a body of JSON, signed as Standard Webhooks says. `url/current` takes `{"service", "region"}` (null: everywhere), answers
`{"version": ...}`, and may say `"status": "going" | "failed"`. `url/rollback` takes the step, with its intent as `webhook-id` and `idempotency-key`: the same
intent acts once. 200 or 202 with an object of JSON: it was taken. 409: another version is live, and nothing was changed. Another 4xx: it was not done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from rollguard.config import Target as TargetConfig
from rollguard.responders.http import HttpAnswer, HttpBrokenError, call, client, json_headers
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, UnknownError

__all__ = ["WebhookTarget"]


class _Current(msgspec.Struct, frozen=True):
    version: str
    status: Literal["live", "going", "failed"] = "live"


class WebhookTarget:
    """Asks a deployer.

    Parameters
    ----------
    where : str
        What errors call it.
    target : rollguard.config.Target
    secret : callable
        Reads the signing secret, whsec_…

    Raises
    ------
    RollguardError
        If it can never work.
    """

    def __init__(self, where: str, target: TargetConfig, secret: Callable[[], str]) -> None:
        self._where = where
        self._url = (target.url or "").rstrip("/")
        self._within_ms = target.timeout_ms
        self.cas: Literal["native", "read-then-call", "none"] = target.compares
        key = secret()
        try:
            self._signer = Webhook(key)
            self._session = client(timeout_ms=target.timeout_ms, ca_file=target.ca_file)
        except (ValueError, EmptyWebhookSecretError):
            said = "its secret is none. Expected: whsec_ and at least 24 bytes in base64"
        except OSError as error:
            said = f"ca_file: {(error.strerror or 'no certificate in it').lower()}"
        else:
            return
        # Outside of the handler: what was raised there holds the secret.
        raise RefusedError(where, said)

    async def current(self, step: Step) -> str:
        """Read the version that is live."""
        return (await self._current(step)).version

    async def plan(self, step: Step) -> Prepared:
        """Make sure that the judged version is live; the deployer finds its own way back."""
        version = await self.current(step)
        step.judged(self._where, version)
        return Prepared(step=step, version=version, what=f"ask the deployer to bring {step.service} back to {step.to_version} in {step.region or 'all places'}")

    async def execute(self, prepared: Prepared) -> str:
        """Ask for it, once."""
        step, where = prepared.step, prepared.step.at(self._where)
        body = msgspec.json.encode(step)
        headers = json_headers({**self._signed(step.intent, body), "idempotency-key": step.intent})
        try:
            answer = await call(self._session, "POST", f"{self._base(step)}/rollback", within_ms=self._within_ms, body=body, headers=headers)
            problem, sent = "", True
        except HttpBrokenError as error:
            answer, problem, sent = HttpAnswer(0, {}, b""), error.problem, error.sent
        if problem:
            raise (UnknownError if sent else RefusedError)(where, problem)
        if answer.status in {200, 202} and _is_object(answer.body):
            return answer.shown()
        if answer.status == 409:
            raise MovedError(where, answer.shown())
        if 400 <= answer.status < 500:
            raise RefusedError(where, answer.shown())
        raise UnknownError(where, f"{answer.shown()}, which says neither yes nor no")

    async def confirm(self, step: Step) -> Confirmed:
        """Ask what is live."""
        try:
            found = await self._current(step)
        except RefusedError:
            return "unknown"
        return step.progress(found.version, found.status)

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.aclose()

    async def _current(self, step: Step) -> _Current:
        body = msgspec.json.encode({"service": step.service, "region": step.region})
        headers = json_headers(self._signed(f"{step.intent}/current", body))
        status: int | None = None
        try:
            answer = await call(self._session, "POST", f"{self._base(step)}/current", within_ms=self._within_ms, body=body, headers=headers)
            status, problem = answer.status, "" if answer.status == 200 else answer.shown()
            found = msgspec.json.decode(answer.body, type=_Current) if answer.status == 200 else None
        except HttpBrokenError as error:
            found, problem = None, error.problem
        except msgspec.DecodeError:
            found, problem = None, 'no answer that is known. Expected: {"version": TEXT}'
        if found is None:
            raise RefusedError(step.at(self._where), f"what is live cannot be read: {problem}", status=status)
        return found

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        now = datetime.now(UTC)
        signature = self._signer.sign(message_id, now, body.decode())
        return {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}

    def _base(self, step: Step) -> str:
        return self._url.replace("{service}", quote(step.service, safe="")).replace("{region}", quote(step.region or "", safe=""))


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False
