"""How sure classifiers are of nothing: claims, white-box apart, and what tells nothing from real pictures."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from variorum import pipeline
from variorum.evaluation.fooling.fooling_claims import FoolingClaims, moved
from variorum.generators.fooling.fooling_image import FoolingImage
from variorum.kit.corrupt.digital import as_jpeg
from variorum.models import ModelTable
from variorum.pixels import decode, encode_png
from variorum.reports.card import render_card
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Op, Sample
from variorum.schemas.table import Table
from variorum.sources.class_names import ClassNames
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

SOURCE = ClassNames(table="fashion_mnist", per_class=1)
REAL = {"train": {"name": "fashion_mnist"}, "test": {"name": "fashion_mnist", "part": "test"}}


@pytest.fixture(scope="module")
def ctx():
    found = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    return replace(found, classes=SOURCE.classes(found))


def claiming(ctx, number, name="bag", repeat=0, fooled="judge"):
    noise = np.random.default_rng(number).integers(0, 256, (28, 28, 1), np.uint8)
    op = Op(name="fooling_image", revision=1, requested={"repeat": repeat}, achieved={}, gates={}, seed=1,
            models={fooled: ctx.models.pin(fooled)})  # fmt: skip
    image = np.repeat(noise, 3, axis=-1)
    return Sample(f"{number:032x}", image, variant="direct", ops=(op,), metadata={"claimed": name})


def test_claims_are_of_the_stored_picture_a_jpeg_and_a_moved_picture(ctx):
    real = Sample("f" * 32, claiming(ctx, 9).image, labels=("coat",))
    samples = [claiming(ctx, 1), claiming(ctx, 2, "zebra"), real]
    rows = list(FoolingClaims().measure(samples, ctx))
    for place, alias in enumerate(("judge", "judge_gate")):
        model, image = ctx.models.get(alias), samples[0].image
        output = model.classes.index("bag")
        for name, view in (("claimed", image), ("jpeg", as_jpeg(image, 90)), ("shift", moved(image))):
            assert rows[0][name][place] == pytest.approx(float(model([view])[0][output]), abs=1e-6)
        assert rows[0]["top"][place] == pytest.approx(float(model([image])[0].max()), abs=1e-6)
    assert np.isnan([rows[n][name] for n in (1, 2) for name in ("claimed", "jpeg", "shift")]).all()
    assert [row["class"] for row in rows] == ["bag", "zebra", ""]
    assert [row["repeat"] for row in rows] == [0, 0, -1]
    assert np.array_equal(moved(image)[:, 1:], image[:, :-1])


@pytest.mark.parametrize("value", [True, -1, 2**40, "3", None])
def test_what_a_strange_record_says_is_checked(ctx, value):
    strange = replace(claiming(ctx, 1, repeat=value), metadata={"claimed": 7})
    (row,) = FoolingClaims().measure([strange], ctx)
    assert (row["repeat"], row["class"]) == (-1, "")


def test_the_fooled_model_stands_apart(ctx):
    with pytest.raises(
        RecipeError, match="'judge' is the model that the pictures were made to fool; name it under whi"
    ):
        list(FoolingClaims(classifiers=("judge",), white_box=()).measure([claiming(ctx, 1)], ctx))
    with pytest.raises(RecipeError, match="'judge' isn't the model that the pictures were made to fool; name it under"):
        list(FoolingClaims().measure([claiming(ctx, 1, fooled="classifier")], ctx))
    list(FoolingClaims().measure([claiming(ctx, 1, fooled="judge_adversary")], ctx))  # the same weights
    assert [(one.alias, one.describes) for one in FoolingClaims().uses()] == [("judge", True), ("judge_gate", False)]


def planted():
    """Two repeats of ten pictures, 100 real ones to compare with and 100 to learn from, in two classes."""
    rng = np.random.default_rng(0)

    def row(number, belongs, centre, top, claim, repeat=-1, label=""):
        claims = np.array([claim, np.nan])
        return {
            "id": f"{number:04}",
            "variant": "direct" if not belongs else "original",
            "class": "bag" if not belongs else "",
            "repeat": repeat,
            "label": label,
            "claimed": claims,
            "jpeg": claims * 0.995,
            "shift": claims * 0,
            "top": np.array([top, 0.5]),
            "grey": np.full(784, float(centre)),
            "embedding_0": rng.normal(centre / 10, 1, 4),
            "set": belongs,
        }

    rows = [row(n, "", 200, 0.9 + n / 400, 0.98 + n / 1000, repeat=n // 10) for n in range(20)]
    for name, start in (("train", 100), ("test", 200)):
        shift = 3 if name == "test" else 0
        rows += [row(start + n, name, shift + 60 * (n % 2), rng.uniform(0.5, 1), np.nan, label="ab"[n % 2])
                 for n in range(100)]  # fmt: skip
    return rows


def tabled(rows):
    """Rows as the stages keep them: lists of one length."""
    arrow = pa.Table.from_pylist(rows)
    for place, (name, value) in enumerate(rows[0].items()):
        if isinstance(value, np.ndarray):
            flat = pa.array(np.concatenate([row[name] for row in rows]))
            arrow = arrow.set_column(place, name, pa.FixedSizeListArray.from_arrays(flat, len(value)))
    return Table(arrow, "fooling_claims")


def test_shares_medians_and_what_tells_nothing_from_real_pictures(ctx):
    rows = planted()
    evaluation = build_component("evaluate", {"name": "fooling_claims", **REAL}, "x")
    figures, again = (evaluation.figures(tabled(some), ctx) for some in (rows, rows[::-1]))
    assert figures == again
    judge = figures["models"]["judge"]["direct"]
    assert judge["claimed"]["value"] == 50  # those from .99 on, all of the second repeat
    assert judge["claimed"]["low"] < 25  # two repeats say little
    assert judge["claimed"]["high"] > 75
    assert judge["jpeg"]["value"] == 25
    assert judge["shift"]["value"] == 0
    assert judge["median"] == {"value": 0.9895, "low": 0.9845, "high": 0.9945}
    assert figures["models"]["judge_gate"] == {}  # knows no claimed class
    tops = {name: [row["top"][0] for row in rows if row["set"] == name] for name in ("", "test")}
    auroc = roc_auc_score([1] * 20 + [0] * 100, [-one for one in tops[""] + tops["test"]])
    assert judge["softmax"]["value"] == pytest.approx(100 * auroc, abs=1e-3)
    assert judge["mahalanobis"]["value"] == 100
    assert figures["real"] == {"n": 100, "among": 100, "median": 3.0}
    assert figures["nearest"]["direct"]["median"] == 140.0
    assert figures["nearest"]["direct"]["farther"]["value"] == 100
    alone = FoolingClaims().figures(tabled(rows[:20]), ctx)
    assert alone["nearest"] == {}
    assert "softmax" not in alone["models"]["judge"]["direct"]


def test_one_reference_alone_is_refused():
    with pytest.raises(RecipeError, match="train and test go together"):
        build_component("evaluate", {"name": "fooling_claims", "train": REAL["train"]}, "x")


def write_part(folder, part, per_class):
    """IDX files of bright bars, which aren't clothes but lie near each other."""
    rng, labels = np.random.default_rng(len(part)), np.repeat(np.arange(10, dtype=np.uint8), per_class)
    images = rng.integers(0, 30, (len(labels), 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 + label : 10 + label] += 150
    for kind, head, values in (
        ("images-idx3", (0x803, *images.shape), images),
        ("labels-idx1", (0x801, len(labels)), labels),
    ):
        with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
            file.write(struct.pack(f">{len(head)}i", *head) + values.tobytes())


def test_from_class_names_to_the_card(tmp_path):
    write_part(tmp_path, "train", 4)
    write_part(tmp_path, "t10k", 3)
    real = {name: {**one, "path": str(tmp_path)} for name, one in REAL.items()}
    recipe = {
        "dataset": "nothing",
        "version": "1.0.0",
        "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 1, "licence": "CC0-1.0"},
        "generate": [{"name": "fooling_image", "encodings": ["direct"], "generations": 8, "population": 20}],
        "evaluate": [{"name": "fooling_claims", **real, "reach": 0.01}],
    }
    job = pipeline.Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = pipeline.build(job)
    found = pipeline.evaluate(job, manifest)["fooling_claims"]
    assert found["n"] == {"control_direct": 10, "direct": 10}
    assert found["nearest"]["direct"]["farther"]["count"] == "10 of 10"
    card = render_card(job.recipe, manifest, job.store)
    white, transfer = card.partition("**Transfer**")[::2]
    assert "| judge | direct | 10 |" in white.partition("**White-box**")[2]
    assert "| judge_gate | direct | 10 |" in transfer
    assert "| judge |" not in transfer.partition("Distance to the nearest")[0]
    assert "| real | 30 |" in card
    assert "| variants | **2** |" in card  # there are no photographs and no classes
    assert "| classes | **none** |" in card
    barred = {**recipe, "evaluate": [{"name": "fooling_claims", "classifiers": ["judge"], "white_box": ["judge_gate"]}]}
    with pytest.raises(RecipeError, match="'judge' is fashion-mnist-cnn"):
        pipeline.evaluate(pipeline.Job(Recipe.parse(barred), job.store), manifest)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_first_repeat_fools_the_judge_as_nearly_all_classes_and_is_like_no_real_picture(ctx):
    """`direct`, as in the recipe: a claim of .99 for 8 of 10 classes, its control for none, far from real pictures."""
    kept = {}
    remembering = replace(ctx, memo=lambda key, compute: kept[key] if key in kept else kept.setdefault(key, compute()))
    made = list(FoolingImage(encodings=("direct",)).generate(SOURCE.read(0, 10, ctx), remembering))
    stored = [replace(one, image=decode(encode_png(one.image))) for one in made]
    test = FashionMnist(part="test", per_class=20)
    evaluation = FoolingClaims(classifiers=(), train=FashionMnist(per_class=100), test=test)
    rows = [{**row, "set": ""} for row in evaluation.measure(stored, ctx)]
    for name, source in evaluation.references().items():
        real = list(source.read(0, source.size(ctx), ctx))
        rows += [{**row, "set": name} for row in evaluation.measure(real, ctx)]
    figures = evaluation.figures(tabled(rows), ctx)
    judge = figures["models"]["judge"]
    assert judge["direct"]["claimed"]["value"] >= 80
    assert judge["control_direct"]["claimed"]["value"] == 0
    assert figures["nearest"]["direct"]["farther"]["value"] >= 90
