"""What a page tells a reader to type works, in that order; pages that need a Kafka are read in tests/live/test_docs_live.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Block, Page, pages
from tests.docs.running import read

ALONE = [page for page in pages() if page.mark != "kafka" and any(block.is_shell and not page.mark_of(block).startswith("no") for block in page.blocks)]
MARKED = [pytest.param(page, marks=pytest.mark.live_long) if page.mark == "long" else page for page in ALONE]


@pytest.mark.parametrize("page", MARKED, ids=[page.name for page in ALONE])
def test_a_reader_gets_to_the_end_of_the_page(page: Page, tmp_path: Path) -> None:
    assert read(page, tmp_path / "clone")


def page_of(*blocks: tuple[str, str]) -> Page:
    return Page("docs/x.md", "", "", tuple(Block(f"docs/x.md:{number}", "bash", text, mark) for number, (mark, text) in enumerate(blocks)))


def test_blocks_are_run_in_order_in_one_folder_beside_one_another_and_again_until_they_say_it(tmp_path: Path) -> None:
    page = page_of(
        ("beside until: begun", "echo begun; while :; do echo x >> grows.txt; sleep 0.05; done\n"),
        ("no: it ends the machine", "exit 1\n"),
        ("until: enough", "test $(wc -l < grows.txt) -gt 3 && echo enough\n"),
        ("yes", "echo 'at: 127.0.0.1:9092' > my.yaml\n"),
        ("yes", "grep -q 127.0.0.1:7777 my.yaml && test -f Makefile && rollguard --version\n"),
    )
    done = read(page, tmp_path / "clone", {"127.0.0.1:9092": "127.0.0.1:7777"})
    assert [place[-1] for place in done] == ["0", "2", "3", "4"]


@pytest.mark.parametrize(
    ("mark", "text", "words"),
    [("yes", "echo one\nfalse\necho two\n", "exit code 1"), ("beside until: x", "echo y\n", "it has ended"), ("maybe", "true\n", "nobody knows")],
)
def test_what_does_not_work_is_told_with_its_place(tmp_path: Path, mark: str, text: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words) as raised:
        read(page_of((mark, text)), tmp_path / "clone")
    assert "docs/x.md:0" in str(raised.value)
