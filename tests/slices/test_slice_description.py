"""Words of slices: known tables, chance, and what a model gets wrong on an edition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import hypergeom

from variorum.evaluation.slices.slice_description import SliceDescription, distinctive, words_of
from variorum.models import ModelTable
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.component import Context
from variorum.schemas.sample import Op, Sample
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

CTX = Context(1, None, None)


def planted(size=12, total=200):
    members = np.arange(total) < size
    words = {"red": np.zeros(total, bool), "big": np.zeros(total, bool), "all": np.ones(total, bool)}
    words["red"][:9] = words["red"][100:106] = True
    words["big"][:10] = words["big"][50:150] = True
    words["rare"] = np.arange(total) < 4
    return members, words


def test_the_planted_word_comes_first_and_a_frequent_one_at_weight_0():
    (found,) = distinctive([planted()], 1.0)
    assert [one.words for one in found] == ["red", "big"]  # not `all`, and `rare` has too little support
    red = found[0]
    assert (red.inside, red.outside) == (9, 15)
    assert red.p == pytest.approx(sum(hypergeom.pmf(k, 200, 15, 12) for k in range(9, 13)))
    assert red.p < red.q < 0.001
    assert red.score == pytest.approx(np.log(9.5 / 13) - np.log(15.5 / 201))
    assert [one.words for one in distinctive([planted()], 0.0)[0]] == ["big", "red"]


def test_words_of_the_same_photographs_are_one_and_small_slices_have_none():
    members, words = planted()
    (found,) = distinctive([(members, {**words, "scarlet": words["red"]})], 1.0)
    assert found[0].words == "red, scarlet"
    assert distinctive([planted(size=9)], 1.0) == [[]]
    assert distinctive([], 1.0) == []


def test_random_slices_seldom_have_a_word():
    rng, hits = np.random.default_rng(0), 0
    words = {str(number): rng.random(200) < rng.uniform(0.03, 0.6) for number in range(60)}
    for _ in range(200):
        members = np.zeros(200, bool)
        members[rng.choice(200, 40, replace=False)] = True
        hits += any(one.q < 0.05 for one in distinctive([(members, words)], 1.0)[0])
    assert hits <= 16


# ── the evaluation ───────────────────────────────────────────────────────────────────────────────────────────────────


def figures(rows, **fields):
    evaluation = SliceDescription(classifiers=("m",), **fields)
    return evaluation.figures(Table(pa.Table.from_pylist(rows), "slice_description"), CTX)


def row(photograph, variant="original", correct=True, words=(), number=0):
    one = f"{photograph}.{variant}.{number}"
    return {
        "id": one,
        "parent": "" if variant == "original" else f"{photograph}.original.0",
        "photograph": "",
        "variant": variant,
        "classifier": "m",
        "label": 0,
        "correct": correct,
        "words": json.dumps(list(words)),
    }


def test_a_photograph_counts_once_whatever_the_number_of_its_pictures():
    rows = [row(n, words=["fur"] if n < 12 else []) for n in range(40)]
    rows += [row(n, "edit", n >= 12, ["fur"] if n < 12 else [], k) for n in range(40) for k in range(4)]
    found = figures(rows)
    (one,) = found["slices"]
    assert (one["slice"], one["variant"], one["n"]) == ("wrong by m", "edit", 12)
    assert [word["says"] for word in one["attributes"]] == ["12 of 12 against 12 of 40"]
    assert found["small"] == 2  # no original is wrong, and no edit is missing


def test_photographs_without_an_edit_are_a_slice_which_does_not_say_why():
    rows = [row(n, words=["dark"] if n < 12 else []) for n in range(40)]
    rows += [row(n, variant) for variant in ("edit", "control_edit") for n in range(11, 40)]
    (one,) = figures(rows)["slices"]
    assert (one["slice"], one["variant"], one["n"]) == ("no picture", "edit", 11)
    assert one["attributes"][0]["says"] == "11 of 11 against 12 of 40"
    assert "refused or never asked for" in _render("_slice_description", figures=figures(rows))
    assert figures([])["slices"] == []


def test_words_of_a_picture():
    op = Op(
        name="x", revision=1, requested={"texture": "zebra", "level": [1]}, achieved={}, gates={}, models={}, seed=1
    )
    sample = Sample(
        "0" * 32,
        b"",
        ("n02123045",),
        metadata={"region": "north", "tags": ["a"]},
        annotations=Annotations(texts=(Text("A cat on 3 mats"),)),
        ops=(op,),
    )
    found = words_of(sample, {"n02123045": "tabby"})
    assert {"tabby", "a kind of feline", "region: north", "caption: mats", "asked for texture: zebra"} <= set(found)
    assert not [one for one in found if one.startswith(("tags", "asked for level", "caption: 3", "caption: on"))]


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_what_spoils_a_judges_answers_is_named():
    """A camera whose pictures are upside down is found by the answers of a real classifier."""
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    source = FashionMnist(part="test", per_class=8)
    ctx = replace(ctx, classes=source.classes(ctx))
    samples = [
        replace(
            one, image=one.image[:: 1 - 2 * (n % 3 == 0)], metadata={"camera": "ac"[n % 3 == 0], "shelf": str(n % 4)}
        )
        for n, one in enumerate(source.read(0, source.size(ctx), ctx))
    ]
    evaluation = SliceDescription(classifiers=("judge",))
    table = Table(pa.Table.from_pylist(list(evaluation.measure(samples, ctx))), "slice_description")
    found = evaluation.figures(table, ctx)
    (one,) = found["slices"]
    assert one["n"] == (~table["correct"]).sum()
    (word,) = one["attributes"]
    assert word["words"] == "camera: c"
    assert f"| wrong by judge | original | camera: c | {word['says']} |" in _render("_slice_description", figures=found)
