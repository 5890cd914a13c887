"""Deployments and Rollouts of a real API server, with the rights that the documentation asks for and no more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, Target, UnknownError
from rollguard.responders.targets import make_target
from tests.responders.faulty import HTML, RESET, SILENT, Answer, Behaviour, Faulty
from tests.servers.kubernetes import READER, ROLLGUARD, Cluster, cluster

__all__ = ["cluster"]

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
STRATEGIC, MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
Got = TypeVar("Got")


def template(name: str, version: str, **more: Any) -> dict[str, Any]:
    """What pods are made from."""
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": f"shop.example:5000/{name}:{version}", **more}]}}


def step(name: str, *, expected: str = "2.0", to: str = "1.0") -> Step:
    return Step(intent="p/*", service=name, region=None, expected_version=expected, to_version=to, incident_id="inc-1", reason="orders")


def asked(cluster: Cluster, work: Callable[[Target], Awaitable[Got]], *, kind: Any = "kubernetes", token: str = ROLLGUARD, url: str = "") -> Got:
    """Do something with a target."""
    config = TargetConfig(kind=kind, url=url or cluster.url, secret="env:X", ca_file=None if url else str(cluster.ca_file), timeout="5s")

    async def whole() -> Got:
        target = make_target("shop", config, lambda: token)
        try:
            return await work(target)
        finally:
            await target.close()

    return asyncio.run(whole())


def prepared(cluster: Cluster, name: str, *, kind: str = "kubernetes", **said: str) -> Prepared:
    return asked(cluster, lambda target: target.plan(step(name, **said)), kind=kind)


def confirmed(cluster: Cluster, name: str, *, kind: str = "kubernetes") -> Confirmed:
    return asked(cluster, lambda target: target.confirm(step(name)), kind=kind)


def revision(number: int) -> Callable[[Any], bool]:
    return lambda found: found["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision") == str(number)


@pytest.fixture
def shop(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A Deployment of no replicas that went from 1.0, with a variable that 2.0 has not, to 2.0."""
    name = f"d{abs(hash(request.node.name))}"
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template(name, "1.0", env=[{"name": "PROMISES", "value": "old"}])}
    cluster.ask("POST", DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
    cluster.until(f"{DEPLOYMENTS}/{name}", revision(1))
    cluster.ask("PATCH", f"{DEPLOYMENTS}/{name}", {"spec": {"template": {"$patch": "replace", **template(name, "2.0")}}}, STRATEGIC)
    cluster.until(f"{DEPLOYMENTS}/{name}", revision(2))
    return name


def test_a_deployment_goes_back_to_the_whole_template_of_the_version_before(cluster: Cluster, shop: str) -> None:
    plan = prepared(cluster, shop)
    assert plan.what == f"bring the Deployment {shop} back to the template of 1.0 in all places"
    assert plan.version == "2.0"
    assert confirmed(cluster, shop) == "going"
    asked(cluster, lambda target: target.execute(plan))
    found = cluster.until(f"{DEPLOYMENTS}/{shop}", revision(3))
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "PROMISES", "value": "old"}]
    assert "pod-template-hash" not in found["spec"]["template"]["metadata"]["labels"]
    cluster.until(f"{DEPLOYMENTS}/{shop}", lambda each: each["status"].get("observedGeneration") == each["metadata"]["generation"])
    assert confirmed(cluster, shop) == "live"
    assert asked(cluster, lambda target: target.current(step(shop))) == "1.0"


def test_replicas_that_do_not_come_up_are_going_and_not_live(cluster: Cluster, shop: str) -> None:
    plan = prepared(cluster, shop)
    cluster.ask("PATCH", f"{DEPLOYMENTS}/{shop}", {"spec": {"replicas": 2}}, MERGE)
    with pytest.raises(MovedError, match="changed after it was judged"):
        asked(cluster, lambda target: target.execute(plan))
    again = prepared(cluster, shop)
    asked(cluster, lambda target: target.execute(again))
    cluster.until(f"{DEPLOYMENTS}/{shop}", revision(3))
    assert confirmed(cluster, shop) == "going"


def test_what_moved_after_it_was_judged_is_not_touched(cluster: Cluster, shop: str) -> None:
    plan = prepared(cluster, shop)
    cluster.ask("PATCH", f"{DEPLOYMENTS}/{shop}", {"spec": {"template": {"$patch": "replace", **template(shop, "2.1-hotfix")}}}, STRATEGIC)
    with pytest.raises(MovedError, match="changed after it was judged"):
        asked(cluster, lambda target: target.execute(plan))
    with pytest.raises(MovedError, match=re.escape("2.1-hotfix is live, and 2.0 was judged")):
        prepared(cluster, shop)
    assert asked(cluster, lambda target: target.current(step(shop))) == "2.1-hotfix"
    assert confirmed(cluster, shop) == "failed"


def test_a_status_that_is_written_in_between_does_not_keep_it_from_going_back(cluster: Cluster, shop: str) -> None:
    plan = prepared(cluster, shop)
    status = {"status": {"conditions": [{"type": "Chatter", "status": "True", "reason": "Tests", "message": "written in between"}]}}
    moved = cluster.ask("PATCH", f"{DEPLOYMENTS}/{shop}/status", status, MERGE)
    assert moved["metadata"]["resourceVersion"] != plan.token
    asked(cluster, lambda target: target.execute(plan))
    assert asked(cluster, lambda target: target.current(step(shop))) == "1.0"


def test_a_version_that_is_not_kept_is_refused_with_those_that_are(cluster: Cluster, shop: str) -> None:
    with pytest.raises(RefusedError, match=re.escape("no ReplicaSet of 0.9 (those that are kept: 1.0, 2.0)")):
        prepared(cluster, shop, to="0.9")


def test_a_paused_deployment_is_left_to_whoever_paused_it(cluster: Cluster, shop: str) -> None:
    cluster.ask("PATCH", f"{DEPLOYMENTS}/{shop}", {"spec": {"paused": True}}, MERGE)
    with pytest.raises(RefusedError, match="paused"):
        prepared(cluster, shop)


def test_what_is_not_there_or_not_allowed_is_refused_in_the_servers_words(cluster: Cluster, shop: str) -> None:
    with pytest.raises(RefusedError, match=r'deployments.apps "nobody" not found'):
        prepared(cluster, "nobody")
    plan = prepared(cluster, shop)
    with pytest.raises(RefusedError, match='User "reader" cannot patch resource "deployments"'):
        asked(cluster, lambda target: target.execute(plan), token=READER)
    with pytest.raises(RefusedError, match="401"):
        asked(cluster, lambda target: target.current(step(shop)), token="nobody")
    assert asked(cluster, lambda target: target.current(step(shop))) == "2.0"


def test_an_argo_rollout_is_aborted_first_and_then_brought_back(cluster: Cluster) -> None:
    name = "checkout"
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template(name, "2.0"), "strategy": {"canary": {}}}
    made = cluster.ask("POST", ROLLOUTS, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": spec})
    for number, version in ((1, "1.0"), (2, "2.0")):
        pods = template(name, version)
        pods["metadata"]["labels"]["rollouts-pod-template-hash"] = f"h{number}"
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name, "uid": made["metadata"]["uid"], "controller": True}
        about = {
            "name": f"{name}-h{number}",
            "labels": pods["metadata"]["labels"],
            "annotations": {"rollout.argoproj.io/revision": str(number)},
            "ownerReferences": [owner],
        }
        selector = {"matchLabels": pods["metadata"]["labels"]}
        replicas = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": about, "spec": {"replicas": 0, "selector": selector, "template": pods}}
        cluster.ask("POST", SETS, replicas)
    cluster.ask("PATCH", f"{ROLLOUTS}/{name}/status", {"status": {"phase": "Progressing"}}, MERGE)
    plan = prepared(cluster, name, kind="argo_rollouts")
    assert plan.what.startswith("abort the roll-out, then bring the Rollout checkout back")
    asked(cluster, lambda target: target.execute(plan), kind="argo_rollouts")
    found = cluster.ask("GET", f"{ROLLOUTS}/{name}")
    assert found["status"]["abort"] is True
    # Whatever the server has added to the ReplicaSet's own, without the label of the controller.
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": name}
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "shop.example:5000/checkout:1.0"
    assert confirmed(cluster, name, kind="argo_rollouts") == "going"
    for phase, outcome in (("Healthy", "live"), ("Degraded", "failed")):
        status = {"status": {"phase": phase, "observedGeneration": str(found["metadata"]["generation"]), "abort": None}}
        cluster.ask("PATCH", f"{ROLLOUTS}/{name}/status", status, MERGE)
        assert confirmed(cluster, name, kind="argo_rollouts") == outcome
    with pytest.raises(MovedError, match=re.escape("1.0 is live, and 2.0 was judged")):
        prepared(cluster, name, kind="argo_rollouts")


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Answer(500), UnknownError),
        (Answer(403), RefusedError),
        (Answer(429), RefusedError),
        (RESET, UnknownError),
        (SILENT, UnknownError),
        (HTML, UnknownError),
    ],
    ids=["500", "403", "429", "reset", "silent", "html"],
)
def test_a_call_is_refused_only_if_surely_nothing_was_done(behaviour: Behaviour, error: type[Exception]) -> None:
    async def story() -> None:
        async with Faulty(behaviour) as server:
            config = TargetConfig(kind="kubernetes", url=server.url, secret="env:X", timeout="500ms")
            target = make_target("shop", config, lambda: "token")
            asking = Prepared(step=step("shop"), version="2.0", what="", token="1", body={"generation": 1, "template": {}})
            with pytest.raises(error):
                await target.execute(asking)
            await target.close()

    asyncio.run(story())


@pytest.mark.parametrize("body", ["who is {token}?", '{{"message": "who is {token}?"}}', "x" * 190 + "{token}"], ids=["text", "status", "at the cut"])
def test_a_server_that_says_the_token_back_does_not_bring_it_into_what_is_told(body: str) -> None:
    token = "a-bearer-token-of-a-service-account"  # noqa: S105 - of nobody

    async def story() -> None:
        async with Faulty(Answer(403, body.format(token=token).encode())) as server:
            target = make_target("shop", TargetConfig(kind="kubernetes", url=server.url, secret="env:X"), lambda: token)
            asking = Prepared(step=step("shop"), version="2.0", what="", token="1", body={"generation": 1, "template": {}})
            for asked in (target.current, target.execute):
                with pytest.raises(RefusedError, match="answered 403") as caught:
                    await asked(asking.step if asked == target.current else asking)  # type: ignore[arg-type]
                assert token[:8] not in str(caught.value)
                assert "\u2026" in str(caught.value)
            await target.close()

    asyncio.run(story())


def test_the_rights_that_are_missing_are_named_and_none_where_all_are_there(cluster: Cluster) -> None:
    for kind, lacking in (("kubernetes", ["patch deployments"]), ("argo_rollouts", ["get rollouts", "patch rollouts", "patch rollouts/status"])):
        assert asked(cluster, lambda target: target.lacking(step("any")), kind=kind) == []  # type: ignore[attr-defined]  # of Kubernetes alone
        assert asked(cluster, lambda target: target.lacking(step("any")), kind=kind, token=READER) == lacking  # type: ignore[attr-defined]  # the same
    with pytest.raises(RefusedError, match="401"):
        asked(cluster, lambda target: target.lacking(step("any")), token="nobody's")  # type: ignore[attr-defined]  # the same
