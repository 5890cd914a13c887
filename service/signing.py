"""Signatures of Standard Webhooks on records of Kafka: who wrote a record, and when.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from rollguard.config import RollguardError

__all__ = ["TOLERANCE_MS", "UnsignedError", "proof", "signature", "signer"]

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
#: A signature is believed for so long before and after, as the specification says.
TOLERANCE_MS = 5 * 60_000


class UnsignedError(RollguardError):
    """A record that nobody who may has signed; holds no secret and no signature."""

    code = "unsigned"


def signer(secret: str, of: str) -> Webhook:
    """Make what signs and checks.

    Parameters
    ----------
    secret : str
        whsec_… and at least 24 bytes in base64.
    of : str
        Whose it is, for the error.

    Raises
    ------
    UnsignedError
        If the secret is none.
    """
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        # The cause is left out: it would carry the secret.
        raise UnsignedError(f"the secret of {of} is none. Expected: whsec_ and at least 24 bytes in base64") from None


def signature(webhook: Webhook, value: bytes, message_id: str, at: datetime) -> list[tuple[str, bytes]]:
    """Sign a record: the headers that belong to it.

    Parameters
    ----------
    webhook : Webhook
    value : bytes
    message_id : str
        Of this record alone.
    at : datetime
        Now, with its offset.
    """
    pairs = ((_ID, message_id), (_TIMESTAMP, str(int(at.timestamp()))), (_SIGNATURE, webhook.sign(message_id, at, value.decode())))
    return [(name, text.encode()) for name, text in pairs]


def proof(webhook: Webhook, value: bytes, headers: Sequence[tuple[str, bytes]], *, now_ms: int) -> tuple[str, int]:
    """Make sure that a record was signed, not long before a moment.

    Parameters
    ----------
    webhook : Webhook
    value : bytes
    headers : sequence of (str, bytes)
    now_ms : int
        The moment: the clock on the wall; or when the record was written, if it may have waited long.

    Returns
    -------
    message_id : str
    signed_ms : int

    Raises
    ------
    UnsignedError
        Says why.
    """
    found = dict(headers)
    if not {_ID, _TIMESTAMP, _SIGNATURE} <= found.keys():
        raise UnsignedError("it is not signed")
    stamp = found[_TIMESTAMP]
    # ASCII digits alone, no more than a time has.
    if not stamp.isdigit() or len(stamp) > 11:
        raise UnsignedError("headers that cannot be read")
    try:
        message_id = found[_ID].decode()
        expected = webhook.sign(message_id, datetime.fromtimestamp(int(stamp), UTC), value.decode()).encode()
    except (ValueError, OverflowError, OSError):
        raise UnsignedError("headers that cannot be read") from None
    if not any(hmac.compare_digest(each, expected) for each in found[_SIGNATURE].split()):
        raise UnsignedError("another signature than theirs")
    signed_ms = int(stamp) * 1000
    if abs(now_ms - signed_ms) > TOLERANCE_MS:
        raise UnsignedError(f"signed {abs(now_ms - signed_ms) / 60_000:.0f} min {'before' if signed_ms < now_ms else 'after'} it came")
    return message_id, signed_ms
