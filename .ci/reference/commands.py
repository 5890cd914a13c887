"""The page of the commands: each with its words, options and exit codes, as the command line itself knows them.

Typer has brought its own copy of click since 0.26 and kept click's names; only those of its names are used that both have.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from rollguard.cli import app

__all__ = ["commands", "page"]

#: Typer's own options, which every command line of its has.
COMPLETION = {"install_completion", "show_completion"}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name; one that has others below it stands before them."""
    yield from _below("rollguard", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, each in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {word}", each)


def _usage(name: str, command: Any) -> str:
    words = [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(each.param_type_name == "option" for each in command.params) else []
    below = ["COMMAND [ARGS]..."] if getattr(command, "commands", None) else []
    return " ".join([name, *options, *words, *below])


def _takes(annotation: Any) -> str:
    """What an option takes, in words."""
    inside = [each for each in get_args(annotation) if each is not type(None)]
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{each}`" for each in inside)
    if inside:
        return f"{_takes(inside[0])}, may be given again" if get_origin(annotation) is list else _takes(inside[0])
    return {int: "whole number", float: "number", str: "text", bool: ""}.get(annotation, "path")


def _parameters(command: Any) -> Iterator[str]:
    hints = get_type_hints(command.callback) if command.callback else {}
    for each in command.params:
        if each.name in COMPLETION or each.hidden:
            continue
        option = each.param_type_name == "option"
        words = (*each.opts, *each.secondary_opts) if option else (each.metavar or each.name.upper(),)
        takes = _takes(hints[each.name]) if option else ""
        if option and each.metavar and not each.is_flag:
            takes = f"{takes}: {each.metavar}"
        default = each.default
        shown = "" if default is None or isinstance(default, bool) or callable(default) or default in ((), [], "") else f"`{default}`"
        names = ", ".join(f"`{word}`" for word in words)
        yield f"| {names} | {_cell(takes)} | {'yes' if each.required else ''} | {shown} | {_cell(each.help or '')} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("|", "\\|").replace("<", "&lt;")).strip()


def page() -> str:
    """The page, in Markdown."""
    lines = [
        "# Commands",
        "",
        "What `--help` of each command says. `rollguard --install-completion` teaches your shell their names. Whatever is printed for a person can be had for a machine",
        "where `--json` stands. Errors go to standard error, one line each: where, what is wrong, what was expected, what to do.",
        "",
    ]
    for name, command in commands():
        lines += [f"{'#' * (len(name.split()) + 1)} {name}", "", "```text", _usage(name, command), "```", ""]
        if command.help:
            lines += [inspect.cleandoc(command.help), ""]
        if rows := list(_parameters(command)):
            lines += ["| word | takes | must be given | default | meaning |", "|---|---|---|---|---|", *rows, ""]
        if command.epilog:
            lines += [command.epilog, ""]
    return "\n".join(lines)
