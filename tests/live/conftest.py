"""Real servers for the tests in this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.live.servers import Broker, Names, NoServerError, fresh_names, running_broker


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
