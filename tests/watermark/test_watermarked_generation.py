"""Pictures with marks in their noise: for real on the packaged model, and on random weights that the calls fit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from tiny_pipelines import models_table

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.generators.watermark.attacks.distortion import Distortion
from variorum.generators.watermark.marks.gaussian_shading import GaussianShading
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.marks.tree_ring import TreeRing
from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermark_attack import WatermarkAttack
from variorum.generators.watermark.watermarked_generation import WatermarkedGeneration
from variorum.generators.watermark.watermarking.keys import key_hash, new_keys, own_file, payload_hash, read_keys
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.pipeline import build
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import GENERATED, Sample
from variorum.schemas.uses import required_models
from variorum.sources.class_names import ClassNames
from variorum.stages.job import Job

STEPS = 6
SHADING = GaussianShading(inversion_steps=STEPS)
FREE = TreeRing(label="free", pattern="free", inversion_steps=STEPS, keyed="shared")
MARKS = (SHADING, FREE)
NUMBER = 3


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    memo = DiskMemo(tmp_path_factory.mktemp("memo"))
    return Context(7, ModelTable("embedded"), memo, ClassNames(table="fashion_mnist"))


@pytest.fixture(scope="module")
def made(ctx):
    """Three samples, and for each the unmarked picture and two marked ones."""
    samples = planned(ctx, NUMBER)
    children = list(WatermarkedGeneration(marks=MARKS, steps=STEPS).generate(samples, ctx))
    return samples, [children[place : place + 3] for place in range(0, len(children), 3)]


def planned(ctx, n):
    return list(ctx.source.read(0, n, ctx))


def keys_of(mark, samples):
    keys = read_keys(None)
    return [keys.shared(mark.called) if mark.keyed == "shared" else keys.of(mark.called, one.id) for one in samples]


def test_each_sample_gets_an_unmarked_picture_and_one_per_mark(made):
    samples, groups = made
    assert [[one.variant for one in group] for group in groups] == [["original", "gaussian_shading", "free"]] * NUMBER
    for sample, group in zip(samples, groups, strict=True):
        assert {one.parent for one in group} == {sample.id}
        assert {one.digital_source_type for one in group} == {GENERATED}
        assert {one.labels for one in group} == {sample.labels}
        assert len({one.ops[-1]["seed"] for one in group}) == 1
        assert len({one.image.tobytes() for one in group}) == 3


def test_the_record_says_all_that_a_detector_needs_and_no_secret(made, ctx):
    samples, groups = made
    for sample, group in zip(samples, groups, strict=True):
        original, *marked = (one.ops[-1] for one in group)
        assert original["name"] == "watermarked_generation"
        assert (original["requested"]["mark"], original["achieved"]["picture"]) == (None, sample.id)
        assert list(original["achieved"]["marks"]) == [mark.called for mark in MARKS]
        for mark, op in zip(MARKS, marked, strict=True):
            (key,) = keys_of(mark, [sample])
            assert op["requested"]["mark"] == mark.called
            assert op["requested"]["keyed"] == mark.keyed
            assert build_component("marks", op["requested"]["settings"], "here") == mark
            assert op["achieved"]["key"] == key_hash(key)
            assert op["achieved"]["picture"] == sample.id
            assert ("payload" in op["achieved"]) == (mark is SHADING)
            assert 0 <= op["achieved"]["p_value"] <= 1
            assert op["models"] == {"class_conditional": ctx.models.pin("class_conditional")}
            assert not {"psnr", "ssim"} & set(op["achieved"])  # another picture, not a changed one
            assert key.hex() not in json.dumps(op)
        assert marked[0]["achieved"]["payload"] == payload_hash(*keys_of(SHADING, [sample]), 32)
        assert marked[0]["achieved"]["bits_right"] >= 0.9


def test_marks_are_found_with_their_key_and_not_with_another(made, ctx):
    samples, groups = made
    for place, mark in enumerate(MARKS, 1):
        keys = keys_of(mark, samples)
        wrong = [read_keys(None).wrong(mark.called, sample.id) for sample in samples]
        found = mark.detect([group[place].image for group in groups], keys, ctx)
        unmarked = mark.detect([group[0].image for group in groups], keys, ctx)
        other = mark.detect([group[place].image for group in groups], wrong, ctx)
        assert found.p_values.max() < 0.01
        assert found.scores.min() > unmarked.scores.max()
        assert unmarked.p_values.min() > 1e-3
        if mark is SHADING:
            assert (found.bits == mark.payloads(keys)).mean() > 0.95
            assert (other.bits == mark.payloads(wrong)).mean() == pytest.approx(0.5, abs=0.15)
        assert other.p_values.min() > 1e-3


def test_a_picture_is_detected_alone_as_among_others(made, ctx, tmp_path):
    samples, groups = made
    keys = keys_of(SHADING, samples)
    images = [group[1].image for group in groups]
    images[1] = np.repeat(np.repeat(images[1], 2, 0), 2, 1)  # of another size
    together = SHADING.detect(images, keys, replace(ctx, memo=DiskMemo(tmp_path / "one")))
    alone = [SHADING.detect([images[n]], [keys[n]], replace(ctx, memo=DiskMemo(tmp_path / "two"))) for n in range(2)]
    assert [one.scores[0] for one in alone] == together.scores[:2].tolist()
    assert (together.p_values < 0.01).all()


def test_pictures_do_not_depend_on_batch_or_order(made, ctx):
    samples, groups = made
    before = {(one.parent, one.variant): one for group in groups for one in group}
    for child in WatermarkedGeneration(marks=MARKS, steps=STEPS, batch=1).generate(samples[1:2], ctx):
        twin = before[child.parent, child.variant]
        assert np.abs(child.image.astype(int) - twin.image).max() <= 1
        assert child.ops[0]["seed"] == twin.ops[0]["seed"]


def test_another_sample_number_has_another_key(ctx):
    fields = {"marks": (GaussianShading(inversion_steps=1),), "steps": 1, "per_sample": 2}
    children = list(WatermarkedGeneration(**fields).generate(planned(ctx, 1), ctx))
    (sample,) = planned(ctx, 1)
    assert [one.ops[-1]["achieved"]["picture"] for one in children] == [*[sample.id] * 2, *[f"{sample.id}/1"] * 2]
    assert len({one.ops[-1]["achieved"].get("key") for one in children}) == 3


def test_attacks_work_on_small_pictures(made, ctx):
    _, groups = made
    attack = WatermarkAttack(attacks=(Distortion(kind="jpeg"),), strengths=(1.0,))
    items = list(attack.generate([*groups[0], *groups[1]], ctx))
    attacked = [one for one in items if isinstance(one, Sample) and one.ops[-1]["name"] == "watermark_attack"]
    assert [one.variant for one in attacked[:3]] == [
        "original_jpeg_1",
        "gaussian_shading_jpeg_1",
        "free_jpeg_1",
    ]
    assert len(attacked) == 6
    assert {one.image.shape for one in attacked} == {(28, 28, 3)}


def test_a_built_edition_has_what_was_planned(ctx, tmp_path):
    recipe = Recipe.parse(
        {
            "dataset": "marked_clothes",
            "version": "1.0.0",
            "limit": 2,
            "source": {"name": "class_names", "table": "fashion_mnist", "licence": "MIT"},
            "generate": [
                {
                    "name": "watermarked_generation",
                    "steps": 2,
                    "marks": [
                        {"name": "tree_ring", "inversion_steps": 2},
                        {"name": "gaussian_shading", "inversion_steps": 2},
                    ],
                }
            ],
        }
    )
    store = Store(str(tmp_path / "store"))
    manifest = build(Job(recipe, store))
    assert manifest.counts == {name: {"accepted": 2} for name in ("original", "tree_ring", "gaussian_shading")}
    rows = read_table(store, manifest.rows).to_pylist()
    asked = recipe.generate[0].requests(ctx.source.outline(0, 2, ctx), Context(recipe.seed, None, None))
    assert {row["id"] for row in rows} == {row["id"] for row in asked}
    secret = json.loads(own_file().read_text())["secret"].encode()
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if secret in path.read_bytes()]


def test_the_keys_are_part_of_the_identity_and_their_place_is_not(tmp_path):
    new_keys(tmp_path / "one")
    (tmp_path / "two").write_bytes((tmp_path / "one").read_bytes())
    (tmp_path / "two").chmod(0o600)
    one, two = (WatermarkedGeneration(keys=tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint() == two.fingerprint() != WatermarkedGeneration().fingerprint()


def test_fields_that_go_together_are_part_of_the_identity():
    text = {"model": "text_to_image", "marks": (TreeRing(model="text_to_image"),), "templates": "photo"}
    small = {**text, "model": "text_to_image_small", "marks": (TreeRing(model="text_to_image_small"),)}
    found = [WatermarkedGeneration(**fields) for fields in (text, small, {**text, "names": {"bag": "sack"}})]
    assert len({one.fingerprint() for one in found}) == 3
    assert [required_models(one) for one in found[:2]] == [("text_to_image",), ("text_to_image_small",)]


def test_lost_keys_are_an_error_before_any_work(ctx, tmp_path):
    lost = WatermarkedGeneration(keys=tmp_path / "lost")
    with pytest.raises(SourceError, match="no such file of watermark keys"):
        lost.check(ctx)


def test_a_mark_of_ones_own_is_a_file(ctx, tmp_path):
    """The one of docs/guides/test_my_watermark.md."""
    page = Path(__file__).parents[2] / "docs" / "guides" / "test_my_watermark.md"
    (code,) = re.findall(r"```python\n(# leaning.py.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "leaning.py").write_text(code)
    own = build_component("marks", {"name": str(tmp_path / "leaning.py"), "inversion_steps": STEPS}, "marks")
    children = list(WatermarkedGeneration(marks=(own,), steps=STEPS).generate(planned(ctx, 2), ctx))
    images = [one.image for one in children if one.variant == "leaning"]
    keys = keys_of(own, planned(ctx, 2))
    assert own.detect(images, keys, ctx).scores.min() > 3
    assert np.abs(own.detect(images, keys[::-1], ctx).scores).max() < 3


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_figures_of_the_docs_hold(ctx):
    """Forty pairs, as made and after JPEG 50; docs/datasets/watermark.md has sixty."""
    samples, marks = planned(ctx, 40), (TreeRing(), TreeRing(label="free", pattern="free"), GaussianShading())
    children = list(WatermarkedGeneration(marks=marks).generate(samples, ctx))
    images = {name: [one.image for one in children if one.variant == name] for name in ("original", *VARIANTS)}
    judge = ctx.models.get("judge")
    asked = [judge.classes.index(one.labels[0]) for one in samples]
    agreement = {name: np.mean(judge(found).argmax(1) == asked) for name, found in images.items()}
    assert agreement["original"] - min(agreement.values()) < 0.2
    for mark in marks:
        keys = keys_of(mark, samples)
        for change, rate in ((lambda image: image, 0.75), (compressed, 0.5)):
            found, unmarked = (
                mark.detect([change(image) for image in images[name]], keys, ctx) for name in (mark.called, "original")
            )
            assert np.greater.outer(found.scores, unmarked.scores).mean() > 0.87
            assert (found.p_values < 0.01).mean() > rate
            assert (unmarked.p_values < 0.01).sum() <= 3
            if found.bits is not None:
                assert (found.bits == mark.payloads(keys)).mean() > 0.82


VARIANTS = ("tree_ring", "free", "gaussian_shading")


def compressed(image):
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


# ── what can't work ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"marks": ()}, "one or more marks"),
        ({"marks": (TreeRing(), TreeRing())}, "two marks are called 'tree_ring'; give one a label"),
        ({"marks": (TreeRing(label="original"),)}, "no mark can be called 'original'"),
        ({"marks": (Stdm(),)}, "stdm goes into pictures that exist; use the generator watermark"),
        ({"model": "text_to_image"}, "give the mark `model: text_to_image`"),
        ({"names": {"bag": "sack"}}, "names are for prompts; give templates too"),
    ],
)
def test_settings_that_can_not_work_are_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        WatermarkedGeneration(**fields)


def test_no_photograph_takes_such_a_mark(ctx):
    with pytest.raises(ValidationError, match="tree_ring goes into a picture while a model makes it"):
        Watermark(marks=(TreeRing(),))
    with pytest.raises(RecipeError, match="use the generator watermarked_generation"):
        SHADING.embed([np.zeros((28, 28, 3), np.uint8)], [bytes(32)], ctx)


def test_errors_name_the_way_out(ctx):
    def run(samples, **fields):
        return list(WatermarkedGeneration(steps=1, **fields).generate(samples, ctx))

    with pytest.raises(RecipeError, match="'class_conditional' takes classes and no prompts; leave out templates"):
        run(planned(ctx, 1), templates="photo")
    with pytest.raises(RecipeError, match=r"knows no class 'n01440764'; it makes: tshirt_top"):
        run([Sample("c" * 32, b"", ("n01440764",))])
    with pytest.raises(RecipeError, match="gaussian_shading: 900 bits don't fit into noise of 784 cells"):
        run(planned(ctx, 1), marks=(GaussianShading(bits=900),))
    with pytest.raises(RecipeError, match="the model 'judge' takes no noise; these do: class_conditional"):
        run(planned(ctx, 1), model="judge", marks=(TreeRing(model="judge"),))
    with pytest.raises(RecipeError, match="the model 'judge' can't say which noise a picture came from"):
        TreeRing(model="judge").detect([np.zeros((28, 28, 3), np.uint8)], [bytes(32)], ctx)
    failure, _ = run([Sample("b" * 32, b"")], marks=(TreeRing(),))
    assert failure.reason == "unlabelled"


# ── Stable Diffusion's calls, on random weights ──────────────────────────────────────────────────────────────────────


def test_a_pipeline_with_prompts_goes_through_the_same_calls(tiny, ctx, tmp_path, monkeypatch):
    """Its pictures are noise, so this says nothing of whether marks are found in them."""
    (tmp_path / "models.toml").write_text(models_table(tiny))
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    own = replace(ctx, models=ModelTable("embedded"))
    named = {"model": "text_to_image", "inversion_steps": 2}
    marks = TreeRing(inner=1, outer=4, **named), GaussianShading(bits=64, **named)
    fields = {"model": "text_to_image", "marks": marks, "steps": 2, "size": 64, "guidance": 2.0}
    with pytest.raises(RecipeError, match="'text_to_image' takes prompts; give templates"):
        list(WatermarkedGeneration(**fields).generate(planned(ctx, 1), own))
    children = list(WatermarkedGeneration(**fields, templates="photo").generate(planned(ctx, 2), own))
    assert [one.variant for one in children] == ["original", "tree_ring", "gaussian_shading"] * 2
    assert {one.image.shape for one in children} == {(64, 64, 3)}
    op = children[2].ops[-1]
    assert op["requested"]["prompt"] == "a photo of a T-shirt or top"
    assert set(op["achieved"]) >= {"key", "payload", "bits_right", "p_value", "prompt_cut"}
    assert set(op["models"]) == {"text_to_image"}
