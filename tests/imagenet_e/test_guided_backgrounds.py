"""Guided backgrounds as edits with a tiny denoiser of random weights, and plates by a tiny inpainting pipeline."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from pydantic import ValidationError

from variorum.generators.imagenet_e import guided_backgrounds
from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.generators.imagenet_e.guided_backgrounds import KINDS
from variorum.kit.pictures import plates
from variorum.models import ModelTable
from variorum.models.filters import refuse_filters
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import CAPTURED, COMPOSITE, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import deciding_models, required_models

SIDE = 64
GUIDED = ["guided_control", "guided_up", "guided_down"]
QUICK = {"steps": 20, "start": 4, "up": 30000, "down": -30000}


def save_denoiser(folder):
    from diffusers import DDPMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(3)
        UNet2DModel(
            sample_size=16,
            in_channels=12,
            out_channels=12,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=4,
            add_attention=False,
        ).save_pretrained(folder, variant="fp16")
    DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction").save_config(folder)


class Memo(dict):
    def __call__(self, key, compute):
        if key not in self:
            self[key] = compute()
        return self[key]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoiser")
    save_denoiser(folder)
    file = folder.parent / "models.toml"
    file.write_text(
        f'[denoiser]\nname = "tiny"\nloader = "pixel_denoiser"\nlocal = {{ path = "{folder}" }}\n'
        'options = { variant = "fp16" }\nlicence = "none"\nsource = "random weights"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(file))
        yield ModelTable("embedded")


@pytest.fixture
def ctx(table):
    return Context(seed=5, models=table, memo=Memo())


def sample(number=0, **more):
    coffee = cv2.resize(skimage.data.coffee()[:400, 20 * number : 400 + 20 * number], (SIDE, SIDE))
    cat = cv2.resize(skimage.data.chelsea()[:300, :300], (SIDE, SIDE))
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (32, 30), 14, 255, -1, cv2.LINE_AA)
    cover = mask[..., None] / 255
    picture = np.rint(cover * cat + (1 - cover) * coffee).astype(np.uint8)
    extras = {"mask.png": mask, "plate.png": coffee}
    return Sample(source_id("test", str(number)), picture, **{"labels": ("n02123045",), "extras": extras, **more})


def edit(*backgrounds, guidance=None, **more):
    fields = {"frame": SIDE, "attributes": ("background",), "classifier": None, **more}
    return AttributeEdit(backgrounds=backgrounds, guidance={**QUICK, **(guidance or {})}, **fields)


def by_variant(items):
    return {item.variant: item for item in items}


def test_the_control_comes_along_and_all_is_on_record(ctx):
    made = by_variant(edit("guided_up", "guided_down").generate([sample()], ctx))
    assert list(made) == ["original", "plate", "control", *GUIDED]
    ops = {name: made[name].ops[-1] for name in GUIDED}
    assert len({op["seed"] for op in ops.values()}) == 1
    assert [op["requested"]["lambda"] for op in ops.values()] == [0, 30000, -30000]
    assert [op["requested"].get("reference") for op in ops.values()] == [None, "guided_control", "guided_control"]
    before = {op["achieved"]["complexity_before"] for op in ops.values()}
    assert len(before) == 1
    up, down = ops["guided_up"], ops["guided_down"]
    for op in (up, down):
        achieved = op["achieved"]
        assert achieved["objective_control"] == ops["guided_control"]["achieved"]["complexity_after"]
        change = achieved["complexity_after"] - achieved["objective_control"]
        assert achieved["objective_change"] == pytest.approx(change, abs=2e-6)
        assert {"adm_before", "adm_after", "contrast_before"} <= set(achieved)
        assert achieved["objective_original"] == achieved["complexity_before"]
        assert op["models"]["denoiser"] == ctx.models.pin("denoiser")
        canonical_json(op)
    assert up["achieved"]["objective_change"] > 0.02 > -0.02 > down["achieved"]["objective_change"]
    assert up["gates"]["guidance_ineffective"]["passed"]
    # this denoiser only adds noise: with less of it the background is still more complex than the original's
    assert down["achieved"]["complexity_after"] > down["achieved"]["complexity_before"]
    assert made["guided_down"].reason == "guidance_ineffective"
    assert "guidance_ineffective" not in ops["guided_control"]["gates"]
    assert ops["guided_control"]["gates"]["background_changed"]["limit"] == "recorded"


def test_a_guided_background_is_a_model_s_and_shows_no_other_object(ctx):
    cat, cup = Object((18, 16, 28, 28), "cat"), Object((2, 40, 12, 12), "cup")
    source = sample(annotations=Annotations((cat, cup)), digital_source_type=CAPTURED)
    made = by_variant(edit("guided_up").generate([source], ctx))
    assert {name: item.digital_source_type for name, item in made.items()} == {
        "original": CAPTURED,
        "plate": COMPOSITE,
        "control": COMPOSITE,
        "guided_control": PARTLY_GENERATED,
        "guided_up": PARTLY_GENERATED,
    }
    labels = {name: [item.label for item in child.annotations.objects] for name, child in made.items()}
    assert labels == {
        "original": ["cat", "cup"],
        "plate": ["cup"],
        "control": ["cat", "cup"],
        "guided_control": ["cat"],
        "guided_up": ["cat"],
    }


def test_the_object_is_kept_bit_for_bit(ctx):
    source = sample()
    made = by_variant(edit("guided_up").generate([source], ctx))
    core = source.extras["mask.png"] == 255
    for name in ("guided_control", "guided_up"):
        assert np.array_equal(made[name].image[core], source.image[core])
        assert made[name].ops[-1]["gates"]["object_kept"]["value"] == 99
        assert np.abs(made[name].image.astype(int) - source.image)[source.extras["mask.png"] == 0].mean() > 1


@pytest.mark.parametrize(("up", "least", "passed"), [(1e-6, None, False), (30000, 0.9, False), (30000, None, True)])
def test_guidance_that_does_nothing_is_called_so(ctx, up, least, passed):
    conf = edit("guided_up", guidance={"up": up, "min_change": least}, gates={"min_change": 0})
    made = by_variant(conf.generate([sample()], ctx))["guided_up"]
    assert made.ops[-1]["gates"]["guidance_ineffective"]["passed"] == passed
    assert made.reason == ("" if passed else "guidance_ineffective")


@pytest.mark.parametrize("objective", ["masked_hf", "adm_compat"])
def test_a_background_is_the_same_in_any_batch_and_order(ctx, objective):
    guidance = {"objective": objective, "up": 3000, "down": -3000}
    samples = [sample(number) for number in range(3)]
    found = {}
    for batch, order in ((1, samples), (4, samples), (4, samples[::-1])):
        fresh = replace(ctx, memo=Memo())
        for item in edit("guided_up", "guided_down", guidance=guidance, batch=batch).generate(order, fresh):
            found.setdefault((item.parent, item.variant), []).append(item.image)
    assert {len(items) for items in found.values()} == {3}
    for first, *others in found.values():
        assert all(np.abs(first.astype(int) - other).max() <= 1 for other in others)


def test_what_was_made_is_kept_and_found_again(ctx, monkeypatch):
    conf = edit("guided_up")
    first = by_variant(conf.generate([sample()], ctx))
    kept = dict(ctx.memo)
    model = ctx.models.get("denoiser")
    monkeypatch.setattr(model, "predict", None)  # nothing is asked of it again
    again = by_variant(conf.generate([sample()], ctx))
    assert ctx.memo.keys() == kept.keys()
    assert np.array_equal(first["guided_up"].image, again["guided_up"].image)
    with pytest.raises(TypeError):
        list(edit("guided_up", guidance={"start": 5}).generate([sample()], ctx))


def holding(most, call):
    """A model's method that runs out of memory above `most` pictures, and the batch sizes that it was called with."""
    asked = []

    def limited(items, *others):
        asked.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("as a GPU says it")
        return call(items, *others)

    return limited, asked


def test_out_of_memory_fewer_backgrounds_are_made_at_a_time(ctx, monkeypatch, caplog):
    samples = [sample(number) for number in range(2)]
    whole = list(edit("guided_up", "guided_down").generate(samples, ctx))
    model = ctx.models.get("denoiser")
    limited, asked = holding(1, model.predict)
    monkeypatch.setattr(model, "predict", limited)
    items = list(edit("guided_up", "guided_down").generate(samples, replace(ctx, memo=Memo())))
    assert asked == [4, 2] + [1] * 6 * QUICK["start"]  # of each sample three; what was done isn't done again
    assert [record.message for record in caplog.records] == [
        f"denoiser: out of memory with {before} pictures, going on with {after}; set `batch` to that next time"
        for before, after in ((4, 2), (2, 1))
    ]
    for first, second in zip(whole, items, strict=True):
        assert (first.id, first.variant) == (second.id, second.variant)
        assert np.abs(first.image.astype(int) - second.image).max() <= 1


def test_without_the_memory_for_one_background_it_ends(ctx, monkeypatch):
    model = ctx.models.get("denoiser")
    limited, asked = holding(0, model.predict)
    monkeypatch.setattr(model, "predict", limited)
    with pytest.raises(torch.OutOfMemoryError, match="as a GPU says it"):
        list(edit("guided_up").generate([sample()], ctx))
    assert asked == [2, 1, 2, 1]  # the second time nothing else is at work


def test_without_guided_backgrounds_the_settings_change_no_id():
    plain, other = AttributeEdit(), AttributeEdit(guidance={"up": 5.0, "denoiser": "another"})
    assert plain.fingerprint() == other.fingerprint()
    assert "guidance" not in plain.identity()
    assert plain.config()["guidance"]["up"] == AttributeEdit().guidance.up
    assert "denoiser" not in required_models(plain)
    guided = AttributeEdit(backgrounds=("guided_up",))
    assert guided.fingerprint() != AttributeEdit(backgrounds=("guided_up",), guidance={"up": 5.0}).fingerprint()
    assert "denoiser" in required_models(guided)
    assert "denoiser" not in deciding_models(guided)
    elsewhere = AttributeEdit(backgrounds=("guided_up",), attributes=("mirror",))
    assert "denoiser" not in required_models(elsewhere)


def test_ids_are_the_same_by_default_and_read_from_a_recipe(ctx):
    plain = AttributeEdit(backgrounds=KINDS, guidance={"adversary": "adversary"})
    read = build_component("generate", json.loads(json.dumps(plain.config())), "generate.0")
    requested = [
        [canonical_json(wanted.requested) for wanted in guided_backgrounds.wanted(KINDS, conf.guidance)]
        for conf in (plain, read)
    ]
    assert requested[0] == requested[1]


def test_a_picture_that_cannot_be_edited_is_told_apart(ctx):
    empty = sample(1, extras={"mask.png": np.zeros((SIDE, SIDE), np.uint8), "plate.png": sample(1).extras["plate.png"]})
    items = list(edit("guided_up").generate([sample(), empty], ctx))
    failed = {item.variant: item for item in items if isinstance(item, Failure)}
    assert failed["guided_up"].reason == "mask_area"
    assert all(item.parent == empty.id for item in failed.values())


def test_the_adversary_steers_and_may_not_judge(ctx):
    conf = edit("guided_adversarial", guidance={"adversary": "adversary", "adversary_scale": 300.0, "clamp": 0.5})
    assert deciding_models(conf) == ("adversary",)
    made = by_variant(conf.generate([sample()], ctx))
    op = made["guided_adversarial"].ops[-1]
    assert op["achieved"]["adversary_p"] < op["achieved"]["adversary_p_control"]
    assert op["gates"]["guidance_ineffective"]["passed"]
    assert op["models"]["adversary"] == ctx.models.pin("adversary")
    pins = [ctx.models.pin(alias) for alias in deciding_models(conf)]
    with pytest.raises(RecipeError, match="can't judge the result"):
        refuse_filters({"classifier_gate": ctx.models.pin("classifier_gate")}, pins)
    refuse_filters({"classifier": ctx.models.pin("classifier")}, pins)
    with pytest.raises(ValidationError, match="needs a guidance"):
        edit("guided_adversarial")
    unknown = by_variant(conf.generate([sample(labels=())], ctx))["guided_adversarial"]
    assert (unknown.status, unknown.reason) == ("ineligible", "no_class")


def test_the_adversary_is_the_classifier_with_gradients(table):
    pictures = [cv2.resize(skimage.data.chelsea()[:300, :300], (256, 256)), skimage.data.coffee()[:300, :300]]
    for picture in pictures:
        x = (torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 255).requires_grad_()
        found = table.get("adversary")(x)
        known = table.get("classifier_gate")([picture])[0]
        assert found.exp().detach().numpy()[0] == pytest.approx(known, abs=0.03 if picture.shape[0] != 256 else 1e-3)
        assert int(found.argmax()) == int(known.argmax())
        (slope,) = torch.autograd.grad(found[0, 281], x)
        assert slope.shape == x.shape
        assert slope.any()


# ── the inpainter ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def inpainting(tiny, tmp_path_factory):
    from tiny_pipelines import models_table

    file = tmp_path_factory.mktemp("inpainting") / "models.toml"
    file.write_text(models_table(tiny))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(file))
        yield ModelTable("embedded")


def test_a_diffusion_pipeline_makes_the_plates(inpainting, monkeypatch):
    """As profile hub's `inpainter`, from the sample to the gates, on random weights."""
    ctx = Context(seed=5, models=inpainting, memo=Memo())
    sources = [sample(n, extras={"mask.png": sample(n).extras["mask.png"]}) for n in range(2)]
    conf = AttributeEdit(frame=SIDE, attributes=("size",), sizes=(0.05,), classifier=None)
    items = list(conf.generate(sources, ctx))
    for source in sources:
        made = by_variant(item for item in items if item.parent == source.id)
        assert list(made) == ["original", "plate", "control", "size_0.05"]
        plate = made["plate"]
        op = plate.ops[-1]
        assert op["achieved"]["plate"] == "diffusion"
        kinds = [made[variant].digital_source_type for variant in ("original", "plate", "control")]
        assert kinds == ["", PARTLY_GENERATED, PARTLY_GENERATED]
        assert op["models"]["inpainter"] == inpainting.pin("inpainter")
        assert {"plate_hole", "plate_seam", "plate_texture"} <= set(op["gates"])
        support = np.asarray(cv2.dilate((source.extras["mask.png"] > 0).astype(np.uint8) * 255, np.ones((3, 3))))
        hole = plates.hole(support)
        assert np.array_equal(plate.image[~hole], source.image[~hole])
        assert np.abs(plate.image[hole].astype(int) - source.image[hole]).mean() > 5
        core = source.extras["mask.png"] == 255
        assert np.array_equal(made["control"].image[core], source.image[core])
    monkeypatch.setattr(plates, "derive_seed", None)  # kept plates need no seed
    again = list(conf.generate(sources, ctx))
    for first, second in zip(items, again, strict=True):
        assert np.array_equal(first.image, second.image)


def test_a_plate_that_comes_out_black_is_never_used(inpainting, monkeypatch):
    """As of a network that overflows in half precision: every edit of that picture fails by name."""
    model = inpainting.get("inpainter")
    real = type(model.pipeline.vae).decode
    overflowing = lambda self, latents, **options: real(self, latents * np.inf, **options)  # noqa: E731
    monkeypatch.setattr(type(model.pipeline.vae), "decode", overflowing)
    ctx = Context(seed=5, models=inpainting, memo=Memo())
    made = by_variant(AttributeEdit(**PLATES).generate([unfilled()], ctx))
    original = made.pop("original")
    assert original.reason == ""
    assert {item.reason for item in made.values()} == {"plate_blank"}
    assert all(isinstance(item, Failure) and "made it black" in item.detail for item in made.values())


def test_a_guided_background_that_comes_out_black_is_never_used(ctx, table, monkeypatch):
    denoiser = table.get("denoiser")
    real = type(denoiser).decode
    monkeypatch.setattr(type(denoiser), "decode", lambda self, state: real(self, state * np.nan))
    made = by_variant(edit("guided_up").generate([sample()], ctx))
    assert {made[name].reason for name in ("guided_control", "guided_up")} == {"blank"}
    assert made["original"].reason == ""


def unfilled(number=0, **more):
    return sample(number, extras={"mask.png": sample(number).extras["mask.png"]}, **more)


PLATES = {"frame": SIDE, "attributes": ("size",), "sizes": (0.05,), "classifier": None}


@pytest.fixture
def told(inpainting, monkeypatch):
    """The negative prompts of each of the inpainter's calls."""
    model, heard = inpainting.get("inpainter"), []
    run = model._run

    def noted(prompts, negatives, **inputs):
        heard.append(list(negatives))
        return run(prompts, negatives, **inputs)

    monkeypatch.setattr(model, "_run", noted)
    return heard


def test_the_inpainter_is_told_what_not_to_paint_again(inpainting, told):
    ctx = Context(seed=5, models=inpainting, memo=Memo())
    sources = [unfilled(), unfilled(1, labels=("n02123045", "mug")), unfilled(2, labels=())]
    items = list(AttributeEdit(**PLATES).generate(sources, ctx))
    assert told == [["tabby cat", "tabby cat, mug"], [""]]  # all of a call have a negative, or none has
    assert [item.variant for item in items].count("plate") == 3

    class Named(Source):
        def pin(self, ctx):
            return "named"

        def size(self, ctx):
            return 1

        def read(self, start, stop, ctx):
            yield unfilled()

        def classes(self, ctx):
            return (ClassInfo("n02123045", "grey tabby"),)

    list(AttributeEdit(**PLATES).generate(sources[:1], replace(ctx, source=Named())))  # not taken for the kept plate
    assert told[2:] == [["grey tabby"]]


def test_what_a_call_keeps_away_from_comes_beside_what_the_entry_does(inpainting, told, monkeypatch):
    model, picture, hole = inpainting.get("inpainter"), unfilled().image, np.zeros((SIDE, SIDE), bool)
    hole[16:48, 16:48] = True
    plain, cat, both = (model([picture], [hole], [1], *given)[0].image for given in ((), (["cat"],), (["cat, blue"],)))
    assert len({image.tobytes() for image in (plain, cat, both)}) == 3
    monkeypatch.setattr(model, "_negative", "blue")
    assert np.array_equal(model([picture], [hole], [1], ["cat"])[0].image, both)
    model([picture] * 2, [hole] * 2, [1, 2], ["cat", ""])
    assert told == [[""], ["cat"], ["cat, blue"], ["cat, blue"], ["cat, blue", "blue"]]


def test_out_of_memory_fewer_plates_are_made_at_a_time(inpainting, monkeypatch, caplog):
    sources = [unfilled(number) for number in range(3)]
    whole = list(AttributeEdit(**PLATES).generate(sources, Context(seed=5, models=inpainting, memo=Memo())))
    model = inpainting.get("inpainter")
    limited, asked = holding(1, model._fill)
    monkeypatch.setattr(model, "_fill", limited)
    items = list(AttributeEdit(**PLATES).generate(sources, Context(seed=5, models=inpainting, memo=Memo())))
    assert asked == [3, 1, 1, 1]
    assert "inpainter: out of memory with 3 pictures, going on with 1" in caplog.text
    for first, second in zip(whole, items, strict=True):
        assert first.id == second.id
        assert np.abs(first.image.astype(int) - second.image).max() <= 1
