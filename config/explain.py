"""What pydantic found, said as mistakes with file, line, what was expected and a near match."""

import types
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rollguard.config.document import Node
from rollguard.config.errors import Mistake, key_text, near_match, shown
from rollguard.config.model import Settings

Path = tuple[str, ...]

_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping, key: value",
    "model_type": "a mapping, key: value",
    "model_attributes_type": "a mapping, key: value",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def node_at(root: Node, path: Sequence[str | int]) -> Node:
    """Find the value at a path, or the nearest one around it."""
    here = root
    for part in path:
        if isinstance(here.value, dict) and str(part) in here.value:
            here = here.value[str(part)]
        elif isinstance(here.value, list) and str(part).isdigit() and int(part) < len(here.value):
            here = here.value[int(part)]
        else:
            break
    return here


def mistake_at(root: Node, path: Sequence[str | int], problem: str, *, expected: str = "", known: Sequence[str] = (), word: str | None = None) -> Mistake:
    """Make a mistake about the value at a path; `known` words are offered when `word` is near one."""
    node = node_at(root, path)
    near = near_match(word, known) if word is not None else None
    return Mistake(file=node.file, line=node.line, key=key_text(path), problem=problem, expected=expected, near=near)


def explain_all(errors: Sequence[ErrorDetails], root: Node) -> list[Mistake]:
    """Say all of pydantic's findings; an entry that lacks keys and has nearly the name of another is one mistake, not one a key."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        if error["type"] == "missing" and len(error["loc"]) == 3:
            section, name, key = map(str, error["loc"])
            lacking.setdefault((section, name), []).append(key)
    mistakes = []
    for (section, name), keys in lacking.items():
        others = [other for other in keys_of(node_at(root, (section,))) if other != name]
        if near_match(name, others) is None:
            continue
        problem = f"{', '.join(repr(key) for key in keys)} missing, so it is no complete entry of its own"
        mistakes.append(mistake_at(root, (section, name), problem, expected="these keys, or the name of a known entry", known=others, word=name))
        errors = [error for error in errors if error["type"] != "missing" or tuple(map(str, error["loc"][:2])) != (section, name)]
    return mistakes + [explain(error, root) for error in errors]


def keys_of(node: Node) -> list[str]:
    """List the keys that are written in a mapping."""
    return list(node.value) if isinstance(node.value, dict) else []


def explain(error: ErrorDetails, root: Node) -> Mistake:
    """Say one of pydantic's findings as a mistake."""
    path = [part for part in error["loc"] if part != "[key]"]
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = keys_at(tuple(str(part) for part in path[:-1]))
        return mistake_at(root, path, "unknown key", expected=", ".join(known), known=known, word=str(path[-1]))
    if kind == "missing":
        return mistake_at(root, path, "missing", expected=f"a value for '{path[-1]}'")
    if kind in {"literal_error", "enum"}:
        known = choices_at(tuple(str(part) for part in path))
        return mistake_at(root, path, f"{shown(value)} is not known", expected=", ".join(known), known=known, word=str(value))
    if kind == "rollguard":
        mistake = mistake_at(root, path, str(context["problem"]), expected=str(context["expected"]))
        return msgspec.structs.replace(mistake, near=context["near"])
    return mistake_at(root, path, f"{shown(value)} will not do", expected=_expected(kind, context, error["msg"]))


def _expected(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {context[bound]:g}"
    return _TYPES.get(kind, message.removeprefix("Input should be "))


def _inner(annotation: object) -> object:
    """Strip what is optional or annotated from a type."""
    while True:
        origin = get_origin(annotation)
        if origin in {Union, types.UnionType}:
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        elif hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _type_at(path: Path) -> object:
    here: object = Settings
    for part in path:
        here = _inner(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            found = [field for name, field in here.model_fields.items() if (field.alias or name) == part]
            if not found:
                return None
            here = found[0].annotation
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        elif get_origin(here) is tuple:
            here = get_args(here)[0]
        else:
            return None
    return _inner(here)


def keys_at(path: Path) -> list[str]:
    """List the keys that the mapping at a path may have, in the order of the schema.

    Examples
    --------
    >>> keys_at(("budget",)), keys_at(("sources", "orders"))[:3]
    (['false_pages', 'per', 'per_change'], ['topic', 'format', 'lateness'])
    """
    found = _type_at(path)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        return []
    return [field.alias or name for name, field in found.model_fields.items()]


def choices_at(path: Path) -> list[str]:
    """List the words that the value at a path may be.

    Examples
    --------
    >>> choices_at(("mode",)), choices_at(("metrics", "orders", "worse"))
    (['observe', 'advise', 'approve', 'auto'], ['higher', 'lower', 'both'])
    """
    found = _type_at(path)
    if isinstance(found, type):
        return [str(each) for each in found] if issubclass(found, StrEnum) else []
    return [str(each) for each in get_args(found)]
