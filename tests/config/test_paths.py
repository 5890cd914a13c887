"""Paths of fields in a config."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config.paths import LONGEST, MOST_NESTED, wrong_path


@pytest.mark.parametrize(
    "path",
    ["a", "a.b.c", '"a.b".c', "a[0].b", "a[-1]", "a[?b=='x'] | [0]", "a || b", "max_by(a, &b).c", "not_null(a, b, c)", 'a[?b==`"x"`]', "a[?c=='`']", " a . b "],
)
def test_what_jmespath_reads_is_a_path(path: str) -> None:
    assert wrong_path(path) is None


@pytest.mark.parametrize(
    ("path", "problem", "near"),
    [
        ("order..shop", "'.' does not belong at character 7", None),
        ("order.", "it ends too early, after 'order.'", None),
        ("items[", "it ends too early, after 'items['", None),
        ("items[0", "it ends too early", None),
        ("$.order", "unknown token $ at character 1", None),
        ("order-shop", "unknown token '-' at character 6", None),
        ("order shop", "'shop' does not belong at character 7", None),
        ("items['a']", "'a' does not belong at character 7", None),
        ('"order', 'unclosed " delimiter at character 1', None),
        ("contain(items)", "there is no function contain()", "contains"),
        ("a.b || c.contain(items)", "there is no function contain()", "contains"),
        ("length(a, b)", "length() takes 1 argument, not 2", None),
        ("not_null()", "not_null() takes at least 1 argument, not 0", None),
        ("contains(a)", "contains() takes 2 arguments, not 1", None),
        ("a[::0]", "a slice with steps of 0 leads nowhere", None),
        ("&a", "& stands only where a function asks for an expression", None),
        ("to_string(&a)", "& stands only where a function asks for an expression", None),
        ("a[?b==`x`]", "'`x`' at character 7 is not JSON", None),
        ("a" * (LONGEST + 1), "it has 201 characters", None),
        ("!" * (MOST_NESTED + 1) + "a", "it nests too deep", None),
    ],
)
def test_a_wrong_path_is_told_with_the_place_in_it(path: str, problem: str, near: str | None) -> None:
    wrong = wrong_path(path)
    assert wrong is not None
    assert problem in wrong[0]
    assert wrong[0].startswith(("'", '"'))
    assert wrong[2] == near


TOKENS = ["a", "b", ".", "[", "]", "[?", "(", ")", "{", "}", "*", "&", "|", "||", "!", "==", ",", ":", "0", "-", "'x'", "'", "`1`", "`x`", "`", "length(", "\\"]


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12).map("".join) | st.text(min_size=1, max_size=12))
def test_any_text_is_a_path_or_a_mistake(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrong = wrong_path(text)
    assert wrong is None or (len(wrong[0]) < 250 and wrong[1])
