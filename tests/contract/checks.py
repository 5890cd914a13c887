"""What every stage keeps. Each check is a function of a specimen, so that a broken one can show that the check sees it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rollguard.streams import SnapshotError
from tests.contract.stages import OTHER_SETTINGS, SETTINGS, SPECIMENS, Specimen, spoil

Check = Callable[[Specimen, random.Random], None]


def pieces(atoms: Sequence[Any], chance: random.Random) -> Iterator[Sequence[Any]]:
    """Cut into pieces: many small ones and a few big ones."""
    at = 0
    while at < len(atoms):
        size = chance.choice([1, 1, 2, 7, 40, max(len(atoms) // 4, 1)])
        yield atoms[at : at + size]
        at += size


def run(specimen: Specimen, stage: Any, atoms: Sequence[Any], chance: random.Random) -> list[Any]:
    """Feed in pieces, and give what was said."""
    return [specimen.feed(stage, specimen.record(piece)) for piece in pieces(atoms, chance)]


def check_how_records_are_batched_does_not_matter(specimen: Specimen, chance: random.Random) -> None:
    one, other = specimen.new(), specimen.new()
    assert specimen.said(run(specimen, one, specimen.atoms, chance)) == specimen.said(run(specimen, other, specimen.atoms, chance))


def check_a_restored_stage_goes_on_as_if_never_stopped(specimen: Specimen, chance: random.Random) -> None:
    atoms = specimen.atoms
    unbroken, stopped = specimen.new(), specimen.new()
    expected: list[Any] = []
    found: list[Any] = []
    for stops in range(4):
        part = atoms[len(atoms) * stops // 4 : len(atoms) * (stops + 1) // 4]
        for piece in pieces(part, chance):
            expected.append(specimen.feed(unbroken, specimen.record(piece)))
            found.append(specimen.feed(stopped, specimen.record(piece)))
        stopped = specimen.restore(SETTINGS, stopped.snapshot())
    assert specimen.said(found) == specimen.said(expected)


def check_a_snapshot_of_a_restored_stage_is_the_same_bytes(specimen: Specimen, chance: random.Random) -> None:
    stage = specimen.new()
    cut = chance.randrange(1, len(specimen.atoms))
    for data in (stage.snapshot(), (run(specimen, stage, specimen.atoms[:cut], chance), stage.snapshot())[1]):
        assert specimen.restore(SETTINGS, data).snapshot() == data
    assert stage.snapshot() == stage.snapshot()


def check_a_snapshot_of_other_settings_is_refused(specimen: Specimen, chance: random.Random) -> None:
    stage = specimen.new()
    run(specimen, stage, specimen.atoms[:50], chance)
    with _refused():
        specimen.restore(OTHER_SETTINGS, stage.snapshot())


def check_a_snapshot_of_another_stage_is_refused(specimen: Specimen, chance: random.Random) -> None:
    for other in SPECIMENS:
        if other.stage is not specimen.stage:
            stage = other.new()
            run(other, stage, other.atoms[:50], chance)
            with _refused():
                specimen.restore(SETTINGS, stage.snapshot())


def check_a_damaged_snapshot_is_refused(specimen: Specimen, chance: random.Random) -> None:
    data = snapshot_of(specimen)
    for _ in range(60):
        at = chance.randrange(len(data))
        flipped = bytes([data[at] ^ chance.randrange(1, 256)])
        for damaged in (data[:at], data[:at] + flipped + data[at + 1 :], data[:at] + data[at + 1 :], data[:at] + flipped + data[at:], data + flipped):
            refuses(specimen, damaged, data)


def check_a_stage_keeps_nothing_of_what_it_was_fed(specimen: Specimen, chance: random.Random) -> None:
    careful, careless = specimen.new(), specimen.new()
    cuts = list(pieces(specimen.atoms, chance))
    for piece in cuts:
        record = specimen.record(piece)
        # What it says is written down at once: it may share with the record, the stage itself may not.
        found = specimen.said([specimen.feed(careless, record)])
        spoil(record)
        assert found == specimen.said([specimen.feed(careful, specimen.record(piece))])
    assert careless.snapshot() == careful.snapshot()


def snapshot_of(specimen: Specimen) -> bytes:
    """State of a stage that has seen a part."""
    stage = specimen.new()
    specimen.feed(stage, specimen.record(specimen.atoms[:200]))
    data: bytes = stage.snapshot()
    return data


def refuses(specimen: Specimen, damaged: bytes, data: bytes) -> None:
    """Whatever is not the snapshot is refused, and in no other way than by its own error."""
    if damaged != data:
        with _refused():
            specimen.restore(SETTINGS, damaged)


def _refused() -> Any:
    return pytest.raises(SnapshotError, match="refused")


CHECKS: tuple[Check, ...] = (
    check_how_records_are_batched_does_not_matter,
    check_a_restored_stage_goes_on_as_if_never_stopped,
    check_a_snapshot_of_a_restored_stage_is_the_same_bytes,
    check_a_snapshot_of_other_settings_is_refused,
    check_a_snapshot_of_another_stage_is_refused,
    check_a_damaged_snapshot_is_refused,
    check_a_stage_keeps_nothing_of_what_it_was_fed,
)
