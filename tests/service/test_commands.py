"""Commands of persons: only what they signed themselves, and lately, is heard."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollguard.config import Layer, default_text, load_layers
from rollguard.incidents import Command, Kill
from rollguard.service.commands import CommandRefusedError, command_of, signed
from rollguard.service.signing import UnsignedError

PEOPLE = "respond: {people: {dana: {secret: env:DANA}, erin: {secret: env:ERIN}}}\n"
SETTINGS = load_layers([Layer(default_text(), "default.yaml"), Layer(PEOPLE, "shop.yaml")])
SECRETS = {name: "whsec_" + base64.b64encode(f"{name}: a secret of over 24 bytes".encode()).decode() for name in ("dana", "erin")}


def now() -> datetime:
    """Read the clock: a whole run of tests takes longer than a signature holds."""
    return datetime.now(UTC)


APPROVE = {"command": "approve", "by": "dana", "incident_id": "inc-1", "plan": "8c33"}


def refused(value: bytes, headers: list[tuple[str, bytes]]) -> str:
    with pytest.raises(CommandRefusedError) as caught:
        command_of(SETTINGS, SECRETS, value, headers)
    told = str(caught.value)
    assert not any(secret[6:] in told for secret in SECRETS.values())
    return told


def test_what_a_person_signed_is_heard_with_their_name_and_time() -> None:
    at = now()
    found = command_of(SETTINGS, SECRETS, *signed(APPROVE, SECRETS["dana"], "cmd-1", at))
    assert found == Command(id="cmd-1", verb="approve", at_ms=int(at.timestamp()) * 1000, by="dana", incident_id="inc-1", plan="8c33")


def test_a_reason_may_speak_of_killing() -> None:
    said = {"command": "resolve", "by": "dana", "incident_id": "inc-1", "reason": 'they sent "kill"'}
    assert isinstance(command_of(SETTINGS, SECRETS, *signed(said, SECRETS["dana"], "cmd-1", now())), Command)


def test_a_command_in_the_name_of_another_is_forged() -> None:
    assert "Expected: their own signature" in refused(*signed(APPROVE, SECRETS["erin"], "cmd-1", now()))


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_command_is_not_heard_nor_one_of_the_future(minutes: int) -> None:
    assert "not older than five minutes" in refused(*signed(APPROVE, SECRETS["dana"], "cmd-1", now() + timedelta(minutes=minutes)))


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.binary() | st.text().map(str.encode)))
@example({"webhook-signature": b"garbage"})
@example({"webhook-signature": b"v1,a,b"})
@example({"webhook-signature": "v1,\u00e9".encode()})
@example({"webhook-timestamp": b"nan"})
@example({"webhook-timestamp": b"9" * 5000})
def test_headers_of_any_bytes_are_refused_and_never_stop_the_reader(changed: dict[str, bytes]) -> None:
    value, headers = signed(APPROVE, SECRETS["dana"], "cmd-1", now())
    if any(changed.get(name, text) != text for name, text in headers):
        refused(value, [(name, changed.get(name, text)) for name, text in headers])


def test_a_time_that_is_no_whole_number_is_refused_even_if_it_was_signed() -> None:
    value, headers = signed(APPROVE, SECRETS["dana"], "cmd-1", now())
    assert "headers that cannot be read" in refused(value, [(name, text + b".5" if name == "webhook-timestamp" else text) for name, text in headers])


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "\u00e9"])
def test_a_key_that_is_none_is_said_to_be_none(secret: str) -> None:
    with pytest.raises(UnsignedError, match="the secret of dana is none"):
        signed(APPROVE, secret, "cmd-1", now())


def test_a_signature_holds_for_what_was_signed_alone() -> None:
    value, headers = signed(APPROVE, SECRETS["dana"], "cmd-1", now())
    assert "signature" in refused(value.replace(b"8c33", b"9c33"), headers)
    other = [(name, b"cmd-2" if name == "webhook-id" else text) for name, text in headers]
    assert "signature" in refused(value, other)
    assert "signature" in refused(value, [])
    assert "signature" in refused(value, headers[:2])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (APPROVE | {"by": "dane"}, "'dane' is nobody that the config knows (`respond.people`). Did you mean 'dana'?"),
        (APPROVE | {"command": "dance"}, "Invalid enum value 'dance'"),
        (APPROVE | {"plan": ""}, "of which plan?"),
        ({"command": "ack", "by": "dana"}, "of which incident?"),
        (APPROVE | {"plan_b": "x"}, "unknown field `plan_b`"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_expected(said: dict[str, Any], words: str) -> None:
    assert words in refused(*signed(said, SECRETS["dana"], "cmd-1", now()))


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"{", b"\xff", b'{"command": "kill"}', b'{"command": "kill", "on": 1}', b"[" * 100_000])
def test_rubbish_is_refused(value: bytes) -> None:
    assert "Expected: " in refused(value, [])


def test_the_kill_switch_needs_no_name() -> None:
    assert command_of(SETTINGS, {}, msgspec.json.encode({"command": "kill", "on": True}), []) == Kill(on=True)
