"""What the worker logs: one form for all of it, and no secret in any of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from rollguard.service import set_up_logs
from rollguard.streams.kafka import find_secret
from tests.incidents.scenes import settings_with

SECRETS = {
    "KAFKA_PASSWORD": "kafka-pass-7f31",
    "DB_PASSWORD": 'db"pass\\31',
    "ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "SLACK_URL": "https://hooks.slack.example/services/T0123456/Zq7pLm90",
    "SIGNING": "whsec_" + "YWFh" * 8,
    "PROBE": "https://probe.example/ping/b7f1d2c3-aaaa-4bbb",
    "TOKEN": "bearer-token-of-a-cluster",
}
CONFIG = """
kafka: {sasl_plain_username: worker, sasl_plain_password: "env:KAFKA_PASSWORD", security_protocol: SASL_PLAINTEXT}
store: {url: "postgresql://rollguard@db/rollguard", password: "env:DB_PASSWORD"}
changes: {secret: "env:SIGNING"}
respond:
  pagers:
    oncall: {kind: pagerduty, secret: "env:ROUTING_KEY"}
    chat: {kind: slack, secret: "env:SLACK_URL"}
  targets: {cluster: {kind: kubernetes, url: "https://k8s.example", secret: "env:TOKEN"}}
  people: {dana: {secret: "env:SIGNING"}}
  heartbeat: {secret: "env:PROBE"}
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is afterwards what it was."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    sys.excepthook, threading.excepthook = hooks


def broken(secret: str) -> None:
    raise ConnectionError(f"http 401 for {secret}")


def references(found: object) -> Iterator[str]:
    """Every reference to a secret that a config holds, wherever it stands."""
    if isinstance(found, dict):
        for each in found.values():
            yield from references(each)
    elif isinstance(found, (list, tuple)):
        for each in found:
            yield from references(each)
    elif isinstance(found, str) and found.startswith(("env:", "file:")):
        yield found


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_configured_secret_can_appear_even_in_an_exceptions_text(form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    named = sorted(set(references(settings_with(CONFIG).model_dump())))
    assert named == sorted(f"env:{name}" for name in SECRETS)
    set_up_logs(form, "debug")  # type: ignore[arg-type]  # one of both
    log = structlog.get_logger("rollguard.test")
    for reference in named:
        secret = find_secret(reference, "a.key")
        log.info("told", value=secret, listed=[secret, {"deep": secret}], raw=secret.encode(), thing=Path(secret))
        logging.getLogger("some.library").warning("refused %s", secret)
        try:
            broken(secret)
        except ConnectionError:
            log.exception("broke", error=f"with {secret}")
            logging.getLogger("some.library").exception("broke with %r", secret)
        sys.excepthook(ValueError, ValueError(f"nobody caught {secret}"), None)
    said = capsys.readouterr().err
    assert said.count("broke") >= 2 * len(SECRETS)
    assert "ConnectionError: http 401 for …" in said
    assert "nobody caught …" in said
    for name, secret in SECRETS.items():
        assert secret not in said, name
        assert json.dumps(secret)[1:-1] not in said, name
    # Nor the part of a URL or of a signing secret that is what is secret about it.
    assert "Zq7pLm90" not in said
    assert "b7f1d2c3" not in said
    assert SECRETS["SIGNING"].removeprefix("whsec_") not in said


def test_a_line_is_an_event_with_its_keys_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    log = structlog.get_logger("rollguard.service.stages")
    log.debug("not_asked_for")
    with structlog.contextvars.bound_contextvars(stage="ingest"):
        log.warning("trying_again", topic="orders", partition=3, offset=17)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert {name: line[name] for name in ("event", "level", "stage", "topic", "partition", "offset")} == {
        "event": "trying_again",
        "level": "warning",
        "stage": "ingest",
        "topic": "orders",
        "partition": 3,
        "offset": 17,
    }
    assert line["timestamp"].endswith("Z")


def test_the_worker_takes_form_and_level_from_its_config(tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text("logs: {form: json, level: error}\nstore: {url: 'sqlite:////nowhere/at/all.db'}\n", encoding="utf-8")
    ended = subprocess.run([sys.executable, "-P", "-m", "rollguard", "worker", "-c", str(config)], capture_output=True, text=True, check=False, env=os.environ)
    assert ended.returncode == 1
    assert "worker_starts" not in ended.stderr
