"""What vision-language models write, read into opinions; and the prompts that they answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from variorum.curation.safety.harms.answers import many_verdicts, one_verdict
from variorum.curation.safety.harms.prompts import HARMLESS, Questions, shuffled
from variorum.curation.safety.harms.wording import WORDS
from variorum.kit.harms.categories import unsafebench
from variorum.schemas.canonical import digest
from variorum.schemas.safety import ANY, CONTROL, HEARD, Category

CATEGORIES = unsafebench()
IDS = [one.id for one in CATEGORIES]
GOLDEN = Path(__file__).parent / "data" / "vlm_answers.jsonl"
ANSWERS = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
WORDY = st.lists(
    st.sampled_from(
        [
            word
            for name in ("unsafe", "safe", "yes", "no", "negators", "hedges", "subjects", "fillers")
            for word in WORDS[name]
        ]
        + [
            *IDS,
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            '"',
            "'",
            "1",
            "0.5",
            "80%",
            ".",
            "?",
            "\n",
            "不安全",
            "安全",
            "<think>",
            "```",
        ]
    ),
    max_size=40,
).map(" ".join)


def read(asked: str, answer: str):
    return one_verdict(answer, asked) if asked == ANY else many_verdicts(answer, CATEGORIES)


@pytest.mark.parametrize("one", ANSWERS, ids=lambda one: f"{one['asked']}: {one['answer'][:30]!r}")
def test_answers_are_read_as_people_read_them(one):
    found = read(one["asked"], one["answer"])
    assert (found.heard, dict(found.scores)) == (one["heard"], pytest.approx(one["scores"]))


@settings(max_examples=25)
@given(st.one_of(st.text(max_size=100), WORDY))
def test_any_text_gives_an_opinion(text):
    for asked in (ANY, "listed"):
        found = read(asked, text)
        assert found.heard in HEARD
        assert {*found.scores} <= ({ANY} if asked == ANY else {*IDS})
        assert all(0 <= score <= 1 for score in found.scores.values())
        assert bool(found.scores) == (found.heard in ("ok", "repaired"))
        found.text.encode()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_silence_is_never_safe(text):
    lower = text.casefold()
    verdicts = WORDS["safe"] | WORDS["unsafe"] | WORDS["yes"] | WORDS["no"] | {*IDS, "安全", "危", "안전"}
    if not any(word in lower for word in verdicts):
        assert 0.0 not in one_verdict(text, ANY).scores.values()
        assert not many_verdicts(text, CATEGORIES).scores


@pytest.mark.parametrize(
    "piece", ["{", "[", '{"a":', "{a:{b:", "'", "safe ", "no ", "- ", "* *", "a:", "can't ", "\\", "category: "]
)
def test_hostile_texts_cost_no_time(piece):
    began = time.process_time()
    for length in (19_999, 1_000_000):
        text = (piece * length)[:length]
        assert not one_verdict(text, ANY).scores
        assert not many_verdicts(text, CATEGORIES).scores
    assert time.process_time() - began < 2


def test_numbers_mean_the_order_that_was_shown():
    order = shuffled(CATEGORIES, 2)
    asked = Questions()
    answer = asked.opinion('{"1": 1, "2": 0}', "listed_2", CATEGORIES)
    assert answer.scores == {order[0].id: 1.0, order[1].id: 0.0}
    assert order != CATEGORIES


def test_an_answer_counts_its_words_unless_the_model_does():
    assert one_verdict("it is unsafe", ANY).tokens == 3
    assert one_verdict("it is unsafe", ANY, tokens=9).tokens == 9
    assert len(one_verdict("x" * 19_000, ANY).text) == 4000


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prompts_and_what_they_speak_of():
    every = Questions(forms=("bare", "defined", "replaced", "listed", "control"), shuffles=2)
    names = every.names(CATEGORIES)
    assert len(names) == 1 + 11 + 11 + 2 + 1
    assert every.speaks_of("bare") == (ANY,)
    assert every.speaks_of("defined_self_harm") == ("self_harm",)
    assert every.speaks_of("listed_1") == tuple(IDS)
    assert every.speaks_of("control") == (CONTROL,)
    assert every.scored() == (*IDS, ANY, CONTROL)
    assert Questions(forms=("bare",)).scored() == (ANY,)
    for one in CATEGORIES:
        assert one.definition in every.text(f"defined_{one.id}", CATEGORIES)
        assert one.definition in every.text(f"replaced_{one.id}", CATEGORIES)
        assert one.definition not in every.text("bare", CATEGORIES) + every.text("control", CATEGORIES)
    assert HARMLESS in every.text("control", CATEGORIES)


def test_orders_are_shuffled_and_fixed():
    orders = [shuffled(CATEGORIES, number) for number in range(4)]
    assert orders[0] == CATEGORIES
    assert len(set(orders)) == 4
    assert all({*order} == {*CATEGORIES} for order in orders)
    assert [one.id for one in orders[1]][:3] == ["shocking", "illegal_activity", "violence"]


def test_only_some_categories_are_asked_about():
    few = Questions(forms=("defined", "listed"), shuffles=1, categories=("spam", "hate"))
    assert few.names(CATEGORIES) == ("defined_hate", "defined_spam", "listed_0")
    assert "violence" not in few.text("listed_0", CATEGORIES)
    assert Questions(categories=("mine",)).names(CATEGORIES) == ("bare", "control")


def test_a_changed_text_needs_another_revision():
    every = Questions(forms=("bare", "defined", "replaced", "listed", "control"))
    found = [every.text(name, CATEGORIES[:2]) for name in every.names(CATEGORIES[:2])]
    assert digest(found)[:12] == "ab0812316ece", "raise REVISION in prompts.py, then change this digest"


def test_a_name_that_several_categories_have_is_none():
    names = {"hate": "Violence", "violence": "Gore", "a": "Same", "b": "same"}
    odd = [Category(id=identity, name=name, definition="a shape") for identity, name in names.items()]
    for key, meant in {"violence": "violence", "Violence": "", "Gore": "violence", "same": "", "a": "a"}.items():
        assert many_verdicts(json.dumps({key: 1}), odd).scores == ({meant: 1.0} if meant else {})


@pytest.mark.parametrize("field", ["name", "definition"])
@pytest.mark.parametrize("text", [" ", "red\x1b[31m", "a\x00b"])
def test_a_category_is_described_by_text(field, text):
    with pytest.raises(ValidationError, match="must be"):
        Category(**{"id": "red", "name": "red", "definition": "a shape\nthat is red", field: text})
    with pytest.raises(ValidationError, match="must be a line of text"):
        Category(id="red", name="two\nlines", definition="a shape")
