"""`pytest tests/cases --rewrite-golden` writes what the cases give now as what they should give; read the difference in review."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.cases.replays import NAMES, Replayed, replayed_into


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files of tests/cases anew instead of comparing")


@pytest.fixture(scope="session")
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written. A run over all tests does not know the option."""
    return bool(request.config.getoption("--rewrite-golden", default=False))


@pytest.fixture(scope="session")
def replays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Replayed]]]:
    """Each case that a chosen test asks for, replayed once, two at a time."""
    asked = {item.callspec.params.get("name") for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")}
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(replayed_into, name, tmp_path_factory.mktemp(name)) for name in NAMES if name in asked}


@pytest.fixture
def replayed(replays: dict[str, Future[Replayed]], name: str) -> Replayed:
    return replays[name].result()
