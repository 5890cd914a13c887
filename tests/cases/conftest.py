"""`pytest tests/cases --rewrite-golden` writes what the cases give now as what they should give; read the difference in review."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files of tests/cases anew instead of comparing")


@pytest.fixture(scope="session")
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written. A run over all tests does not know the option."""
    return bool(request.config.getoption("--rewrite-golden", default=False))
