"""YAML text in, a tree of values out, each with its file and line, and every mistake of form.

Built from the parser's events, not from its objects: so lines, duplicate keys, tags, aliases, depth and size are ours to
judge, `no` and `1:30` stay text, and no constructor ever runs. Scalars follow the core schema of YAML 1.2.
"""

import re
from collections.abc import Callable, Iterator

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError

from rollguard.config.errors import Mistake, key_text, shown

LONGEST = 262_144  # characters of a file; the default has 4,000
DEEPEST = 20  # levels; the schema has 4
MOST_NODES = 10_000  # values, each alias counted with all it stands for

Scalar = str | int | float | bool | None
Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_CORE_SCHEMA: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (_INT, int),
    (re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
_UNWRITABLE = re.compile("[\ud800-\udfff]")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A value in a file: a scalar, a mapping or a list, with where it stands.

    Parameters
    ----------
    file : str
        Name of the file.
    line : int
        From 1; of its key when it has one.
    value : str, int, float, bool, None, dict of Node, or list of Node
        What stands there.
    size : int
        Values in it, itself included; an alias counts as all it stands for.
    """

    file: str
    line: int
    value: Scalar | dict[str, "Node"] | list["Node"]
    size: int = 1


class _StopError(Exception):
    """The rest of the file cannot be read; the mistake is already noted."""


class _Builder:
    """Puts one document together from the parser's events."""

    def __init__(self, events: Iterator[Event], file: str) -> None:
        self.events = events
        self.file = file
        self.mistakes: list[Mistake] = []
        self.anchors: dict[str, Node] = {}
        self.seen = 0

    def note(self, line: int, path: Path, problem: str, expected: str = "") -> None:
        self.mistakes.append(Mistake(file=self.file, line=line, key=key_text(path), problem=problem, expected=expected))

    def stop(self, line: int, path: Path, problem: str, expected: str) -> _StopError:
        self.note(line, path, problem, expected)
        return _StopError()

    def document(self) -> Node:
        """Build the first document; a second one is a mistake."""
        root: Node | None = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                line = _line(event)
                if root is not None:
                    raise self.stop(line, (), "a second document begins here", "one document in a file; remove the line ---")
                root = self.node(next(self.events), (), None)
        return root if root is not None else Node(file=self.file, line=1, value=None)

    def node(self, event: Event, path: Path, key_line: int | None) -> Node:
        line = _line(event) if key_line is None else key_line
        if len(path) > DEEPEST:
            raise self.stop(_line(event), path[:4], f"nested deeper than {DEEPEST} levels", "the few levels of a config")
        if isinstance(event, AliasEvent):
            found = self.anchors.get(event.anchor)
            if found is None:
                raise self.stop(_line(event), path, f"*{event.anchor} stands for nothing yet, or for what holds it", "an anchor defined above")
            self.count(found.size, event, path)
            return Node(file=self.file, line=line, value=found.value, size=found.size)
        self.count(1, event, path)
        self.check_tag(event, path)
        if isinstance(event, MappingStartEvent):
            built = self.mapping(line, path)
        elif isinstance(event, SequenceStartEvent):
            built = self.sequence(line, path)
        elif isinstance(event, ScalarEvent):
            built = Node(file=self.file, line=line, value=self.scalar(event, path))
        else:
            raise self.stop(line, path, "nothing that can be read", "a value")
        anchor = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = built
        return built

    def mapping(self, line: int, path: Path) -> Node:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key_line = _line(event)
            if not isinstance(event, ScalarEvent) or event.value == "":
                raise self.stop(key_line, path, "a key is not a word", "word: value")
            self.check_tag(event, path)
            if event.value == "<<" and event.style is None:
                raise self.stop(key_line, path, "a merge key (<<) is not read", "each key written out, or a whole value by *alias")
            key = self.text(event, path)
            value = self.node(next(self.events), (*path, key), key_line)
            if key in entries:
                self.note(key_line, (*path, key), f"the key stands here a second time, first in line {entries[key].line}", "each key once")
            else:
                entries[key] = value
        return Node(file=self.file, line=line, value=entries, size=1 + sum(each.size for each in entries.values()))

    def sequence(self, line: int, path: Path) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self.node(event, (*path, len(items)), None))
        return Node(file=self.file, line=line, value=items, size=1 + sum(each.size for each in items))

    def count(self, more: int, event: Event, path: Path) -> None:
        self.seen += more
        if self.seen > MOST_NODES:
            raise self.stop(_line(event), path[:4], f"more than {MOST_NODES} values, aliases counted with what they stand for", "a smaller file")

    def check_tag(self, event: Event, path: Path) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.note(_line(event), path, f"a tag ({shown(str(tag))}) is not read", 'a plain value; text in quotes: "12"')

    def text(self, event: ScalarEvent, path: Path) -> str:
        value = str(event.value)
        if _UNWRITABLE.search(value):
            raise self.stop(_line(event), path, f"{shown(value)} holds half a character (a lone surrogate)", "Unicode text")
        return value

    def scalar(self, event: ScalarEvent, path: Path) -> Scalar:
        value = self.text(event, path)
        if event.style is not None:
            return value
        if re.fullmatch(r"[-+]?0[0-9_]+", value):
            self.note(_line(event), path, f"{value} is octal in some YAML and decimal in other", f'{value.lstrip("+-0") or "0"}, or "{value}" for text')
            return 0
        if _INT.fullmatch(value) and len(value) > 19:
            self.note(_line(event), path, f"{value[:20]}... is too large a number", "at most 18 digits")
            return 0
        return _resolve(value)


def _resolve(value: str) -> Scalar:
    """Say what a scalar without quotes means in the core schema of YAML 1.2."""
    return next((read(value) for form, read in _CORE_SCHEMA if form.fullmatch(value)), value)


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def parse(text: str, *, name: str) -> tuple[Node | None, list[Mistake]]:
    r"""Read YAML.

    Parameters
    ----------
    text : str
        One YAML document, up to 262,144 characters.
    name : str
        The file's name, for the mistakes.

    Returns
    -------
    node : Node or None
        The document; a null scalar when the text holds none, None when it could not be read to its end.
    mistakes : list of Mistake
        All mistakes of form. When there are some, `node` is good for finding more, not for use.

    Examples
    --------
    >>> node, mistakes = parse("mode: no\nmode: auto\n", name="shop.yaml")
    >>> node.value["mode"].value, str(mistakes[0])
    ('no', 'shop.yaml:2: mode: the key stands here a second time, first in line 1. Expected: each key once.')
    """
    text = text.removeprefix("\ufeff")
    builder = _Builder(_events(text), name)
    try:
        _refuse_at_sight(builder, text)
        return builder.document(), builder.mistakes
    except _StopError:
        pass  # noted where it was raised
    except MarkedYAMLError as error:
        builder.mistakes.append(_form_mistake(error, text, name))
    except ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        builder.note(line, (), f"a character that YAML forbids ({error.character!r})", "text")
    except (YAMLError, ValueError, OverflowError, IndexError, AssertionError, NotImplementedError) as error:
        # The parser itself raises these on some escapes, such as "\UFFFFFFFF".
        builder.note(0, (), f"not YAML ({_one_line(error)})", "YAML 1.2")
    return None, builder.mistakes


def _events(text: str) -> Iterator[Event]:
    # Lazily: the reader looks at the first characters before it hands out anything, and may refuse them.
    yield from YAML(typ="rt", pure=True).parse(text)


def _refuse_at_sight(builder: _Builder, text: str) -> None:
    if len(text) > LONGEST:
        raise builder.stop(0, (), f"{len(text)} characters long", f"at most {LONGEST}")
    directive = re.search(r"^%", text, re.MULTILINE)
    if directive:
        raise builder.stop(text.count("\n", 0, directive.start()) + 1, (), "a directive (%) is not read", "YAML 1.2 without directives")


def _form_mistake(error: MarkedYAMLError, text: str, name: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line = int(mark.line) + 1 if mark is not None else 0
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return Mistake(file=name, line=line, key="", problem="a tab indents this line", expected="spaces")
    context = f"{error.context}, " if error.context else ""
    return Mistake(file=name, line=line, key="", problem=f"not YAML ({context}{_one_line(error.problem)})", expected="key: value, indented by spaces")


def _one_line(words: object) -> str:
    return " ".join(str(words).split())[:200]
