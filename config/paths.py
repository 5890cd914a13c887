"""Paths of fields: whether an expression in JMESPath can be read, and where not."""

import json
import re
from collections.abc import Iterator
from typing import Any

from jmespath.exceptions import IncompleteExpressionError, JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.parser import Parser

from rollguard.config.errors import near_match, shown

EXPECTED = "a JMESPath expression, such as order.shop.service or items[0].sku"
#: What an expression may hold at most: a parser that recurses reads it, and each event is held against it.
LONGEST = 200
MOST_NESTED = 32

_NESTS = re.compile(r"[(\[{!&]")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?P<literal>(?:[^`\\]|\\.)*)`", re.DOTALL)
_FUNCTIONS: dict[str, Any] = Functions.FUNCTION_TABLE

Wrong = tuple[str, str, str | None]


def wrong_path(text: str) -> Wrong | None:
    """What is wrong with an expression, what was expected, and the word that was probably meant; None if it can be used.

    Examples
    --------
    >>> wrong_path("order.shop.service"), wrong_path("items[?kind == 'main'] | [0].sku")
    (None, None)
    >>> wrong_path("order..shop")[0]
    "'order..shop' is no path: '.' does not belong at character 7"
    >>> wrong_path("contain(items)")
    ("'contain(items)' is no path: there is no function contain()", 'a JMESPath expression, such as order.shop.service or items[0].sku', 'contains')
    """
    return next(_mistakes(text), None)


def _mistakes(text: str) -> Iterator[Wrong]:
    problem = f"{shown(text)} is no path"
    if len(text) > LONGEST:
        yield f"{problem}: it has {len(text)} characters", f"at most {LONGEST}", None
        return
    if len(_NESTS.findall(text)) > MOST_NESTED:
        yield f"{problem}: it nests too deep", f"at most {MOST_NESTED} brackets, ! and &", None
        return
    # The parser takes such a literal for a text and warns that it will not for long.
    for found in _QUOTED.finditer(text):
        literal = found["literal"]
        if literal is not None and not _is_json(literal.replace("\\`", "`")):
            where = f"{shown(found[0])} at character {found.start() + 1} is not JSON"
            yield f"{problem}: {where}", f"JSON between backticks; a text stands in single quotes, as {shown(literal)}", None
            return
    try:
        tree = Parser().parse(text).parsed
    except JMESPathError as error:
        yield f"{problem}: {_problem(error, text)}", EXPECTED, None
        return
    for wrong, near in _wrong_nodes(tree):
        yield f"{problem}: {wrong}", EXPECTED, near


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _problem(error: JMESPathError, text: str) -> str:
    if isinstance(error, IncompleteExpressionError) or (isinstance(error, ParseError) and error.token_value == ""):
        return f"it ends too early, after {shown(text[-12:])}"
    if isinstance(error, LexerError):
        message = str(error.message)
        return f"{message[:1].lower()}{message[1:]} at character {error.lexer_position + 1}"
    if isinstance(error, ParseError):
        return f"{shown(error.token_value)} does not belong at character {error.lex_position + 1}"
    return "it is empty"


def _wrong_nodes(node: dict[str, Any], *, takes_expression: bool = False) -> Iterator[tuple[str, str | None]]:
    """What the parser takes and the events would trip over: unknown functions, wrong numbers of arguments, slices that stand still."""
    children = node["children"]
    takes: list[bool] = [False] * len(children)
    if node["type"] == "function_expression":
        name = node["value"]
        if name not in _FUNCTIONS:
            yield f"there is no function {name}()", near_match(name, _FUNCTIONS)
        else:
            signature = _FUNCTIONS[name]["signature"]
            many = bool(signature) and signature[-1].get("variadic", False)
            if len(children) < len(signature) or (len(children) > len(signature) and not many):
                arguments = "1 argument" if len(signature) == 1 else f"{len(signature)} arguments"
                yield f"{name}() takes {'at least ' if many else ''}{arguments}, not {len(children)}", None
            takes = ["expref" in signature[min(at, len(signature) - 1)]["types"] for at in range(len(children))]
    elif node["type"] == "slice":
        if children[2] == 0:
            yield "a slice with steps of 0 leads nowhere", None
        return
    elif node["type"] == "expref" and not takes_expression:
        yield "& stands only where a function asks for an expression, as in max_by(items, &price)", None
    for child, each in zip(children, takes, strict=True):
        yield from _wrong_nodes(child, takes_expression=each)
