"""Changes that come by HTTP to a running worker, and what of them stands in the topics of a real broker."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from rollguard.cli.app import app
from rollguard.config import rfc3339
from rollguard.incidents import ChangeSeen, LogCodec
from rollguard.service import open_store
from rollguard.service.intake.routes import LONGEST
from rollguard.service.signing import signature, signer
from tests.live.servers import HOST, Broker, Names, until
from tests.live.workers import Process, Service, shop_topics
from tests.properties import shop as shops
from tests.service.intake.deliveries import deployment

CI, OTHER, TOPIC = ("whsec_" + base64.b64encode(f"{name}: a secret of over 24 bytes".encode()).decode() for name in ("ci", "other", "topic"))
GITHUB = "a secret that GitHub was given"
CHANGES = (
    ", secret: env:TOPIC_KEY, http: {keys: {ci: {secret: env:CI_KEY, services: [checkout, delivery-promise]}}, github: {shop: {secret: env:GITHUB_SECRET}}}"
)


@pytest.fixture
def service(broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name, value in {"CI_KEY": CI, "TOPIC_KEY": TOPIC, "GITHUB_SECRET": GITHUB}.items():
        monkeypatch.setenv(name, value)
    shop_topics(broker, names)
    with Service(broker, tmp_path / "live", names, changes=CHANGES) as found:
        yield found


def record(deploy_id: str = "chg-1", service: str = "checkout") -> bytes:
    now_ms = round(1000 * time.time())
    told = {"deploy_id": deploy_id, "service": service, "version": "4.11.0", "started_at": rfc3339(now_ms - 60_000), "finished_at": rfc3339(now_ms - 1000)}
    return msgspec.json.encode(told)


def post(worker: Process, path: str, body: bytes | Iterator[bytes], headers: Mapping[str, str]) -> httpx.Response:
    return httpx.post(f"http://{HOST}:{worker.port}{path}", content=body, headers=dict(headers), timeout=30.0)


def signed(worker: Process, body: bytes, secret: str = CI) -> httpx.Response:
    headers = signature(signer(secret, "ci"), body, "msg-1", datetime.now(UTC))
    return post(worker, "/changes", body, {name: value.decode() for name, value in headers})


def seen(service: Service) -> dict[bytes, ChangeSeen]:
    """Sightings of changes in our signals, by id; the first copy of each."""
    codec = LogCodec()
    found: dict[bytes, ChangeSeen] = {}
    for each in service.read(service.topic("signals")):
        told = codec.decode(each.value)
        if isinstance(told, ChangeSeen) and each.key is not None:
            found.setdefault(each.key, told)
    return found


def test_what_is_posted_stands_in_the_signals_once_and_what_is_refused_in_ledger_and_dead_letters(service: Service) -> None:
    worker = service.ready("--only", "changes", "--only", "desk")
    body = record()
    # As a sender does who did not hear the answer.
    assert [signed(worker, body).json() for _ in range(2)] == [{"taken": 1, "note": ""}] * 2
    github = msgspec.json.encode(deployment("success", at=rfc3339(round(1000 * time.time()))))
    proof = "sha256=" + hmac.new(GITHUB.encode(), github, hashlib.sha256).hexdigest()
    assert post(worker, "/changes/github", github, {"x-hub-signature-256": proof, "x-github-event": "deployment_status"}).status_code == 202
    assert (signed(worker, body, OTHER).status_code, signed(worker, record(service="payments")).status_code) == (401, 403)

    until(lambda: len(seen(service)) == 4, "a start and a finish of both changes in the signals")
    changes = {(each.deploy_id, each.service, each.version, each.stage) for each in seen(service).values()}
    sha = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
    one, other = ("chg-1", "checkout", "4.11.0"), ("github/shop/checkout/145988746/checkout", "checkout", sha)
    assert changes == {(*each, stage) for each in (one, other) for stage in ("started", "finished")}
    # The topic takes nothing that is not signed, also not from the worker itself.
    headers = [dict(each.headers) for each in service.read(service.shop.topic("deploys"))]
    assert all("webhook-signature" in each for each in headers)
    assert len(headers) == 3

    letters = [dict(each.headers) for each in service.read(service.topic("deadletter"))]
    assert [each["reason"] for each in letters] == [b"forged", b"foreign"]
    store = open_store(service.settings)
    found = [msgspec.json.decode(entry.body) for entry in store.ledger() if entry.kind == "change.refused"]
    store.close()
    assert [(each["channel"], each["key"], each["reason"]) for each in found] == [("signed", "", "forged"), ("signed", "ci", "foreign")]
    assert worker.metric("rollguard_taken_changes_total", channel="signed") == 2
    assert worker.metric("rollguard_refused_changes_total", channel="signed", reason="foreign") == 1
    assert worker.end() == 0
    assert all(secret[6:] not in worker.said for secret in (CI, TOPIC, GITHUB))


def test_what_no_broker_has_acknowledged_is_not_taken_and_taken_when_it_comes_again(service: Service) -> None:
    worker = service.ready("--only", "changes")
    assert signed(worker, record("chg-0")).status_code == 202
    service.broker.pause()
    answer = signed(worker, record("chg-1"))
    service.broker.resume()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(service.broker.bootstrap) not in answer.text
    until(lambda: signed(worker, record("chg-1")).status_code == 202, "brokers that acknowledge again")
    until(lambda: {each.deploy_id for each in seen(service).values()} == {"chg-0", "chg-1"}, "both changes in the signals")


def test_a_body_without_an_end_is_cut_off(service: Service) -> None:
    worker = service.ready("--only", "changes")

    with socket.create_connection((HOST, worker.port), timeout=30.0) as sender:
        sender.sendall(b"POST /changes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        # A hundred times what is read of it; the kernels on both sides hold some megabytes.
        with pytest.raises(OSError, match=r"(?i)reset|broken pipe"):
            sender.sendall(chunk * (100 * LONGEST // len(chunk)))
    until(lambda: worker.metric("rollguard_refused_changes_total", channel="signed", reason="too_long") == 1, "a refusal that is counted")
    assert worker.ready


def test_what_is_posted_is_a_suspect_when_the_shop_breaks(broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CI_KEY": CI, "TOPIC_KEY": TOPIC, "GITHUB_SECRET": GITHUB}.items():
        monkeypatch.setenv(name, value)
    shop_topics(broker, names, partitions=1)
    shop = shops.a_shop()
    shift_ms = round(1000 * time.time()) - shop.end_ms
    began_ms = shop.onset_ms + shift_ms - 2 * shops.MINUTE_MS
    told = {
        "deploy_id": "chg-posted",
        "service": "delivery-promise",
        "region": shops.HURT,
        "from_version": "1.0",
        "version": "2.0",
        "started_at": rfc3339(began_ms),
        "finished_at": rfc3339(began_ms + shops.MINUTE_MS),
    }
    # So that no test has to be quick: by the clock on the wall nothing is ever silent.
    patient: dict[str, str | None] = dict.fromkeys(shop.events, ", idle: 1h")
    with Service(broker, tmp_path / "live", names, shops.CONFIG, sources=patient, changes=CHANGES) as service:
        lines = {
            source: [(event.ts_ms + shift_ms, msgspec.json.encode({"ts": event.ts_ms + shift_ms} | event.fields)) for event in events]
            for source, events in shop.events.items()
        }
        for source, each in lines.items():
            service.send(names.topic(source), [line for at_ms, line in each if at_ms < began_ms])
        worker = service.ready()
        service.await_frontier(began_ms - 2 * shops.MINUTE_MS)
        assert signed(worker, msgspec.json.encode(told)).status_code == 202
        until(lambda: len(seen(service)) == 2, "a start and a finish in the signals")
        for source, each in lines.items():
            service.send(names.topic(source), [line for at_ms, line in each if at_ms >= began_ms])
        until(lambda: any(each["suspects"] for each in service.incidents(2**53)), "an incident with a suspect")
        (incident,) = service.incidents(2**53)
        run = CliRunner().invoke(app, ["incidents", "show", incident["incident_id"], "-c", str(service.path())])
        assert run.exit_code == 0, run.output
        assert "chg-posted" in run.output
        shown = CliRunner().invoke(app, ["incidents", "show", incident["incident_id"], "-c", str(service.path()), "--json"])
        (suspect, *_) = msgspec.json.decode(shown.output)["suspects"]
        assert (suspect["deploy_id"], suspect["service"], suspect["version"]) == ("chg-posted", "delivery-promise", "2.0")
        assert suspect["probability"] > 0.5
        assert worker.end() == 0
