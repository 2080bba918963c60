"""Lists of words: what counts as the same word, how weights add up, and lists that can't be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.curation.safety.harms.word_list import FILE, Phrase, found_in, read_list, weighed
from variorum.schemas.errors import RecipeError

HEADER = "category,words,weight,language\n"


def phrases(*words):
    return [Phrase("spam", one, 0.5, "en") for one in words]


def names(text, *words):
    return [one.words for one in found_in(text, phrases(*words))]


@pytest.mark.parametrize(
    "text", ["casino", "CASINO!", "the best c4s1no", "Casino\nRoyal", "ＣＡＳＩＮＯ", "ca$ino", "cas!n0, 24 h"]
)
def test_a_word_is_found_however_it_is_written(text):
    assert names(text, "casino") == ["casino"]


@pytest.mark.parametrize("text", ["casinos", "occasino", "cas ino", "", "!?", "casual"])
def test_other_words_are_not_the_word(text):
    assert names(text, "casino") == []


@pytest.mark.parametrize("text", ["click here", "CLICK\nHERE now", "so clickhere", "CLICKHEREtowin", "c1ick h3re"])
def test_spaces_between_several_words_may_be_lost(text):
    assert names(text, "click here") == ["click here"]


@pytest.mark.parametrize("text", ["click there", "clock here", "xclickhere", "here click", "we click. There"])
def test_other_words_are_not_several_words(text):
    assert names(text, "click here") == []


def test_weights_add_up_as_if_independent():
    found = [Phrase("spam", "a", 0.5, ""), Phrase("spam", "b", 0.2, ""), Phrase("violence", "c", 1.0, "")]
    assert weighed(found) == pytest.approx({"spam": 0.6, "violence": 1.0})
    assert weighed([]) == {}


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_word_is_found_between_any_others(before, after):
    assert names(f"{before} CASINO {after}", "casino") == ["casino"]


def test_every_word_of_the_shipped_list_is_found_in_itself():
    _, shipped = read_list(FILE, "here")
    assert {one.category for one in shipped} == {"spam", "violence"}
    for one in shipped:
        assert one in found_in(f"so {one.words.upper()}!", shipped)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("category,words,weight\nspam,x,1\n", r"line 1: has no column language"),
        (HEADER, r"the list is empty"),
        (HEADER + "Spam!,x,1,en\n", r"line 2: category 'Spam!' isn't an id"),
        (HEADER + "spam,?!,1,en\n", r"line 2: words '\?!' has no letter or digit"),
        (HEADER + "spam,x,1,en\nspam,y,0,en\n", r"line 3: weight '0' must be above 0 and at most 1"),
        (HEADER + "spam,x,nan,en\n", r"line 2: weight 'nan' must be"),
        (HEADER + "spam,x\n", r"line 2: weight '' must be"),
        (HEADER + "spam,FREE,1,en\nspam,fr3e,1,en\n", r"line 3: 'fr3e' is there twice for spam"),
        (b"\xff\xfe\x00", r"can't decode|codec"),
    ],
)
def test_a_list_that_cannot_be_used_names_its_line(tmp_path, content, said):
    file = tmp_path / "mine.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError, match=said) as raised:
        read_list(file, "labeler words: words")
    assert str(file) in str(raised.value)


def test_a_list_that_is_missing_or_too_large_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"gone\.csv can't be read \(no such file\); leave the field out"):
        read_list(tmp_path / "gone.csv", "here")
    large = tmp_path / "large.csv"
    large.write_text(HEADER + "spam,x,1,en\n" * 90_000)
    with pytest.raises(RecipeError, match="more than 1 MiB"):
        read_list(large, "here")
