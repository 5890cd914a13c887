"""What `rollguard check --live` says of the ways by which changes come in."""

from __future__ import annotations

import asyncio

import pytest

from rollguard.cli.findings import Finding
from rollguard.cli.intake_findings import clusters_tried, intake_found
from rollguard.cli.places import Places
from rollguard.streams.kafka import grants
from tests.incidents.scenes import settings_with
from tests.responders.faulty import Answer, Faulty
from tests.service.intake.clusters import deployment, listed, watch

NOWHERE = Places(None)
KEYS = """
changes:
  http:
    keys:
      ci: {secret: env:CI_KEY, services: [checkout, "promise-*"]}
    github:
      shop: {secret: env:GITHUB_SECRET}
    argocd:
      shop: {secret: env:ARGOCD_TOKEN}
"""


def test_each_key_is_looked_for_and_has_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_KEY", "no key")
    monkeypatch.setenv("GITHUB_SECRET", "a secret that GitHub was given")
    monkeypatch.delenv("ARGOCD_TOKEN", raising=False)
    found = {each.what: each for each in intake_found(settings_with(KEYS), NOWHERE)}
    assert {what: each.state for what, each in found.items()} == {
        "changes by HTTP: keys.ci": "mend",
        "changes by HTTP: github.shop": "ok",
        "changes by HTTP: argocd.shop": "mend",
    }
    assert "changes.http.keys.ci" in found["changes by HTTP: keys.ci"].text
    assert "changes.http.argocd.shop.secret" in found["changes by HTTP: argocd.shop"].text
    monkeypatch.setenv("CI_KEY", "whsec_" + "YWFh" * 8)
    assert next(intake_found(settings_with(KEYS), NOWHERE)).text == "POST /changes, for checkout, promise-*"


def test_keys_without_a_port_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_KEY", "whsec_" + "YWFh" * 8)
    found = list(intake_found(settings_with("http: {port: 0}\nchanges: {http: {keys: {ci: {secret: env:CI_KEY}}}}"), NOWHERE))
    assert [(each.state, "http.port is 0" in each.text) for each in found] == [("ok", False), ("mend", True)]
    assert list(intake_found(settings_with("http: {port: 0}"), NOWHERE)) == []


def tried(*script: Answer | watch) -> Finding:
    async def whole() -> Finding:
        async with Faulty(*script) as server:
            text = f"changes: {{kubernetes: {{eu: {{url: '{server.url}', secret: env:TOKEN}}}}}}"
            (found,) = await clusters_tried(settings_with(text), NOWHERE)
            return found

    return asyncio.run(whole())


def test_a_cluster_is_asked_whether_we_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a-token")
    assert tried(listed(deployment()), watch()).text == "its Deployments may be listed and watched"
    for script in ((Answer(403, b"deployments.apps is forbidden"),), (listed(), Answer(403, b"no"))):
        found = tried(*script)
        assert (found.state, "answered 403" in found.text, "docs/changes-in.md" in found.text) == ("mend", True, True)
    assert "a-token" not in tried(Answer(401, b"no token a-token")).text
    monkeypatch.delenv("TOKEN")
    assert "changes.kubernetes.eu.secret" in tried(listed()).text


def test_in_a_pod_nothing_has_to_be_said_but_what_is_missing_is_told() -> None:
    (found,) = asyncio.run(clusters_tried(settings_with("changes: {kubernetes: {eu: {}}}"), NOWHERE))
    assert found.text == "changes.kubernetes.eu: ca_file: no such file or directory. Expected: a file of certificates"


def test_the_worker_needs_to_write_the_topic_only_where_changes_come_by_itself() -> None:
    def operations(text: str, role: str = "worker") -> tuple[str, ...]:
        (found,) = (each for each in grants(settings_with(text), role) if each.name == "deploys")  # type: ignore[arg-type]
        return found.operations

    assert operations("") == ("READ",)
    assert operations(KEYS) == operations("changes: {kubernetes: {eu: {}}}") == ("READ", "WRITE")
    assert operations(KEYS, "replay") == ("READ",)
