"""Where fields stand in events."""

import contextlib
import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import ConfigError, Layer, default_text, load_layers
from rollguard.streams.paths import Expression, NotFoundError, keys_of

PATHS = [
    "a",
    "a.b.c",
    "a[0].b",
    "a[*].b",
    "a[?b == `1`].c | [0]",
    "a[?b > c]",
    "a.*.b",
    "a[]",
    "a[1:3]",
    "a || b",
    "a && !b",
    "(a || b).c",
    "a | b | c",
    "not_null(a, b.c, `7`)",
    "max_by(a, &b).c",
    "sort_by(a, &c)[0].b",
    "map(&b, a)",
    "length(b)",
    "join('-', [a, b])",
    "{x: a, y: b.c}.x",
    "*.b",
    "@",
    "@.a",
    "[a, b]",
    "[0]",
    "[]",
    "[?a]",
    "keys(@)",
    "values(@)[0]",
    "to_string(@)",
    "type(a)",
    "contains(a, b)",
    '`{"a": 1}`.a',
    "'text'",
    "a == b",
]
KEYS = st.sampled_from(["a", "b", "c"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | KEYS | st.sampled_from([0.5, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def found(path: str, event: dict[str, Any]) -> object:
    try:
        return json.dumps(Expression(path).search(event))
    except NotFoundError as error:
        return str(error)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ('"a.b".c', ("a.b", "c")),
        ("(a.b)", ("a", "b")),
        ('"a\\"b".c', ()),
        ("a[0]", ()),
        ("a | b", ()),
        ("@.a", ()),
        ("*.a", ()),
        ("length(a)", ()),
        ("`1`", ()),
    ],
)
def test_only_a_way_from_object_to_object_has_keys(path: str, keys: tuple[str, ...]) -> None:
    assert keys_of(path) == keys


@given(st.sampled_from(PATHS), st.dictionaries(KEYS | st.just("d"), JSON, max_size=4))
def test_what_a_path_may_read_is_all_it_reads(path: str, event: dict[str, Any]) -> None:
    roots = Expression(path).roots
    if roots is not None:
        assert found(path, event) == found(path, {key: value for key, value in event.items() if key in roots})


@given(st.sampled_from(PATHS), st.dictionaries(KEYS, JSON, max_size=3))
def test_a_path_of_keys_is_what_jmespath_makes_of_it(path: str, event: dict[str, Any]) -> None:
    keys = keys_of(path)
    if keys:
        value: Any = event
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        assert value == jmespath.search(path, event)


def test_few_expressions_need_the_whole_event() -> None:
    whole = {path for path in PATHS if Expression(path).roots is None}
    assert whole == {"*.b", "@", "@.a", "[0]", "[]", "[?a]", "keys(@)", "values(@)[0]", "to_string(@)"}


TOKENS = ["a", "b", ".", "[", "]", "[?", "[]", "(", ")", "{", "}", "*", "@", "&", "|", "||", "&&", "!", "==", "<", ",", ":", "0", "-1", "'x'", "`1`", '"c"']
TOKENS += ["length(", "sort_by(", "to_string(", "ceil(", "map("]


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join) | st.sampled_from(PATHS))
def test_any_event_can_be_held_against_a_path_that_the_config_takes(path: str) -> None:
    with contextlib.suppress(ConfigError):
        load_layers([Layer(text, "shop.yaml") for text in (default_text(), json.dumps({"sources": {"orders": {"fields": {"region": {"path": path}}}}}))])
        for event in ({}, {"a": 1, "b": [{"a": "x"}, 2]}, {"a": {"b": [3, 1], "a": None}, "c": "d"}):
            with contextlib.suppress(NotFoundError):
                assert " at 0x" not in repr(Expression(path).search(event))
