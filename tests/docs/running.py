"""A reader who does what a page says, block for block, in a folder that looks like a fresh clone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT, Page

__all__ = ["Reader", "read"]

#: What no reader finds in a clone, or what would be written to.
LEFT_OUT = {".git", "build", "dist", ".venv"}
#: A command that has not printed by then what the page says never will.
PATIENCE_S = 900.0
AGAIN_S = 2.0


@dataclass
class Reader:
    """Somebody at a few terminals.

    Attributes
    ----------
    folder : Path
        Of their own.
    instead : dict of str to str
        What stands in the page, and what this machine has instead: addresses.
    config : str
        What is added to each config that the page makes.
    """

    folder: Path
    instead: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    beside: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for each in ROOT.iterdir():
            if each.name not in LEFT_OUT and not each.name.endswith("_cache"):
                (self.folder / each.name).symlink_to(each)

    def _words(self, text: str) -> list[str]:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return ["bash", "-euo", "pipefail", "-c", re.sub(r"(?m)^\$ ", "", text)]

    @property
    def _surroundings(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONSAFEPATH": "", "COLUMNS": "200"}

    def types(self, place: str, text: str) -> str:
        """Run a block to its end; what is wrong with it is an error with all that it said."""
        done = subprocess.run(self._words(text), cwd=self.folder, env=self._surroundings, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        self._put_addresses()
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{place}: exit code {done.returncode}:\n{text}\n{said[-3000:]}"
        return said

    def starts(self, place: str, text: str, until: str) -> None:
        """Run a block in a terminal of its own, and wait until it has printed something."""
        log = self.folder / f"terminal-{len(self.beside) + 2}.log"
        with log.open("wb") as out:
            # Of its own group, so that all of it can be ended.
            process = subprocess.Popen(
                self._words(text), cwd=self.folder, env=self._surroundings, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.beside.append((process, log))
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(until, said := log.read_text(encoding="utf-8", errors="replace")):
            assert process.poll() is None, f"{place}: it has ended:\n{text}\n{said[-3000:]}"
            assert time.monotonic() < deadline, f"{place}: it does not say {until!r}:\n{text}\n{said[-3000:]}"
            time.sleep(0.1)

    def waits(self, place: str, text: str, until: str) -> None:
        """Run a block again and again until it prints something."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(self._words(text), cwd=self.folder, env=self._surroundings, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
            said = done.stdout + done.stderr
            if re.search(until, said):
                return
            if time.monotonic() > deadline:
                beside = "\n".join(log.read_text(encoding="utf-8", errors="replace")[-2000:] for _, log in self.beside)
                raise AssertionError(f"{place}: it does not say {until!r}:\n{text}\n{said[-3000:]}\nBeside it:\n{beside}")
            time.sleep(AGAIN_S)

    def leaves(self) -> None:
        """End what runs beside. Not as Ctrl-C does: what a shell starts for somebody in the background is deaf to that."""
        for process, _ in reversed(self.beside):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30.0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _put_addresses(self) -> None:
        """Put this machine's addresses into the configs that were copied."""
        for path in self.folder.glob("*.yaml"):
            if path.is_symlink():
                continue
            text = path.read_text(encoding="utf-8")
            found = text if self.config in text else text + self.config
            for theirs, ours in self.instead.items():
                found = found.replace(theirs, ours)
            if found != text:
                path.write_text(found, encoding="utf-8")


def read(page: Page, folder: Path, instead: Mapping[str, str] | None = None, config: str = "") -> list[str]:
    """Do all that a page says, in order; gives the places of the blocks that were run."""
    reader = Reader(folder, instead or {}, config)
    done: list[str] = []
    try:
        for block in page.blocks:
            mark = page.mark_of(block)
            if not block.is_shell or mark.startswith("no"):
                continue
            done.append(block.place)
            if mark.startswith("beside until: "):
                reader.starts(block.place, block.text, mark.removeprefix("beside until: "))
            elif mark.startswith("until: "):
                reader.waits(block.place, block.text, mark.removeprefix("until: "))
            elif mark == "yes":
                reader.types(block.place, block.text)
            else:
                raise AssertionError(f"{block.place}: nobody knows what 'run: {mark}' means; see tests/docs/pages.py")
    finally:
        reader.leaves()
    return done
