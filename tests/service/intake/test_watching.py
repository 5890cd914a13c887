"""A cluster that is watched: what its API server does, and that each change is told once, whatever happens between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry

from rollguard.config import Cluster, RollguardError
from rollguard.incidents import ChangeRecord
from rollguard.responders import ClusterError
from rollguard.service.intake import ClusterWatch, Counted
from rollguard.store import Store
from tests.responders.faulty import HTML, RESET, Answer, Behaviour, Faulty
from tests.service.intake.clusters import deployment, event, listed, watch

SINCE_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
NEXT: dict[str, Any] = {"revision": 2, "image": "checkout:4.11.0", "written": "2026-03-02T09:00:00Z"}
GOING = deployment(**NEXT, live=False, version="201")
LIVE = deployment(**NEXT, said="2026-03-02T09:05:00Z", version="202")
QUIET = watch(then="goes on")


@dataclass
class Watcher:
    """Somebody who watches, with what they wrote; a database of their own, or another's."""

    store: Store
    failures: int = 0
    written: list[ChangeRecord] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def write(self, records: Sequence[ChangeRecord]) -> None:
        if self.failures:
            self.failures -= 1
            raise RollguardError("brokers: none answers")
        self.written += records

    def told(self) -> list[tuple[str, bool]]:
        return [(record.deploy_id, record.finished_at is not None) for record in self.written]

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def watches(self, server: Faulty, cluster: Cluster, requests: int) -> None:
        """Watch until it has asked so often."""
        self.registry = CollectorRegistry()
        told = ClusterWatch(
            "eu",
            cluster.model_copy(update={"url": server.url, "ca_file": None}),
            lambda: "a-token\n",
            environment="production",
            write=self.write,
            store=self.store,
            counted=Counted(self.registry),
            now_ms=lambda: SINCE_MS,
            waits=lambda: itertools.repeat(0.001),
        )
        async with told:
            async with asyncio.timeout(60):
                while len(server.asked) < requests:  # noqa: ASYNC110 - what is waited for is another's
                    await asyncio.sleep(0.01)


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        yield Watcher(store)


def played(watcher: Watcher, *script: Behaviour, cluster: Cluster | None = None) -> list[dict[str, str]]:
    """Let somebody watch a server that does one thing after another; gives what they asked, as the parameters of each request, with its path."""

    async def whole() -> list[dict[str, str]]:
        async with Faulty(*script, QUIET) as server:
            await watcher.watches(server, cluster or Cluster(), len(script) + 1)
            assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer a-token"}
            return [
                {"path": urlsplit(each.path).path} | {name: values[0] for name, values in parse_qs(urlsplit(each.path).query).items()} for each in server.asked
            ]

    return asyncio.run(whole())


STARTED, FINISHED = ("kubernetes/5f3a/2", False), ("kubernetes/5f3a/2", True)


def test_it_lists_and_watches_from_there_on(watcher: Watcher) -> None:
    asked = played(watcher, listed(deployment()), watch(event("MODIFIED", GOING), event("MODIFIED", LIVE)))
    assert watcher.told() == [STARTED, FINISHED]
    assert watcher.count("rollguard_taken_changes_total", channel="kubernetes") == 2
    assert watcher.count("rollguard_watch_heard_timestamp_seconds", cluster="eu") == SINCE_MS / 1000
    assert asked[0] == {"path": "/apis/apps/v1/deployments", "limit": "100"}
    assert asked[1] == {
        "path": "/apis/apps/v1/deployments",
        "watch": "1",
        "resourceVersion": "100",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "120",
    }
    # The server has ended it: it goes on from the last that was heard.
    assert asked[2]["resourceVersion"] == "202"


def test_who_was_never_heard_is_seen_to_be_silent(watcher: Watcher) -> None:
    played(watcher, Answer(403, b"no"), RESET)
    assert watcher.registry.get_sample_value("rollguard_watch_heard_timestamp_seconds", {"cluster": "eu"}) == 0


def test_a_long_list_comes_in_pages(watcher: Watcher) -> None:
    other = deployment(name="promises", uid="77aa")
    asked = played(watcher, listed(deployment(), more="next"), listed(other, version="150"), watch(event("MODIFIED", GOING)))
    assert [each.get("continue") for each in asked] == [None, "next", None, None]
    assert asked[2]["resourceVersion"] == "150"
    assert watcher.told() == [STARTED]


def test_namespaces_and_labels_are_those_of_the_config(watcher: Watcher) -> None:
    (first, *_) = played(watcher, listed(), cluster=Cluster(namespaces=("shop",), selector="tier=web,!canary"))
    assert first == {"path": "/apis/apps/v1/namespaces/shop/deployments", "limit": "100", "labelSelector": "tier=web,!canary"}


def test_a_bookmark_moves_on_where_nothing_changes(watcher: Watcher) -> None:
    bookmark = event("BOOKMARK", {"kind": "Deployment", "metadata": {"resourceVersion": "180"}})
    asked = played(watcher, listed(deployment()), watch(bookmark))
    assert asked[-1]["resourceVersion"] == "180"
    assert watcher.told() == []


def test_what_broke_off_goes_on_from_what_was_heard(watcher: Watcher) -> None:
    broken: list[Behaviour] = [watch(event("MODIFIED", GOING), then="is cut off"), RESET, Answer(503, b"later"), HTML, Answer(403, b"no")]
    asked = played(watcher, listed(deployment()), *broken, watch(event("MODIFIED", LIVE)))
    assert watcher.told() == [STARTED, FINISHED]
    assert [each["resourceVersion"] for each in asked[2:-1]] == ["201"] * 5


@pytest.mark.parametrize(
    "gone",
    [
        Answer(410, b"{}"),
        watch(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})),
        watch(event("ERROR", {"kind": "Status", "code": 410}), then="is cut off"),
    ],
)
def test_what_is_forgotten_there_is_listed_again_and_nothing_is_told_twice(watcher: Watcher, gone: Behaviour) -> None:
    asked = played(watcher, listed(deployment()), watch(event("MODIFIED", GOING)), gone, listed(LIVE, version="300"), gone, listed(LIVE, version="400"))
    assert watcher.told() == [STARTED, FINISHED]
    assert asked[-1]["resourceVersion"] == "400"


def test_a_list_that_changes_while_it_is_read_is_read_anew(watcher: Watcher) -> None:
    played(watcher, listed(deployment(), more="next"), Answer(410, b"{}"), listed(deployment()), watch(event("MODIFIED", GOING)))
    assert watcher.told() == [STARTED]


def test_what_could_not_be_written_is_heard_again(watcher: Watcher) -> None:
    watcher.failures = 1
    changed = watch(event("MODIFIED", GOING), event("MODIFIED", LIVE))
    asked = played(watcher, listed(deployment()), changed, changed)
    assert watcher.told() == [STARTED, FINISHED]
    assert [each.get("resourceVersion") for each in asked[1:]] == ["100", "100", "202"]


def test_also_of_a_list(watcher: Watcher) -> None:
    played(watcher, listed(deployment()))
    watcher.failures = 1
    played(watcher, listed(GOING), listed(GOING))
    assert watcher.told() == [STARTED]


def test_what_changed_while_nobody_watched_is_told_after_a_restart_and_nothing_else(watcher: Watcher) -> None:
    played(watcher, listed(deployment()))
    for _ in range(2):
        played(watcher, listed(LIVE, version="300"))
    assert watcher.told() == [FINISHED]
    (record,) = watcher.written
    assert (record.started_at, record.finished_at) == ("2026-03-02T09:00:00Z", "2026-03-02T09:05:00Z")


def test_two_who_watch_with_databases_of_their_own_say_the_same(watcher: Watcher, tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path / 'other.db'}")) as store:
        store.migrate()
        other = Watcher(store)
        played(watcher, listed(deployment()), watch(event("MODIFIED", GOING), event("MODIFIED", LIVE)))
        # The other sees it anew each time, in lists alone.
        for each in (deployment(), GOING, LIVE):
            played(other, listed(each))
        assert watcher.written == other.written


def test_one_that_was_deleted_is_no_change_and_what_is_made_anew_is_one(watcher: Watcher) -> None:
    anew = deployment(uid="77aa", created="2026-03-02T10:00:00Z", written="2026-03-02T10:00:00Z", said="2026-03-02T10:01:00Z")
    played(watcher, listed(deployment()), watch(event("DELETED", deployment(version="210")), event("ADDED", anew)))
    assert watcher.told() == [("kubernetes/77aa/1", True)]


def test_what_is_no_deployment_is_refused_and_the_others_go_on(watcher: Watcher) -> None:
    played(watcher, listed({"metadata": {"name": "x"}}, deployment()), watch(event("ADDED", {"metadata": {}}), event("MODIFIED", GOING)))
    assert watcher.told() == [STARTED]
    assert watcher.count("rollguard_refused_changes_total", channel="kubernetes", reason="unusable") == 2


def test_a_file_of_certificates_that_is_none_is_told_at_the_start(watcher: Watcher) -> None:
    with pytest.raises(ClusterError, match=r"changes.kubernetes.eu: ca_file: no such file"):
        ClusterWatch(
            "eu",
            Cluster(url="https://127.0.0.1:1", ca_file="/nowhere"),
            str,
            environment="production",
            write=watcher.write,
            store=watcher.store,
            counted=Counted(watcher.registry),
            now_ms=lambda: SINCE_MS,
        )
