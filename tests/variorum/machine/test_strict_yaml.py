import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from variorum.machine.strict_yaml import DEEPEST, NotYaml, Refused, read_yaml

TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=4))


@given(VALUES)
def test_ordinary_documents_are_read_as_by_pyyaml(value):
    text = yaml.safe_dump(value)
    assert read_yaml(text) == yaml.safe_load(text) == value


def test_aliases_and_merges_give_values_of_their_own():
    data = read_yaml("a: &a {x: [1]}\nb: *a\nc: {<<: *a, y: 2}\nd: {<<: [*a, {z: 3}], x: 4}\n")
    assert data == {"a": {"x": [1]}, "b": {"x": [1]}, "c": {"x": [1], "y": 2}, "d": {"x": 4, "z": 3}}
    assert data["a"] is not data["b"]
    assert data["a"]["x"] is not data["c"]["x"]


def test_the_depth_is_bounded():
    assert read_yaml("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)) is not None
    with pytest.raises(Refused, match=f"line 1: nested more than {DEEPEST} levels deep"):
        read_yaml("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (r'a: "\0"', "has a NUL character"),
        (r'"\0": 1', "has a NUL character"),
        (r'a: ["\ud800x"]', "isn't UTF-8 text"),
        ("a: !!binary aGk=", "a value is bytes"),
        ("a: !!set {b}", "a value is set"),
        ("a: !!pairs [b: 1]", "a value is tuple"),
    ],
)
def test_values_that_no_recipe_can_hold(text, problem):
    with pytest.raises(Refused, match=problem):
        read_yaml(text)


@pytest.mark.parametrize(
    "text", ["a: [", "a: *b", "---\n1\n---\n2", "\t- x", "a: \x01", "a: !other x", "a: b: c", "%Z"]
)
def test_what_is_no_yaml_is_told_in_one_line(text):
    with pytest.raises(NotYaml) as error:
        read_yaml(text)
    assert not isinstance(error.value, Refused)
    assert "\n" not in str(error.value)
