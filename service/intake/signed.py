"""Changes of anybody's own pipeline, signed as Standard Webhooks are: our change record, or CDEvents.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, and
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

from collections.abc import Mapping

from rollguard.config import Key
from rollguard.incidents import ChangeRefusedError, change_record
from rollguard.service.intake.records import Delivery, ForgedError, Proven, Said, UnusableError
from rollguard.service.signing import UnsignedError, proof, signer

__all__ = ["Signed"]


class Signed:
    """Takes signed changes.

    Parameters
    ----------
    keys : mapping of str to Key
    secrets : mapping of str to str
        Of each key, whsec_…
    environment : str
        The one whose changes count.

    Raises
    ------
    UnsignedError
        If a secret is none.
    """

    name = "signed"
    path = "/changes"

    def __init__(self, keys: Mapping[str, Key], secrets: Mapping[str, str], environment: str) -> None:
        self._keys = dict(keys)
        self._signers = {name: signer(secrets[name], f"changes.http.keys.{name}") for name in keys}
        self._environment = environment

    def prove(self, delivery: Delivery) -> Proven:
        """Find the key that signed it, not long ago."""
        headers = [(name, delivery.header(name).encode("latin-1", "replace")) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")]
        headers = [(name, text) for name, text in headers if text]
        right, wrong = [], []
        for name, webhook in self._signers.items():
            try:
                proof(webhook, delivery.body, headers, now_ms=delivery.now_ms)
                right.append(name)
            except UnsignedError as error:
                wrong.append(str(error))
        if not right:
            # Of a key that fits and is stale, that is what there is to know.
            problem = max(wrong, key=lambda text: text.startswith("signed "))
            raise ForgedError(f"changes: {problem}. Expected: headers webhook-id, webhook-timestamp (within 5 min) and webhook-signature, by a key of ours")
        return Proven(key=right[0], services=self._keys[right[0]].services)

    def read(self, proven: Proven, delivery: Delivery) -> Said:  # noqa: ARG002 - as every channel
        """Read the record; of a CloudEvent in binary mode, with its headers."""
        headers = [
            (name.replace("ce-", "ce_", 1) if name.startswith("ce-") else name, text.encode("latin-1", "replace")) for name, text in delivery.headers.items()
        ]
        try:
            found = change_record(delivery.body, headers, environment=self._environment)
        except ChangeRefusedError as error:
            raise UnusableError(f"changes: {error}") from None
        return Said(records=(), note="an event that changes nothing") if found is None else Said(records=(found,))
