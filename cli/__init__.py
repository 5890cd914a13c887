"""Words typed in a terminal in, text and an exit code out. Wires the rooms; never decides anything itself."""

from rollguard.cli.app import app, main

__all__ = ["app", "main"]
