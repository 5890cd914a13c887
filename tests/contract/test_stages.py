"""Every stage of the pure rooms against the contract; and a broken stage against each check, to show that it sees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard import detectors, incidents, streams
from rollguard.config import Settings
from rollguard.streams import SnapshotError, StateCodec
from tests.contract.checks import (
    CHECKS,
    Check,
    check_a_damaged_snapshot_is_refused,
    check_a_restored_stage_goes_on_as_if_never_stopped,
    check_a_snapshot_of_a_restored_stage_is_the_same_bytes,
    check_a_snapshot_of_another_stage_is_refused,
    check_a_snapshot_of_other_settings_is_refused,
    check_a_stage_keeps_nothing_of_what_it_was_fed,
    check_how_records_are_batched_does_not_matter,
    refuses,
    snapshot_of,
)
from tests.contract.stages import SETTINGS, SPECIMENS, Specimen

NAMES = {specimen: specimen.stage.__name__ for specimen in SPECIMENS}


def test_every_stage_of_the_pure_rooms_is_checked() -> None:
    stages = {
        each
        for door in (streams, detectors, incidents)
        for name in door.__all__
        if isinstance(each := getattr(door, name), type) and all(hasattr(each, verb) for verb in ("feed", "snapshot", "restore"))
    }
    assert {specimen.stage for specimen in SPECIMENS} == stages
    assert sorted(stage.__name__ for stage in stages) == ["Desk", "Detect", "Ingest", "Merger"]


def test_every_check_has_been_tried_on_a_broken_stage() -> None:
    assert {check for check, _ in BROKEN} == set(CHECKS)


def test_what_the_specimens_are_fed_says_something() -> None:
    for specimen in SPECIMENS:
        said = specimen.said([specimen.feed(specimen.new(), specimen.record(specimen.atoms))])
        assert len(said) > 10, NAMES[specimen]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("specimen", SPECIMENS, ids=NAMES.get)
def test_a_stage_keeps_its_contract(specimen: Specimen, check: Check) -> None:
    check(specimen, random.Random(11))  # noqa: S311 - where it is cut is all it decides


@pytest.mark.parametrize("specimen", SPECIMENS, ids=NAMES.get)
@given(damage=st.data())
def test_no_bytes_but_a_snapshot_restore_a_stage(specimen: Specimen, damage: st.DataObject) -> None:
    data = _snapshot(specimen)
    at = damage.draw(st.integers(0, len(data)), label="at")
    # What an envelope holds lies at its front, where damage by chance seldom falls.
    start = damage.draw(st.sampled_from([at, at % 120]), label="start")
    refuses(
        specimen, data[:start] + damage.draw(st.binary(max_size=12), label="put in") + data[start + damage.draw(st.integers(0, 12), label="taken out") :], data
    )


@cache
def _snapshot(specimen: Specimen) -> bytes:
    return snapshot_of(specimen)


class Tally:
    """A healthy little stage: how often each word has come."""

    codec = StateCodec("tally", ())

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def feed(self, words: list[str]) -> list[tuple[str, int]]:
        found = []
        for word in words:
            self.counts[word] = self.counts.get(word, 0) + 1
            found.append((word, self.counts[word]))
        return found

    def snapshot(self) -> bytes:
        return self.codec.dump(dict(sorted(self.counts.items())), SETTINGS)

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:
        stage = cls()
        stage.counts = cls.codec.load(data, settings, dict)
        return stage


class SaysHowOftenItWasFed(Tally):
    calls = 0

    def feed(self, words: list[str]) -> list[tuple[str, int]]:
        self.calls += 1
        return [(word, self.calls) for word in words]


class Forgets(Tally):
    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:
        stage = super().restore(settings, data)
        stage.counts.pop("a", None)
        return stage


class IsNeverTheSame(Tally):
    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:
        stage = super().restore(settings, data)
        stage.counts["restored"] = 0
        return stage


class RunsUnderAnySettings(Tally):
    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:  # noqa: ARG003 - that is what is wrong with it
        return super().restore(SETTINGS, data)


class TakesWhatever(Tally):
    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:
        try:
            return super().restore(settings, data)
        except SnapshotError:
            return cls()


class Stumbles(Tally):
    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Tally:
        try:
            return super().restore(settings, data)
        except SnapshotError as error:
            raise KeyError(str(error)) from error


class Clings(Tally):
    """Keeps what it was fed, and counts it later."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[list[str]] = []

    def feed(self, words: list[str]) -> list[tuple[str, int]]:
        self.held.append(words)
        return [(word, 1) for word in words]

    def snapshot(self) -> bytes:
        return self.codec.dump([word for words in self.held for word in words], SETTINGS)


class TallySpecimen(Specimen):
    def __init__(self, stage: type[Tally]) -> None:
        self.stage = stage

    @property
    def atoms(self) -> list[str]:
        return list("abracadabra") * 5

    def new(self) -> Any:
        return self.stage()

    def restore(self, settings: Settings, data: bytes) -> Any:
        restore: Any = self.stage.restore  # type: ignore[attr-defined]
        return restore(settings, data)

    def record(self, atoms: Sequence[str]) -> list[str]:
        return list(atoms)

    def said(self, outputs: list[Any]) -> list[Any]:
        return [each for output in outputs for each in output]


BROKEN: tuple[tuple[Check, type[Tally]], ...] = (
    (check_how_records_are_batched_does_not_matter, SaysHowOftenItWasFed),
    (check_a_restored_stage_goes_on_as_if_never_stopped, Forgets),
    (check_a_snapshot_of_a_restored_stage_is_the_same_bytes, IsNeverTheSame),
    (check_a_snapshot_of_other_settings_is_refused, RunsUnderAnySettings),
    (check_a_snapshot_of_another_stage_is_refused, TakesWhatever),
    (check_a_snapshot_of_another_stage_is_refused, Stumbles),
    (check_a_damaged_snapshot_is_refused, TakesWhatever),
    (check_a_damaged_snapshot_is_refused, Stumbles),
    (check_a_stage_keeps_nothing_of_what_it_was_fed, Clings),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_healthy_stage_passes(check: Check) -> None:
    check(TallySpecimen(Tally), random.Random(3))  # noqa: S311 - where it is cut is all it decides


@pytest.mark.parametrize(("check", "broken"), BROKEN, ids=lambda each: each.__name__.removeprefix("check_"))
def test_a_broken_stage_is_found(check: Check, broken: type[Tally]) -> None:
    tried = partial(check, TallySpecimen(broken), random.Random(3))  # noqa: S311 - where it is cut is all it decides
    with pytest.raises((AssertionError, pytest.fail.Exception, KeyError)):
        tried()
