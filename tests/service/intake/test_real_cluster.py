"""Deployments of a real API server, watched with the rights that docs/changes-in.md asks for and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from rollguard.config import Cluster as ClusterConfig
from rollguard.incidents import ChangeRecord
from rollguard.responders import ClusterError, deployments_of
from rollguard.service import now_ms
from rollguard.service.intake import ClusterWatch, Counted
from rollguard.store import Store
from tests.responders.test_kubernetes import DEPLOYMENTS, STRATEGIC, template
from tests.servers.kubernetes import RIGHTS, ROLLGUARD, WATCHER, Cluster, cluster

__all__ = ["cluster"]

PAGE = Path(__file__).parents[3] / "docs" / "changes-in.md"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as found:
        found.migrate()
        yield found


def config_of(cluster: Cluster, **more: Any) -> ClusterConfig:
    return ClusterConfig(url=cluster.url, ca_file=str(cluster.ca_file), **more)


def watched(cluster: Cluster, store: Store, work: Callable[[], None], count: int) -> list[ChangeRecord]:
    """Watch the cluster while something is done to it, until that many records have come."""
    written: list[ChangeRecord] = []

    async def write(records: Sequence[ChangeRecord]) -> None:
        written.extend(records)

    async def whole() -> None:
        counted = Counted(registry := CollectorRegistry())
        told = ClusterWatch(
            "eu",
            config_of(cluster, namespaces=("default",), selector="shop=intake"),
            lambda: WATCHER,
            environment="production",
            write=write,
            store=store,
            counted=counted,
            now_ms=now_ms,
        )
        async with told, asyncio.timeout(60):
            while not registry.get_sample_value("rollguard_watch_heard_timestamp_seconds", {"cluster": "eu"}):  # noqa: ASYNC110 - another's state
                await asyncio.sleep(0.02)
            await asyncio.to_thread(work)
            while len(written) < count:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.02)

    asyncio.run(whole())
    return written


def test_what_is_rolled_out_is_told_scaling_is_not_and_a_restart_tells_nothing_twice(cluster: Cluster, store: Store) -> None:
    place = f"{DEPLOYMENTS}/intake"
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "intake", "labels": {"shop": "intake"}}}
    # No node, no pods: of no replicas each roll-out is over at once.
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "intake"}}, "template": template("intake", "1.0")}

    def settled(revision: int) -> Callable[[Any], bool]:
        return lambda found: (
            found["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision") == str(revision)
            and found["status"].get("observedGeneration") == found["metadata"]["generation"]
        )

    def work() -> None:
        cluster.ask("POST", DEPLOYMENTS, made | {"spec": spec})
        cluster.until(place, settled(1))
        cluster.ask("PATCH", place, {"spec": {"replicas": 1}}, STRATEGIC)
        cluster.ask("PATCH", place, {"spec": {"replicas": 0}}, STRATEGIC)
        cluster.until(place, settled(1))
        containers: list[dict[str, Any]] = [{"name": "app", "image": "shop.example:5000/intake:2.0"}]
        cluster.ask("PATCH", place, {"spec": {"template": {"spec": {"containers": containers}}}}, STRATEGIC)
        cluster.until(place, settled(2))
        containers = [{"name": "app", "env": [{"name": "PROMISES", "value": "new"}]}]
        cluster.ask("PATCH", place, {"spec": {"template": {"spec": {"containers": containers}}}}, STRATEGIC)
        cluster.until(place, settled(3))

    found = watched(cluster, store, work, 3)
    finished = {each.deploy_id.rpartition("/")[2]: (each.change_kind, each.from_version, each.version) for each in found if each.finished_at is not None}
    assert finished == {"1": ("code", None, "1.0"), "2": ("code", "1.0", "2.0"), "3": ("config", "2.0", "2.0")}
    assert len({each.deploy_id for each in found}) == 3
    # Another worker, later: only what is new.
    anew = [{"name": "app", "image": "shop.example:5000/intake:3.0"}]
    again = watched(cluster, store, lambda: cluster.ask("PATCH", place, {"spec": {"template": {"spec": {"containers": anew}}}}, STRATEGIC), 1)
    assert {each.version for each in again} == {"3.0"}


def test_who_may_only_roll_back_is_told_which_right_is_missing(cluster: Cluster) -> None:
    async def tried(token: str) -> None:
        (collection,) = deployments_of("eu", config_of(cluster), lambda: token)
        try:
            await collection.tried()
        finally:
            await collection.close()

    asyncio.run(tried(WATCHER))
    with pytest.raises(ClusterError, match=r"answered 403.*the right to list and watch deployments"):
        asyncio.run(tried(ROLLGUARD))


def test_the_docs_ask_for_these_rights() -> None:
    blocks = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:]
    manifests = [each for block in blocks if "kind: ClusterRole" in block for each in YAML(typ="safe").load_all(block.partition("```")[0])]
    assert [each["rules"] for each in manifests if each["kind"] == "ClusterRole"] == [RIGHTS["watcher"]]
    bound = next(each for each in manifests if each["kind"] == "ClusterRoleBinding")
    assert bound["roleRef"]["name"] == next(each["metadata"]["name"] for each in manifests if each["kind"] == "ClusterRole")
