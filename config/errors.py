"""The one tree of errors, and what a mistake in a config says of itself.

`RollguardError` (a `code`; the text says where, what is wrong, what was expected, what to do) is the root. Here grows
`ConfigError`, all mistakes of a config at once; each room that can fail adds its own beside it.
"""

import difflib
from collections.abc import Iterable, Sequence

import msgspec


class RollguardError(Exception):
    """What Rollguard says when it cannot go on: the root of all its errors.

    Parameters
    ----------
    text : str
        Where, what is wrong, what was expected, what to do or what was done.
    code : str, optional
        A stable name of the kind of error; by default the class's own.

    Examples
    --------
    >>> RollguardError("orders.jsonl: no such file", code="case_missing").code
    'case_missing'
    """

    code: str = "rollguard"

    def __init__(self, text: str = "", *, code: str | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong in a file that a person wrote.

    Parameters
    ----------
    file : str
        Name of the file.
    line : int
        Line in it, from 1; 0 when the mistake has no line.
    key : str
        Path of the key, as `sources.orders.lateness`; empty when the file as a whole is meant.
    problem : str
        What is wrong, without a full stop.
    expected : str
        What would have been right; may be empty.
    near : str or None
        The known word that was probably meant.

    Examples
    --------
    >>> print(Mistake(file="shop.yaml", line=12, key="budgt", problem="unknown key", expected="budget, labels", near="budget"))
    shop.yaml:12: budgt: unknown key. Expected: budget, labels. Did you mean 'budget'?
    """

    file: str
    line: int
    key: str
    problem: str
    expected: str = ""
    near: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{where}: {self.key}: {self.problem}." if self.key else f"{where}: {self.problem}."
        if self.expected:
            text += f" Expected: {self.expected}."
        if self.near:
            text += f" Did you mean '{self.near}'?"
        # Names come from files.
        return printable(text)


class ConfigError(RollguardError):
    """What a person wrote in a config cannot be used; holds every mistake found.

    Parameters
    ----------
    mistakes : sequence of Mistake
        At least one, in the order in which they shall be read.
    """

    code = "config"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[Mistake, ...]]]:
        return type(self), (self.mistakes,)


def printable(text: str) -> str:
    r"""One line that does nothing to a terminal, whatever a file put into it.

    Examples
    --------
    >>> print(printable("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def near_match(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that was probably meant, or None.

    Examples
    --------
    >>> near_match("latenes", ["topic", "lateness", "idle"])
    'lateness'
    >>> near_match("Orders", ["orders", "errors"])
    'orders'
    >>> near_match("colour", ["topic", "idle"]) is None, near_match("kind", ["id", "ts"]) is None
    (True, True)
    """
    by_small = {each.lower(): each for each in sorted(known, reverse=True)}
    # A word of any length may stand in a file; difflib is quadratic.
    word = word[:100].lower()
    # A known word of two letters stands in many others without being meant: `id` in `kind`.
    alike = sorted(each for each in by_small if len(each) > 2 or len(word) <= 3)
    found = difflib.get_close_matches(word, alike, n=1, cutoff=0.6)
    return by_small[found[0]] if found else None


def shown(value: object) -> str:
    """Show a value from a file in one short line, whatever it holds.

    Examples
    --------
    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    >>> shown(None), shown(True), shown(["a", 1])
    ('nothing', 'true', 'a list')
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 40 else value[:37] + "...")
        case int() | float():
            return repr(value)
        case dict():
            return "a mapping"
        case _:
            return "a list"


def key_text(path: Sequence[str | int]) -> str:
    r"""Write a path as an operator would.

    Examples
    --------
    >>> key_text(("labels", "watched", 0)), key_text(("sources", "a\nb"))
    ('labels.watched[0]', "sources.'a\\nb'")
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if part.isprintable() and len(part) <= 80 else shown(part)
            text += f".{word}" if text else word
    return text
