"""The webhook and the command: what they ask, and that each answer is read as what it surely means, and as unknown where nothing is sure."""

from __future__ import annotations

import asyncio
import base64
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks import Webhook

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import MovedError, Prepared, RefusedError, Step, Target, UnknownError
from rollguard.responders.targets import make_target
from tests.responders.faulty import DRIP, HTML, RESET, SILENT, Answer, Behaviour, Faulty

KEY = "whsec_" + base64.b64encode(b"the deployer: a secret of over 24 bytes").decode()
STEP = Step(intent="8c33e8df/eu-west", service="checkout", region="eu-west", expected_version="2.0", to_version="1.0", incident_id="inc-1", reason="orders")
LIVE = Answer(200, b'{"version": "2.0"}')
PREPARED = Prepared(step=STEP, version="2.0", what="")
Got = TypeVar("Got")


def webhook(url: str, secret: str = KEY) -> Target:
    config = TargetConfig(kind="webhook", url=f"{url}/deployer/", secret="env:X", cas="native", timeout="300ms")
    return make_target("shop", config, lambda: secret)


def asked(behaviours: tuple[Behaviour, ...], work: Callable[[Target], Awaitable[Got]]) -> tuple[Got, Faulty]:
    """Do something with a webhook target, whose deployer behaves in a way."""

    async def whole() -> tuple[Got, Faulty]:
        async with Faulty(*behaviours) as server:
            target = webhook(server.url)
            try:
                return await work(target), server
            finally:
                await target.close()

    return asyncio.run(whole())


def test_the_deployer_is_asked_by_signed_calls_that_carry_the_judged_version() -> None:
    async def work(target: Target) -> str:
        plan = await target.plan(STEP)
        assert plan.what == "ask the deployer to bring checkout back to 1.0 in eu-west"
        return await target.execute(plan)

    said, server = asked((LIVE, Answer(202, b'{"taken": true}')), work)
    assert said == 'answered 202: {"taken": true}'
    read, act = server.asked
    assert (read.method, read.path, read.json()) == ("POST", "/deployer/current", {"service": "checkout", "region": "eu-west"})
    assert (act.method, act.path) == ("POST", "/deployer/rollback")
    assert msgspec.json.decode(act.body, type=Step) == STEP
    assert act.headers["idempotency-key"] == act.headers["webhook-id"] == STEP.intent
    for each in server.asked:
        Webhook(KEY).verify(each.body, each.headers)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Answer(409, b'{"version": "2.1"}'), MovedError),
        (Answer(403), RefusedError),
        (Answer(429), RefusedError),
        (Answer(500), UnknownError),
        (Answer(302, headers={"location": "http://127.0.0.1:1/"}), UnknownError),
        (RESET, UnknownError),
        (SILENT, UnknownError),
        (DRIP, UnknownError),
        (HTML, UnknownError),
    ],
    ids=["409", "403", "429", "500", "redirect", "reset", "silent", "drip", "html"],
)
def test_nothing_is_read_as_surely_undone_that_may_have_been_done(behaviour: Behaviour, error: type[Exception]) -> None:
    async def work(target: Target) -> None:
        with pytest.raises(error) as caught:
            await target.execute(PREPARED)
        assert KEY not in str(caught.value)

    assert len(asked((behaviour,), work)[1].asked) == 1


def test_a_deployer_that_cannot_be_reached_has_done_nothing() -> None:
    async def work() -> None:
        with pytest.raises(RefusedError, match="cannot be reached"):
            await webhook("http://127.0.0.1:1").execute(PREPARED)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "words"),
    [(Answer(200, b'{"version": "2.1"}'), "2.1 is live, and 2.0 was judged"), (HTML, "no answer that is known"), (Answer(500), "cannot be read: answered 500")],
    ids=["moved", "html", "500"],
)
def test_a_plan_stands_on_what_is_live(answer: Answer, words: str) -> None:
    async def work(target: Target) -> None:
        with pytest.raises((MovedError, RefusedError), match=words):
            await target.plan(STEP)

    asked((answer,), work)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"version": "1.0"}', "live"),
        (b'{"version": "1.0", "status": "going"}', "going"),
        (b'{"version": "1.0", "status": "failed"}', "failed"),
        (b'{"version": "2.0"}', "going"),
        (b'{"version": "2.1"}', "failed"),
        (b"", "unknown"),
    ],
)
def test_it_is_live_when_the_deployer_says_so(body: bytes, outcome: str) -> None:
    assert asked((Answer(200, body),), lambda target: target.confirm(STEP))[0] == outcome


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "\u00e9", ""])
def test_a_secret_that_is_none_is_said_to_be_none_and_not_shown(secret: str) -> None:
    with pytest.raises(RefusedError, match="its secret is none") as caught:
        webhook("http://127.0.0.1:1", secret)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def program(folder: Path, text: str) -> str:
    """A program of this text."""
    path = folder / "deployer"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def command(*argv: str, **more: Any) -> Target:
    return make_target("shop", TargetConfig(kind="command", argv=argv, **{"timeout": "2s", **more}), lambda: "")


def ran(target: Target, work: Callable[[Target], Awaitable[Got]]) -> Got:
    return asyncio.run(work(target))  # type: ignore[arg-type]


def test_a_command_is_given_its_arguments_as_they_are_and_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_SECRET", "do not tell")
    path = program(tmp_path, 'printf "%s\\n" "$@"; env')
    step = replace(STEP, to_version="1.0; rm -rf / $(reboot) {service}", intent="p/*")
    said = ran(command(path, "back", "{service}", "--to={to_version}", "{intent}"), lambda target: target.execute(replace(PREPARED, step=step)))
    assert said.startswith("back checkout --to=1.0; rm -rf / $(reboot) {service} p/* ")
    assert "DEPLOYER_SECRET" not in said


@pytest.mark.parametrize(("code", "error"), [(3, MovedError), (4, RefusedError), (1, UnknownError), (127, UnknownError)])
def test_an_exit_code_means_what_the_documentation_says(tmp_path: Path, code: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"exit code {code}: it said why"):
        ran(command(program(tmp_path, f"echo it said why; exit {code}")), lambda target: target.execute(PREPARED))


def test_a_command_that_does_not_end_is_killed_with_all_it_started_and_nobody_knows(tmp_path: Path) -> None:
    path = program(tmp_path, f"(sleep 60; echo late > {tmp_path / 'late'}) & echo $! > {tmp_path / 'child'}; sleep 60")
    with pytest.raises(UnknownError, match="killed"):
        ran(command(path, timeout="500ms"), lambda target: target.execute(PREPARED))
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_command_that_is_not_there_has_done_nothing(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be run: no such file"):
        ran(command(str(tmp_path / "nothing")), lambda target: target.execute(PREPARED))


def test_what_is_live_is_what_the_other_command_prints(tmp_path: Path) -> None:
    current = {"current": (program(tmp_path, "cat live"),)}
    reads = {"current": (program(tmp_path, f"cat {tmp_path / 'live'}"),)}
    (tmp_path / "live").write_text("2.0\n")
    assert ran(command("true", **reads), lambda target: target.plan(STEP)).version == "2.0"
    assert ran(command("true", **reads), lambda target: target.confirm(STEP)) == "going"
    (tmp_path / "live").write_text("1.0\n")
    assert ran(command("true", **reads), lambda target: target.confirm(STEP)) == "live"
    with pytest.raises(MovedError, match=r"1\.0 is live"):
        ran(command("true", **reads), lambda target: target.plan(STEP))
    assert command("true", **current).cas == "read-then-call"
    assert command("true").cas == "none"


@given(st.sampled_from(["service", "region", "to_version", "expected_version"]), st.text())
def test_nothing_that_came_with_an_event_turns_into_an_option(name: str, text: str) -> None:
    target = command("true", "{service}", "{region}", "{to_version}", "{expected_version}")
    step = replace(STEP, **{name: text})
    if text.startswith("-") or not text.isprintable():
        with pytest.raises(RefusedError, match="not given to a program"):
            ran(target, lambda each: each.plan(step))
    else:
        assert "run true" in ran(target, lambda each: each.plan(step)).what
