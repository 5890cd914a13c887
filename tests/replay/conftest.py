"""A replay with a report, for all who look at it."""

from __future__ import annotations

from typing import Any

import pytest

from rollguard.replay import Run, open_case, run_case
from tests.properties import shop as shops

Shown = dict[str, Any]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A replay of a small shop in which promises, orders and errors go wrong in one region."""
    shop = shops.a_shop()
    return run_case(open_case(shops.write(tmp_path_factory.mktemp("shop") / "case", shop, end_ms=shop.end_ms)), report=True)


@pytest.fixture(scope="session")
def shown(run: Run) -> Shown:
    """What its page shows."""
    assert run.report is not None
    return run.report
