"""The documentation as a test reads it: pages, their blocks, and what an HTML comment before a block says of running it.

Before a block of a shell:

- `<!-- run: yes -->` runs it; `<!-- run: no: WHY -->` says why not;
- `<!-- run: beside until: TEXT -->` starts it beside the others and waits until it has printed that (a regular expression);
- `<!-- run: until: TEXT -->` runs it again and again until it prints that.

At the head of a page, for all its blocks, which are run in order in one folder:

- `<!-- run: yes -->`; `<!-- run: long -->` if that takes more than half a minute, so that `make test-live` does it; `<!-- run: no: WHY -->`;
- `<!-- run: kafka -->`: they find a Kafka on 127.0.0.1:9092.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "SHELLS", "Block", "Page", "pages", "rollguard_calls"]

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "console", "sh", "shell")
_MARK = re.compile(r"<!-- run: (.+?) -->")
_FENCE = re.compile(r"( *)```\s*(\w*)")
#: Where a command of a line ends.
_ENDS = re.compile(r"\s(?:&&|\|\||\||;|>|>>|2>|&|#)(?:\s|$)")


@dataclass(frozen=True)
class Block:
    """A piece of a page that is not prose.

    Attributes
    ----------
    place : str
        File and line.
    language : str
        Of a fence; "": none was named, or it is indented.
    text : str
    mark : str
        What the comment before it says of running it; "": there is none.
    indented : bool
    """

    place: str
    language: str
    text: str
    mark: str = ""
    indented: bool = False

    @property
    def is_shell(self) -> bool:
        """Whether a reader would type it."""
        return self.language in SHELLS


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes
    ----------
    name : str
        From the root.
    text : str
    mark : str
        What its head says of running it.
    blocks : tuple of Block
    """

    name: str
    text: str
    mark: str
    blocks: tuple[Block, ...]

    def mark_of(self, block: Block) -> str:
        """What holds for a block."""
        return block.mark or ("yes" if self.mark in {"kafka", "long"} else self.mark)


def pages() -> list[Page]:
    """Every page that a reader may meet."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    return [_page(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in found]


def _page(name: str, text: str) -> Page:
    lines = text.splitlines()
    blocks: list[Block] = []
    head, mark, at, prose = "", "", 0, False
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line):
            end = next((other for other in range(at + 1, len(lines)) if lines[other].strip() == "```"), len(lines))
            body = "\n".join(each.removeprefix(fence[1]) for each in lines[at + 1 : end])
            blocks.append(Block(f"{name}:{at + 1}", fence[2], body + "\n", mark))
            mark, at, prose = "", end + 1, True
            continue
        if found := _MARK.search(line):
            # What stands before the first heading of a section, and not right above a block, speaks of the page.
            if not prose and not blocks and _next(lines, at) is None:
                head = found[1]
            else:
                mark = found[1]
        elif line.startswith("    ") and not lines[at - 1].strip():
            end = next((other for other in range(at, len(lines)) if lines[other].strip() and not lines[other].startswith("    ")), len(lines))
            blocks.append(Block(f"{name}:{at + 1}", "", "\n".join(each[4:] for each in lines[at:end]).rstrip() + "\n", mark, indented=True))
            mark, at = "", end
            continue
        elif line.strip():
            prose, mark = prose or not line.startswith("#"), ""
        at += 1
    return Page(name, text, head, tuple(blocks))


def _next(lines: list[str], at: int) -> str | None:
    """The line after a mark, if a block begins there."""
    after = lines[at + 1] if at + 1 < len(lines) else ""
    return after if _FENCE.match(after) else None


def rollguard_calls(page: Page) -> Iterator[tuple[str, str]]:
    """Each call of `rollguard` that a page shows, in blocks and within its prose, with its place."""
    for block in page.blocks:
        if block.language in {*SHELLS, "", "yaml"}:
            joined = block.text.replace("\\\n", " ")
            for found in re.finditer(r"(?m)^\s*(?:[A-Z_]+=\S+ )*(?:\$ )?(?:\.venv/bin/)?(rollguard .*)$|(?:&&|\$\(|\|)\s*(rollguard [^)\n]*)", joined):
                yield block.place, found[1] or found[2]
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.text)
    for found in re.finditer(r"`((?:\.venv/bin/)?rollguard [^`\n]+)`", prose):
        yield page.name, found[1].removeprefix(".venv/bin/")


def words_of(call: str) -> list[str]:
    """The words of a call up to where the shell goes on to something else; brackets of what may be left out are taken away."""
    alone = _ENDS.split(f"{call} ", maxsplit=1)[0]
    return [word.strip("[]\"'`,") for word in alone.split()][1:]
