"""Deployments of a cluster, watched as a service of the worker. What was told stands in the database, so that a restart tells nothing twice.

Two workers that watch the same cluster write records of the same ids, which is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from mode import Service

from rollguard.config import Cluster, RollguardError
from rollguard.responders import Collection, GoneError, deployments_of
from rollguard.service.intake.counting import Counted
from rollguard.service.intake.mapping import text_within
from rollguard.service.intake.records import UnusableError
from rollguard.service.intake.rollouts import Told, changes_of
from rollguard.service.intake.taking import Write
from rollguard.store import Store
from rollguard.streams.kafka import pauses

__all__ = ["ClusterWatch"]

log = structlog.get_logger()
CHANNEL = "kubernetes"


class ClusterWatch(Service):
    """Watches one cluster.

    Parameters
    ----------
    name : str
        Of the cluster, in the config.
    cluster : Cluster
    secret : callable
        Reads its bearer token.
    environment : str
    write : callable
        See `Write`.
    store : Store
    counted : Counted
    now_ms : callable
        The clock on the wall: of it, only when the cluster was first watched enters into what is told.
    waits : callable
        Gives the seconds between attempts.

    Raises
    ------
    ClusterError
        If it can never work.
    """

    mundane_level = "debug"

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        secret: Callable[[], str],
        *,
        environment: str,
        write: Write,
        store: Store,
        counted: Counted,
        now_ms: Callable[[], int],
        waits: Callable[[], Iterator[float]] = pauses,
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.environment = environment
        self._write = write
        self._store = store
        self._counted = counted
        self._now_ms = now_ms
        self._waits = waits
        self._collections = deployments_of(name, cluster, secret)
        # From 0 on: what was never heard is silent too, and an alert has to see it.
        counted.heard.labels(name)
        super().__init__()

    @Service.task
    async def _run(self) -> None:
        await asyncio.gather(*(self._follow(each) for each in self._collections))

    async def _follow(self, collection: Collection) -> None:
        waits = self._waits()
        version = ""
        while not self.should_stop:
            heard = False
            try:
                version = version or await self._all_of(collection)
                async for kind, each in collection.watched(version):
                    if kind in {"ADDED", "MODIFIED"}:
                        await self.look(each)
                    # After it was written: what was not is heard again.
                    version = text_within(each, "metadata", "resourceVersion") or version
                    self._is_heard()
                    heard, waits = True, self._waits()
            except GoneError as error:
                version = ""
                log.warning("cluster_is_listed_again", cluster=self.name, error=str(error))
            except RollguardError as error:
                log.error("cluster_watch_broke_off", cluster=self.name, error=str(error))  # noqa: TRY400 - the text says it all
                heard = False
            if not heard or not version:
                # Also where every watch ends at once and says nothing, as behind some proxies.
                await self.sleep(next(waits))

    async def _all_of(self, collection: Collection) -> str:
        """Look at all there is; gives the version from which to watch."""
        found, version = await collection.listed()
        for each in found:
            await self.look(each)
        self._is_heard()
        return version

    def _is_heard(self) -> None:
        self._counted.heard.labels(self.name).set(self._now_ms() / 1000)

    async def look(self, found: Mapping[str, Any]) -> None:
        """Write what changed of a Deployment, and remember it once that is written.

        Raises
        ------
        RollguardError
            If the database or Kafka is away.
        """
        flag = f"kubernetes {self.name} {text_within(found, 'metadata', 'uid')}"
        since_ms, known = await asyncio.to_thread(self._known, flag)
        before = None if known is None else msgspec.json.decode(known, type=Told)
        try:
            told, records = changes_of(self.cluster, found, before, since=_stamp(since_ms), environment=self.environment)
        except UnusableError as error:
            # It would be the same again: the others go on.
            self._counted.refused.labels(CHANNEL, error.code).inc()
            log.warning("change_refused", channel=CHANNEL, cluster=self.name, reason=error.code, detail=str(error))
            return
        if records:
            await self._write(records)
            self._counted.taken.labels(CHANNEL).inc(len(records))
            log.info("change_taken", channel=CHANNEL, cluster=self.name, changes=[record.deploy_id for record in records])
        if told is not None and told != before:
            await asyncio.to_thread(self._store.raise_flag, flag, msgspec.json.encode(told).decode(), self._now_ms())

    def _known(self, flag: str) -> tuple[int, str | None]:
        """When the cluster was first watched, and what was told of a Deployment."""
        first = f"kubernetes {self.name}"
        since = self._store.flag(first)
        if since is None:
            # Of several workers that begin, one is the first.
            self._store.exchange_flag(first, None, str(self._now_ms()), self._now_ms())
            return self._known(flag)
        told = self._store.flag(flag)
        return int(since.value), None if told is None else told.value

    async def on_stop(self) -> None:
        """Let go of connections."""
        for each in self._collections:
            await each.close()


def _stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
