"""The command line, called as a shell would call it, but in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from rollguard.cli import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Said:
    """Run `rollguard` with some words."""
    monkeypatch.setattr(sys, "argv", ["rollguard", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return Said(code, captured.out, captured.err)
