"""What an installed Rollguard must do wherever it is: run against the wheel, from another folder, by `make wheel-test`."""

import importlib
import pkgutil
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import rollguard
from rollguard import config

ROOMS = sorted(found.name for found in pkgutil.iter_modules(rollguard.__path__, "rollguard.") if found.ispkg)


def test_the_rooms_are_there() -> None:
    assert {"rollguard.cli", "rollguard.config", "rollguard.detectors", "rollguard.incidents", "rollguard.replay", "rollguard.streams"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_door_offers_exactly_what_it_lists(name: str) -> None:
    door = importlib.import_module(name)
    assert door.__doc__, f"{name} does not say what goes in and comes out"
    assert list(door.__all__) == sorted(door.__all__)
    assert [word for word in door.__all__ if not hasattr(door, word)] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("rollguard").joinpath("py.typed").is_file()


def test_nothing_but_rollguard_is_installed_by_name() -> None:
    tops = {file.parts[0] for file in metadata.files("rollguard") or [] if file.suffix == ".py"}
    assert tops <= {"rollguard"}


def test_the_shipped_default_is_shipped_and_loads() -> None:
    settings = config.load(config.default_text(), name="default.yaml")
    assert settings.metrics
    assert len(config.settings_hash(settings)) == 32


def test_the_command_says_its_version() -> None:
    command = Path(sys.executable).with_name("rollguard")
    for words in ([str(command)], [sys.executable, "-P", "-m", "rollguard"]):
        done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"rollguard {metadata.version('rollguard')}\n"
    assert rollguard.__version__ == metadata.version("rollguard")
