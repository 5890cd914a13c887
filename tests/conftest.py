"""Hypothesis profiles (`ci` repeats itself exactly, `dev` takes fresh seeds; CI=1 in the environment chooses), a database, and the figures that tests print."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rollguard.store import Store

# No deadline in either: on a shared machine it fails for being slow, which is not what any property promises.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "dev")

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database of its own: a file of SQLite, `rollguard.db` in the test's folder."""
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as found:
        found.migrate()
        yield found


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
