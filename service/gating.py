"""The gate beside the database: what is known of a version is kept there by the desk, and read there by whoever asks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rollguard.config import Settings
from rollguard.incidents import ChangeSeen, Command, GateAnswer, GateQuestion, Release, answered, learnt, release_of
from rollguard.responders import Executor, Intent
from rollguard.store import Store

__all__ = ["ask_gate", "remember"]


def ask_gate(store: Store, settings: Settings, asked: GateQuestion, now_ms: int) -> GateAnswer:
    """Answer a pipeline.

    Parameters
    ----------
    store : Store
    settings : Settings
    asked : GateQuestion
    now_ms : int
        The clock on the wall.

    Raises
    ------
    StoreError
        If the database cannot be read: no answer is no pass.
    """
    frontier = store.flag(Executor.FRONTIER)
    return answered(
        asked,
        _known(store, asked.service, asked.version),
        [msgspec.json.decode(row.body)["incident"] for row in store.incidents(is_open=True)],
        settings,
        now_ms=now_ms,
        frontier_ms=None if frontier is None else int(frontier.value),
        undone=_undone(store, asked),
    )


def remember(store: Store, records: Sequence[ChangeSeen | Command], now_ms: int) -> None:
    """Keep what records say of versions; a repeat changes nothing.

    Raises
    ------
    StoreError
        If the database is away.
    """
    for record in records:
        named = release_of(record)
        if named is None:
            continue
        known = _known(store, *named)
        now = learnt(known, record)
        if now != known:
            store.raise_flag(_name(*named), msgspec.json.encode(now).decode(), now_ms)


def _known(store: Store, service: str, version: str) -> Release:
    flag = store.flag(_name(service, version))
    return Release(service=service, version=version) if flag is None else msgspec.json.decode(flag.value, type=Release)


def _name(service: str, version: str) -> str:
    """Of the flag; a list, so that no separator in a name makes two of them one."""
    return "release " + msgspec.json.encode([service, version]).decode()


def _undone(store: Store, asked: GateQuestion) -> str:
    for row in store.outbox(kinds=["rollback"], states=["done"]):
        plan = msgspec.json.decode(row.body, type=Intent).plan
        if (plan.service, plan.expected_version) == (asked.service, asked.version):
            return row.incident_id
    return ""
