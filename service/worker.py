"""The worker: every stage, the agents and the routes as services of one Faust worker."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import structlog
from mode import OneForOneSupervisor, Service
from prometheus_client import CollectorRegistry

from rollguard.config import Settings
from rollguard.service.changes import Keys, faust_app
from rollguard.service.commands import checked_key
from rollguard.service.desk_work import DeskWorks
from rollguard.service.detect_work import DetectWorks
from rollguard.service.gating import ask_gate
from rollguard.service.gauges import Gauges
from rollguard.service.http import HttpService, routes, serve
from rollguard.service.incoming import Incoming
from rollguard.service.ingest_work import IngestWorks
from rollguard.service.metrics import Metrics
from rollguard.service.respond import RespondService, pagers_of, target_of
from rollguard.service.stages import StageService, now_ms
from rollguard.service.stopping import Graceful, GracefulFaust
from rollguard.service.sweeping import Sweeper
from rollguard.service.waiting import wait_for_topics
from rollguard.service.watch import Watch, WatchService
from rollguard.store import LedgerRow, Store
from rollguard.streams.kafka import Access, KafkaLogs, Logs, Outgoing, Stretches, Works, find_secret, group_of, own_topics

__all__ = ["Part", "open_store", "run_worker", "tune_memory"]

log = structlog.get_logger()

#: New objects between two looks for cycles, and how often older ones are looked at. A batch of records is some thousand objects without a
#: cycle: as shipped (700, 10, 10), Python would go through all of them dozens of times before they are gone.
COLLECT = (100_000, 10, 10)


class Part(StrEnum):
    """A part of the worker that may be run alone."""

    INGEST = "ingest"
    DETECT = "detect"
    DESK = "desk"
    CHANGES = "changes"
    RESPOND = "respond"


class _Appender(Service):
    """A producer for the agents, started with the worker."""

    mundane_level = "debug"

    def __init__(self, access: Access) -> None:
        self.access = access
        self.producer: Any = None
        self._starts = asyncio.Lock()
        super().__init__()

    async def on_stop(self) -> None:
        """Send what is left."""
        if self.producer is not None:
            await self.producer.stop()

    async def append(self, records: Sequence[Outgoing]) -> None:
        """Append to our topics."""
        logs = await self._logs()
        if records:
            await logs.append(records)

    async def append_to(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append to a topic that is not our own."""
        await (await self._logs()).write(topic, records)

    async def _logs(self) -> KafkaLogs:
        # One producer, however many requests come before it has started.
        async with self._starts:
            if self.producer is None:
                producer = self.access.producer()
                await self.access.start(producer)
                self.producer = producer
        return KafkaLogs(self.access, None, self.producer, None, "")


def tune_memory() -> None:
    """Let the collector of cycles look rarely, and not at what was loaded before work began."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def open_store(settings: Settings, *, migrate: bool = True) -> Store:
    """Open the database that the settings name, brought to the newest schema unless told otherwise.

    Raises
    ------
    StoreError
        If it cannot be reached.
    SecretError
        If its password is not where the settings say.
    """
    told = settings.store
    store = Store.open(told.url, password=None if told.password is None else find_secret(told.password, "store.password"))
    if migrate:
        store.migrate()
    return store


def _stages(settings: Settings, access: Access, store: Store, owner: str, *, parts: Collection[str], metrics: Metrics) -> list[StageService]:
    """Make the stages that run here."""
    own = own_topics(settings.kafka)
    stretches = Stretches(access)
    topics = tuple(sorted({source.topic for source in settings.sources.values()}))
    known: dict[str, tuple[tuple[str, ...], int, Callable[[Logs], Works[Any]]]] = {
        "ingest": (topics, IngestWorks.MOST_RECORDS, lambda logs: IngestWorks(settings, logs)),
        "detect": ((own.blocks.name,), 200, lambda logs: DetectWorks(settings, logs, store, owner, now_ms, stretches=stretches)),
        "desk": ((own.signals.name,), 500, lambda logs: DeskWorks(settings, logs, store, owner, now_ms)),
    }
    return [
        StageService(name, access, reads, works, most_records=most, on_cycle=metrics.cycle_over)
        for name, (reads, most, works) in known.items()
        if name in parts
    ]


def _meanwhile(settings: Settings, access: Access, store: Store, parts: Collection[str]) -> Callable[[Callable[[], str]], Awaitable[None]]:
    """Make what is done while Kafka is waited for."""

    async def meanwhile(trouble: Callable[[], str]) -> None:
        """Watch, and answer, with clients of its own: those of the worker belong to its loop."""
        own_pagers = pagers_of(settings) if "respond" in parts else {}
        early = Watch(settings, store, reach=access.reach, pagers=own_pagers or None, has_desk=lambda: None, now_ms=now_ms)
        registry = CollectorRegistry()
        registry.register(Gauges(settings, (), early, now_ms))
        answers = routes(registry, lambda: {"kafka": trouble(), **early.troubles}, lambda asked: ask_gate(store, settings, asked, now_ms()))
        try:
            await asyncio.gather(early.go_on(), serve(settings.http, answers))
        finally:
            for pager in own_pagers.values():
                await pager.close()

    return meanwhile


def run_worker(settings: Settings, parts: Collection[str] = tuple(Part)) -> None:
    """Run until a signal ends it. Never returns: Faust leaves the process.

    Parameters
    ----------
    settings : Settings
    parts : collection of str
        Which of `Part` to run here.

    Raises
    ------
    RollguardError
        If a secret, a pager or the database is not where the settings say: before anything has begun.
    """
    access = Access(settings.kafka)
    store = open_store(settings)
    owner = f"{socket.gethostname()}/{os.getpid()}"
    metrics = Metrics(settings)
    telling = pagers_of(settings) if "respond" in parts else {}
    stages = _stages(settings, access, store, owner, parts=parts, metrics=metrics)
    appender = _Appender(access)
    watch = Watch(
        settings,
        store,
        reach=access.reach,
        pagers=telling or None,
        has_desk=lambda: next((stage.holds for stage in stages if stage.name == "desk"), None),
        now_ms=now_ms,
    )
    metrics.registry.register(Gauges(settings, stages, watch, now_ms))

    async def remembered(said: Mapping[str, str]) -> None:
        """Remember that somebody wanted something they may not."""
        kind = "change.refused" if said["source"] == settings.changes.source else "command.refused"
        await asyncio.to_thread(store.append, [LedgerRow(at_ms=now_ms(), kind=kind, body=msgspec.json.encode(said))])

    services: list[Service] = [*stages, WatchService(watch, telling)]
    last: list[Service] = [appender]
    if "respond" in parts:
        services.append(
            RespondService(
                settings,
                store,
                pagers=pagers_of(settings),
                targets={name: target_of(settings, name) for name in settings.respond.targets},
                append=appender.append,
                owner=owner,
                watch=watch,
            )
        )
    services += [Sweeper(settings, store, stage) for stage in stages if stage.name == "desk"]
    incoming = Incoming(settings, store, registry=metrics.registry, append=appender.append, append_to=appender.append_to, remember=remembered)
    if "changes" in parts:
        services += incoming.watches()
    if settings.http.port:

        def troubles() -> dict[str, str]:
            leaving = {"worker": "it stops"} if worker.stopping else {}
            return {**leaving, **{stage.name: stage.trouble or "not connected yet" for stage in stages if not stage.ready}, **watch.troubles}

        taking = incoming.routes() if "changes" in parts else []
        answers = routes(metrics.registry, troubles, lambda asked: ask_gate(store, settings, asked, now_ms()), incoming.pagerduty(), taking)
        last.append(HttpService(settings.http, answers))
    log.info(
        "worker_starts",
        owner=owner,
        parts=[str(part) for part in parts],
        brokers=list(settings.kafka.bootstrap_servers),
        store=settings.store.url,
        group=group_of(settings.kafka, "*"),
    )
    # Before Faust begins: it would create a topic that is missing, where brokers allow that, as they please.
    topics = sorted({source.topic for source in settings.sources.values()} | {settings.changes.topic, *(topic.name for topic in own_topics(settings.kafka))})
    if not asyncio.run(wait_for_topics(access, topics, _meanwhile(settings, access, store, parts))):
        raise SystemExit(0)
    tune_memory()
    changes = None if settings.changes.secret is None else find_secret(settings.changes.secret, "changes.secret")
    keys = Keys({name: checked_key(settings, name) for name in settings.respond.people}, changes)

    async def refused(letter: Outgoing) -> None:
        await remembered({name: text.decode("utf-8", "replace") for name, text in letter.headers})

    services += last
    supervisor = OneForOneSupervisor(*services, max_restarts=10, over=60.0)
    how: dict[str, Any] = {"loglevel": "WARN", "override_logging": False, "redirect_stdouts": False, "quiet": True}
    # An app has clients of its own, also without an agent.
    app = faust_app(settings, access, appender.append, keys, refused) if "changes" in parts else None
    worker = Graceful(supervisor, **how) if app is None else GracefulFaust(app, supervisor, **how)
    # What others wait to take over ends first, then what it appends with; that we are alive is said to the end.
    worker.waves = [[*services[: len(services) - len(last)], *([] if app is None else [app])], [appender]]
    worker.execute_from_commandline()
