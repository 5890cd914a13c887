"""What every pager keeps: a page is taken or it is said why not, nothing is followed, and no secret is told."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import structlog

from rollguard.config import Layer, default_text, load_layers
from rollguard.config import Pager as PagerConfig
from rollguard.responders import PageError
from rollguard.responders.pagers import KINDS, make_pager
from tests.live.servers import make_certificates
from tests.responders.faulty import DRIP, ECHO, HTML, RESET, SILENT, Answer, Behaviour, Faulty, a_page

# Apprise imports PGPy, which imports it; from Python 3.13 on Apprise stands in for it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

#: Planted: none of these may ever be told. Of a URL that is a secret, no part that identifies it.
KEY = "R0planted0routing0key0000000001q"
SIGNING = "whsec_" + base64.b64encode(b"planted-signing-secret-0123456789").decode()
TOKEN = "planted-bearer-token-77"  # noqa: S105 - planted
HOOK = "/services/T0PLANTED01/B0PLANTED02/pLaNtEdHoOkT0kEn"
PLANTED = (KEY, SIGNING, SIGNING.removeprefix("whsec_"), TOKEN, HOOK, "pLaNtEdHoOkT0kEn", "T0PLANTED01", "pLaNtEdPw")


@dataclass(frozen=True)
class Kind:
    """How a kind is aimed at a receiver, and what that answers when it takes a page."""

    secret: Callable[[str], str | None]
    good: Answer
    url: bool = False


ACCEPTED = Answer(202, b'{"status":"success","message":"Event processed","dedup_key":"incident-5f3a"}', {"content-type": "application/json"})
HTTP = {
    "alertmanager": Kind(lambda _: TOKEN, Answer(200), url=True),
    "apprise": Kind(lambda url: f"{url.replace('http', 'json', 1).replace('://', '://someone:pLaNtEdPw@')}{HOOK}", Answer(200)),
    "pagerduty": Kind(lambda _: KEY, ACCEPTED, url=True),
    "slack": Kind(lambda url: url + HOOK, Answer(200, b"ok")),
    "webhook": Kind(lambda _: SIGNING, Answer(204), url=True),
}
#: A fault, whether the page may be told again, and after how long. Apprise does not say what went wrong: always again.
FAULTS: dict[str, tuple[Behaviour, bool, int | None]] = {
    "429 with Retry-After": (Answer(429, b"slow down", {"retry-after": "7"}), True, 7_000),
    "429 without": (Answer(429), True, None),
    "429 with a number that is none": (Answer(429, headers={"retry-after": "\xb2"}), True, None),
    "429 with a number without end": (Answer(429, headers={"retry-after": "9" * 5_000}), True, None),
    "500": (Answer(500, b"oops"), True, None),
    "503 with Retry-After": (Answer(503, headers={"retry-after": "90"}), True, 90_000),
    "reset": (RESET, True, None),
    "accepted, then silent": (SILENT, True, None),
    "a page for people": (HTML, True, None),
    "drip": (DRIP, True, None),
    "moved for now": (Answer(302, headers={"location": "/elsewhere"}), True, None),
    "moved for ever": (Answer(308, headers={"location": "https://elsewhere.example/x"}), False, None),
    "400": (Answer(400, b'{"status":"invalid event"}'), False, None),
    "404": (Answer(404), False, None),
    "refused with an echo": (ECHO, False, None),
}
#: Apprise takes any 200.
NO_FAULT = {("apprise", "a page for people")}


def config(kind: str, url: str, **more: Any) -> PagerConfig:
    """A pager's section that points at a receiver."""
    return PagerConfig.model_validate({"kind": kind, **({"url": url} if HTTP[kind].url else {}), **more})


async def told(kind: str, receiver: Faulty, **more: Any) -> str:
    """Send a page to a receiver by a pager of a kind."""
    pager = make_pager("oncall", config(kind, receiver.url, **more), HTTP[kind].secret(receiver.url))
    try:
        return await pager.send(a_page(), message_id="m-1")
    finally:
        await pager.close()


def refusal(kind: str, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, **more: Any) -> tuple[PageError, list[str]]:
    """What is raised when a receiver behaves so, and the paths it was asked for."""

    async def whole() -> tuple[PageError, list[str]]:
        async with Faulty(behaviour, tls=tls) as receiver:
            with pytest.raises(PageError) as caught:
                await told(kind, receiver, **more)
            return caught.value, [each.path for each in receiver.asked]

    return asyncio.run(whole())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and a server's certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def serving(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    return context


def test_every_kind_of_the_config_can_be_made_and_is_tested_here() -> None:
    assert set(KINDS) == set(get_args(PagerConfig.model_fields["kind"].annotation)) == {*HTTP, "log"}


EXAMPLES = """
respond:
  pagers:
    oncall: {kind: pagerduty, secret: env:PAGERDUTY_KEY, url: "https://events.eu.pagerduty.com"}
    cluster: {kind: alertmanager, url: "http://am-0.internal:9093, http://am-1.internal:9093", labels: {team: checkout}}
    chat: {kind: slack, secret: file:/run/secrets/slack_webhook, timeout: 5s}
    bridge: {kind: webhook, url: "https://bridge.example/pages", secret: env:BRIDGE_SECRET}
    mail: {kind: apprise, secret: env:APPRISE_URL, timeout: 30s}
    here: {kind: log}
  page: [oncall, cluster]
"""


def test_a_pager_of_each_kind_can_be_made_from_a_config() -> None:
    secrets = {"oncall": KEY, "chat": f"https://hooks.slack.com{HOOK}", "bridge": SIGNING, "mail": "mailto://someone:pLaNtEdPw@example.com"}
    pagers = load_layers([Layer(default_text(), "default.yaml"), Layer(EXAMPLES, "examples.yaml")]).respond.pagers
    assert {each.kind for each in pagers.values()} == set(KINDS)
    made = [make_pager(name, each, secrets.get(name)) for name, each in pagers.items()]

    async def close() -> None:
        for each in made:
            await each.close()

    asyncio.run(close())


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_page_that_is_taken_is_asked_once_and_the_answer_is_short(kind: str) -> None:
    async def whole() -> tuple[str, int]:
        async with Faulty(HTTP[kind].good) as receiver:
            return await told(kind, receiver), len(receiver.asked)

    said, asked = asyncio.run(whole())
    assert asked == 1
    assert 0 < len(said) < 300
    assert said.isprintable()


@pytest.mark.parametrize("kind", sorted(HTTP))
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_page_that_is_not_taken_says_whether_it_may_be_told_again(kind: str, fault: str) -> None:
    if (kind, fault) in NO_FAULT:
        return
    behaviour, recoverable, after_ms = FAULTS[fault]
    error, paths = refusal(kind, behaviour, timeout="300ms" if behaviour in (SILENT, DRIP) else "10s")
    wanted = (True, None) if kind == "apprise" else (recoverable, after_ms)
    assert (error.recoverable, error.after_ms) == wanted
    assert error.where == f"oncall ({kind})"
    assert len(error.problem) <= 1_000
    assert str(error).isprintable()
    assert len(paths) == 1, "a redirect was followed, or the request repeated"


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_receiver_that_is_not_there_is_tried_again(kind: str) -> None:
    async def whole() -> PageError:
        async with Faulty(SILENT) as receiver:
            url = receiver.url
        pager = make_pager("oncall", config(kind, url), HTTP[kind].secret(url))
        with pytest.raises(PageError) as caught:
            await pager.send(a_page(), message_id="m-1")
        await pager.close()
        return caught.value

    assert asyncio.run(whole()).recoverable


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_certificate_that_nobody_vouches_for_is_not_trusted(kind: str, certificates: Path) -> None:
    error, asked = refusal(kind, HTTP[kind].good, tls=serving(certificates))
    assert error.recoverable
    assert asked == []


@pytest.mark.parametrize("kind", sorted({*HTTP} - {"apprise"}))
def test_an_authority_of_ones_own_is_trusted_when_the_config_names_it(kind: str, certificates: Path) -> None:
    async def whole() -> int:
        async with Faulty(HTTP[kind].good, tls=serving(certificates)) as receiver:
            await told(kind, receiver, ca_file=str(certificates / "ca.pem"))
            return len(receiver.asked)

    assert asyncio.run(whole()) == 1


@pytest.mark.parametrize("kind", sorted({*HTTP} - {"apprise"}))
def test_a_certificate_for_another_name_is_not_trusted(kind: str, certificates: Path) -> None:
    async def whole() -> tuple[PageError, int]:
        async with Faulty(HTTP[kind].good, tls=serving(certificates)) as receiver:
            url = receiver.url.replace("127.0.0.1", "localhost")
            pager = make_pager("oncall", config(kind, url, ca_file=str(certificates / "ca.pem")), HTTP[kind].secret(url))
            with pytest.raises(PageError) as caught:
                await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return caught.value, len(receiver.asked)

    error, asked = asyncio.run(whole())
    assert (error.recoverable, asked) == (True, 0)


def everything(error: BaseException | None) -> str:
    """All that could ever be printed of an error, with what it came from."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("kind", sorted(HTTP))
@pytest.mark.parametrize("fault", ["400", "429 without", "reset", "accepted, then silent", "refused with an echo", "moved for now"])
def test_no_secret_is_in_an_error_or_a_log(kind: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error, _ = refusal(kind, FAULTS[fault][0], timeout="300ms" if fault == "accepted, then silent" else "10s")
    told = everything(error) + caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert not [each for each in PLANTED if each.lower() in told.lower()]


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_no_secret_is_in_what_a_receiver_said_when_it_took_a_page(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = f"{KEY} {SIGNING} Bearer {TOKEN} {HOOK}".encode()
    body = {"pagerduty": b'{"status":"success","message":"' + secrets + b'"}', "slack": b"ok"}.get(kind, secrets)
    answer = Answer(HTTP[kind].good.status if kind != "webhook" else 200, body)

    async def whole() -> str:
        async with Faulty(answer) as receiver:
            return await told(kind, receiver)

    said = asyncio.run(whole()) + caplog.text
    own = {"webhook": SIGNING, "pagerduty": KEY, "alertmanager": TOKEN}.get(kind, HOOK)
    assert own not in said


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_secret_cut_at_the_end_of_an_excerpt_is_not_told_in_part(kind: str) -> None:
    async def whole() -> PageError:
        async with Faulty(SILENT) as receiver:
            secret = HTTP[kind].secret(receiver.url) or ""
        said = secret.partition("127.0.0.1")[2].partition("/")[2] or secret
        async with Faulty(Answer(400, b"x" * (195 - len(said) // 2) + b" " + said.encode())) as receiver:
            pager = make_pager(
                "oncall", config(kind, receiver.url), secret.replace(secret.partition("127.0.0.1:")[2].partition("/")[0] or "\0", receiver.url[-5:])
            )
            with pytest.raises(PageError) as caught:
                await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return caught.value

    error = asyncio.run(whole())
    assert not [each for each in PLANTED if each[: len(each) // 2] in str(error)]


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_pager_shows_no_secret_of_itself(kind: str) -> None:
    async def whole() -> str:
        pager = make_pager("oncall", config(kind, "http://127.0.0.1:9"), HTTP[kind].secret("http://127.0.0.1:9"))
        await pager.close()
        return f"{pager!r} {pager}"

    shown = asyncio.run(whole())
    assert not [each for each in PLANTED if each in shown]


@pytest.mark.parametrize(
    ("kind", "more", "secret", "said"),
    [
        ("pagerduty", {}, None, "no routing key"),
        ("pagerduty", {}, "planted key\nof two lines", "no routing key"),
        ("pagerduty", {"url": "https://a.example, https://b.example"}, KEY, "2 addresses"),
        ("alertmanager", {}, None, "0 addresses"),
        ("alertmanager", {"url": "http://a.example", "labels": {"my-team": "x"}}, None, "labels.my-team"),
        ("alertmanager", {"url": "http://a.example", "labels": {"incident": "x"}}, None, "labels.incident"),
        ("alertmanager", {"url": "http://a.example"}, "planted token", "no bearer token"),
        ("slack", {}, None, "no address of HTTP"),
        ("slack", {}, "ftp://planted.example/x", "no address of HTTP"),
        ("slack", {}, "https://planted.example:port/x", "no address of HTTP"),
        ("slack", {}, "xoxb-planted-token", "no address of HTTP"),
        ("webhook", {}, SIGNING, "0 addresses"),
        ("webhook", {"url": "http://a.example"}, None, "no signing secret"),
        ("webhook", {"url": "http://a.example"}, "planted", "no signing secret"),
        ("webhook", {"url": "http://a.example"}, "whsec_" + "A" * 33, "no base64"),
        ("apprise", {}, None, "no URL that Apprise knows"),
        ("apprise", {}, "planted://nothing", "no URL that Apprise knows"),
        ("apprise", {}, "planted", "no URL that Apprise knows"),
        ("apprise", {"ca_file": "/nowhere"}, "json://planted", "ca_file"),
        ("slack", {"ca_file": "/nowhere/ca.pem"}, "https://hooks.example/planted", "ca_file"),
    ],
)
def test_a_pager_that_can_never_work_is_refused_when_it_is_made(
    kind: str, more: dict[str, Any], secret: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PageError) as caught:
        make_pager("oncall", PagerConfig.model_validate({"kind": kind, **more}), secret)
    assert said in caught.value.problem
    assert not caught.value.recoverable
    assert "planted" not in everything(caught.value) + caplog.text


def test_where_apprise_is_not_installed_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(PageError, match=r"pip install 'rollguard\[apprise\]'") as caught:
        make_pager("chat", PagerConfig(kind="apprise"), "json://127.0.0.1")
    assert not caught.value.recoverable


def test_a_receiver_that_never_ends_does_not_gather_threads() -> None:
    async def whole() -> tuple[list[str], int]:
        async with Faulty(SILENT) as receiver:
            pager = make_pager("chat", config("apprise", receiver.url, timeout="50ms"), HTTP["apprise"].secret(receiver.url))
            problems = []
            for _ in range(7):
                with pytest.raises(PageError) as caught:
                    await pager.send(a_page(), message_id="m-1")
                problems.append(caught.value.problem)
            return problems, len(receiver.asked)

    problems, asked = asyncio.run(whole())
    assert asked <= 4
    assert "have not come to an end" in problems[-1]


def test_the_log_is_told_with_keys_and_always_takes_a_page() -> None:
    with structlog.testing.capture_logs() as lines:
        said = asyncio.run(make_pager("here", PagerConfig(kind="log"), None).send(a_page(), message_id="m-1"))
    assert said == "written to the log"
    page = a_page()
    assert lines == [
        {
            "event": "page_told",
            "log_level": "warning",
            "pager": "here (log)",
            "told": "trigger",
            "dedup_key": page.dedup_key,
            "title": page.title,
            "lines": list(page.lines),
            "message_id": "m-1",
        }
    ]
