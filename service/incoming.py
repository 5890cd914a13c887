"""What comes to the worker besides records of topics: webhooks of changes, clusters that are watched, and what PagerDuty tells."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from mode import Service
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from rollguard.config import Settings
from rollguard.incidents import Command
from rollguard.service.changes import change_signer
from rollguard.service.commands import CommandRefusedError
from rollguard.service.intake import ClusterWatch, Counted, LimitedError, Limits, Receiver, channels_of, routes_of, writer
from rollguard.service.pagerduty import acknowledged
from rollguard.service.signals import to_signals
from rollguard.service.stages import now_ms
from rollguard.store import Store
from rollguard.streams.kafka import Outgoing, find_secret

__all__ = ["Incoming"]

#: What it is called in ledger and metrics.
PAGERDUTY = "pagerduty"


class Incoming:
    """Makes the routes and services of a config.

    Parameters
    ----------
    settings : Settings
    store : Store
        Remembers what was told of each Deployment.
    registry : CollectorRegistry
    append : callable
        Appends to our own topics.
    append_to : callable
        Appends to the topic that it is given.
    remember : callable
        Writes into the ledger that somebody wanted something they may not.

    Raises
    ------
    SecretError, UnsignedError
        If what changes are signed with is not where the config says, or is no key.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        registry: CollectorRegistry,
        append: Callable[[Sequence[Outgoing]], Awaitable[None]],
        append_to: Callable[[str, Sequence[Outgoing]], Awaitable[None]],
        remember: Callable[[Mapping[str, str]], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._append = append
        self._remember = remember
        self._write = writer(settings.changes.topic, append_to, change_signer(settings))
        self._limits = Limits(settings.changes.http.rate, time.monotonic)
        self._counted = Counted(registry)

    def watches(self) -> list[Service]:
        """Make a service for each cluster that is watched.

        Raises
        ------
        ClusterError
            If one can never work.
        """
        return [
            ClusterWatch(
                name,
                cluster,
                partial(find_secret, cluster.secret, f"changes.kubernetes.{name}.secret"),
                environment=self._settings.environment,
                write=self._write,
                store=self._store,
                counted=self._counted,
                now_ms=now_ms,
            )
            for name, cluster in self._settings.changes.kubernetes.items()
        ]

    def routes(self) -> list[Route]:
        """Make the routes by which changes come.

        Raises
        ------
        SecretError, UnsignedError
            If a key is not where the config says, or is none.
        """
        receiver = Receiver(
            environment=self._settings.environment,
            source=self._settings.changes.source,
            write=self._write,
            put_away=self._put_away,
            remember=self._remember,
            limits=self._limits,
            counted=self._counted,
        )
        return routes_of(receiver, channels_of(self._settings), now_ms)

    def pagerduty(self) -> Callable[[str, bytes], Awaitable[None]] | None:
        """Make what takes a signature and a body of PagerDuty; None: no pager has a webhook.

        Raises
        ------
        SecretError
            If a secret is not where the config says.
        """
        pagers = self._settings.respond.pagers.items()
        secrets = [find_secret(pager.webhook_secret, f"respond.pagers.{name}.webhook_secret") for name, pager in pagers if pager.webhook_secret is not None]
        return partial(self._told, secrets) if secrets else None

    async def _told(self, secrets: Sequence[str], signature: str, body: bytes) -> None:
        try:
            command = await self._acknowledged(secrets, signature, body)
        except (CommandRefusedError, LimitedError) as error:
            self._counted.webhooks.labels(PAGERDUTY, error.code).inc()
            raise
        if command is not None:
            await self._append([to_signals(command)])

    async def _acknowledged(self, secrets: Sequence[str], signature: str, body: bytes) -> Command | None:
        try:
            command = acknowledged(secrets, signature, body)
        except CommandRefusedError as error:
            # Before the ledger: who has no key must not fill it.
            self._limits.spend(f"{PAGERDUTY}: without a key of ours")
            await self._remember({"source": PAGERDUTY, "detail": str(error)})
            raise
        self._limits.spend(PAGERDUTY)
        return command

    async def _put_away(self, letter: Outgoing) -> None:
        await self._append([letter])
