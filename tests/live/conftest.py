"""Real servers for the tests in this folder, and the figures that they print."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.live.servers import Broker, Names, NoServerError, fresh_names, running_broker

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests of a run. Where there is none, its tests are skipped with the reason; in CI they fail."""
    try:
        with running_broker(tmp_path_factory.mktemp("kafka")) as broker:
            yield broker
    except NoServerError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no Kafka in CI: {error}")
        pytest.skip(f"no Kafka: {error}")


@pytest.fixture
def broker(kafka: Broker) -> Iterator[Broker]:
    """The broker, which serves again after a test that stopped, killed or paused it."""
    yield kafka
    kafka.make_well()


@pytest.fixture
def names() -> Names:
    """A prefix, a group and topics that no other test has."""
    return fresh_names()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line, after the run, beside the name of the test: what it measured."""
    lines = request.config.stash.setdefault(FIGURES, [])

    def tell(text: str) -> None:
        lines.append(f"{request.node.name}: {text}")

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    if lines := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
