"""Classes that a vision-language model names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from embedded_edition import scored
from hypothesis import given
from hypothesis import strategies as st

from variorum.curation.labels.candidates import Candidates
from variorum.curation.labels.mentions import COLUMNS, ClassNames, Mentions
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import Sample

CLASSES = [
    ClassInfo("n01", "tench, Tinca tinca"),
    ClassInfo("n02", "hot_dog"),
    ClassInfo("n03", "dog"),
    ClassInfo("n04", "crane (bird)"),
    ClassInfo("n05", "crane (machine)"),
    ClassInfo("n06", "box"),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Two dogs and a tench.", [2, 0]),
        ("HOT DOG, dog", [1, 2]),
        ("a hot  dog", [1]),
        ("tinca Tinca in boxes", [0, 5]),
        ("a crane over dogma and a boxer", [3, 4]),
        ("", []),
    ],
)
def test_names_are_whole_words_in_the_order_of_the_answer(text, found):
    assert ClassNames(CLASSES).mentioned(text) == found


@given(st.lists(st.text(max_size=8), max_size=6), st.text(max_size=40))
def test_any_names_and_any_answer(names, text):
    classes = ClassNames([ClassInfo(str(number), name) for number, name in enumerate(names)])
    assert set(classes.mentioned(text)) <= set(range(len(names)))


class Says:
    """A table of models with one, which gives these answers and keeps what it is asked."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def get(self, _alias):
        return self

    def __call__(self, images, questions, *, most_tokens):
        self.asked += [(question, most_tokens) for question in questions]
        return list(self.answers[: len(images)])


def test_the_first_three_classes_beside_the_label_are_proposed():
    says = Says("a dog, a tench, boxes", "hot dogs, a crane and a tench", "nothing", "x" * 5000)
    ctx = Context(0, says, None, None, CLASSES)
    step = Mentions(question="<OD>", most_tokens=9)
    samples = [Sample(str(number), np.zeros((4, 4, 3), np.uint8), labels=("n03",)) for number in range(4)]
    rows = list(step.measure(samples, ctx))
    assert says.asked == [("<OD>", 9)] * 4
    assert max(len(row["answer"]) for row in rows) == 2000
    table = pa.table(
        {
            "id": [one.id for one in samples],
            "labels": [list(one.labels) for one in samples],
            "label": [2] * 4,
            "mentions.answer": [row["answer"] for row in rows],
        }
    )
    done = scored(step, table, ctx)
    found = np.stack([done[f"mentions.{name}"] for name in COLUMNS], 1)
    assert found.tolist() == [[0, 5, -1], [1, 3, 4], [-1, -1, -1], [-1, -1, -1]]
    assert step.figures(done, ctx) == {"pictures": 4, "label_named": 1, "other_named": 2}
    candidates = Candidates(classifiers=(), columns=tuple(f"mentions.{name}" for name in COLUMNS))
    assert candidates.needs() == ("mentions",)
