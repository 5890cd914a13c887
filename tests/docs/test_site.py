"""The site: built from docs/ and the code, without a broken link, and no page asks another host for anything."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError, create_model

from reference.commands import commands
from reference.configuration import EXAMPLES, MUST, rows
from rollguard.config import default_text, load, parse
from rollguard.config.layers import _plain
from rollguard.streams.kafka import own_topics, source_topics
from tests.docs.pages import ROOT

ROWS = rows()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a link that leads nowhere, or a page that stands in no menu, fails this."""
    folder = tmp_path_factory.mktemp("site")
    # Not `--quiet`, as it keeps the warnings from being counted.
    words = [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page: Path) -> str:
    """A page's words."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_of_docs_is_in_it(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in pages if not (site / path).is_file()} == set()
    assert (site / "search" / "search_index.json").stat().st_size > 10_000


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    asked = re.compile(
        r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b(?![^>]*rel=["']?canonical)[^>]*href=["']?(?:https?:)?//"""
    )
    pages = [*site.rglob("*.html")]
    assert len(pages) > 10
    assert [str(path) for path in pages if asked.search(path.read_text(encoding="utf-8"))] == []
    styles = [path for path in site.rglob("*.css") if re.search(r"@import|url\([\"']?(?:https?:)?//", path.read_text(encoding="utf-8"))]
    assert styles == []


def test_the_reference_tells_every_key_command_and_topic(site: Path) -> None:
    config, told, topics = (text_of(site / "reference" / f"{name}.html") for name in ("config", "commands", "topics"))
    assert [row.key for row in ROWS if row.key not in config] == []
    assert [name for name, _ in commands() if name not in told] == []
    settings = load(default_text(), name="default.yaml")
    assert [name for name in (*(topic.name for topic in own_topics(settings.kafka)), *source_topics(settings)) if name not in topics] == []


def test_every_command_says_what_it_does_and_which_exit_codes_it_has() -> None:
    leaves = [(name, command) for name, command in commands() if not getattr(command, "commands", None)]
    assert len(leaves) > 25
    assert [name for name, command in leaves if "Exit codes: 0" not in (command.help or "")] == []
    assert [f"{name} {each.name}" for name, command in leaves for each in command.params if not each.help] == []


def test_every_key_has_a_kind_a_default_and_a_meaning() -> None:
    assert len(ROWS) > 150
    assert [row.key for row in ROWS if not (row.kind and row.default and row.meaning)] == []
    assert set(EXAMPLES) <= {row.key for row in ROWS}


def test_no_meaning_speaks_of_a_unit_or_a_name_that_a_file_does_not_have() -> None:
    assert [row.key for row in ROWS if re.search(r"milliseconds|epoch ms|_ms`|\bNone\b|\.\.\.", row.meaning)] == []


def test_the_example_of_each_key_may_stand_there() -> None:
    wrong = []
    for row in ROWS:
        if not row.example:
            continue
        node, mistakes = parse(f"value: {row.example}", name=row.key)
        assert node is not None, row.key
        assert mistakes == [], row.key
        # By the name that the model gives it, if it has another in the file.
        value: Any = (row.field.annotation, row.field)
        model = create_model("Holder", value=value)
        try:
            model.model_validate({row.field.alias or "value": _plain(node)["value"]})
        except ValidationError as error:
            wrong.append(f"{row.key}: {row.example}: {error}")
    assert wrong == []


def test_only_sections_have_no_example() -> None:
    assert [row.key for row in ROWS if not row.example and "section" not in row.kind] == []


def test_a_default_is_what_the_models_have() -> None:
    by_key = {row.key: row for row in ROWS}
    assert (by_key["bucket"].default, by_key["kafka.session_timeout"].default, by_key["http.port"].default) == ("10s", "6s", "6067")
    assert by_key["sources.<name>.topic"].default == MUST
    assert by_key["respond.protected"].default == '["rollguard", "kafka"]'
