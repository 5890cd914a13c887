"""A command of one's own: a program and its arguments, read by no shell.

What its exit code says: 0 done; 3 another version is live, nothing was changed; 4 it will not or cannot, nothing was changed; anything else: nobody
knows. It is killed, with all it started, when its time is over. Of the environment it sees PATH and LANG.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Sequence
from typing import Literal

from rollguard.config import Target as TargetConfig
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, UnknownError

__all__ = ["CommandTarget"]

#: No more is read of what it says.
_LONGEST = 4_096
_MOVED, _REFUSED = 3, 4
_PLACE = re.compile(r"\{(service|region|expected_version|to_version|intent)\}")


class CommandTarget:
    """Runs a command.

    Parameters
    ----------
    where : str
    target : rollguard.config.Target
    _secret : callable
        It has none.
    """

    def __init__(self, where: str, target: TargetConfig, _secret: Callable[[], str]) -> None:
        self._where = where
        self._target = target
        self.cas: Literal["native", "read-then-call", "none"] = target.compares

    async def current(self, step: Step) -> str:
        """Run the command that prints the version."""
        if not self._target.current:
            raise RefusedError(step.at(self._where), "what is live cannot be read: `current` names no command")
        code, said = await self._run(step, self._target.current)
        if code != 0 or not said:
            raise RefusedError(step.at(self._where), f"what is live cannot be read: {_ended(code, said)}")
        return said

    async def plan(self, step: Step) -> Prepared:
        """Make sure that the judged version is live, where that can be read."""
        version = await self.current(step) if self._target.current else step.expected_version
        step.judged(self._where, version)
        return Prepared(step=step, version=version, what=f"run {' '.join(self._filled(step, self._target.argv))}")

    async def execute(self, prepared: Prepared) -> str:
        """Run the command, once."""
        code, said = await self._run(prepared.step, self._target.argv)
        if code == 0:
            return said or "exit code 0"
        kind = {_MOVED: MovedError, _REFUSED: RefusedError}.get(code if code is not None else -1, UnknownError)
        raise kind(prepared.step.at(self._where), _ended(code, said))

    async def confirm(self, step: Step) -> Confirmed:
        """Ask what is live; without a command for that, its exit code has said it."""
        if not self._target.current:
            return "live"
        try:
            return step.progress(await self.current(step))
        except RefusedError:
            return "unknown"

    async def close(self) -> None:
        """Let go of nothing."""

    async def _run(self, step: Step, argv: Sequence[str]) -> tuple[int | None, str]:
        """Exit code, None when its time was over, and the end of what it printed."""
        filled = self._filled(step, argv)
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *filled, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment, start_new_session=True
            )
        except OSError as error:
            raise RefusedError(step.at(self._where), f"{filled[0]} cannot be run: {(error.strerror or str(error)).lower()}") from None
        try:
            async with asyncio.timeout(self._target.timeout_ms / 1000):
                said, _ = await process.communicate()
        except TimeoutError:
            return None, ""
        finally:
            if process.returncode is None:
                # Also when we are told to end, and with all that it has started.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return process.returncode, " ".join(said[-_LONGEST:].decode("utf-8", "replace").split())

    def _filled(self, step: Step, argv: Sequence[str]) -> list[str]:
        given = {
            "service": step.service,
            "region": step.region or "",
            "expected_version": step.expected_version,
            "to_version": step.to_version,
            "intent": step.intent,
        }
        for name, value in given.items():
            # What came with an event must not turn into an option of the program.
            if value.startswith("-") or not value.isprintable():
                raise RefusedError(step.at(self._where), f"the {name} {value[:64]!r} is not given to a program")
        return [_PLACE.sub(lambda found: given[found[1]], argument) for argument in argv]


def _ended(code: int | None, said: str) -> str:
    how = "it was not over within its time, and was killed" if code is None else f"exit code {code}"
    return f"{how}: {said[-300:]}" if said else how
