"""Pagers and targets are reached, let in and allowed, and nobody is told anything."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from rollguard.config import Pager as PagerConfig
from rollguard.config import Target as TargetConfig
from rollguard.responders.records import PageError, RefusedError
from rollguard.responders.targets import make_target
from rollguard.responders.trying import try_pager, try_target
from tests.responders.faulty import Answer, Faulty

SECRET = "whsec_" + base64.b64encode(b"a signing secret of 24 bytes or more").decode()


def paged(answer: Answer, kind: Any, secret: str | None = None) -> tuple[str, list[Any]]:
    async def whole() -> tuple[str, list[Any]]:
        async with Faulty(answer) as server:
            pager = PagerConfig(kind=kind, url=(server.url,), timeout="5s")
            return await try_pager("oncall", pager, secret), server.asked

    return asyncio.run(whole())


def targeted(answer: Answer, *services: str) -> tuple[str, list[Any]]:
    async def whole() -> tuple[str, list[Any]]:
        async with Faulty(answer) as server:
            config = TargetConfig(kind="webhook", url=server.url, secret="env:X", timeout="5s")
            target = make_target("deployer", config, lambda: SECRET)
            try:
                return await try_target(target, config, services, None), server.asked
            finally:
                await target.close()

    return asyncio.run(whole())


def test_an_alertmanager_is_asked_how_it_is_and_told_nothing() -> None:
    said, asked = paged(Answer(200, b'{"versionInfo": {}}'), "alertmanager", "token")
    assert said == "reached"
    assert [(each.method, each.path) for each in asked] == [("GET", "/api/v2/status")]


@pytest.mark.parametrize(("answer", "told"), [(Answer(200, b"<html>"), "is no Alertmanager"), (Answer(401, b""), "does not let us in")])
def test_what_is_no_alertmanager_or_does_not_let_us_in_is_told_without_the_token(answer: Answer, told: str) -> None:
    with pytest.raises(PageError, match=told) as error:
        paged(answer, "alertmanager", "planted-token")
    assert "planted-token" not in str(error.value)


def test_of_a_webhook_whoever_answers_will_do_and_no_page_is_sent() -> None:
    said, asked = paged(Answer(404, b""), "webhook", SECRET)
    assert (said, [(each.method, each.path) for each in asked]) == ("reached", [("GET", "/")])


def test_a_slack_address_that_cannot_be_reached_is_told_without_its_secret_part() -> None:
    url = "http://127.0.0.1:1/services/T000/planted-secret"
    with pytest.raises(PageError, match=r"127\.0\.0\.1:1 cannot be reached") as error:
        asyncio.run(try_pager("chat", PagerConfig(kind="slack"), url))
    assert "planted-secret" not in str(error.value)


def test_a_deployer_is_asked_what_is_live_and_nothing_else() -> None:
    said, asked = targeted(Answer(200, b'{"version": "1.0"}'), "checkout", "search")
    assert said == "checkout, search can be read"
    assert {each.path for each in asked} == {"/current"}


def test_a_deployer_that_knows_no_such_service_is_reached_where_none_is_configured() -> None:
    assert targeted(Answer(404, b"{}"))[0] == "reached"
    with pytest.raises(RefusedError, match="answered 404"):
        targeted(Answer(404, b"{}"), "checkout")


def test_a_deployer_that_refuses_the_signature_is_told_so_even_where_no_service_is_configured() -> None:
    with pytest.raises(RefusedError, match="hold `secret` against"):
        targeted(Answer(403, b"no"))


def test_a_program_that_is_not_there_is_found_and_none_is_run() -> None:
    config = TargetConfig(kind="command", argv=("false",), current=("no-such-program-anywhere",))
    with pytest.raises(RefusedError, match="current: no-such-program-anywhere: there is no such program"):
        asyncio.run(try_target(make_target("script", config, lambda: ""), config, (), None))
