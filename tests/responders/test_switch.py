"""The kill switch: whatever is not surely off is on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.responders import KillSwitch
from rollguard.store import Store


def test_without_a_file_and_with_nothing_said_it_is_off(store: Store) -> None:
    assert KillSwitch(store, None).why_on() == ""


def test_a_file_has_to_say_off(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "switch"
    switch = KillSwitch(store, str(path))
    assert "cannot be read (no such file or directory), so it counts as on" in switch.why_on()
    path.write_text("off\n")
    assert switch.why_on() == ""
    path.unlink()
    path.mkdir()
    assert "cannot be read" in switch.why_on()


@given(st.binary(max_size=80))
def test_a_file_that_says_anything_else_is_on(tmp_path_factory: pytest.TempPathFactory, said: bytes) -> None:
    path = tmp_path_factory.mktemp("switch") / "file"
    path.write_bytes(said)
    assert bool(KillSwitch.why_file(path)) == (said[:64].strip().lower() != b"off")


def test_any_one_that_is_on_is_enough(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "switch"
    path.write_text("off")
    switch = KillSwitch(store, str(path))
    store.raise_flag(KillSwitch.FLAG, "on", 1_000)
    assert switch.why_on() == "the kill switch is on"
    # Said before, and read later: what was said last holds.
    store.raise_flag(KillSwitch.FLAG, "off", 999)
    assert switch.why_on() == "the kill switch is on"
    store.raise_flag(KillSwitch.FLAG, "off", 1_001)
    assert switch.why_on() == ""


def test_a_database_that_is_away_means_on(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")
    assert "cannot be read, so it counts as on" in KillSwitch(store, None).why_on()
