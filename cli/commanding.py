"""`rollguard incidents ack` and its like, `rollguard mute`, `rollguard kill`: what persons say to the service, signed with their own key."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import typer

from rollguard.cli.working import ConfigToRun, UsageError, known_incident, live_settings, unknown
from rollguard.config import Settings, parse_duration
from rollguard.responders import KillSwitch
from rollguard.service import open_store, signed
from rollguard.streams.kafka import Access, find_secret, own_topics, quiet_client_logs

__all__ = ["ack", "allow", "approve", "judge", "kill", "mute", "reject", "resolve"]

Which = Annotated[str, typer.Argument(help="Id of the incident, as `rollguard incidents` shows it.", metavar="INCIDENT")]
Who = Annotated[str, typer.Option("--as", help="Who you are, by name in respond.people.", metavar="NAME")]
Secret = Annotated[str, typer.Option("--secret", help="Where your own key stands: env:NAME or file:PATH.", metavar="REFERENCE")]
Plan = Annotated[str, typer.Option("--plan", help="Hash of the plan, as the page and `rollguard incidents --json` have it.", metavar="HASH")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for those who read it later.", metavar="TEXT")]
KEY = "env:ROLLGUARD_SECRET"


def ack(incident: Which, *, config: ConfigToRun, who: Who, secret: Secret = KEY) -> None:
    """Say that you look after an incident: nobody else is told because nobody answered.

        rollguard incidents ack inc-9b68d9fe --as dana -c shop.yaml

    Exit codes: 0 said; 1 Kafka did not take it, or the database cannot be read; 2 wrong usage or config.
    """
    _of_incident(config, incident, who, secret, {"command": "ack"})


def approve(incident: Which, *, plan: Plan, config: ConfigToRun, who: Who, secret: Secret = KEY) -> None:
    """Approve a plan that waits. It counts for this plan alone, and not from an author of its change.

        rollguard incidents approve inc-9b68d9fe --plan 8c33e8df83d94182 --as erin -c shop.yaml

    Exit codes: 0 said; 1 Kafka did not take it, or the database cannot be read; 2 wrong usage or config.
    """
    _of_incident(config, incident, who, secret, {"command": "approve", "plan": plan})


def reject(incident: Which, *, plan: Plan, config: ConfigToRun, who: Who, secret: Secret = KEY, reason: Reason = "") -> None:
    """Say no to a plan that waits: it is not proposed again in this incident.

        rollguard incidents reject inc-9b68d9fe --plan 8c33e8df83d94182 --as erin -c shop.yaml --reason "it is the provider"

    Exit codes: 0 said; 1 Kafka did not take it, or the database cannot be read; 2 wrong usage or config.
    """
    _of_incident(config, incident, who, secret, {"command": "reject", "plan": plan, "reason": reason})


def judge(
    incident: Which,
    *,
    culprit: Annotated[str, typer.Option("--culprit", help="The change that did it; `none`: no change did; `false-alarm`: nothing was wrong.", metavar="ID")],
    config: ConfigToRun,
    who: Who,
    secret: Secret = KEY,
) -> None:
    """Say what it really was: eleven right verdicts earn a service its mode `auto`.

        rollguard incidents judge inc-9b68d9fe --culprit chg-687 --as dana -c shop.yaml

    Exit codes: 0 said; 1 Kafka did not take it, or the database cannot be read; 2 wrong usage or config.
    """
    _of_incident(config, incident, who, secret, {"command": "judge", "culprit": culprit})


def resolve(incident: Which, *, config: ConfigToRun, who: Who, secret: Secret = KEY, reason: Reason = "") -> None:
    """Say that an incident is over, whatever its numbers say.

        rollguard incidents resolve inc-9b68d9fe --as dana -c shop.yaml --reason "turned off by hand"

    Exit codes: 0 said; 1 Kafka did not take it, or the database cannot be read; 2 wrong usage or config.
    """
    _of_incident(config, incident, who, secret, {"command": "resolve", "reason": reason})


def mute(
    service: Annotated[str | None, typer.Argument(help="Service that nobody is to be paged about; without one: any.", metavar="[SERVICE]")] = None,
    *,
    span: Annotated[str, typer.Option("--for", help="For how long, as 30m or 2h.", metavar="SPAN")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who wonder.", metavar="TEXT")],
    config: ConfigToRun,
    who: Who,
    secret: Secret = KEY,
) -> None:
    """Keep a service from being paged about for a while; what still hurts then is paged.

        rollguard mute checkout --for 30m --reason "we move the database" --as dana -c shop.yaml

    Exit codes: 0 said; 1 Kafka did not take it; 2 wrong usage or config.
    """
    settings = live_settings(config)
    try:
        span_ms = parse_duration(span)
    except ValueError as error:
        raise UsageError(f"--for {span}: {error}. Expected: a span of time, as 30m.") from None
    until_ms = round(datetime.now(UTC).timestamp() * 1000) + span_ms
    _say(settings, who, secret, {"command": "mute", "service": service, "until_ms": until_ms, "reason": reason})


def allow(
    service: Annotated[str, typer.Argument(help="The service that is deployed.", metavar="SERVICE")],
    version: Annotated[str, typer.Argument(help="The version that may go on.", metavar="VERSION")],
    *,
    config: ConfigToRun,
    who: Who,
    secret: Secret = KEY,
    reason: Reason = "",
) -> None:
    """Say that a version may go on to the next region, as far as you are concerned; `rollguard gate` counts who said so. An author does not count.

        rollguard allow checkout 2.1 --as erin -c shop.yaml

    Exit codes: 0 said; 1 Kafka did not take it; 2 wrong usage or config.
    """
    _say(live_settings(config), who, secret, {"command": "allow", "service": service, "version": version, "reason": reason})


def kill(
    state: Annotated[Literal["on", "off"], typer.Argument(help="on: no rollback happens any more; off: they may again.")],
    *,
    config: ConfigToRun,
    who: Annotated[str, typer.Option("--as", help="Who you are, by name in respond.people; to turn it off.", metavar="NAME")] = "",
    secret: Secret = KEY,
) -> None:
    """Turn the kill switch: while it is on, no rollback is decided nor carried out, whoever approves it.

        rollguard kill on -c shop.yaml

        rollguard kill off --as dana -c shop.yaml

    It stands in the database at once, also when Kafka is away, and the desk reads it from the commands. Turning it on takes no name; turning it off takes
    that of a person, where the config names persons.

    Exit codes: 0 said; 1 neither the database nor Kafka took it; 2 wrong usage or config.
    """
    settings = live_settings(config)
    on, people = state == "on", tuple(settings.respond.people)
    said: dict[str, object] = {"command": "kill", "on": on, "by": who}
    if who and who not in people:
        raise unknown("--as", who, people, of="nobody of that name")
    if not on and people and not who:
        raise UsageError("kill off: who says so? Expected: --as NAME, a person of respond.people.")
    value, headers = msgspec.json.encode(said), list[tuple[str, bytes]]()
    if not on and people:
        value, headers = signed(said, _own_key(secret), f"cmd-{uuid.uuid4().hex}", datetime.now(UTC))
    with closing(open_store(settings)) as store:
        store.raise_flag(KillSwitch.FLAG, state, round(datetime.now(UTC).timestamp() * 1000))
    typer.echo(f"The kill switch is {state} in the database: " + ("no rollback begins any more." if on else "the desk follows once it has read it."))
    _send(settings, value, headers)
    typer.echo("The desk is told.")


def _of_incident(config: ConfigToRun, incident: str, who: str, secret: str, said: Mapping[str, object]) -> None:
    settings = live_settings(config)
    with closing(open_store(settings)) as store:
        known_incident(store, incident)
    _say(settings, who, secret, {**said, "incident_id": incident})


def _say(settings: Settings, who: str, secret: str, said: Mapping[str, object]) -> None:
    people = tuple(settings.respond.people)
    if who not in people:
        raise unknown("--as", who, people, of="nobody of that name")
    value, headers = signed({**said, "by": who}, _own_key(secret), f"cmd-{uuid.uuid4().hex}", datetime.now(UTC))
    _send(settings, value, headers)
    typer.echo(f"{said['command']} of {who}: said. The desk answers in the timeline: rollguard incidents -c FILE")


def _own_key(secret: str) -> str:
    if not secret.startswith(("env:", "file:")):
        raise UsageError("--secret: a secret does not stand on a command line. Expected: env:NAME or file:PATH.")
    return find_secret(secret, "--secret")


def _send(settings: Settings, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    quiet_client_logs()
    access = Access(settings.kafka)

    async def work() -> None:
        async with access.started(access.producer()) as producer:
            await producer.send_and_wait(own_topics(settings.kafka).commands.name, value=value, headers=headers)

    asyncio.run(work())
