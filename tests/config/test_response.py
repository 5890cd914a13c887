"""Pagers, targets, persons: what a config may say of them, and what contradicts."""

from __future__ import annotations

import re

import pytest

from rollguard.config import ConfigError, Layer, Settings, default_text, folded, load_layers


def settings_with(text: str) -> Settings:
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pagers: {oncall: {kind: pagerduty}}", "respond.pagers.oncall: a pagerduty needs the key 'secret'"),
        ("pagers: {oncall: {kind: log}}\n  page: [onkall]", "respond.page[0]: there is no pager 'onkall'. Expected: oncall. Did you mean 'oncall'?"),
        ("pagers: {oncall: {kind: slack, secret: hunter2}}", "a secret does not stand in a config"),
        ('pagers: {oncall: {kind: webhook, url: "https://me:pw@host/x", secret: env:X}}', "a user or password in it"),
        ('pagers: {oncall: {kind: webhook, url: "http://169.254.169.254/x", secret: env:X}}', "gives out a machine's own secrets"),
        ('pagers: {oncall: {kind: webhook, url: "file:///etc/passwd", secret: env:X}}', "no address of HTTP"),
        ('targets: {k8s: {kind: kubernetes, url: "https://k8s", secret: env:T, argv: [rm]}}', "respond.targets.k8s.argv: means nothing to a kubernetes"),
        ("target: k8s", "respond.target: there is no target 'k8s'"),
        ("people: {dana: {secret: env:D, aliases: [Erin]}, erin: {secret: env:E}}", "'erin' is a name of dana too"),
        ("people: {dana: {secret: env:D}}\n  approvals: 2", "2 approvals are needed, and 1 may give them"),
        ('freezes: [{from: "2026-03-02T00:00:00Z", to: "2026-03-01T00:00:00Z", reason: sale}]', "respond.freezes[0].to: not after 'from'"),
    ],
)
def test_what_cannot_work_is_said_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_with(f"respond:\n  {text}\n")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert re.match(r"shop\.yaml:\d+: ", str(caught.value))


@pytest.mark.parametrize(
    ("target", "compares"),
    [
        ("{kind: kubernetes, url: 'https://k', secret: env:T}", "native"),
        ("{kind: argo_rollouts, url: 'https://k', secret: env:T}", "native"),
        ("{kind: webhook, url: 'https://k', secret: env:T}", "read-then-call"),
        ("{kind: webhook, url: 'https://k', secret: env:T, cas: native}", "native"),
        ("{kind: command, argv: [undo]}", "none"),
        ("{kind: command, argv: [undo], current: [show]}", "read-then-call"),
    ],
)
def test_a_target_compares_as_its_kind_does_unless_it_says_otherwise(target: str, compares: str) -> None:
    assert settings_with(f"respond: {{targets: {{it: {target}}}}}").respond.targets["it"].compares == compares


def test_the_same_person_has_one_name_however_it_is_written() -> None:
    assert len({folded(name) for name in ("dana", " Dana", "@dana", "DANA", "\uff44ana")}) == 1
    # Another alphabet is another name: who approves such a change is asked for twice.
    assert folded("d\u0430na") != folded("dana")
