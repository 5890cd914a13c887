"""A reader does what the pages say that need a Kafka, in that order: it works, and the tutorial ends with the incident that it promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import Page, pages
from tests.docs.running import read
from tests.live.servers import HOST, Broker, free_ports

WITH_KAFKA = [page for page in pages() if page.mark == "kafka"]


def test_the_tutorial_is_one_of_them() -> None:
    assert "docs/tutorial.md" in {page.name for page in WITH_KAFKA}


@pytest.mark.parametrize("page", [pytest.param(page, marks=pytest.mark.live_long) for page in WITH_KAFKA], ids=[page.name for page in WITH_KAFKA])
def test_a_reader_gets_to_the_end_of_the_page(page: Page, broker: Broker, tmp_path: Path, figure: Callable[[str], None]) -> None:
    before = {*broker.topics()}
    start_s = time.monotonic()
    # Where nobody else on this machine listens.
    port = free_ports(1)[0]
    instead = {f"{HOST}:9092": broker.bootstrap, f"{HOST}:6067": f"{HOST}:{port}"}
    try:
        done = read(page, tmp_path / "clone", instead, f"\nhttp: {{port: {port}}}\n")
    finally:
        # The names of a page are no test's own.
        broker.delete_topics(sorted({*broker.topics()} - before))
    figure(f"{page.name}: {len(done)} blocks in {(time.monotonic() - start_s) / 60:.1f} min")
    assert done
