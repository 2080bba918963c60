"""The evaluation on editions of pictures of every kind, through the real pipeline."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data
from PIL import Image

from variorum.edition.store import Store
from variorum.evaluation.intrinsic.intrinsic_properties import (
    COMPARED,
    COUNTED,
    MEASURED,
    IntrinsicProperties,
    square,
)
from variorum.kit.predicted.pairing import one_each
from variorum.pipeline import Job, build, evaluate
from variorum.reports.card import _render, render_card
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table
from variorum.stages.evaluate import check_judges, check_references
from variorum.stages.pieces import edition_pieces

ODD = 4
"""Pictures that are grey, 16-bit, flat and a copy; a transparent and a tiny one are refused by the generator."""


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """120 crops in two classes, and pictures of odd kinds in a third."""
    folder = tmp_path_factory.mktemp("crops")
    for name in ("chelsea", "coffee", "odd"):
        (folder / name).mkdir()
    for name in ("chelsea", "coffee"):
        picture = getattr(skimage.data, name)()
        for number in range(60):
            x, y = 5 * number, 3 * number % 200
            Image.fromarray(picture[y : y + 64, x : x + 80]).save(folder / name / f"{number}.png")
    grey = skimage.data.camera()[100:164, 100:164]
    Image.fromarray(cv2.resize(grey, (28, 28))).save(folder / "odd" / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "odd" / "deep.png")
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "odd" / "clear.png")
    Image.fromarray(grey[:5, :9]).save(folder / "odd" / "small.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "odd" / "flat.png")
    Image.open(folder / "coffee" / "0.png").save(folder / "odd" / "copy.bmp")
    return folder


def recipe(folder, evaluations=({"name": "intrinsic_properties"},), generate=("fog",), **fields):
    made = [{"name": "corruption", "kinds": list(generate), "severities": [3]}] if generate else []
    return Recipe.parse(
        {
            "dataset": "crops",
            "version": "1.0.0",
            "samples_per_shard": 50,
            "max_failure_rate": 1.0,
            "source": {"name": "image_folder", "path": str(folder)},
            "generate": made,
            "evaluate": list(evaluations),
            **fields,
        }
    )


@pytest.fixture(scope="module")
def evaluated(crops, tmp_path_factory):
    """The crops, foggy ones in a configuration of their own, with their figures and the card."""
    store = Store(str(tmp_path_factory.mktemp("store")))
    job = Job(recipe(crops, configs="variant"), store)
    manifest = build(job)
    return job, manifest, evaluate(job, manifest)["intrinsic_properties"]


def test_one_picture_of_each_photograph_counts(evaluated):
    job, manifest, figures = evaluated
    assert manifest.pictures() > 220
    assert figures["photographs"] == 120 + ODD
    pieces = edition_pieces(manifest, job.recipe.evaluate, job)
    chosen = [piece.chosen["intrinsic_properties"] for piece in pieces]
    assert sum(map(len, chosen)) == figures["photographs"]
    assert {number for numbers in chosen for number in numbers.values()} == {COMPARED}
    assert any(not numbers for numbers in chosen)  # no foggy picture


def test_figures_of_pixels_and_embeddings(evaluated):
    _, _, figures = evaluated
    for space in ("pixels", "embeddings"):
        found = figures["spaces"][space]
        assert (found["n"], found["copies"]) == (123, 1)
        part = found["dimension"]["subsamples"]
        assert 1 < part["low"] <= part["median"] <= part["high"] < 100
        assert found["sharpness"]["n"] == 123
        assert found["sharpness"]["value"] > found["sharpness"]["high"] > 0


def test_the_card_has_them_or_says_that_they_are_missing(evaluated):
    job, manifest, _ = evaluated
    card = render_card(job.recipe, manifest, job.store)
    assert "### Intrinsic dimension and label sharpness" in card
    assert "| pixels | 123 | 1 |" in card
    without = render_card(job.recipe.model_copy(update={"evaluate": ()}), manifest, job.store)
    assert "weren't measured; `- name: intrinsic_properties` under `evaluate` in the recipe asks for them" in without
    assert "### Intrinsic dimension" not in without


def test_late_fields_look_at_nothing_again_and_company_changes_nothing(evaluated, monkeypatch):
    job, manifest, figures = evaluated
    both = ({"name": "intrinsic_properties", "encoder": None}, {"name": "brightness"})
    other = Job(job.recipe.model_copy(update={"evaluate": Recipe.parse(recipe("x", both).dump()).evaluate}), job.store)
    found = evaluate(other, manifest)["intrinsic_properties"]
    assert found["spaces"] == {"pixels": figures["spaces"]["pixels"]}

    def never(*_):
        raise AssertionError("it looked at a picture")

    monkeypatch.setattr(IntrinsicProperties, "measure", never)
    again = job.recipe.model_copy(update={"evaluate": (IntrinsicProperties(k=10),)})
    found = evaluate(Job(again, job.store), manifest)["intrinsic_properties"]
    assert found["k"] == 10
    assert found["spaces"]["pixels"]["dimension"]["value"] != figures["spaces"]["pixels"]["dimension"]["value"]


def test_an_evaluation_changes_no_edition(crops, tmp_path):
    plain, described = (Job(recipe(crops, some), str(tmp_path)) for some in ((), ({"name": "intrinsic_properties"},)))
    assert plain.plan.fingerprint == described.plan.fingerprint
    assert plain.recipe.fingerprint() == described.recipe.fingerprint()


def test_too_few_photographs_are_counted_and_not_measured(photos, tmp_path):
    job = Job(recipe(photos, generate=()), str(tmp_path))
    manifest = build(job)
    found = evaluate(job, manifest)["intrinsic_properties"]
    assert (found["photographs"], found["spaces"]) == (12, {})
    assert found["why_not"] == "12 photographs are too few; it takes 20"
    (piece,) = edition_pieces(manifest, job.recipe.evaluate, job)
    assert set(piece.chosen["intrinsic_properties"].values()) == {COUNTED}
    assert "Not measured: 12 photographs are too few; it takes 20." in render_card(job.recipe, manifest, job.store)


def test_between_20_and_100_photographs_have_a_label_sharpness(crops, tmp_path):
    job = Job(recipe(crops, generate=(), limit=61, samples_per_shard=40), str(tmp_path))
    manifest = build(job)
    found = evaluate(job, manifest)["intrinsic_properties"]["spaces"]
    for space in found.values():
        assert space["dimension"] == {"why_not": "61 photographs are too few; it takes 100"}
        assert (space["sharpness"]["n"], space["sharpness"]["pairs"]) == (61, 60)
    card = render_card(job.recipe, manifest, job.store)
    assert re.search(r"\| pixels \| 61 \| 60 \| 0\.00\d+ \| 0\.00\d+ \|", card)
    assert "The intrinsic dimension isn't given: 61 photographs are too few; it takes 100." in card
    assert "it grows with the number of photographs: compare it only among as many" in card
    assert "*Dimension*" not in card


@pytest.mark.parametrize(
    ("spaces", "lines"),
    [
        ({"pixels": ("few", "few"), "embeddings": ("few", "few")}, ["dimension isn't given: few", "sharpness isn't"]),
        ({"pixels": ("few", ""), "embeddings": ("fewer", "")}, ["of pixels isn't given: few", "of embeddings isn't"]),
        ({"pixels": ("", ""), "embeddings": None}, ["Embeddings aren't measured: &lt;none&gt;."]),
    ],
)
def test_the_card_says_why_a_figure_is_missing(spaces, lines):
    """By space, why the dimension and the sharpness are missing."""
    dimension = {"value": 5, "two_nearest": None, "gaussian": 4, "subsamples": dict.fromkeys(("size", "median"), 6)}
    dimension["subsamples"] |= {"low": 4, "high": 6}
    unlike = {"value": 0.5, "high": 0.1, "pairs": 9, "n": 50}
    found = {}
    for name, whys in spaces.items():
        found[name] = {"why_not": "<none>"}
        if whys:
            one, other = (
                {"why_not": why} if why else given for why, given in zip(whys, (dimension, unlike), strict=True)
            )
            found[name] = {"n": 120, "copies": 3, "left_out": 2, "dimension": one, "sharpness": other}
    figures = {"k": 20, "encoder": "encoder", "photographs": 125, "drawn": False, "pixels_side": 32, "side": 224}
    shown = {"models": {"encoder": "net@sha256:" + "a" * 64}, "order": [], "plots": {}, "counts": []}
    text = _render("_intrinsic_properties", figures={**figures, "spaces": found}, **shown)
    for line in lines:
        assert text.count(line) == 1
    assert text.count("isn't given") == len([line for line in lines if "isn't" in line])
    assert ("| pixels | 120 | 3 | 5.0 | 6.0 [4.0, 6.0], n = 6 | 4.0 | – |" in text) == (spaces["pixels"][0] == "")
    assert ("| pixels | 50 | 9 | 0.5 | 0.1 |" in text) == (spaces["pixels"][1] == "")
    assert "2 photographs without finite pixels are left out." in text


def test_a_model_that_will_filter_may_describe_but_not_judge(crops, tmp_path):
    made = [{"name": "attribute_edit", "classifier": "classifier_gate"}]
    describing, judging = (
        Job(Recipe.parse({**recipe(crops, [{"name": name}]).dump(), "generate": made}), str(tmp_path))
        for name in ("intrinsic_properties", "retrieval_robustness")
    )
    check_references(describing)
    with pytest.raises(RecipeError, match="can't judge the result"):
        check_references(judging)


def test_a_model_that_filtered_may_describe_but_not_judge(evaluated):
    job, manifest, _ = evaluated
    filtered = manifest.model_copy(update={"filters": [job.ctx.models.pin("encoder")]})
    check_judges(IntrinsicProperties(), filtered, job)
    judge = recipe("x", [{"name": "accuracy_drop", "classifiers": ["classifier_gate"]}]).evaluate[0]
    with pytest.raises(RecipeError, match="can't judge the result"):
        check_judges(judge, filtered, job)


# ── which pictures count ─────────────────────────────────────────────────────────────────────────────────────────────


def table(photographs, variants):
    ids = [f"{row:032x}" for row in range(len(photographs))]
    sources = [f"source {row}" for row in range(len(photographs))]
    return Table(pa.table({"id": ids, "photograph": photographs, "variant": variants, "source": sources}))


CTX = Context(seed=1, models=None, memo=None)


def test_the_original_counts_or_else_the_first():
    rows = table(["a", "b", "a", "c", "b", "", ""], ["fog", "fog", "original", "snow", "snow", "fog", "fog"])
    assert one_each(rows).tolist() == [1, 2, 3, 5, 6]
    old = Table(rows.arrow.drop_columns("photograph"))  # as in editions of format 3
    assert one_each(old).tolist() == list(range(7))


def test_more_photographs_than_the_limit_are_drawn_by_their_ids_whatever_their_order():
    names = [f"p{number}" for number in range(1000)]
    rows = table(names, ["original"] * 1000)
    measure = IntrinsicProperties(most=300, subsample=100)
    found = measure.chosen(rows, CTX)
    assert np.bincount(found, minlength=4).tolist() == [700, 0, 200, 100]
    backwards = Table(rows.arrow.take(list(range(999, -1, -1))))
    np.testing.assert_array_equal(measure.chosen(backwards, CTX)[::-1], found)
    more = IntrinsicProperties(most=400, subsample=100).chosen(rows, CTX)
    assert (more[found > 0] > 0).all()
    np.testing.assert_array_equal(more == COMPARED, found == COMPARED)
    assert (more == MEASURED).sum() == 300


# ── figures of rows ──────────────────────────────────────────────────────────────────────────────────────────────────


class Lacking:
    """Models of which none can be had."""

    def why_unavailable(self, alias):
        return "it isn't fetched"


def rows_of(n, labels, embedding=True):
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        picture = rng.integers(0, 256, (8, 8, 3), np.uint8)
        row = {"id": str(number), "labels": json.dumps(labels(number)), "pixels": picture.ravel()}
        row["picture"] = picture.tobytes() if number < 60 else None
        found.append(row | ({"embedding": rng.standard_normal(6).astype(np.float32)} if embedding else {}))
    return found


def figures_of(rows, models=None, **fields):
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0] if name not in ("pixels", "embedding")}
    for name in {"pixels", "embedding"} & set(rows[0]):
        stacked = np.stack([row[name] for row in rows])
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(stacked.ravel()), stacked.shape[1])
    return IntrinsicProperties(**fields).figures(Table(pa.table(columns)), replace(CTX, models=models or Lacking()))


def test_unlabelled_pictures_and_those_of_one_class_have_no_sharpness():
    for labels in (lambda _: [], lambda _: ["a"]):
        found = figures_of(rows_of(130, labels), k=5)["spaces"]
        for space in ("pixels", "embeddings"):
            assert found[space]["sharpness"] == {"why_not": "there are no two pictures with different labels"}
            assert found[space]["dimension"]["value"] > 0


def test_sharpness_is_of_the_pictures_that_are_compared():
    found = figures_of(rows_of(130, lambda number: [str(number % 2)]), k=5)["spaces"]
    assert {space: found[space]["sharpness"]["n"] for space in found} == {"pixels": 60, "embeddings": 60}


def test_embeddings_that_are_not_finite_are_left_out_and_counted():
    rows = rows_of(130, lambda number: [str(number % 2)])
    rows[3]["embedding"] = np.full(6, np.nan, np.float32)
    rows[70]["embedding"] = np.full(6, np.inf, np.float32)
    rows[71]["embedding"] = np.full(6, -1e20, np.float32)
    found = figures_of(rows, k=5)["spaces"]["embeddings"]
    assert (found["n"], found["left_out"], found["sharpness"]["n"]) == (127, 3, 59)
    for row in rows:
        row["embedding"] = np.full(6, np.nan, np.float32)
    found = figures_of(rows, k=5)["spaces"]["embeddings"]
    assert (found["n"], found["copies"], found["left_out"]) == (0, 0, 130)
    assert found["dimension"] == {"why_not": "0 photographs are too few; it takes 100"}
    assert found["sharpness"] == {"why_not": "there are no two pictures with different labels"}


def test_an_unavailable_encoder_is_said_to_be():
    found = figures_of(rows_of(130, lambda _: ["a"], embedding=False), k=5)["spaces"]
    assert found["embeddings"] == {"why_not": "encoder is unavailable: it isn't fetched"}
    assert found["pixels"]["dimension"]["value"] > 0


def test_no_pictures_at_all():
    found = IntrinsicProperties().figures(Table(pa.table({})), CTX)
    assert found["why_not"] == "0 photographs are too few; it takes 20"


def test_a_square_keeps_the_mean_of_a_large_picture_and_the_corners_of_a_small_one():
    picture = skimage.data.chelsea()
    assert square(picture, 32).shape == (32, 32, 3)
    assert abs(square(picture, 32).mean() - picture.mean()) < 0.5
    small = np.zeros((4, 4, 3), np.uint8)
    small[0, 0] = 255
    assert square(small, 32)[0, 0, 0] == 255
