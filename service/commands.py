"""Commands of persons: signed with their own key, checked here, and then records of the signals log like any other.

The form is Standard Webhooks: headers `webhook-id`, `webhook-timestamp` and `webhook-signature` over the value of the record. A command that is
older than five minutes, or whose signature is none of its person's, is put away, and the ledger says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import asdict, replace

from rollguard.config import RollguardError, Settings, near_match
from rollguard.incidents import Command, Kill, Verb
from rollguard.service.signing import UnsignedError, proof, signature, signer
from rollguard.service.stages import now_ms
from rollguard.streams.kafka import find_secret

__all__ = ["CommandRefusedError", "checked_key", "command_of", "signed"]

_NEEDS_PLAN = ("approve", "reject")


class CommandRefusedError(RollguardError):
    """A command that cannot be used; says why."""

    code = "command_refused"


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    command: str


class _Kill(msgspec.Struct, frozen=True, kw_only=True):
    on: bool
    by: str = ""


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says, as it stands on the topic."""

    verb: Verb = msgspec.field(name="command")
    by: str
    incident_id: str = ""
    plan: str = ""
    culprit: str | None = None
    service: str | None = None
    version: str = ""
    until_ms: int = 0
    reason: str = ""


def signed(said: Mapping[str, object], secret: str, message_id: str, at: datetime) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Write a command, signed.

    Parameters
    ----------
    said : mapping of str to object
        As `_Said` has it: at least `command` and `by`.
    secret : str
        Of the person, whsec_…
    message_id : str
        Of this command alone.
    at : datetime
        Now, with its offset.

    Returns
    -------
    value : bytes
    headers : list of (str, bytes)
        Of the Kafka record.

    Raises
    ------
    UnsignedError
        If the secret is none.
    """
    value = msgspec.json.encode(said)
    return value, signature(signer(secret, str(said.get("by"))), value, message_id, at)


def command_of(settings: Settings, secrets: Mapping[str, str], value: bytes, headers: Sequence[tuple[str, bytes]], at_ms: int = 0) -> Command | Kill:
    """Read a command, and make sure that its person said it, not long ago.

    Parameters
    ----------
    settings : Settings
    secrets : mapping of str to str
        Of each person, by name.
    value : bytes
    headers : sequence of (str, bytes)
    at_ms : int
        When the record was written, for what needs no signature: turning the kill switch on.

    Raises
    ------
    CommandRefusedError
        Says why; never holds a secret or a signature.
    """
    try:
        if msgspec.json.decode(value, type=_Kind).command == "kill":
            kill = msgspec.json.decode(value, type=_Kill)
            # Whoever wants to stop rollbacks may; who lets them go on is known by name, where there are names.
            if kill.on or not settings.respond.people:
                return Kill(on=kill.on, by=kill.by, at_ms=at_ms)
            return Kill(on=False, by=kill.by, at_ms=_proven(settings, secrets, kill.by, "kill off", value=value, headers=headers)[1])
        said = msgspec.json.decode(value, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandRefusedError(f'{error}. Expected: {{"command": "kill", "on": true}}, or what `rollguard incidents ack` and its like write') from None
    message_id, signed_ms = _proven(settings, secrets, said.by, said.verb, value=value, headers=headers)
    if said.verb == "allow" and not (said.service and said.version):
        raise CommandRefusedError(f"allow of {said.by}: what? Expected: service and version")
    if not said.incident_id and said.verb not in {"mute", "allow"}:
        raise CommandRefusedError(f"{said.verb} of {said.by}: of which incident? Expected: incident_id")
    if said.verb in _NEEDS_PLAN and not said.plan:
        raise CommandRefusedError(f"{said.verb} of {said.by}: of which plan? Expected: its hash, as the page and `rollguard incidents --json` have it")
    return Command(id=message_id, at_ms=signed_ms, **asdict(replace(said, reason=said.reason[:500])))


def _proven(settings: Settings, secrets: Mapping[str, str], by: str, what: str, *, value: bytes, headers: Sequence[tuple[str, bytes]]) -> tuple[str, int]:
    """Make sure that a person said it, not long ago: the message's id, and when."""
    secret = secrets.get(by)
    if secret is None:
        near = near_match(by, sorted(settings.respond.people))
        raise CommandRefusedError(f"{by[:64]!r} is nobody that the config knows (`respond.people`)" + (f". Did you mean '{near}'?" if near else ""))
    try:
        return proof(signer(secret, by), value, headers, now_ms=now_ms())
    except UnsignedError as error:
        raise CommandRefusedError(f"{what} of {by}: {error}. Expected: their own signature, not older than five minutes") from None


def checked_key(settings: Settings, name: str) -> str:
    """Read the key of a person, one that they can sign with.

    Raises
    ------
    SecretError
        If it is not where the config says.
    UnsignedError
        If it is none.
    """
    key = find_secret(settings.respond.people[name].secret, f"respond.people.{name}.secret")
    signer(key, name)
    return key
