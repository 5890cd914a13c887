"""What of a Deployment is a change, and that its record says the same whoever reads it, and whenever."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Cluster
from rollguard.incidents import ChangeRecord, sightings_of
from rollguard.service.intake.records import UnusableError
from rollguard.service.intake.rollouts import Told, changes_of
from tests.service.intake.clusters import deployment

SINCE = "2026-03-02T00:00:00Z"
OLD = deployment()
START, MIDDLE, END = "2026-03-02T09:00:00Z", "2026-03-02T09:02:00Z", "2026-03-02T09:05:00Z"
NEXT: dict[str, Any] = {"revision": 2, "image": "shop.example:5000/checkout:4.11.0", "written": START}
GOING, LIVE = deployment(**NEXT, live=False, said=MIDDLE), deployment(**NEXT, said=END)


def told_by(*found: dict[str, Any], cluster: Cluster | None = None, told: Told | None = None) -> list[ChangeRecord]:
    """Records of a Deployment as it was seen again and again."""
    records: list[ChangeRecord] = []
    for each in found:
        told, more = changes_of(cluster or Cluster(), each, told, since=SINCE, environment="production")
        records += more
    return records


def test_a_new_image_starts_a_change_and_its_last_pod_finishes_it() -> None:
    started, finished = told_by(OLD, GOING, LIVE)
    assert started.deploy_id == finished.deploy_id == "kubernetes/5f3a/2"
    assert (started.started_at, started.finished_at, finished.started_at, finished.finished_at) == (START, None, START, END)
    assert (started.service, started.change_kind, started.from_version, started.version, started.author) == ("checkout", "code", "4.10.0", "4.11.0", None)


def test_what_was_there_before_is_no_change() -> None:
    assert told_by(OLD, OLD) == []
    # Nor is one that rolls out just then: nobody saw it begin.
    assert told_by(GOING, LIVE) == []


def test_a_new_deployment_is_a_change_since_it_was_made() -> None:
    (record,) = told_by(deployment(created=START, written=START, said=END))
    assert (record.deploy_id, record.started_at, record.finished_at, record.from_version) == ("kubernetes/5f3a/1", START, END, None)


def test_another_number_of_replicas_is_no_change() -> None:
    more = deployment(generation=2, replicas=9)
    assert told_by(OLD, more, deployment(generation=3, replicas=0)) == []
    # Nor does it end, or begin anew, what rolls out.
    assert [record.finished_at for record in told_by(OLD, GOING, deployment(**NEXT, live=False, generation=3, replicas=9), LIVE)] == [None, END]


def test_the_same_image_with_another_environment_is_a_change_of_config() -> None:
    started, finished = told_by(OLD, deployment(revision=2, written=START, live=False), deployment(revision=2, written=START, said=END))
    assert (started.change_kind, finished.change_kind, started.version) == ("config", "config", "4.10.0")


def test_going_back_to_an_old_template_is_a_change_of_its_own() -> None:
    back = deployment(revision=3, written=END, said="2026-03-02T09:06:00Z")
    assert [(record.deploy_id, record.from_version, record.version) for record in told_by(OLD, LIVE, back)] == [
        ("kubernetes/5f3a/2", "4.10.0", "4.11.0"),
        ("kubernetes/5f3a/3", "4.11.0", "4.10.0"),
    ]


def test_one_that_gets_stuck_is_never_said_to_be_over() -> None:
    stuck = deployment(**NEXT, live=False, said=END)
    stuck["status"]["conditions"][1] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
    assert [record.finished_at for record in told_by(OLD, GOING, stuck)] == [None]


def test_until_its_controller_has_looked_the_number_is_not_that_of_the_template() -> None:
    unseen = deployment(revision=1, image="shop.example:5000/checkout:4.11.0", written=START, generation=2, observed=1)
    (started,) = told_by(OLD, unseen, GOING)
    assert (started.from_version, started.version) == ("4.10.0", "4.11.0")
    # Also of one that is new to us: else its image of now would be that of before.
    assert told_by(unseen) == told_by(deployment(revision=0)) == []


def test_an_older_sight_of_it_that_comes_again_says_nothing_of_the_newer() -> None:
    assert [record.finished_at for record in told_by(OLD, GOING, OLD, GOING, LIVE, GOING, OLD)] == [None, END]


def test_without_managed_fields_its_controllers_words_say_when_it_began() -> None:
    bare = {**NEXT, "written": None}
    before = deployment(written=None)
    # What stands there first is still of the revision before.
    found = told_by(before, deployment(**bare, live=False), deployment(**bare, live=False, said=MIDDLE), deployment(**bare, said=END))
    assert [(record.started_at, record.finished_at) for record in found] == [(MIDDLE, None), (MIDDLE, END)]


@pytest.mark.parametrize(
    ("cluster", "metadata", "service", "region", "author"),
    [
        (Cluster(), {"labels": None}, "checkout", None, None),
        (Cluster(service_label="service"), {"labels": {"service": "promises"}}, "promises", None, None),
        (Cluster(region="eu-west"), {}, "checkout", "eu-west", None),
        (Cluster(region="eu-west", region_label="place"), {"labels": {"place": "us-east"}}, "checkout", "us-east", None),
        (Cluster(author="shop/by"), {"annotations": {"deployment.kubernetes.io/revision": "2", "shop/by": "dana"}}, "checkout", None, "dana"),
    ],
)
def test_the_config_says_where_names_stand(cluster: Cluster, metadata: dict[str, Any], service: str, region: str | None, author: str | None) -> None:
    (record,) = told_by(OLD, deployment(**NEXT, said=END, **metadata), cluster=cluster)
    assert (record.service, record.region, record.author) == (service, region, author)


def test_the_version_is_that_of_the_container_or_of_the_label_that_is_named() -> None:
    found = deployment(**NEXT, said=END)
    found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "proxy@sha256:0b31"})
    found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] = "4.11"
    clusters = (Cluster(), Cluster(container="app"), Cluster(version_label="app.kubernetes.io/version"))
    assert [told_by(OLD, found, cluster=each)[0].version for each in clusters] == ["sha256:0b31", "4.11.0", "4.11"]


_PATHS = st.sampled_from(
    ["metadata", "spec", "status", "metadata.annotations", "metadata.managedFields", "status.conditions", "spec.template", "metadata.labels"]
)
_JUNK: st.SearchStrategy[Any] = st.sampled_from([None, {}, [], "text", 7, [None], [{}], {"spec": []}])


@given(st.dictionaries(_PATHS, _JUNK, max_size=3), st.sampled_from([OLD, GOING, LIVE]))
def test_whatever_a_server_may_say_is_a_deployment_or_refused(changed: dict[str, Any], found: dict[str, Any]) -> None:
    whole: dict[str, Any] = {name: dict(found[name]) for name in found}
    for path, value in changed.items():
        name, _, inner = path.partition(".")
        if not inner:
            whole[name] = value
        elif isinstance(whole[name], dict):
            whole[name][inner] = value
    with suppress(UnusableError):
        assert all(sightings_of(record, environment="production") for record in told_by(OLD, whole, LIVE))


def test_what_is_no_deployment_says_where_it_is_wrong() -> None:
    with pytest.raises(UnusableError, match=r"Expected `int`, got `str` - at `\$\.metadata\.generation`\. Expected: a Deployment of apps/v1"):
        told_by(deployment() | {"metadata": deployment()["metadata"] | {"generation": "two"}})
