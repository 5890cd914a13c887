"""YAML that surprises, lies or attacks."""

import pytest

from rollguard.config import Node, parse


def value_of(text: str) -> object:
    node, mistakes = parse(f"key: {text}\n", name="a.yaml")
    assert mistakes == []
    assert node is not None
    assert isinstance(node.value, dict)
    return node.value["key"].value


def problem_of(text: str) -> tuple[int, str, str]:
    _, mistakes = parse(text, name="a.yaml")
    assert len(mistakes) == 1, [str(each) for each in mistakes]
    return mistakes[0].line, mistakes[0].key, mistakes[0].problem


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "off", "y", "n", "NO", "1:30", "190:20:30", "2026-01-01", "2026-01-01T00:00:00Z", "0b1", "1_000", "12e", ".", "-a"]
)
def test_what_older_yaml_makes_of_a_word_is_not_made_of_it(word: str) -> None:
    assert value_of(word) == word


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        ("0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", float("-inf")),
        ("'12'", "12"),
        ('"true"', "true"),
        ("4.10", 4.1),
        ("'4.10'", "4.10"),
        ("|\n  two\n  lines", "two\nlines\n"),
    ],
)
def test_a_scalar_means_what_the_core_schema_says(text: str, value: object) -> None:
    found = value_of(text)
    assert (type(found), found) == (type(value), value)


def test_a_number_that_yaml_versions_read_differently_is_refused() -> None:
    assert problem_of("a:\n  b: 0755\n") == (2, "a.b", "0755 is octal in some YAML and decimal in other")


def test_a_tab_in_the_indentation_is_named() -> None:
    assert problem_of("a:\n\tb: 1\n") == (2, "", "a tab indents this line")


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system ['true']\n", "a: !secret x\n", "a: !!int '1'\n", "a: !!binary aGk=\n", "a: !<tag:x,2026:y> 1\n"]
)
def test_a_tag_is_refused(text: str) -> None:
    line, key, problem = problem_of(text)
    assert (line, key) == (1, "a")
    assert "a tag" in problem


def test_a_directive_is_refused() -> None:
    assert problem_of("%YAML 1.1\n---\na: no\n")[0] == 1


def test_a_second_document_is_refused() -> None:
    assert problem_of("a: 1\n---\nb: 2\n") == (2, "", "a second document begins here")


def test_a_merge_key_is_refused() -> None:
    line, _, problem = problem_of("a: &a {b: 1}\nc:\n  <<: *a\n")
    assert line == 3
    assert "merge key" in problem


def test_a_key_that_is_no_word_is_refused() -> None:
    assert problem_of("a: 1\n? [b, c]\n: 2\n")[2] == "a key is not a word"
    assert problem_of("a: 1\n: 2\n")[2] == "a key is not a word"


def test_an_alias_stands_for_its_anchor() -> None:
    node, mistakes = parse("a: &span 10s\nb: *span\n", name="a.yaml")
    assert mistakes == []
    assert node is not None
    assert isinstance(node.value, dict)
    assert node.value["b"] == Node(file="a.yaml", line=2, value="10s")


def test_an_alias_of_what_holds_it_is_refused() -> None:
    assert problem_of("a: &a\n  b: *a\n")[0] == 2


def test_an_alias_of_nothing_is_refused() -> None:
    assert problem_of("a: 1\nb: *c\n")[0] == 2


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)]
    assert "more than 10000 values" in problem_of("\n".join(lines))[2]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
def test_deep_nesting_is_refused(opening: str, closing: str) -> None:
    _, mistakes = parse(f"key:\n  {opening * 5_000}1{closing * 5_000}\n", name="a.yaml")
    assert len(mistakes) == 1


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    assert "300000 characters" in problem_of("#" * 300_000)[2]


@pytest.mark.parametrize("text", ["a: \x00\n", "a: \x07\n", "\x1b[31m: 1\n"])
def test_a_control_character_is_refused(text: str) -> None:
    assert problem_of(text)[:2] == (1, "")


@pytest.mark.parametrize("text", ['a: "\\ud800"\n', '"\\udfff": 1\n', 'a: "\\UFFFFFFFF"\n', 'a: "\\x"\n', "a: 'b\n", "a: b: c\n", "a: [1\n", "@a: 1\n"])
def test_text_that_is_broken_is_one_mistake(text: str) -> None:
    _, mistakes = parse(text, name="a.yaml")
    assert len(mistakes) == 1
    str(mistakes[0]).encode()


def test_every_second_key_is_named() -> None:
    node, mistakes = parse("a: 1\nb:\n  c: 1\n  c: 2\na: 2\na: 3\n", name="a.yaml")
    assert node is not None
    assert [(each.line, each.key) for each in mistakes] == [(4, "b.c"), (5, "a"), (6, "a")]
