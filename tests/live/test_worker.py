"""The service as it runs: real workers on a real broker, undisturbed and disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollguard.config import read_layer
from rollguard.replay import ms_of, open_case, run_case
from tests.live.servers import Broker, Names
from tests.live.workers import Service, shop_topics
from tests.properties import shop as shops

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"


def test_a_live_run_finds_what_a_replay_finds(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop = shops.a_shop()
    case = shops.write(tmp_path / "shop", shop, end_ms=shop.end_ms)
    shop_topics(broker, names)
    lived_as_replayed(Service(broker, tmp_path / "live", names, shops.CONFIG), case)


@pytest.mark.live_long
@pytest.mark.parametrize("name", ["promise-7", "decoys-7", "provider-7"])
def test_a_live_run_over_a_case_finds_what_its_replay_finds(broker: Broker, names: Names, tmp_path: Path, figure: Callable[[str], None], name: str) -> None:
    case = CASES / name
    if not case.is_dir():
        pytest.skip(f"{case} is not here")
    shop_topics(broker, names)
    figure(lived_as_replayed(Service(broker, tmp_path, names), case))


def assert_same_lines(found: list[bytes], expected: list[bytes]) -> None:
    """Hold two timelines against one another, and show the first difference by its place."""
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        differing = list(differences(msgspec.json.decode(one), msgspec.json.decode(other)))
        assert not differing, f"line {number}"
    assert len(found) == len(expected)
    assert found == expected


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif one != other:
        yield f"{place}: {one} != {other}"


def lived_as_replayed(service: Service, case: Path) -> str:
    """Write a case to topics, let a worker read them, and hold what it found against a replay of the files."""
    run = run_case(open_case(case, [read_layer(service.path())]))
    last_ms = max(ms_of(msgspec.json.decode(line)["at"]) for line in run.timeline)
    with service:
        service.produce(case, "max").done()
        worker = service.ready()
        service.await_frontier(last_ms)
        assert worker.end() == 0
        found = service.timeline(last_ms)
    assert_same_lines(found, run.timeline)
    return f"{len(found)} lines of {run.name} are the same"
