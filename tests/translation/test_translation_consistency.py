"""Figures of `translation_consistency` by hand, the crop that moves along, and what a classifier sees of a frame."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.evaluation.translation.crop_selection import scores, select
from variorum.evaluation.translation.translation_consistency import TranslationConsistency, shift_of
from variorum.generators.translation.translation import Translation
from variorum.generators.translation.windows import shifts, window
from variorum.kit.corrupt.frames import framed
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos
from variorum.models.preprocessing import View, centre, normalised, sentence, shorter_side, stretched, view_of
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample, source_id
from variorum.schemas.table import Table

LITE0 = (
    "Centre square of 224/256 of the shorter side, resized to 224 × 224 px (area, or bicubic where that enlarges), "
    "values (x - 127) / 128."
)
RIGHT, WRONG = 3, 7


def context(models: Any = None) -> Context:
    return Context(1, models or ModelTable("embedded"), lambda key, compute: compute(), classes=class_infos())


def row(photograph, shift=(0, 0), top1=RIGHT, p=0.75, border="photograph", crop=(-1, -1), **more):
    moved = shift != (0, 0)
    return {
        "id": f"{photograph} {shift} {border}" if moved else f"{photograph} original",
        "parent": str(photograph),
        "variant": f"shift {shift} {border}" if moved else "original",
        "reference": "",
        "classifier": "c",
        "label": RIGHT,
        "labels": 1,
        "top1": top1,
        "correct": top1 == RIGHT,
        "confidence": 0.75,
        "p_label": p,
        "outputs": 1000,
        "preprocessing": LITE0,
        "dx": shift[0],
        "dy": shift[1],
        "border": border if moved else "",
        "at": "frame" if moved else "",
        "height": 256,
        "width": 256,
        "left": crop[0],
        "top": crop[1],
        "embedding": b"",
        **more,
    }


def figures(rows, **fields):
    table = Table(pa.Table.from_pylist(rows) if rows else pa.table({}), "translation_consistency")
    found = TranslationConsistency(classifiers=("c",), **fields).figures(table, context())
    json.dumps(found, allow_nan=False)
    return found


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shares_of_photographs_by_hand():
    """0 never changes, 1 changes at one pixel, 2 at two; 3 is wrong from the start; 4 lacks a shift."""
    steps = [(1, 0), (0, 1), (2, 0), (0, 2)]
    rows = [row(number, top1=WRONG if number == 3 else RIGHT) for number in range(5)]
    rows += [row(0, shift) for shift in steps]
    rows += [row(1, shift, WRONG if shift == (1, 0) else RIGHT, p=0.25 if shift == (1, 0) else 0.75) for shift in steps]
    rows += [row(2, shift, WRONG if shift[0] == 2 or shift[1] == 2 else RIGHT) for shift in steps]
    rows += [row(3, shift, WRONG) for shift in steps]
    rows += [row(4, (1, 0), WRONG)]
    found = figures(rows)
    one = found["classifiers"]["c"]["whole"]["photograph"]
    assert (one["n"], one["left_out"], one["shifts"]) == (4, 1, 4)
    assert one["changed"]["value"] == 50
    assert one["single"]["value"] == pytest.approx(100 * 3 / 16, abs=0.01)
    assert {radius: figure["value"] for radius, figure in one["radii"].items()} == {"1": 25, "2": 50}
    assert one["right_to_wrong"]["value"] == 50
    assert one["original_accuracy"]["value"] == 75
    assert one["p_change"]["value"] == pytest.approx(100 * 0.5 / 16, abs=0.01)
    assert one["p_noticed"]["value"] == 25
    assert one["changed"]["low"] < 50 < one["changed"]["high"]
    assert found["classifiers"]["c"]["one_pixel"]
    assert found["classifiers"]["c"]["hidden"] == 16
    plot = TranslationConsistency(classifiers=("c",)).plots(found)["changed"]
    assert plot.rows == ("photograph, 1 px", "photograph, 2 px")
    text = _render("_translation_consistency", figures=found, models={"c": "c@1"}, order=[], plots={})
    assert "Photographs left out: 1 with the border photograph." in text
    assert "that the classifier knows" not in text
    asked = ("dx", "dy", "border", "at")
    shared = [
        {
            **one,
            "photograph": "",
            "said": "x",
            "requested": json.dumps({name: one[name] for name in asked} if one["border"] else {}),
        }
        for one in rows
    ]
    (agreed,) = TranslationConsistency().rows(Table(pa.Table.from_pylist(shared)), context())
    assert (agreed.top / agreed.bottom).mean() == pytest.approx(1 - 3 / 16)
    assert agreed.photographs == ["0", "1", "2", "3"]
    assert agreed.axes["at"] == (1, 2, 1, 2)
    assert agreed.columns[:2] == ("shift (0, 1) photograph", "shift (0, 2) photograph")
    assert agreed.pictures.right.sum() == agreed.top[:3].sum()


def test_a_pixel_of_the_photograph_is_none_of_the_classifier():
    found = figures([row(0), row(0, (1, 0), at="source")])
    assert (found["classifiers"]["c"]["scale"], found["classifiers"]["c"]["one_pixel"]) == (1, False)
    text = _render("_translation_consistency", figures=found, models={"c": "c@1"}, order=[], plots={})
    assert "they were resized after the shift" in text


def test_without_labels_changes_count_and_accuracies_do_not():
    rows = [row(0, label=-1, labels=0, p=None), row(0, (1, 0), WRONG, label=-1, labels=0, p=None)]
    found = figures(rows)
    one = found["classifiers"]["c"]["whole"]["photograph"]
    text = _render("_translation_consistency", figures=found, models={"c": "c@1"}, order=[], plots={})
    assert "of the photographs with a class that the classifier knows (c, photograph: 0)" in text
    assert (one["changed"]["value"], one["labelled"], one["accuracy"], one["p_change"]) == (100, 0, None, None)


def test_photographs_without_any_shift_are_left_out():
    rows = [row(0), row(0, (1, 0)), row(1), row(2, (1, 0))]
    one = figures(rows)["classifiers"]["c"]["whole"]["photograph"]
    assert (one["n"], one["left_out"]) == (1, 2)
    alone = figures([row(0), row(1, (1, 0))])["classifiers"]["c"]["whole"]["photograph"]
    assert (alone["n"], alone["left_out"], alone["changed"]) == (0, 2, None)


@pytest.mark.parametrize(
    "asked", [{"dx": 10**30}, {"dx": 0.5}, {"border": "grass"}, {"border": ["zero"]}, {"at": None}]
)
def test_a_strange_request_is_no_shift(asked):
    picture = Sample(source_id("test", "x"), np.zeros((40, 60, 3), np.uint8))
    right = {"dx": 1, "dy": 0, "border": "zero", "at": "frame"}
    op = {"name": "translation", "requested": right}
    assert shift_of(replace(picture, ops=(op,))) == {**right, "height": 40, "width": 60}
    assert shift_of(replace(picture, ops=({**op, "requested": {**right, **asked}},)))["border"] == ""


def test_nothing_that_moved():
    assert figures([])["borders"] == figures([row(0)])["borders"] == []


def test_agreement_of_crops_and_cosines():
    vectors = {name: np.array(value, np.float16).tobytes() for name, value in (("a", [1, 0]), ("b", [0.6, 0.8]))}
    rows = [row(0, embedding=vectors["a"]), row(0, (1, 0), embedding=vectors["b"])]
    rows += [row(0, crop=(5, 5)), row(0, (1, 0), crop=(4, 5))]
    rows += [row(1, embedding=vectors["a"]), row(1, (1, 0), embedding=vectors["a"])]
    rows += [row(1, crop=(5, 5)), row(1, (1, 0), crop=(9, 5))]
    found = figures(rows, encoder="e", crop_selection=32)
    assert found["cosine"]["photograph"] == pytest.approx({"mean": 0.8, "least": 0.6}, abs=1e-3)
    agreed = found["agreement"]["photograph"]
    assert (agreed["straight"]["value"], agreed["diagonal"]) == (50, None)


# ── on pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Own:
    """A classifier that looks at one corner alone, and says what it does to pictures; and an encoder, `long`."""

    def get(self, alias):
        if alias == "long":  # its vectors are too long for float16; all but the first point elsewhere
            return lambda images: np.array([[9e5, 0]] + [[0.6e5, 0.8e5]] * (len(images) - 1), np.float32)

        def corner(images):
            bright = np.array([image[:40, :40].mean() / 255 for image in images])
            return np.eye(1000)[(bright * 999).astype(int)] * 0.5 + 0.5 / 1000

        whose = sentence(shorter_side(64, "bilinear"), centre(64, 64), normalised([0.5] * 3, [0.5] * 3), by="own")
        return from_function(corner, name="own", preprocessing=whose)

    def pin(self, alias):
        return "own"


def test_an_edition_is_measured_and_its_card_says_what_one_pixel_is():
    ctx = context(Own())
    sample = Sample(source_id("test", "cat"), skimage.data.chelsea(), labels=("n02123045",))
    found = [one for one in Translation(frame=128, steps="axes").generate([sample], ctx) if isinstance(one, Sample)]
    step = TranslationConsistency(classifiers=("own",), encoder="long", crop_selection=9)
    rows = list(step.measure(found, ctx))
    assert len(rows) == 2 * 5
    measured = step.figures(Table(pa.Table.from_pylist(rows), "translation_consistency"), ctx)
    own = measured["classifiers"]["own"]
    assert (own["scale"], own["one_pixel"], own["hidden"]) == (0.5, False, 0)
    assert own["crop_scale"] == pytest.approx(64 / 120, abs=1e-4)
    assert own["whole"]["photograph"]["n"] == own["selected"]["photograph"]["n"] == 1
    assert set(measured["agreement"]["photograph"]) == {"straight", "diagonal"}
    assert measured["cosine"]["photograph"] == pytest.approx({"mean": 0.6, "least": 0.6}, abs=1e-3)
    still = [replace(one, image=found[0].image) for one in found]  # a shift by 0 pixels
    rows = list(TranslationConsistency(classifiers=("own",)).measure(still, ctx))
    nothing = step.figures(Table(pa.Table.from_pylist(rows), "translation_consistency"), ctx)["classifiers"]["own"]
    assert nothing["whole"]["photograph"]["changed"] == {"value": 0, "low": 0, "high": 97.5, "photographs": 1}
    assert nothing["whole"]["photograph"]["p_change"]["value"] == 0
    text = _render(
        "_translation_consistency", figures=measured, models={"own": "own@1"}, order=[], plots={"changed": "!"}
    )
    assert "a shift by one pixel isn't one for it" in text
    assert "It resamples chosen crops by 0.533." in text
    assert re.search(r"\| own, chosen crop \| photograph \| 1 \|", text)


@pytest.mark.parametrize(
    ("told", "frame", "view"),
    [
        (LITE0, 256, View(1, 16)),
        (LITE0, 224, View(224 / 196, 14)),
        (LITE0.replace("224", "240").replace("256", "272"), 272, View(1, 16)),
        (sentence(shorter_side(256, "bilinear"), centre(224, 224), normalised([0.5], [0.5])), 256, View(1, 16)),
        (sentence(shorter_side(232, "bicubic"), centre(224, 224)), 464, View(0.5, 8)),
        (sentence(centre(224, 224)), 200, View(1, 0)),
        (sentence(stretched(384, 384, "bicubic"), by="ConvNextImageProcessor"), 256, View(1.5, 0)),
        (sentence(stretched(224, 192, "bicubic")), 256, None),
        (sentence("longer side to 256 px (bilinear), padded with the mean", centre(224, 224)), 256, None),
        ("Not described: the function gets RGB pictures as they are stored.", 256, None),
        ("", 256, None),
    ],
)
def test_what_a_network_sees_of_a_frame(told, frame, view):
    found = view_of(told, frame, frame)
    assert (found is None) == (view is None)
    assert view is None or found == pytest.approx(view)


def test_the_nearest_edge_counts():
    told = sentence(shorter_side(256, "bilinear"), centre(224, 224))
    assert view_of(told, 256, 320) == view_of(told, 320, 256) == View(1, 16)


# ── the chosen crop ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def fields():
    """Larger photographs that windows move over."""
    names = ("chelsea", "coffee", "astronaut", "rocket")
    samples = [Sample(source_id("test", name), getattr(skimage.data, name)()) for name in names]
    whole = [framed(sample, 258, larger=1).image for sample in samples]
    return whole + [np.ascontiguousarray(one[::-1, ::-1].transpose(1, 0, 2)) for one in whole]


def test_the_score_of_a_crop_is_one_of_the_crop_alone(fields):
    picture = fields[0]
    found = scores(picture, 9)
    for x, y in ((0, 0), (3, 7), (8, 8)):
        crop = np.ascontiguousarray(picture[y : y + 250, x : x + 250])
        assert scores(crop, 1)[0, 0] == pytest.approx(found[y, x], abs=0.01 * float(np.abs(found).max()))
    left, top = select(picture, 9)
    assert found[top, left] == found.max()
    with pytest.raises(ValueError, match="too few"):
        select(picture[:40, :40], 32)


def test_slow_changes_of_brightness_hardly_count():
    """A score that changes smoothly from crop to crop is highest at the edge, where crops leave."""
    wave = 128 + 100 * np.sin(np.arange(200) * 2 * np.pi / 80)
    noise = np.random.default_rng(0).normal(128, wave.std(), (200, 200))
    smooth, rough = (
        np.repeat(np.broadcast_to(one, (200, 200)).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        for one in (wave, noise)
    )
    assert scores(smooth, 16).std() < 0.02 * scores(rough, 16).std()


def test_the_chosen_crop_moves_along(fields):
    """Uncorrelated scores agree in (n - 1) / (n + 1) of straight steps, 93.9 % for n = 32, and 88.4 % of diagonals."""
    same: dict[bool, list[bool]] = {True: [], False: []}
    for field in fields:
        views = {shift: np.ascontiguousarray(window(field, 256, shift)) for shift in ((0, 0), *shifts(1, "square"))}
        chosen = {shift: select(view, 32) for shift, view in views.items()}
        for (x, y), (left, top) in chosen.items():
            if x or y:
                same[bool(x and y)].append((left + x, top + y) == chosen[0, 0])
    assert np.mean(same[False]) >= 0.85
    assert np.mean(same[True]) >= 0.75
