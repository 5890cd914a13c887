"""Every config and every command that the documentation and the examples show is one that works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import certifi
import pytest
from ruamel.yaml import YAML

from rollguard.config import Settings
from rollguard.responders import make_pager, make_target
from tests.cli.terminal import said
from tests.incidents.scenes import settings_with

ROOT = Path(__file__).parents[2]
SIGNING = "whsec_" + "YWFh" * 8
SECRETS = {
    "pagerduty": "a" * 32,
    "alertmanager": "token",
    "slack": "https://hooks.slack.example/services/x",
    "webhook": SIGNING,
    "apprise": "json://127.0.0.1/x",
    "log": None,
}


def configs() -> list[Settings]:
    """Those that docs/response.md shows."""
    text = (ROOT / "docs" / "response.md").read_text(encoding="utf-8")
    return [settings_with(found) for found in re.findall(r"<!-- a test loads this -->\n```yaml\n(.*?)```", text, re.DOTALL)]


# Apprise looks for a module that Python is about to remove, and has a replacement of its own.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_the_configs_of_the_docs_show_every_kind_of_pager_and_target_and_each_can_be_made() -> None:
    pagers = {name: pager for settings in configs() for name, pager in settings.respond.pagers.items()}
    targets = {name: target for settings in configs() for name, target in settings.respond.targets.items()}
    assert {pager.kind for pager in pagers.values()} == {"pagerduty", "alertmanager", "slack", "webhook", "apprise", "log"}
    assert {target.kind for target in targets.values()} == {"kubernetes", "argo_rollouts", "webhook", "command"}
    for name, pager in pagers.items():
        make_pager(name, pager, SECRETS[pager.kind])
    for name, target in targets.items():
        found = make_target(name, target.model_copy(update={"ca_file": target.ca_file and certifi.where()}), lambda: SIGNING)
        assert found.cas == target.compares


def test_the_docs_say_how_each_target_compares_without_being_told() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*?\|.*?\| (.*?) \|", (ROOT / "docs" / "response.md").read_text(encoding="utf-8"), re.MULTILINE)
    said_of = {kind: re.findall(r"`([\w-]+)`", text)[0] for kind, text in rows if kind in {"kubernetes", "argo_rollouts", "webhook", "command"}}
    assert said_of == {"kubernetes": "native", "argo_rollouts": "native", "webhook": "read-then-call", "command": "read-then-call"}


def test_the_config_of_the_example_shop_is_one() -> None:
    settings = settings_with((ROOT / "examples" / "shop" / "rollguard.yaml").read_text(encoding="utf-8"))
    assert settings.service("promises").target == "deployer"


def commands(found: Any) -> list[list[str]]:
    """Commands of Rollguard's in a document, wherever they stand."""
    if isinstance(found, dict):
        return [words for value in found.values() for words in commands(value)]
    if isinstance(found, list):
        if found[:1] == ["rollguard"]:
            return [found]
        return [words for value in found for words in commands(value)]
    return [shlex.split(found)] if isinstance(found, str) and found.startswith("rollguard ") else []


@pytest.mark.parametrize(("name", "n"), [("github-actions.yaml", 2), ("argo-rollouts.yaml", 1)])
def test_the_examples_ask_the_gate_as_it_wants_to_be_asked(
    name: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "rollguard.yaml"
    config.write_text(f"store: {{url: 'sqlite:///{tmp_path / 'rollguard.db'}'}}\n", encoding="utf-8")
    found = commands(list(YAML(typ="safe").load_all(ROOT / "examples" / "gate" / name)))
    assert len(found) == n
    for words in found:
        here = ["50ms" if before == "--wait" else str(config) if before == "-c" else word for before, word in zip(["", *words], words, strict=False)]
        # Nobody has allowed it: it waits.
        assert said(monkeypatch, capsys, *here[1:]).code == 3
