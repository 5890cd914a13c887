"""What somebody did in PagerDuty, told to the desk: who acknowledged there need not do so here.

References
----------
https://developer.pagerduty.com/docs/webhooks-overview and …/verifying-webhook-signatures: V3 webhooks, signed with HMAC-SHA256 over the body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from rollguard.config import ms_of
from rollguard.incidents import Command
from rollguard.service.commands import CommandRefusedError

__all__ = ["SIGNATURE", "acknowledged"]

#: The header that holds the signatures, as `v1=…,v1=…`.
SIGNATURE = "x-pagerduty-signature"
_ACKNOWLEDGED = "incident.acknowledged"


class _Agent(msgspec.Struct, frozen=True):
    summary: str = ""


class _Data(msgspec.Struct, frozen=True):
    incident_key: str | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    event_type: str
    occurred_at: str
    agent: _Agent | None = None
    data: Any = None


class _Webhook(msgspec.Struct, frozen=True):
    event: _Event


def acknowledged(secrets: Sequence[str], signature: str, body: bytes) -> Command | None:
    """Read a webhook.

    Parameters
    ----------
    secrets : sequence of str
        Of the webhook subscriptions.
    signature : str
        What the header says.
    body : bytes

    Returns
    -------
    Command or None
        None: it tells of something else.

    Raises
    ------
    CommandRefusedError
        If PagerDuty did not send it, or it cannot be read. Holds no secret and no signature.
    """
    said = [part.strip().removeprefix("v1=").encode("ascii", "replace") for part in signature.split(",")]
    proven = [hmac.compare_digest(each, hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()) for secret in secrets for each in said]
    if not any(proven):
        raise CommandRefusedError(f"pagerduty: no signature of ours. Expected: the header {SIGNATURE}, made with the secret of the webhook subscription")
    try:
        event = msgspec.json.decode(body, type=_Webhook).event
        if event.event_type != _ACKNOWLEDGED:
            return None
        data = msgspec.convert(event.data, type=_Data)
        at_ms = ms_of(event.occurred_at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise CommandRefusedError(f"pagerduty: {error}. Expected: an event of a V3 webhook") from None
    if not data.incident_key:
        return None
    by = event.agent.summary if event.agent is not None and event.agent.summary else "somebody"
    return Command(id=f"pagerduty-{event.id}", verb="ack", at_ms=at_ms, by=f"{by[:100]} (PagerDuty)", incident_id=data.incident_key)
