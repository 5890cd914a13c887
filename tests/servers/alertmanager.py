"""A real Alertmanager of the tests' own: started once, on loopback, without a cluster, gone afterwards.

It tells one webhook of everything at once, by the fixture `alertmanager`. `apt-get install prometheus-alertmanager` has it; where it is missing, a
test that wants it skips at home, with the reason, and fails in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Queue
from signal import SIGTERM
from threading import Event
from typing import Any

import httpx
import msgspec
import pytest
from port_for import get_port

from tests.servers.receivers import serving

NAMES = ("prometheus-alertmanager", "alertmanager")
#: A server that does not answer after so many seconds is not going to.
START_S = 30.0
_CONFIG = """\
route:
  receiver: tests
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: tests
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


class Alertmanager:
    """A running server, and what its receiver was told."""

    def __init__(self, url: str, told: Queue[Any]) -> None:
        self.url = url
        self._told = told
        self._seen: list[Any] = []

    def alerts(self, incident: str) -> list[Any]:
        """Alerts that fire, of one incident."""
        found: list[Any] = httpx.get(f"{self.url}/api/v2/alerts", params={"filter": f'incident="{incident}"'}, trust_env=False).json()
        return found

    def told(self, incident: str, status: str, seconds: float = START_S) -> Any:
        """Wait for the next time that the receiver is told of an incident, and take it out; it has to be of this status.

        Raises
        ------
        TimeoutError
            If it is not told in time.
        """
        until = time.monotonic() + seconds
        while True:
            for each in self._seen:
                if any(alert["labels"].get("incident") == incident for alert in each["alerts"]):
                    self._seen.remove(each)
                    assert each["status"] == status
                    return each
            if time.monotonic() > until:
                raise TimeoutError(f"the receiver was not told of {incident} within {seconds:g} s")
            self._take(until - time.monotonic())

    def untold(self, incident: str) -> bool:
        """Whether nothing that came until now is of an incident."""
        while not self._told.empty():
            self._seen.append(self._told.get())
        return not any(alert["labels"].get("incident") == incident for each in self._seen for alert in each["alerts"])

    def _take(self, seconds: float) -> None:
        with_deadline = max(seconds, 0.01)
        try:
            self._seen.append(self._told.get(timeout=with_deadline))
        except Exception as error:
            raise TimeoutError(f"the receiver was told nothing within {with_deadline:g} s") from error


def program() -> str | None:
    """The server that is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def receiving() -> Iterator[tuple[str, Queue[Any]]]:
    """A webhook receiver: its address, and all that it is told."""
    told: Queue[Any] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(msgspec.json.decode(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

    with serving(Handler) as address:
        yield f"{address}/", told


@contextmanager
def running(where: Path) -> Iterator[Alertmanager]:
    """A server whose files are in `where`."""
    found = program()
    assert found is not None
    port = get_port(None)
    with receiving() as (receiver, told), (where / "log").open("wb") as log:
        (where / "alertmanager.yml").write_text(_CONFIG.format(url=receiver), encoding="utf-8")
        words = [found, "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={where / 'data'}"]
        process = subprocess.Popen([*words, f"--config.file={where / 'alertmanager.yml'}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}", process, where / "log")
            yield Alertmanager(f"http://127.0.0.1:{port}", told)
        finally:
            process.send_signal(SIGTERM)
            process.wait(START_S)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until, pause = time.monotonic() + START_S, Event()
    while True:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"Alertmanager does not answer:\n{log.read_text(errors='replace')[-2000:]}")
        pause.wait(0.02)


@pytest.fixture(scope="session")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """A running server."""
    if program() is None:
        reason = "no Alertmanager: `apt-get install prometheus-alertmanager`"
        if os.environ.get("CI") and os.environ.get("ROLLGUARD_SERVERS") != "some":
            pytest.fail(reason)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server
