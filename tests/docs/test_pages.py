"""Every command and every config that the documentation shows is one that exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import typer

from rollguard.cli import app
from rollguard.config import ConfigError, Layer, default_text, load_layers
from tests.docs.pages import ROOT, Block, Page, pages, rollguard_calls, words_of

PAGES = pages()
COMMAND: Any = typer.main.get_command(app)
#: Pages that show this are read for their commands and configs, as all are; each has to be found, so that none is lost by a mistake of the reader of pages.
EXPECTED = {"README.md", "docs/tutorial.md", "docs/service.md", "docs/response.md", "docs/scoring.md"}
every_page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def wrong_with(words: list[str]) -> str | None:
    """What is wrong with the words behind `rollguard`; None: they are a command of it and options of that."""
    command = COMMAND
    known: set[str] = set()
    given = 0
    for word in words:
        below = getattr(command, "commands", {})
        if word in {"…", "..."}:
            return None
        if word.startswith("-") and word != "-":
            known |= {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
            if word.split("=")[0] not in known:
                return f"no option {word}"
        elif below and word in below:
            command = below[word]
            known = set()
        elif below and not given and not known:
            return f"no command {word}"
        else:
            given += 1
    return None


@every_page
def test_each_call_of_rollguard_is_a_command_with_options_that_it_has(page: Page) -> None:
    wrong = [f"{place}: {call}: {problem}" for place, call in rollguard_calls(page) if (problem := wrong_with(words_of(call)))]
    assert wrong == []


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("rollguard chekk -c shop.yaml", "no command chekk"),
        ("rollguard check --life -c shop.yaml", "no option --life"),
        ("rollguard incidents shov inc-1", "no command shov"),
        ("rollguard incidents show inc-1 --config shop.yaml --jsn | jq", "no option --jsn"),
        ("rollguard incidents show inc-1 -c shop.yaml | jq --raw", None),
        ("rollguard incidents …", None),
        ("rollguard score CASES RESULTS [--split seen|unseen|both] [--bars]", None),
    ],
)
def test_a_call_that_is_none_is_found(call: str, problem: str | None) -> None:
    assert wrong_with(words_of(call)) == problem


def test_calls_are_found_in_every_page_that_shows_some() -> None:
    found = {page.name: [*rollguard_calls(page)] for page in PAGES}
    assert {name for name, calls in found.items() if calls} >= EXPECTED
    assert sum(map(len, found.values())) > 60


@every_page
def test_each_target_of_make_and_each_script_that_is_named_is_there(page: Page) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^ {4}make (\S+)|`make ([\w-]+)[^`]*`|^make ([\w-]+)", page.text)
    assert [name for each in targets if not re.search(rf"^{(name := ''.join(each))}:", makefile, re.MULTILINE)] == []
    scripts = re.findall(r"(?:python|python -P) ((?:bench|examples)/[\w/.-]+\.py)|`((?:docs|examples|config|bench|tests)/[\w/.*-]+)`", page.text)
    assert [name for each in scripts if "*" not in (name := "".join(each)) and not (ROOT / name).exists()] == []


def configs_of(page: Page) -> list[Block]:
    """What a page shows of configs; other YAML says what it is by a comment at its head, as `# prometheus.yml`."""
    return [block for block in page.blocks if block.language == "yaml" and not block.mark.startswith("no:")]


@every_page
def test_each_config_that_is_shown_loads(page: Page) -> None:
    wrong = []
    for block in configs_of(page):
        try:
            load_layers([Layer(default_text(), "default.yaml"), Layer(block.text, block.place)])
        except ConfigError as error:
            # A fragment may name what stands in another one; that it is the page's own, a reader sees.
            wrong.append(str(error))
    assert wrong == []


def test_configs_are_found() -> None:
    assert {page.name for page in PAGES if configs_of(page)} >= {"docs/tutorial.md", "docs/response.md", "docs/service.md"}


def test_each_block_for_a_shell_is_run_or_says_why_not(figure: Callable[[str], None]) -> None:
    silent = [block.place for page in PAGES for block in page.blocks if block.is_shell and not page.mark_of(block)]
    silent += [
        block.place for page in PAGES for block in page.blocks if not (block.language or block.indented) and re.search(r"(?m)^\$? ?rollguard ", block.text)
    ]
    assert silent == [], "say `<!-- run: yes -->`, or `<!-- run: no: WHY -->`, before the block or at the page's head (tests/docs/pages.py)"
    for page in PAGES:
        for block in page.blocks:
            if block.is_shell and (why := page.mark_of(block)).startswith("no"):
                assert re.fullmatch(r"no: .{8,}", why), f"{block.place}: why not?"
                figure(f"not run: {block.place}: {why.removeprefix('no: ')}")
