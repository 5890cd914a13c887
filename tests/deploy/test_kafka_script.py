"""The broker that the tutorial starts where there is no Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.composed import ROOT
from tests.live.servers import HOST, Broker, NoServerError, fetched_jars, free_ports, java, until

SCRIPT = ROOT / "examples" / "tutorial" / "kafka.sh"


def serves(broker: Broker) -> Callable[[], bool]:
    """Whether a broker answers."""

    def asked() -> bool:
        try:
            broker.topics()
        except Exception:  # noqa: BLE001 - whatever it is, it does not serve yet
            return False
        return True

    return asked


@contextmanager
def started(address: str, folder: Path) -> Iterator[Broker]:
    """The broker of the script, as from a terminal."""
    with (folder / "kafka.log").open("ab") as log:
        process = subprocess.Popen(["sh", SCRIPT, address], env=os.environ | {"KAFKA_FOLDER": str(folder)}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S607 - from the PATH, as for a person
    try:
        broker = Broker(address)
        until(lambda: process.poll() is not None or serves(broker)(), f"Kafka on {address}")
        assert process.poll() is None, (folder / "kafka.log").read_text(encoding="utf-8", errors="replace")
        yield broker
    finally:
        process.terminate()
        process.wait(60.0)


def test_a_broker_starts_without_docker_and_keeps_its_topics_when_it_is_started_again(tmp_path: Path) -> None:
    try:
        java()
    except NoServerError as error:
        pytest.skip(f"no Kafka: {error}")
    folder = tmp_path / "kafka"
    folder.mkdir()
    # Fetched before by another test: what Maven does stands in tests/live/servers.py.
    (folder / "jars").symlink_to(fetched_jars())
    address = f"{HOST}:{free_ports(1)[0]}"
    with started(address, folder) as broker:
        broker.create_topic("kept", partitions=3)
    with started(address, folder) as broker:
        assert broker.topics()["kept"] == 3


def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(["sh", SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)  # noqa: S607 - from the PATH, as for a person
    assert done.returncode == 1
    assert "no 'java' on the PATH" in done.stderr
    assert "apt-get install" in done.stderr
