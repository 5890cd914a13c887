"""Secrets, from where the config says that they stand. None is ever shown: not in an error, not in a `repr`, not in a log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rollguard.config import RollguardError, printable

__all__ = ["SecretError", "find_secret", "found_secrets", "refuse_open_file"]

LONGEST = 65_536
#: All that were found by this process, also those that have been exchanged since: what writes logs takes them out.
_FOUND: set[str] = set()


class SecretError(RollguardError):
    """A secret is not where the config says, or others than its owner could read it.

    Parameters
    ----------
    key : str
        The config's key, as `kafka.sasl_plain_password`.
    reference : str
        What stands there: where the secret is, never the secret.
    problem : str
        What is wrong.
    expected : str
        What would have been right, and so what to do.
    """

    code = "secret"

    def __init__(self, *, key: str, reference: str, problem: str, expected: str) -> None:
        self.key = key
        self.reference = reference
        self.problem = problem
        self.expected = expected
        super().__init__(printable(f"{key}: {reference}: {problem}. Expected: {expected}."))


def find_secret(reference: str, key: str) -> str:
    """Find a secret: `env:NAME` in a variable, `file:PATH` in a file, without the line break at its end.

    Parameters
    ----------
    reference : str
        As it stands in a checked config.
    key : str
        The config's key, for errors.

    Returns
    -------
    str
        The secret.

    Raises
    ------
    SecretError
        If there is none, it is empty, or the file may be read by everyone or written by others than its owner.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        found = os.environ.get(place)
        if found is None:
            raise SecretError(
                key=key, reference=reference, problem="there is no such variable", expected=f"the variable {place} set where Rollguard is started"
            )
    else:
        found = _read(Path(place), key, reference)
    found = found.removesuffix("\n").removesuffix("\r")
    if not found:
        raise SecretError(key=key, reference=reference, problem="empty", expected="the secret")
    _FOUND.add(found)
    return found


def found_secrets() -> frozenset[str]:
    """Every secret that this process has found so far, to be taken out of what it says. Neither keep nor show it."""
    return frozenset(_FOUND)


def refuse_open_file(path: Path, key: str, reference: str) -> None:
    """Refuse a file with a secret that everyone may read, or that others than its owner may write. The group may read it.

    Raises
    ------
    SecretError
        Says how to mend it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SecretError(key=key, reference=reference, problem=reason, expected="a file that Rollguard may read") from error
    if not stat.S_ISREG(mode):
        raise SecretError(key=key, reference=reference, problem="not a file", expected="a file that Rollguard may read")
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise SecretError(
            key=key,
            reference=reference,
            problem=f"others than its owner may read or write it (mode {stat.S_IMODE(mode):04o})",
            expected="mode 0600 or 0640, as after chmod 600; of a secret mounted by Kubernetes, defaultMode: 0440",
        )


def _read(path: Path, key: str, reference: str) -> str:
    refuse_open_file(path, key, reference)
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SecretError(key=key, reference=reference, problem=reason, expected="a file that Rollguard may read") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if len(data) > LONGEST or "\0" in text or "\n" in text.removesuffix("\n"):
        text = ""
    if not text and data:
        # The cause is left out: it would carry the bytes.
        raise SecretError(key=key, reference=reference, problem="no secret", expected="one line of text, UTF-8")
    return text
