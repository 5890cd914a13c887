"""The whole chain of stages: how partitions are cut, batched and interleaved, and where it is stopped and restored, does not matter."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.properties.chain import Chain, Place, parted, settings_of
from tests.properties.shop import CONFIG, Shop, a_shop, replayed

SHORT = a_shop()
LONG = a_shop(hours=27.0, per_second=0.4)
SETTINGS = settings_of(CONFIG)
ONE = {"orders": 1, "deliveries": 1, "errors": 1}

Step = tuple[Place, list[bytes]]


@cache
def expected(shop_hours: float, folder: Path) -> list[bytes]:
    """What a replay of the files gives."""
    return replayed(folder / f"{shop_hours}", SHORT if shop_hours == SHORT.hours else LONG).timeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shops")


def in_batches(logs: dict[Place, list[bytes]], sizes: list[int], chance: random.Random) -> Iterator[Step]:
    """Batches of all partitions, interleaved by chance; each partition keeps its own order."""
    at = dict.fromkeys(logs, 0)
    waiting = sorted(logs)
    while waiting:
        place = chance.choice(waiting)
        size = chance.choice(sizes)
        lines = logs[place][at[place] : at[place] + size]
        at[place] += size
        if lines:
            yield place, lines
        else:
            waiting.remove(place)


def one_by_one(shop: Shop, *, since_ms: int, until_ms: int, size: int) -> Iterator[Step]:
    """Batches of `size` lines while something happens, and big ones before and after; sources in order of arrival."""
    events = sorted(((event.arrival_ms, source, event.line) for source, found in shop.events.items() for event in found), key=lambda each: each[0])
    held: dict[Place, list[bytes]] = {(source, 0): [] for source in shop.events}
    for arrival_ms, source, line in events:
        lines = held[source, 0]
        lines.append(line)
        if len(lines) >= (size if since_ms <= arrival_ms < until_ms else 5000):
            yield (source, 0), lines
            held[source, 0] = []
    yield from held.items()


@pytest.mark.parametrize(
    ("partitions", "sizes", "seed"),
    [
        (ONE, [20_000], 1),
        (ONE, [70], 2),
        (ONE, [1_000_000], 3),
        ({"orders": 3, "deliveries": 2, "errors": 1}, [20_000], 4),
        ({"orders": 2, "deliveries": 3, "errors": 2}, [50, 1, 3000], 5),
        ({"orders": 3, "deliveries": 3, "errors": 3}, [1_000_000], 6),
    ],
)
def test_how_a_source_is_cut_batched_and_interleaved_does_not_matter(folder: Path, partitions: dict[str, int], sizes: list[int], seed: int) -> None:
    chain = Chain(SETTINGS, SHORT, partitions)
    for place, lines in in_batches(parted(SHORT, partitions), sizes, random.Random(seed)):  # noqa: S311 - which order comes out is all it decides
        chain.feed(place, lines)
    chain.finish()
    assert chain.timeline == expected(SHORT.hours, folder)


@pytest.mark.parametrize("shop", [SHORT, LONG], ids=["short", "long"])
def test_a_chain_restored_at_random_places_goes_on_as_if_never_stopped(folder: Path, shop: Shop) -> None:
    chance = random.Random(7)  # noqa: S311 - where it stops is all it decides
    partitions = {"orders": 2, "deliveries": 1, "errors": 1}
    chain, unbroken = Chain(SETTINGS, shop, partitions), Chain(SETTINGS, shop, partitions)
    restarts = 0
    sizes = [1, len(shop.events["orders"]) // 60, len(shop.events["orders"]) // 8]
    for place, lines in in_batches(parted(shop, partitions), sizes, chance):
        chain.feed(place, lines)
        unbroken.feed(place, lines)
        if chance.random() < 0.08:
            chain.restart()
            restarts += 1
            assert chain.snapshots() == unbroken.snapshots()
    chain.finish()
    unbroken.finish()
    assert restarts >= 3
    assert chain.timeline == expected(shop.hours, folder)
    assert chain.snapshots() == unbroken.snapshots()


def test_a_chain_restored_again_and_again_in_an_incident_goes_on_as_if_never_stopped(folder: Path) -> None:
    chain = Chain(SETTINGS, SHORT, ONE)
    since_ms, until_ms = SHORT.onset_ms + 30_000, SHORT.onset_ms + 105_000
    restarts = 0
    for place, lines in one_by_one(SHORT, since_ms=since_ms, until_ms=until_ms, size=60):
        chain.feed(place, lines)
        if len(lines) <= 60:
            chain.restart()
            restarts += 1
    chain.finish()
    assert restarts >= 3
    assert chain.timeline == expected(SHORT.hours, folder)
