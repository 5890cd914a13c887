"""docker-compose.yml without Docker: each service's own command, with its own environment and config files, as a process of this machine.

What differs is where things stand: hosts and ports (`Natively.places`), and the folders that a container mounts. A named volume is an empty folder,
a file that is mounted is a copy with the places changed. Conditions of `depends_on` are waited for by the health checks of the file itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from ruamel.yaml import YAML

from tests.live.servers import until

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
#: A service that is not healthy after so many seconds is not going to be: the shop writes three hours first.
HEALTHY_S = 1800.0
ENDS_S = 60.0


def services() -> dict[str, dict[str, Any]]:
    """Every service of the file, with what it inherits."""
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)["services"]
    return found


def dockerfile(instruction: str) -> list[str]:
    """Words of the last ENTRYPOINT, CMD or HEALTHCHECK, which stand there as JSON."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith(instruction)]
    words: list[str] = json.loads(lines[-1][lines[-1].index("[") :])
    return words


def argv(service: Mapping[str, Any]) -> list[str]:
    """What a container of our image runs."""
    words = service.get("command", dockerfile("CMD") if "entrypoint" not in service else [])
    return [*service.get("entrypoint", dockerfile("ENTRYPOINT")), *words]


def health(service: Mapping[str, Any]) -> list[str] | None:
    """Words of the health check; None: it has none."""
    words: list[str] = service.get("healthcheck", {}).get("test", [])
    if not words:
        return None
    assert words[0] == "CMD", words
    return words[1:]


def conditions(service: Mapping[str, Any]) -> dict[str, str]:
    """What a service waits for."""
    return {name: how["condition"] for name, how in service.get("depends_on", {}).items()}


class Natively:
    """Runs services of the file.

    Parameters
    ----------
    folder : Path
        Of its own.
    places : mapping of str to str
        What stands in the file for a host, a port or an address, and what stands for it here.
    programs : mapping of str to list of str
        What a program's name, as a container knows it, is here.
    besides : mapping of str to mapping of str to str
        Variables of a service that only this machine needs.
    """

    def __init__(self, folder: Path, places: Mapping[str, str], programs: Mapping[str, Sequence[str]], besides: Mapping[str, Mapping[str, str]]) -> None:
        self.folder = folder
        self.places = places
        self.besides = besides
        self.programs = {"python": [sys.executable], "rollguard": [str(Path(sys.executable).with_name("rollguard"))]} | dict(programs)
        self.services = services()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """Change the places in a text; the longest first, each once."""
        pattern = "|".join(re.escape(each) for each in sorted(self.places, key=len, reverse=True))
        return re.sub(pattern, lambda found: self.places[found[0]], text)

    def mounts(self, name: str) -> dict[str, Path]:
        """Where the folders and files of a container stand here, by their path in it."""
        sources = {target: source for source, target, *_ in (each.split(":") for each in self.services[name].get("volumes", []))}
        found = {}
        for target, source in sources.items():
            mounted = source.startswith(".")
            found[target] = self.folder / name / source if mounted else self.folder / "volumes" / source
            if not mounted:
                found[target].mkdir(parents=True, exist_ok=True)
        for target, source in sources.items():
            if source.startswith(".") and not found[target].exists():
                self._copy(ROOT / source, found[target], found)
        return found

    def words(self, name: str, words: Sequence[str]) -> list[str]:
        """A command line of a container's, as it is here."""
        mounts = self.mounts(name)
        changed = [self.here(_mounted(word, mounts)) for word in words]
        program, *rest = changed
        return [*self.programs.get(words[0], [program]), *rest]

    def environment(self, name: str) -> dict[str, str]:
        """Environment of a process; a proxy is for what is outside of this machine."""
        ours = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy") and key != "PYTHONSAFEPATH"}
        return ours | {key: self.here(str(value)) for key, value in self.services[name].get("environment", {}).items()} | dict(self.besides.get(name, {}))

    def start(self, name: str, words: Sequence[str] | None = None) -> None:
        """Start a service as soon as what it depends on allows it; `words`: what its image runs, where that is not ours."""
        for other, condition in conditions(self.services[name]).items():
            self.wait(other, condition)
        line = self.words(name, words or argv(self.services[name]))
        (self.folder / f"{name}.cwd").mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(name), cwd=self.folder / f"{name}.cwd"
            )

    def wait(self, name: str, condition: str) -> None:
        """Wait for a condition of `depends_on`."""
        if condition == "service_completed_successfully":
            code = self.processes[name].wait(HEALTHY_S)
            assert code == 0, f"{name} ended with {code}:\n{self.said(name)}"
            return
        assert condition == "service_healthy", condition
        until(lambda: self.healthy(name), f"a healthy {name}, which said:\n{self.said(name)}", HEALTHY_S)

    def healthy(self, name: str) -> bool:
        """Whether its health check says so; one that has ended never will be."""
        process = self.processes.get(name)
        assert process is None or process.poll() is None, f"{name} has ended:\n{self.said(name)}"
        words = health(self.services[name])
        assert words is not None, f"{name} has no health check"
        return self.check(name, words)

    def check(self, name: str, words: Sequence[str]) -> bool:
        """Run a health check."""
        done = subprocess.run(self.words(name, words), capture_output=True, check=False, env=self.environment(name), cwd=self.folder, timeout=ENDS_S)
        return done.returncode == 0

    def said(self, name: str) -> str:
        """The end of what it wrote."""
        log = self.folder / f"{name}.log"
        return log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""

    def end(self) -> dict[str, int]:
        """End all of them, the last that was started first; gives their exit codes."""
        codes = {}
        for name, process in reversed(self.processes.items()):
            if process.poll() is None:
                process.send_signal(SIGTERM)
            try:
                codes[name] = process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.send_signal(SIGKILL)
                codes[name] = process.wait()
        return codes

    def _copy(self, source: Path, target: Path, mounts: Mapping[str, Path]) -> None:
        """Copy what is mounted; in a config with the places changed, those of hosts and those of files."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.suffix in {".yaml", ".yml"}:
            target.write_text(_mounted(self.here(source.read_text(encoding="utf-8")), mounts), encoding="utf-8")
        else:
            shutil.copy2(source, target)


def _mounted(text: str, mounts: Mapping[str, Path]) -> str:
    """Change the paths of a container that a text names; whole ones alone, the longest first, each once."""
    if not mounts:
        return text
    either = "|".join(re.escape(each) for each in sorted(mounts, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{either})(?![\w.-])", lambda found: str(mounts[found[0]]), text)
