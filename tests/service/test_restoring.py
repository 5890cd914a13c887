"""A database that is older than the logs: from its snapshots' offsets the stages say the same again, and nothing is rolled back twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from rollguard.config import Settings
from rollguard.incidents import LogCodec
from rollguard.service import DeskWorks
from rollguard.store import Store
from tests.incidents import scenes
from tests.servers.postgres import a_database, pg_tool, postgres_server
from tests.service.simulated import Cluster, SimulatedLogs, SimulatedReader, run

__all__ = ["postgres_server"]

AUTO = 'mode: auto\nrespond: {trust: granted, targets: {all: {kind: command, argv: ["false"], cas: native}}, target: all}\n'
PLACE = TopicPartition("rollguard.signals", 0)
DAY_MS = 86_400_000
#: What an operator has to type; docs/operate.md says the same.
DUMP = "pg_dump --format=custom --file={file} --dbname={address}"
RESTORE = "pg_restore --exit-on-error --no-owner --dbname={address} {file}"


def records(settings: Settings) -> list[tuple[bytes, bytes]]:
    """A signals log that tells of a change that hurts: keys and values."""
    story = scenes.Shop(settings=settings)
    codec = LogCodec()
    log = story.log(scenes.START - 10 * scenes.MINUTE, scenes.START + 12 * scenes.MINUTE, [*scenes.regional(story), *scenes.deploy()])
    return [(codec.id_of(record).encode(), codec.encode(record)) for record in log]


def read_by_the_desk(settings: Settings, store: Store, log: list[tuple[bytes, bytes]]) -> int:
    """Let a desk read the log from where the database says to its end; the clock on the wall then."""
    cluster = Cluster("rollguard", {PLACE.topic: 1, "rollguard.deadletter": 1}, scenes.START_MS)
    for key, value in log:
        cluster.write(PLACE.topic, 0, value, key=key)
    works = DeskWorks(settings, SimulatedLogs(cluster, "rollguard.desk"), store, "one", lambda: cluster.now_ms)
    assert run(cluster, SimulatedReader(cluster, [PLACE], most=9, patience=3), works)
    return cluster.now_ms


@contextmanager
def restored(store: Store, address: str, tmp_path: Path, server: str | None) -> Iterator[list[str]]:
    """Back a database up now; gives the address under which it may be restored later, as often as asked for."""
    if server is None:
        copy = tmp_path / "backup.db"
        store.backup(copy)
        yield [f"sqlite:///{copy}"]
        return
    file = tmp_path / "backup.dump"
    ran(DUMP.format(file=file, address=address))
    with a_database(server) as other:
        ran(RESTORE.format(file=file, address=other))
        yield [other]


def ran(command: str) -> None:
    words = command.split()
    done = subprocess.run([str(pg_tool(words[0])), *words[1:]], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_server"))


def test_a_restored_database_goes_on_from_its_snapshots_and_says_the_same_again(server: str | None, tmp_path: Path) -> None:
    settings = scenes.settings_with(AUTO)
    log = records(settings)
    with a_place(server, tmp_path) as address, closing(Store.open(address)) as store:
        store.migrate()
        # Backed up when the incident is open, and before a rollback was carried out.
        early = next(number for number in range(len(log) // 2, len(log), 5) if opened(settings, store, log[:number]))
        with restored(store, address, tmp_path, server) as (other,):
            now_ms = read_by_the_desk(settings, store, log)
            rollbacks = store.due(["rollback"], now_ms, 9, taken_by="executor", lease_ms=60_000)
            assert len(rollbacks) == 1
            assert store.settle(rollbacks[0].id, "executor", "done", now_ms)
            with closing(Store.open(other)) as back:
                kept = back.newest("desk")
                assert kept is not None
                assert 0 < kept.offset == early < len(log)
                read_by_the_desk(settings, back, log)
                for found, expected in ((back.timeline(), store.timeline()), (back.incidents(), store.incidents())):
                    assert found == expected
                assert [(row.id, row.dedup_key, row.kind) for row in back.outbox()] == [(row.id, row.dedup_key, row.kind) for row in store.outbox()]
                # It is written again, under the same key, and by then it has expired: nobody takes it.
                later_ms = now_ms + DAY_MS
                assert back.due(["rollback"], later_ms, 9, taken_by="executor", lease_ms=60_000) == []
                assert [row.id for row in back.overdue(later_ms)] == [rollbacks[0].id]
                assert back.verify() == []


def opened(settings: Settings, store: Store, log: list[tuple[bytes, bytes]]) -> bool:
    """Let the desk read so far; whether an incident is open then."""
    read_by_the_desk(settings, store, log)
    return bool(store.incidents(is_open=True))


@contextmanager
def a_place(server: str | None, tmp_path: Path) -> Iterator[str]:
    if server is None:
        yield f"sqlite:///{tmp_path / 'rollguard.db'}"
        return
    with a_database(server) as address:
        yield address
