"""`rollguard page --test`: who is told says so, and who is not says why."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import said

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()


class Receiver(BaseHTTPRequestHandler):
    """Takes what is posted to /well, and nothing else."""

    asked: list[Any] = []  # noqa: RUF012 - of the server that one test starts

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        well = self.path == "/well"
        if well:
            self.asked.append(json.loads(body))
        self.send_response(204 if well else 403)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base names it
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Of a receiver."""
    Receiver.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        going = threading.Thread(target=server.serve_forever)
        going.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        going.join()


def config(path: Path, address: str) -> str:
    text = f"""
respond:
  pagers:
    oncall: {{kind: webhook, url: "{address}/well", secret: env:HOOK}}
    other: {{kind: webhook, url: "{address}/ill", secret: env:HOOK}}
"""
    (path / "shop.yaml").write_text(text, encoding="utf-8")
    return str(path / "shop.yaml")


def test_a_test_page_is_told_and_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, address: str) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    told = said(monkeypatch, capsys, "page", "--test", "-c", config(tmp_path, address), "--pager", "oncall")
    assert told.code == 0, told
    assert told.out.startswith("ok   oncall: ")
    assert [each["type"] for each in Receiver.asked] == ["rollguard.page.trigger", "rollguard.page.resolve"]
    assert len({each["data"]["dedup_key"] for each in Receiver.asked}) == 1


def test_a_pager_that_refuses_is_named_with_what_it_said_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, address: str
) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    told = said(monkeypatch, capsys, "page", "--test", "-c", config(tmp_path, address))
    assert told.code == 1
    assert "mend other: " in told.out
    assert "403" in told.out
    assert SECRET[6:] not in told.out + told.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--pager", "onkall", "--test"], "Did you mean 'oncall'?"), ([], "Expected: --test"), (["--test"], "HOOK: there is no such variable")],
)
def test_what_was_typed_or_set_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], expected: str
) -> None:
    told = said(monkeypatch, capsys, "page", "-c", config(tmp_path, "http://127.0.0.1:1"), *words)
    assert told.code == 2
    assert expected in told.err


def test_pages_without_a_pager_have_nowhere_to_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("environment: production\n", encoding="utf-8")
    told = said(monkeypatch, capsys, "page", "--test", "-c", str(tmp_path / "shop.yaml"))
    assert (told.code, "no pager is declared" in told.err) == (2, True)
