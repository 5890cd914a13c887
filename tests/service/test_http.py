"""The worker's routes, as Prometheus and an orchestrator ask for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rollguard.config import Layer, default_text, load_layers
from rollguard.incidents import GateAnswer, GateQuestion
from rollguard.service.http import routes
from rollguard.service.metrics import Metrics

SETTINGS = load_layers([Layer(default_text(), "default.yaml")])


def nobody(asked: GateQuestion) -> GateAnswer:
    raise AssertionError(f"nobody asks {asked}")


def ask(path: str, troubles: dict[str, str] | None = None, gate: Callable[[GateQuestion], GateAnswer] = nobody) -> httpx.Response:
    app = routes(Metrics(SETTINGS).registry, lambda: troubles or {}, gate)

    async def whole() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client:
            return await client.get(path)

    return asyncio.run(whole())


def test_it_is_alive_whatever_troubles_it() -> None:
    assert ask("/healthz", {"ingest": "no broker"}).status_code == 200


@pytest.mark.parametrize(("troubles", "code"), [({}, 200), ({"desk": "not connected yet"}, 503)])
def test_it_is_ready_when_nothing_keeps_a_stage_from_working(troubles: dict[str, str], code: int) -> None:
    answer = ask("/readyz", troubles)
    assert answer.status_code == code
    assert answer.json() == {"ready": not troubles, "troubles": troubles}


def test_metrics_are_what_prometheus_reads_and_say_their_unit() -> None:
    answer = ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert len(families) > 8
    for family in families:
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"rollguard_[a-z_]+", family.name)
        assert family.documentation
        assert family.type in {"counter", "gauge"}
        if "timestamp" in family.name or "age" in family.name:
            assert family.name.endswith("_seconds")
