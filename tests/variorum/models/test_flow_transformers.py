"""Flow transformers on tiny checkpoints laid out as the published ones; diffusers' own call is the oracle."""

from __future__ import annotations

import json

import hub_layouts
import numpy as np
import pytest
import torch

from variorum.models.loaders.flow_transformer import FLOW_TRANSFORMER
from variorum.schemas.errors import ModelUnavailable

SIDE = 64
LEVELS = 1
"""Grey levels by which a pixel may change with the batch: floats differ by some 1e-6, which now and then rounds."""
PROMPTS = ["a cat", "a photo of two boats at sea", "a lamp"]
SEEDS = [11, 12, 13]
GUIDANCE = {"text_to_image_fast": 1.0, "text_to_image_z": 1.0}
TEXT = [
    "text_to_image_fast",
    "text_to_image_flux",
    "text_to_image_sd3",
    "text_to_image_sd3_medium",
    "text_to_image_qwen",
    "text_to_image_z",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models by alias, type and options, each loaded once."""
    home, loaded = tmp_path_factory.mktemp("hub"), {}

    def get(alias, dtype="float32", **options):
        key = alias, dtype, json.dumps(options)
        if key not in loaded:
            folder = hub_layouts.snapshot(alias, home)
            own = hub_layouts.entries()[alias]
            entry = own.model_copy(update={"dtype": dtype, "options": own.options | options})
            loaded[key] = FLOW_TRANSFORMER.load(entry, folder, {})
        return loaded[key]

    return get


def pictures(n, height=SIDE, width=SIDE):
    return [np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8) for i in range(n)]


def drawn(model, alias, numbers=(0,), prompts=PROMPTS, negative="", **changes):
    settings = {"steps": 2, "guidance": GUIDANCE.get(alias, 4.0), "size": SIDE, **changes}
    seeds = [SEEDS[n] for n in numbers]
    return model([prompts[n] for n in numbers], [negative] * len(seeds), seeds, **settings)


def furthest(first, second):
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("alias", TEXT)
def test_a_picture_depends_on_prompt_and_seed_and_not_on_its_batch(models, alias):
    model = models(alias)
    alone = drawn(model, alias)
    assert alone[0].shape == (SIDE, SIDE, 3)
    assert alone[0].std() > 2
    assert furthest(drawn(model, alias, [1, 0])[1:], alone) <= LEVELS
    assert np.array_equal(drawn(model, alias), alone)
    other_seed = model([PROMPTS[0]], [""], [99], steps=2, guidance=GUIDANCE.get(alias, 4.0), size=SIDE)[0]
    other_text = drawn(model, alias, [0], ["a house"])[0]
    assert np.abs(alone[0].astype(int) - other_seed).mean() > 2
    assert not np.array_equal(alone[0], other_text)


BARE = {
    "text_to_image_fast": {"guidance_scale": 1.0, "max_sequence_length": 256},
    "text_to_image_flux": {"guidance_scale": 4.0},
    "text_to_image_sd3": {"guidance_scale": 4.0},
    "text_to_image_qwen": {"true_cfg_scale": 4.0, "negative_prompt": " "},
    "text_to_image_z": {"guidance_scale": 0.0},
}
"""How each family's authors call diffusers."""
INEXACT = "text_to_image_qwen", "bfloat16"
"""Its pipeline divides by 1 / σ, which is rounded, too."""


@pytest.mark.parametrize(
    ("alias", "dtype"),
    [(alias, dtype) for alias in BARE for dtype in ("float32", "bfloat16") if (alias, dtype) != INEXACT],
)
def test_pictures_are_those_that_diffusers_makes_of_the_same_noise(models, alias, dtype):
    """Noise is drawn for latents of 8 × 8 cells and then packed, as the pipeline itself does it."""
    model = models(alias, dtype)
    noise = torch.randn((1, 16, SIDE // 8, SIDE // 8), generator=torch.Generator("cpu").manual_seed(SEEDS[1]))
    kept = torch.float32 if alias == "text_to_image_z" else model.pipeline.transformer.dtype
    packed = alias in ("text_to_image_fast", "text_to_image_flux", "text_to_image_qwen")
    bare = model.pipeline(
        prompt=PROMPTS[1],
        latents=(model.pipeline._pack_latents(noise, *noise.shape) if packed else noise).to(kept),
        height=SIDE,
        width=SIDE,
        num_inference_steps=3,
        output_type="np",
        **BARE[alias],
    ).images
    made = drawn(model, alias, [1], steps=3)
    rounds = LEVELS if alias == "text_to_image_qwen" else 0
    assert furthest(made, [(bare[0] * 255).round().astype(np.uint8)]) <= rounds


def test_guidance_and_negatives_have_an_effect_where_the_model_takes_them(models):
    for alias in ("text_to_image_sd3", "text_to_image_qwen"):
        model = models(alias)
        plain = drawn(model, alias)[0]
        assert not np.array_equal(plain, drawn(model, alias, negative="blue")[0])
        assert not np.array_equal(plain, drawn(model, alias, guidance=1.0)[0])
    flux = models("text_to_image_flux")
    assert not np.array_equal(drawn(flux, "")[0], drawn(flux, "", guidance=2.0)[0])


@pytest.mark.parametrize(
    ("alias", "settings", "said"),
    [
        ("text_to_image_fast", {"guidance": 7.5}, "this model takes a guidance of 1, not 7.5"),
        ("text_to_image_fast", {"guidance": 1.0, "steps": 50}, "this model takes at most 4 steps, not 50"),
        ("text_to_image_flux", {"guidance": 7.5}, "this model takes a guidance of at most 5, not 7.5"),
        ("text_to_image_qwen", {"steps": 1}, "this model takes at least 2 steps"),
        ("text_to_image_flux", {"negative": "blue"}, "this model takes no negative prompt"),
    ],
)
def test_settings_that_would_spoil_a_model_are_refused(models, alias, settings, said):
    with pytest.raises(ValueError, match=said):
        drawn(models(alias), alias, **settings)


def test_bounds_that_an_entry_hides_are_named(models):
    with pytest.raises(ModelUnavailable, match="its options must say most_guidance = 1"):
        models("text_to_image_fast", most_guidance=7.5)
    with pytest.raises(ModelUnavailable, match="its options must say takes_negative = false"):
        models("text_to_image_flux", takes_negative=True)


@pytest.mark.parametrize(
    ("alias", "most"), [("text_to_image_fast", 256), ("text_to_image_flux", 512), ("text_to_image_sd3", 256)]
)
def test_a_prompt_is_cut_where_t5_ends_not_where_clip_does(models, alias, most):
    model = models(alias)
    fits = "a" * (most - 2)  # beside the beginning of the word and the end of the text
    assert model.cut(["a cat", fits, fits + "a"]) == [False, False, True]
    texts = [fits + "bc", fits + "de", fits[:-2] + "bc"]
    first, second, third = (drawn(model, alias, prompts=[text])[0] for text in texts)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


@pytest.mark.parametrize("alias", ["text_to_image_qwen", "text_to_image_z"])
def test_a_prompt_is_cut_where_the_language_model_ends(models, alias):
    assert models(alias).cut(["a cat", "a" * 400, "a" * 600]) == [False, False, True]


@pytest.mark.parametrize("alias", TEXT[:3] + TEXT[4:])
def test_a_photograph_is_changed_at_its_own_size_and_the_more_the_stronger(models, alias):
    model = models(alias, task="image_to_image")
    (image,) = pictures(1, 96, 64)
    steps, guidance = (4 if alias == "text_to_image_fast" else 8), GUIDANCE.get(alias, 4.0)

    def changed(images, prompts, seeds, strength=0.5):
        none = [""] * len(images)
        return model(images, prompts, none, seeds, strength=strength, steps=steps, guidance=guidance)

    (half,) = changed([image], ["a cat"], [1])
    (all_of_it,) = changed([image], ["a cat"], [1], strength=1.0)
    assert half.shape == image.shape
    assert not np.array_equal(half, all_of_it)
    other = pictures(2, 96, 64)[1]
    together = changed([other, image], ["a dog on a hill", "a cat"], [2, 1])
    assert furthest([half], [together[1]]) <= LEVELS


@pytest.mark.parametrize("shape", [(64, 64), (50, 90)])
def test_only_the_hole_is_filled(models, shape):
    model = models("inpainter_large", steps=2, side=64)
    images = pictures(2, *shape)
    hole = np.zeros(shape, bool)
    hole[10:30, 20:40] = True
    first, second = model(images, [hole, hole], [1, 2], ["cat", "cat"])
    (alone,) = model(images[1:], [hole], [2], ["cat"])
    assert np.array_equal(first.image[~hole], images[0][~hole])
    assert (first.image[hole] != images[0][hole]).any(axis=-1).mean() > 0.9
    assert furthest([second.image], [alone.image]) <= LEVELS


@pytest.mark.slow
def test_an_edit_follows_picture_and_instruction_and_not_its_batch(models):
    model = models("instruction_edit_qwen")
    images, told = pictures(2), ["make it snow", "remove the boat from the sea"]
    settings = {"steps": 2, "guidance": 4.0, "image_guidance": 1}
    together = model(images, told, [1, 2], **settings)
    (alone,) = model(images[:1], told[:1], [1], **settings)
    assert alone.shape == images[0].shape
    assert furthest([alone], together[:1]) <= LEVELS
    assert not np.array_equal(alone, model(images[:1], ["make it night"], [1], **settings)[0])
    assert not np.array_equal(alone, model(images[1:], told[:1], [1], **settings)[0])
    with pytest.raises(ValueError, match=r"takes an image guidance of 1, not 1\.5"):
        model(images, told, [1, 2], **settings | {"image_guidance": 1.5})


def test_what_the_loader_does_not_do_is_said_in_one_line(models):
    with pytest.raises(ModelUnavailable, match="is a FluxPipeline, which isn't supported for inpaint"):
        models("text_to_image_fast", task="inpaint")
    entry = hub_layouts.entries()["text_to_image_flux"]
    sliced = entry.model_copy(update={"options": entry.options | {"attention": "sliced"}})
    assert FLOW_TRANSFORMER.problem(sliced) == "attention = 'sliced' is for U-Nets; leave it out"


@pytest.mark.parametrize("alias", ["text_to_image_flux", "text_to_image_qwen", "text_to_image_z"])
@pytest.mark.parametrize("saver", [{"offload": "model"}, {"vae_slicing": True, "vae_tiling": True}], ids=str)
def test_memory_savers_change_next_to_nothing(models, alias, saver):
    saving = models(alias, **saver)
    assert (saving._decoding is saving._denoising) == ("offload" in saver)
    assert furthest(drawn(saving, alias, [0, 1]), drawn(models(alias), alias, [0, 1])) <= LEVELS
