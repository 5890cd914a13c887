"""Every module of every room imports without a warning, and its examples run."""

import doctest
import importlib
import pkgutil

import pytest

import rollguard

MODULES = sorted(found.name for found in pkgutil.walk_packages(rollguard.__path__, "rollguard.") if not found.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name}; their output stands above"
