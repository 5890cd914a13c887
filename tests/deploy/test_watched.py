"""Alert rules, dashboard and the configs of Prometheus, Alertmanager and systemd, as their own tools see them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.composed import ROOT
from tests.service.registry import shown_labels

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rollguard.rules.yml"
CASES = DEPLOY / "prometheus" / "rollguard.rules.test.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "rollguard.json"
#: Every metric that rules and dashboard may name, as the worker registers it, and its labels beside those that Prometheus adds.
KNOWN = shown_labels()
#: Drawn by another: it is the clock on the wall less the frontier.
NOT_DRAWN = {"rollguard_frontier_age_seconds"}
#: What Prometheus knows of a target by itself.
OF_PROMETHEUS = {"instance", "job"}


def tool(name: str, package: str) -> str:
    """Find a program; where it is missing, a test skips at home and fails in CI."""
    found = shutil.which(name)
    if found is None:
        reason = f"no {name}: `apt-get install {package}`"
        if os.environ.get("CI") and os.environ.get("ROLLGUARD_SERVERS") != "some":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(*words: str | Path) -> str:
    """Run a tool that has to be content."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    return [rule for group in YAML(typ="safe").load(RULES)["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """What the dashboard draws."""
    return [panel for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, by who asks it; Grafana's own variable as the span that it stands for."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool = tool("promtool", "prometheus")
    run(promtool, "check", "rules", "--lint-fatal", RULES)


def test_each_alert_fires_when_it_should_and_none_while_all_is_well() -> None:
    promtool = tool("promtool", "prometheus")
    run(promtool, "test", "rules", CASES)
    told = CASES.read_text(encoding="utf-8")
    untried = [rule["alert"] for rule in rules() if not re.search(rf"alertname(=\"|: ){rule['alert']}\b", told)]
    assert untried == []


def test_a_rule_that_is_broken_fails_its_case(tmp_path: Path) -> None:
    promtool = tool("promtool", "prometheus")
    cases = YAML(typ="safe").load(CASES)
    cases["tests"] = [case for case in cases["tests"] if case["name"] == "it says that it is blind"]
    (tmp_path / CASES.name).write_text(json.dumps(cases), encoding="utf-8")
    (tmp_path / RULES.name).write_text(RULES.read_text(encoding="utf-8").replace("rollguard_blind) == 1", "rollguard_blind) == 2"), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / CASES.name)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RollguardBlind" in done.stdout + done.stderr


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    book = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)$", book, re.MULTILINE)
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert [section for section in sections if section.startswith("Rollguard")] == [rule["alert"] for rule in rules()]


def test_rules_and_dashboard_name_nothing_that_the_worker_does_not_count() -> None:
    for who, expression in expressions():
        names = set(re.findall(r"\brollguard_\w+", expression))
        assert names <= KNOWN.keys(), (who, names - KNOWN.keys())
        asked = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
        # Of an expression over several metrics each label has to be known to each of them.
        for name in names:
            assert asked <= KNOWN[name] | OF_PROMETHEUS, (who, name, asked)


def test_promql_of_the_dashboard_is_well_formed(tmp_path: Path) -> None:
    promtool = tool("promtool", "prometheus")
    groups = [{"name": "all", "rules": [{"record": f"drawn:{number}", "expr": asked} for number, (_, asked) in enumerate(expressions())]}]
    (tmp_path / "drawn.yml").write_text(json.dumps({"groups": groups}), encoding="utf-8")
    assert f"{len(groups[0]['rules'])} rules found" in run(promtool, "check", "rules", tmp_path / "drawn.yml")


def test_the_dashboard_draws_every_metric_and_each_panel_says_what_it_shows() -> None:
    drawn = {name for panel in panels() for target in panel["targets"] for name in re.findall(r"\brollguard_\w+", target["expr"])}
    assert drawn == KNOWN.keys() - NOT_DRAWN
    (source,) = YAML(typ="safe").load(DEPLOY / "grafana" / "datasources.yml")["datasources"]
    numbers = [panel["id"] for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]]
    assert len(set(numbers)) == len(numbers)
    places: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
        at = panel["gridPos"]
        taken = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert places.isdisjoint(taken), panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= taken


def test_the_metrics_that_are_known_are_those_of_the_worker() -> None:
    # One of each kind: a counter, a gauge that is worked out when asked, one without a label, and what comes by HTTP.
    assert KNOWN["rollguard_refused_events_total"] == {"source", "reason"}
    assert KNOWN["rollguard_outbox_rows"] == {"state"}
    assert KNOWN["rollguard_desk_epoch"] == set()
    assert KNOWN["rollguard_watch_heard_timestamp_seconds"] == {"cluster"}


def test_the_configs_of_prometheus_and_alertmanager_are_well(tmp_path: Path) -> None:
    run(tool("amtool", "prometheus-alertmanager"), "check-config", DEPLOY / "compose" / "alertmanager.yml")
    promtool = tool("promtool", "prometheus")
    text = (DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    assert text.count("/etc/prometheus/rules/rollguard.rules.yml") == 1
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/rules/rollguard.rules.yml", str(RULES)), encoding="utf-8")
    assert f"{len(rules())} rules found" in run(promtool, "check", "config", tmp_path / "prometheus.yml")


def test_systemd_finds_no_fault_in_the_unit_and_it_may_do_little(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    unit = tmp_path / "rollguard.service"
    text = (DEPLOY / "systemd" / "rollguard.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/rollguard/bin", str(Path(sys.executable).parent)), encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    # It tells of other units of this machine too.
    assert "rollguard" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    said = run(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert "Overall exposure level" in said


def test_a_fault_in_the_unit_would_be_found(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    unit = tmp_path / "rollguard.service"
    unit.write_text("[Service]\nExecStart=/no/such/program\nTimeoutStopSecond=3\n", encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert "TimeoutStopSecond" in done.stderr
