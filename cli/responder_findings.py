"""Pagers, targets and the keys of persons: made, then tried without telling or rolling back anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from rollguard.cli.findings import Finding
from rollguard.cli.places import Places
from rollguard.config import RollguardError, Settings
from rollguard.responders import KillSwitch, try_pager, try_target
from rollguard.service import change_signer, checked_key, pager_of, target_of
from rollguard.streams.kafka import find_secret

__all__ = ["responders_found", "responders_tried"]

NO_PLACES = Places(None)


def responders_found(settings: Settings, places: Places = NO_PLACES) -> Iterator[Finding]:
    """Make pagers and targets, without asking them anything, and look for the keys of persons and the kill switch."""
    respond = settings.respond
    for name, pager in respond.pagers.items():
        yield _made(
            f"pager {name}",
            f"{pager.kind}; `rollguard page --test` tells it something",
            partial(pager_of, settings, name),
            places.of("respond", "pagers", name, "secret"),
        )
    for name, target in respond.targets.items():
        text = f"{target.kind}, compares: {target.compares}" + ("" if target.compares == "native" else ", so nothing is rolled back without a person")
        yield _made(f"target {name}", text, partial(target_of, settings, name), places.of("respond", "targets", name, "secret"))
    if settings.changes.secret is not None:
        yield _made("changes", "each record has to be signed", partial(change_signer, settings), places.of("changes", "secret"))
    for name in respond.people:
        yield _made(f"person {name}", "has a key", partial(checked_key, settings, name), places.of("respond", "people", name, "secret"))
    if respond.heartbeat.secret is not None:
        find = partial(find_secret, respond.heartbeat.secret, "respond.heartbeat.secret")
        yield _made("heartbeat", "has an address", find, places.of("respond", "heartbeat", "secret"))
    if respond.kill_switch is not None:
        why_on = KillSwitch.why_file(Path(respond.kill_switch))
        text = why_on or f"{respond.kill_switch} says off: rollbacks may happen"
        yield Finding(state="note" if why_on else "ok", what="kill switch", text=text, where=places.of("respond", "kill_switch"))


async def responders_tried(settings: Settings, places: Places) -> list[Finding]:
    """Reach each pager and target that can be made; nobody is paged and nothing is rolled back."""
    pagers = [_pager_tried(settings, name, places) for name in settings.respond.pagers]
    targets = [_target_tried(settings, name, places) for name in settings.respond.targets]
    return [each for each in await asyncio.gather(*pagers, *targets) if each is not None]


async def _pager_tried(settings: Settings, name: str, places: Places) -> Finding | None:
    pager = settings.respond.pagers[name]
    try:
        made = pager_of(settings, name)
    except RollguardError:
        return None  # Told where it is made.
    await made.close()
    secret = None if pager.secret is None else find_secret(pager.secret, f"respond.pagers.{name}.secret")
    key = "url" if pager.url else "secret" if pager.kind == "slack" else "kind"
    return None if pager.kind == "log" else await _tried(f"pager {name}", try_pager(name, pager, secret), places.of("respond", "pagers", name, key))


async def _target_tried(settings: Settings, name: str, places: Places) -> Finding | None:
    config = settings.respond.targets[name]
    services = tuple(each for each in sorted(settings.services) if settings.service(each).target == name)
    region = next(iter(settings.places), None)
    if region is None and any("{region}" in text for text in (config.url or "", config.namespace, config.name)):
        return Finding(state="note", what=f"target {name}", text="its address holds {region}, and `places` names none to try")
    try:
        target = target_of(settings, name)
    except RollguardError:
        return None  # The same.
    try:
        return await _tried(f"target {name}", try_target(target, config, services, region), places.of("respond", "targets", name))
    finally:
        await target.close()


async def _tried(what: str, work: Awaitable[str], where: str) -> Finding:
    try:
        return Finding(state="ok", what=what, text=await work)
    except RollguardError as error:
        return Finding(state="mend", what=what, text=f"{str(error).rstrip('.')}. Nothing was told or changed; mend it here, or at the other end.", where=where)


def _made(what: str, text: str, make: Callable[[], object], where: str) -> Finding:
    try:
        make()
    except RollguardError as error:
        return Finding(state="mend", what=what, text=str(error), where=where)
    return Finding(state="ok", what=what, text=text)
