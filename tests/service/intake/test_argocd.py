"""Notifications of Argo CD: the shipped template sends what the route takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from tests.service.intake.deliveries import Door, secrets, settings_of

__all__ = ["secrets"]

SHIPPED = Path(__file__).parents[3] / "deploy" / "argocd" / "notifications-cm.yaml"
RENDERER = Path(__file__).parents[2] / "servers" / "templates" / "main.go"


def application(phase: str, **changed: Any) -> dict[str, Any]:
    """An Application, as the template sees it."""
    state = {
        "phase": phase,
        "startedAt": "2026-03-02T09:00:00Z",
        "operation": {"initiatedBy": {"username": "dana"}},
        "syncResult": {"revision": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"},
    }
    if phase != "Running":
        state["finishedAt"] = "2026-03-02T09:01:00Z"
    status = {
        "operationState": state,
        "health": {"status": "Healthy", "lastTransitionTime": "2026-03-02T09:03:00Z"},
        "summary": {"images": ["shop.example:5000/checkout:4.11.0", "shop.example/proxy:1.2"]},
    }
    return {
        "metadata": {"name": "checkout", "namespace": "argocd"},
        "spec": {"project": "shop", "destination": {"name": "eu", "namespace": "shop"}},
        "status": status | changed,
    }


def template() -> str:
    """The template of the body, as it is shipped."""
    found: str = YAML(typ="safe").load(YAML(typ="safe").load(SHIPPED)["data"]["template.rollguard"])["webhook"]["rollguard"]["body"]
    return found


def rendered(app: dict[str, Any]) -> Any:
    """The template's body, by the few actions of Go templates that it uses: toJson of a way, and `with`, `else`, `end`."""

    def at(way: str, start: Any) -> Any:
        for name in way.strip(".").split("."):
            start = start.get(name) if isinstance(start, dict) else pytest.fail(f"a nil pointer in Go: {way}")
        return start

    def block(found: re.Match[str]) -> str:
        inner = at(found[1], {"app": app})
        return msgspec.json.encode(at(found[2], inner)).decode() if inner else "null"

    text = re.sub(r"\{\{ with (\S+) }}\{\{ toJson (\S+) }}\{\{ else }}null\{\{ end }}", block, template())
    text = re.sub(r"\{\{ toJson (\S+) }}", lambda found: msgspec.json.encode(at(found[1], {"app": app})).decode(), text)
    assert "{{" not in text
    return msgspec.json.decode(text)


def without(app: dict[str, Any], *path: str) -> dict[str, Any]:
    """The same application without a field."""
    if len(path) == 1:
        return {name: value for name, value in app.items() if name != path[0]}
    return app | {path[0]: without(app[path[0]], *path[1:])}


@pytest.fixture(scope="module")
def by_go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What renders a template with the library that Argo CD does it with."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go: the other tests render the template by its own rules")
    program = tmp_path_factory.mktemp("go") / "render"
    subprocess.run([go, "build", "-o", program, RENDERER], check=True, capture_output=True, cwd=program.parent)
    return program


@pytest.mark.parametrize(
    "app",
    [
        application("Running"),
        application("Succeeded"),
        application("Failed", health={}, summary={}),
        application('Succeeded"'),
        without(application("Succeeded"), "status", "health"),
        without(application("Succeeded"), "status", "summary"),
        without(application("Succeeded"), "status", "operationState", "syncResult"),
        without(application("Succeeded"), "status", "operationState", "operation"),
        application("Running") | {"metadata": {"name": 'check"out', "namespace": "argocd", "labels": {"app.kubernetes.io/name": "<checkout>"}}},
    ],
)
def test_go_renders_the_template_as_these_tests_do(by_go: Path, app: dict[str, Any]) -> None:
    told = msgspec.json.encode({"template": template(), "vars": {"app": app}})
    done = subprocess.run([by_go], input=told, capture_output=True, check=True)
    assert msgspec.json.decode(done.stdout) == rendered(app)


def test_the_shipped_template_starts_and_finishes_one_change() -> None:
    door = Door()
    for phase in ("Running", "Succeeded"):
        assert door.argocd(rendered(application(phase))).json() == {"taken": 1, "note": ""}
    started, finished = door.written
    assert started.deploy_id == finished.deploy_id == "argocd/argocd/checkout/2026-03-02T09:00:00Z"
    # While it runs, the images are those of before.
    assert (started.version, finished.version) == (None, "4.11.0")
    assert (started.finished_at, finished.finished_at) == (None, "2026-03-02T09:03:00Z")
    assert finished.author == "dana"


def test_an_application_that_says_little_is_taken_all_the_same() -> None:
    door = Door()
    app = application("Running")
    app["status"] = {"operationState": {"phase": "Running", "startedAt": "2026-03-02T09:00:00Z"}}
    assert door.argocd(rendered(app)).json()["taken"] == 1
    assert door.written[0].author is None


def test_a_sync_that_failed_may_have_applied_a_part() -> None:
    door = Door()
    door.argocd(rendered(application("Failed")))
    assert [(each.started_at, each.finished_at) for each in door.written] == [("2026-03-02T09:01:00Z", None)]


def test_what_argo_did_by_itself_is_nobodys() -> None:
    door = Door()
    message = rendered(application("Succeeded")) | {"initiated_by": {"automated": True, "username": "dana"}}
    door.argocd(message)
    assert door.written[0].author is None


def test_the_config_says_where_fields_stand() -> None:
    door = Door(settings_of("changes: {http: {argocd: {shop: {secret: env:ARGOCD_TOKEN, fields: {region: destination.name, version: revision}}}}}"))
    door.argocd(rendered(application("Succeeded")))
    assert (door.written[0].region, door.written[0].version) == ("eu", "f95f852bd8fca8fcc58a9a2d6c842781e32a215e")


def test_another_token_is_none() -> None:
    door = Door()
    assert door.argocd({}, token="another").status_code == 401
    assert door.post("/changes/argocd", b"{}").status_code == 401
    assert door.argocd({}).status_code == 400


def test_every_trigger_sends_the_template_that_is_there() -> None:
    data = YAML(typ="safe").load(SHIPPED)["data"]
    triggers = [each for name, text in data.items() if name.startswith("trigger.") for each in YAML(typ="safe").load(text)]
    assert len(triggers) == 3
    assert {f"template.{name}" for each in triggers for name in each["send"]} == {"template.rollguard"}
    assert "service.webhook.rollguard" in data
