import datasets.data_files
import pytest

from variorum.schemas.annotations import Text
from variorum.sources.exports.texts import SPLIT_NAMES, BadText, read_texts, split_name


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, []),
        ("", []),
        ("a cat", ["a cat"]),
        ("a cat\n", ["a cat"]),
        ("eine Katze, süß".encode(), ["eine Katze, süß"]),
        (["a cat", b"a dog", None, " "], ["a cat", "a dog"]),
        (("a cat", "a cat"), ["a cat", "a cat"]),
        ([], []),
    ],
)
def test_texts(value, texts):
    assert read_texts(value) == tuple(Text(text, "caption") for text in texts)


def test_a_role_goes_to_each_text():
    assert read_texts(["a", "b"], "question") == (Text("a", "question"), Text("b", "question"))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"caf\xe9", "not UTF-8: unexpected end of data at byte 3"),
        (["ok", b"\xff"], "not UTF-8: invalid start byte at byte 0"),
        ("half \ud83d", "UTF-8 can't hold, at position 5"),
        (7, "a text is int"),
        ([["nested"]], "a text is list"),
        ({"text": "a"}, "a text is dict"),
    ],
)
def test_what_is_no_text(value, detail):
    with pytest.raises(BadText, match=detail) as caught:
        read_texts(value)
    assert caught.value.detail == str(caught.value)


def test_names_of_splits_are_those_that_datasets_knows():
    known = {word: str(split) for split, words in datasets.data_files.SPLIT_KEYWORDS.items() for word in words}
    assert known == SPLIT_NAMES


@pytest.mark.parametrize(
    ("name", "split"), [("train", "train"), ("Val", "validation"), ("TESTING", "test"), ("minival", ""), ("", "")]
)
def test_split_names(name, split):
    assert split_name(name) == split
