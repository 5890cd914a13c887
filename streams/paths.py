"""Where a field stands in an event: at the end of a way through objects, or where an expression finds it."""

import re
from collections.abc import Iterator
from typing import Any

from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.parser import Parser

__all__ = ["UNREADABLE", "Expression", "NotFoundError", "keys_of"]

#: What the JSON decoder does not take in the name of a field.
UNREADABLE = re.compile(r'["\\\x00-\x1f]')


class NotFoundError(Exception):
    """An expression that an event gives no sense to; says why."""


def keys_of(path: str) -> tuple[str, ...]:
    """Give the keys of a path that only goes from object to object; of any other, none.

    Examples
    --------
    >>> keys_of("order.shop.service"), keys_of('"order.shop".service'), keys_of("items[0].sku")
    (('order', 'shop', 'service'), ('order.shop', 'service'), ())
    """
    tree = Parser().parse(path).parsed
    steps = tree["children"] if tree["type"] == "subexpression" else [tree]
    if any(step["type"] != "field" or UNREADABLE.search(step["value"]) for step in steps):
        return ()
    return tuple(step["value"] for step in steps)


class Expression:
    """A path that searches.

    Parameters
    ----------
    path : str
        JMESPath that the config has checked.

    Attributes
    ----------
    roots : frozenset of str or None
        Keys at the top of an event of which it may read; None: of any.
    """

    __slots__ = ("_search", "roots")

    def __init__(self, path: str) -> None:
        parsed = Parser().parse(path)
        self._search = parsed.search
        names = frozenset(_roots(parsed.parsed))
        self.roots = None if None in names or any(UNREADABLE.search(name) for name in names if name) else frozenset(name for name in names if name is not None)

    def search(self, event: dict[str, Any]) -> object:
        """What it finds; None if nothing.

        Raises
        ------
        NotFoundError
            If a function is given what it cannot take.
        """
        try:
            return self._search(event)
        except JMESPathTypeError as error:
            msg = f"{error.function_name}() does not take what stands there"
            raise NotFoundError(msg) from None
        except (JMESPathError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            # The library checks types, not values: ceil(to_number('inf')), say.
            msg = "it cannot be worked out from what stands there"
            raise NotFoundError(msg) from None


def _roots(node: Any) -> Iterator[str | None]:
    """Keys of the event itself that a node reads when it is given the event; None: it takes the event whole."""
    children: list[Any] = node["children"]
    match node["type"]:
        case "field":
            yield node["value"]
        case "identity" | "current" | "index" | "slice":
            yield None
        case "literal":
            pass
        case "subexpression" | "index_expression" | "pipe" | "projection" | "value_projection" | "filter_projection":
            # The rest is given what the first found.
            yield from _roots(children[0])
        case "expref":
            # A function gives it elements of what it is given itself.
            pass
        case _:
            for child in children:
                yield from _roots(child)
