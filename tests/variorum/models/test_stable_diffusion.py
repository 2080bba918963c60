"""API tests on random weights: pipelines go through the same calls as a checkpoint; their pictures are noise."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from diffusers import DiffusionPipeline
from pydantic import ValidationError
from tiny_pipelines import offload_by_module

from variorum.models import pretrained
from variorum.models.diffusion import options as pipeline_options
from variorum.models.diffusion import pipelines
from variorum.models.diffusion.encoded_prompts import EncodedPrompts
from variorum.models.diffusion.images import extended, grown
from variorum.models.loaders.stable_diffusion import DIFFUSION, SAFETY_CHECKER
from variorum.models.roles import BLANK
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

LEVELS = 1
"""Grey levels by which a pixel may change with the batch: floats differ by some 1e-6, which now and then rounds."""
SIDE = 64


def entry(folder, loader="diffusion", **fields):
    fields.setdefault("dtype", "float32")
    options = {name: fields.pop(name) for name in list(fields) if name != "dtype"}
    place = {"path": str(folder)}
    return Entry(
        name="tiny", loader=loader, local=place, options=options, licence="none", source="random weights", **fields
    )


@pytest.fixture(scope="module")
def models(tiny):
    """Models by task and folder, each loaded once."""
    loaded = {}

    def get(task, folder=None, **options):
        folder = tiny / (folder or {"image_to_image": "text_to_image"}.get(task, task))
        key = task, folder, json.dumps(options)
        if key not in loaded:
            loaded[key] = DIFFUSION.load(entry(folder, task=task, **options), folder, {})
        return loaded[key]

    return get


def noise(n, height=SIDE, width=SIDE):
    return [np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8) for i in range(n)]


PROMPTS = ["a photo of a cat", "a photo of a dog", "a boat", "the sea", "a lamp"]
SEEDS = [11, 12, 13, 14, 15]


def make(model, task, numbers, **changes):
    """Pictures `numbers` of five requests, each with a prompt, a picture and a seed."""
    images = noise(5)
    prompts, seeds = [PROMPTS[n] for n in numbers], [SEEDS[n] for n in numbers]
    settings = {"steps": 3, "guidance": 4.0, **changes}
    if task == "text_to_image":
        return model(prompts, [""] * len(numbers), seeds, size=None, **settings)
    pictures = [images[n] for n in numbers]
    if task == "image_to_image":
        return model(pictures, prompts, [""] * len(numbers), seeds, strength=0.5, **settings)
    return model(pictures, seeds, size=None, **settings)


def furthest(first, second):
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(first, second, strict=True))


ROUTES = [
    ("text_to_image", "text_to_image"),
    ("text_to_image", "xl"),
    ("image_to_image", "text_to_image"),
    ("image_to_image", "xl"),
    ("image_variation", "image_variation"),
]


@pytest.mark.parametrize(("task", "folder"), ROUTES)
def test_a_picture_depends_on_its_seed_and_not_on_its_batch(models, task, folder):
    model = models(task, folder)
    alone = [make(model, task, [n])[0] for n in range(2)]
    assert all(picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8 for picture in alone)
    assert all(picture.std() > 2 for picture in alone)
    assert furthest(make(model, task, [2, 0, 1])[1:], alone) <= LEVELS
    assert np.array_equal(make(model, task, [1])[0], alone[1])
    assert np.abs(alone[0].astype(int) - alone[1]).mean() > 2


def test_the_global_random_state_is_neither_used_nor_moved(models):
    import torch

    model = models("text_to_image")
    before = torch.get_rng_state()
    first = make(model, "text_to_image", [0])
    torch.manual_seed(99)
    assert np.array_equal(first, make(model, "text_to_image", [0]))
    torch.set_rng_state(before)
    make(model, "text_to_image", [1])
    assert torch.equal(before, torch.get_rng_state())


def test_noise_is_drawn_as_float32_by_each_seed(models):
    import torch

    model = models("text_to_image")
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    together = model._noise(generators, 64, 32)
    assert together.shape == (5, 4, 8, 4)
    expected = torch.randn((4, 8, 4), generator=torch.Generator("cpu").manual_seed(SEEDS[3]))
    assert torch.equal(together[3], expected)


@pytest.mark.parametrize("folder", ["text_to_image", "xl"])
def test_prompts_negatives_guidance_and_size_have_an_effect(models, folder):
    model = models("text_to_image", folder)

    def picture(prompt="a cat", negative="", guidance=5.0, size=None):
        return model([prompt], [negative], [1], steps=3, guidance=guidance, size=size)[0]

    plain = picture()
    for other in (picture(prompt="a dog"), picture(negative="blue"), picture(guidance=2.0)):
        assert not np.array_equal(plain, other)
    assert picture(size=96).shape == (96, 96, 3)
    with pytest.raises(ValueError, match="100 pixels is no multiple of 8"):
        picture(size=100)
    with pytest.raises(ValueError, match="either all pictures"):
        model(["a", "b"], ["", "c"], [1, 2], steps=2, guidance=5.0, size=None)


@pytest.mark.parametrize("folder", ["text_to_image", "xl"])
@pytest.mark.parametrize("negative", ["", "blue"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_kept_prompts_give_what_the_bare_pipeline_gives(models, folder, negative, guidance):
    import torch

    model = models("text_to_image", folder)
    made = model(PROMPTS[:1], [negative], SEEDS[:1], steps=3, guidance=guidance, size=None)
    generators = [torch.Generator("cpu").manual_seed(SEEDS[0])]
    bare = model.pipeline(
        prompt=PROMPTS[:1],
        negative_prompt=[negative] if negative else None,
        latents=model._noise(generators, SIDE, SIDE),
        num_inference_steps=3,
        guidance_scale=guidance,
        output_type="np",
    ).images
    assert np.array_equal(made[0], (bare[0] * 255).round().astype(np.uint8))


@pytest.mark.parametrize("folder", ["text_to_image", "xl"])
def test_a_text_is_encoded_once_and_the_oldest_forgotten(models, folder, monkeypatch):
    pipeline = models("text_to_image", folder).pipeline
    asked = []
    real = type(pipeline).encode_prompt

    def noted(self, **inputs):
        asked.extend(inputs["prompt"])
        return real(self, **inputs)

    monkeypatch.setattr(type(pipeline), "encode_prompt", noted)
    encoded = EncodedPrompts(pipeline, most=2)
    first = encoded(["a", "b", "a"], ["c", "c", "c"])
    assert asked == ["a", "b", "c"]
    encoded(["a"], ["c"])
    assert asked == ["a", "b", "c"]
    again = encoded(["b", "a"], ["c", "c"])  # b was used least recently, so it was forgotten for c
    assert asked == ["a", "b", "c", "b", "a", "c"]
    assert all((first[name][[1, 0]] == again[name]).all() for name in first)
    names = {"prompt_embeds", "negative_prompt_embeds"}
    pooled = {"pooled_prompt_embeds", "negative_pooled_prompt_embeds"}
    assert set(first) == names | (pooled if folder == "xl" else set())


def test_no_pictures_are_asked_for(models):
    assert models("text_to_image")([], [], [], steps=2, guidance=1.0, size=None) == []
    assert models("image_to_image")([], [], [], [], strength=0.5, steps=2, guidance=1.0) == []
    assert models("image_variation")([], [], steps=2, guidance=1.0, size=None) == []
    assert models("inpaint")([], [], []) == []


def test_a_prompt_beyond_the_text_encoder_is_noticed(models):
    model = models("text_to_image")
    assert model.cut(["a cat", "x" * 75, "x" * 76]) == [False, False, True]  # two tokens are the start and the end
    first, second = model(["x" * 76 + "y", "x" * 76 + "z"], ["", ""], [1, 1], steps=2, guidance=5.0, size=None)
    assert furthest([first], [second]) <= LEVELS


def test_more_strength_leaves_less_of_a_picture(models):
    model, (image,) = models("image_to_image"), noise(1)
    kept = []
    for strength in (0.1, 0.5, 1.0):
        (made,) = model([image], ["a cat"], [""], [1], strength=strength, steps=10, guidance=1.0)
        assert made.shape == image.shape
        kept.append(made)
    assert len({picture.tobytes() for picture in kept}) == 3
    (tall,) = model(noise(1, 96, 64), ["a cat"], [""], [1], strength=0.5, steps=4, guidance=1.0)
    assert tall.shape == (96, 64, 3)


@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (130, 70)])
def test_only_the_hole_is_filled_at_any_size(models, shape):
    model = models("inpaint", steps=3)
    (image,) = noise(1, *shape)
    hole = np.zeros(shape, bool)
    hole[10:30, 20:40] = True
    filled, untouched = model([image, image], [hole, np.zeros(shape, bool)], [1, 2])
    assert (filled.method, untouched.method) == ("diffusion", "none")
    assert filled.image.shape == image.shape
    assert np.array_equal(filled.image[~hole], image[~hole])
    assert (filled.image[hole] != image[hole]).any(axis=-1).mean() > 0.9
    assert np.array_equal(untouched.image, image)


def test_holes_depend_on_seed_and_prompt_and_not_on_the_batch(models):
    hole = np.zeros((SIDE, SIDE), bool)
    hole[16:48, 16:48] = True
    images = [*noise(3), *noise(1, 48, 64)]
    holes = [hole, hole, hole, hole[:48]]
    model = models("inpaint", steps=3)
    together = model(images, holes, SEEDS[:4])
    for number in range(4):
        (alone,) = model([images[number]], [holes[number]], [SEEDS[number]])
        assert furthest([alone.image], [together[number].image]) <= LEVELS
    for other in (models("inpaint", steps=3, prompt="a meadow"), models("inpaint", steps=3, side=128)):
        assert not np.array_equal(other(images[:1], holes[:1], SEEDS[:1])[0].image, together[0].image)


@pytest.mark.parametrize("seed", range(4))
def test_no_cell_of_the_latents_keeps_a_part_of_what_is_to_go(seed):
    """A filler that knows the ground, on a flat picture: it fills whole cells, and keeps what the mask doesn't name."""
    import torch

    rng, cell, outer = np.random.default_rng(seed), 8, (128, 128)
    height, width = (int(side) for side in rng.integers(40, 150, 2))
    hole = np.zeros((height, width), bool)
    top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
    hole[top : top + int(rng.integers(1, height // 2)), left : left + int(rng.integers(1, width // 2))] = True
    flat = np.full((height, width, 3), 90, np.uint8)
    picture = np.where(hole[..., None], np.uint8(250), flat)
    scale = 128 / max(height, width)
    inner = round(height * scale), round(width * scale)
    mask = grown(hole, inner, outer, cell)
    cells = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), scale_factor=1 / cell)
    inside = cells[0, 0].repeat_interleave(cell, 0).repeat_interleave(cell, 1).numpy() > 127
    seen = extended(picture, inner, outer)
    made = np.where(inside[..., None], np.uint8(90), seen)
    assert (made == 90).all()


def test_a_picture_that_comes_out_black_is_left_as_it_was(models, monkeypatch):
    """As of a network that overflows in half precision; the others of the batch are filled."""
    model = models("inpaint", steps=3)
    real = type(model.pipeline.vae).decode

    def overflowing(self, latents, **options):
        (pictures,) = real(self, latents, **options)
        pictures[0, 1, 3, 4] = np.inf
        return (pictures,)

    monkeypatch.setattr(type(model.pipeline.vae), "decode", overflowing)
    hole = np.zeros((SIDE, SIDE), bool)
    hole[10:30, 20:40] = True
    images = noise(2)
    broken, sound = model(images, [hole, hole], SEEDS[:2])
    assert (broken.method, sound.method) == (BLANK, "diffusion")
    assert np.array_equal(broken.image, images[0])
    text = models("text_to_image")
    black, other = make(text, "text_to_image", [0, 1])
    assert not black.any()
    assert other.std() > 2


def test_large_pictures_are_decoded_one_by_one(models, monkeypatch):
    model, sides = models("text_to_image"), []
    real = type(model.pipeline.vae).decode

    def noted(self, latents, **options):
        sides.append(tuple(latents.shape))
        return real(self, latents, **options)

    monkeypatch.setattr(type(model.pipeline.vae), "decode", noted)
    small = make(model, "text_to_image", range(3))
    assert sides == [(3, 4, 8, 8)]
    sides.clear()
    monkeypatch.setattr(pipelines, "LARGE", SIDE)
    assert furthest(make(model, "text_to_image", range(3)), small) <= LEVELS
    assert sides == [(1, 4, 8, 8)] * 3


def test_pictures_are_carried_on_to_the_models_multiple():
    ramp = np.tile(np.arange(50, dtype=np.uint8)[:, None, None], (1, 30, 3))
    wider = extended(ramp, (50, 30), (56, 32))
    assert wider.shape == (56, 32, 3)
    assert np.array_equal(wider[:50, :30], ramp)
    assert (wider[50:] == 49).all()


@pytest.mark.parametrize(
    "options",
    [{"attention": "sliced"}, {"attention": "plain"}, {"vae_slicing": True}, {"vae_tiling": True}],
    ids=lambda o: "_".join(map(str, *o.items())),
)
def test_memory_savers_change_next_to_nothing(models, options):
    saving = make(models("text_to_image", **options), "text_to_image", range(2), steps=2)
    assert furthest(saving, make(models("text_to_image"), "text_to_image", range(2), steps=2)) <= LEVELS


@pytest.mark.slow
def test_compiled_networks_make_the_same_pictures(tiny, models, monkeypatch):
    """With the backend that only traces; the others need a compiler and minutes."""
    import torch

    compiled = []

    def traced(network, compile=torch.compile):
        compiled.append(network)
        return compile(network, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    folder = tiny / "text_to_image"
    model = DIFFUSION.load(entry(folder, task="text_to_image", compile=True), folder, {})
    assert [type(network).__name__ for network in compiled] == ["UNet2DConditionModel"]
    pictures = make(model, "text_to_image", [0], steps=1)
    assert furthest(pictures, make(models("text_to_image"), "text_to_image", [0], steps=1)) <= LEVELS


@pytest.mark.parametrize("task", ["text_to_image", "image_to_image", "inpaint"])
def test_a_compiled_network_sees_full_batches_alone(tiny, models, monkeypatch, task):
    """Fewer pictures than before are filled up with some that are dropped; out of memory, it begins anew."""
    import torch

    monkeypatch.setattr(torch, "compile", lambda network: torch._dynamo.OptimizedModule(network, lambda call: call))
    place, shapes = tiny / {"image_to_image": "text_to_image"}.get(task, task), []
    steps = {"steps": 2} if task == "inpaint" else {}
    model = DIFFUSION.load(entry(place, task=task, compile=True, **steps), place, {})
    model.pipeline.unet._orig_mod.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape[0]))

    def made(model, numbers):
        if task != "inpaint":
            return make(model, task, numbers, steps=2)
        hole = np.zeros((SIDE, SIDE), bool)
        hole[10:30, 20:40] = True
        found = model([noise(5)[n] for n in numbers], [hole] * len(numbers), [SEEDS[n] for n in numbers])
        return [one.image for one in found]

    plain = made(models(task, **steps), range(4))
    for numbers in ([0, 1, 2], [3], [1, 2]):
        assert furthest(made(model, numbers), [plain[n] for n in numbers]) <= LEVELS
    assert set(shapes) == {6}  # with the half without the prompt
    real = type(model)._decoded
    monkeypatch.setattr(type(model), "_decoded", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError):
        made(model, [0, 1, 2])
    monkeypatch.setattr(type(model), "_decoded", real)
    shapes.clear()
    made(model, [0])
    assert set(shapes) == {2}


def test_layout_and_precision_are_options(tiny, models):
    """Neither changes much on a CPU; how fast they are on a GPU is another question."""
    import torch

    place = tiny / "text_to_image"
    model = DIFFUSION.load(entry(place, task="text_to_image", channels_last=True, tf32=True), place, {})
    assert model.tf32
    for part in (model.pipeline.unet, model.pipeline.vae):
        weights = next(one for one in part.parameters() if one.ndim == 4 and one.shape[-1] == 3)
        assert weights.is_contiguous(memory_format=torch.channels_last)
    pictures = make(model, "text_to_image", [0])
    assert furthest(pictures, make(models("text_to_image"), "text_to_image", [0])) <= LEVELS
    assert not models("text_to_image").tf32


@pytest.mark.parametrize(("task", "folder"), [("text_to_image", "text_to_image"), ("image_to_image", "xl")])
@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_parts_that_wait_on_the_cpu_change_nothing(tiny, models, monkeypatch, task, folder, offload):
    """accelerate's hooks move each part to the device, here the CPU, so decoding must wait for denoising."""
    monkeypatch.setattr(DiffusionPipeline, "enable_sequential_cpu_offload", offload_by_module)
    place = tiny / folder
    model = DIFFUSION.load(entry(place, task=task, offload=offload), place, {})
    assert any(hasattr(part, "_hf_hook") for part in model.pipeline.vae.modules())
    assert model._decoding is model._denoising
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda number: make(model, task, [number]), range(2)))
    assert furthest([*halves[0], *halves[1]], make(models(task, folder), task, range(2))) <= LEVELS


# ── what isn't loaded ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny / "text_to_image", tmp_path / "mine")


def refused(folder, match, **fields):
    with pytest.raises(ModelUnavailable, match=match):
        DIFFUSION.load(entry(folder, **{"task": "text_to_image", **fields}), folder, {})


def test_a_pickle_is_refused_by_name_and_never_opened(copied):
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.bin")).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    refused(copied, r"unet has its weights as a pickle \(diffusion_pytorch_model\.bin\).*docs/operate/models\.md")


def test_a_pickle_beside_safetensors_is_left_alone(copied):
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert DIFFUSION.load(entry(copied, task="text_to_image"), copied, {})


def test_a_folder_with_code_is_refused(copied):
    (copied / "unet" / "mine.py").write_text("raise SystemExit")
    refused(copied, r"contains code \(unet/mine\.py\), which is never run")


def test_what_is_no_pipeline_is_said_in_one_line(copied, tmp_path):
    refused(tmp_path, r"has no model_index\.json")
    refused(copied, "has no weights of the variant 'fp32'; change `variant` in the table", variant="fp32")
    shutil.rmtree(copied / "vae")
    refused(copied, r"has no folder vae, which its model_index\.json names")


HALF = r"computes in float16, which needs a GPU.*\$VARIORUM_MODELS.*dtype = \"float32\""


@pytest.mark.parametrize(
    ("fields", "packages", "said"),
    [
        ({}, (), "needs the packages diffusers, transformers, torch"),
        ({}, ("diffusers", "torch"), "needs the package transformers$"),
        ({"dtype": "float16"}, None, HALF),
        (
            {"offload": "model"},
            ("diffusers", "transformers", "torch"),
            r"offload = 'model' needs the package accelerate",
        ),
        ({"offload": "sequential"}, None, "offload = 'sequential' needs a GPU, and this machine has none"),
        ({"attention": "xformers"}, ("diffusers", "transformers", "torch"), "needs the package xformers: pip install"),
        ({"attention": "xformers"}, None, "attention = 'xformers' needs a GPU"),
        ({"attention": "sliced", "vae_tiling": True, "compile": True}, None, "^$"),
    ],
)
def test_what_a_machine_lacks_is_known_without_loading(tiny, monkeypatch, fields, packages, said):
    """`packages` are the installed ones, None for all."""
    for module in (pretrained, pipeline_options):
        monkeypatch.setattr(module, "best_device", lambda: "cpu")
    monkeypatch.setattr(pretrained, "find_spec", lambda name: packages is None or name in packages or None)
    assert re.search(said, DIFFUSION.problem(entry(tiny / "text_to_image", task="text_to_image", **fields)))


def test_a_gpu_is_enough_for_half_precision_and_offloading(tiny, monkeypatch):
    for module in (pretrained, pipeline_options):
        monkeypatch.setattr(module, "best_device", lambda: "cuda")
    asked = entry(tiny / "text_to_image", task="text_to_image", dtype="float16", offload="model")
    assert DIFFUSION.problem(asked) == ""


def test_xl_hides_no_watermark_whatever_is_installed(tiny, monkeypatch):
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl as xl

    monkeypatch.setattr(xl, "is_invisible_watermark_available", lambda: True)
    monkeypatch.setattr(xl, "StableDiffusionXLWatermarker", lambda: "a watermark", raising=False)
    assert xl.StableDiffusionXLPipeline.from_pretrained(tiny / "xl").watermark == "a watermark"
    model = DIFFUSION.load(entry(tiny / "xl", task="text_to_image"), tiny / "xl", {})
    assert model.pipeline.watermark is None


def test_settings_without_meaning_are_refused(tiny):
    for options in ({"task": "song"}, {"task": "inpaint", "offload": "disk"}, {"colour": 1}):
        with pytest.raises(ValidationError):
            DIFFUSION.load(entry(tiny / "inpaint", **options), tiny / "inpaint", {})


# ── judges ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def checker(tiny):
    folder = tiny / "text_to_image"
    return SAFETY_CHECKER.load(entry(folder, "safety_checker"), folder, {})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_checkers_decision_is_diffusers_own(checker):
    import torch

    images = [picture for side in (40, 64) for picture in noise(8, side, 64)]
    model = checker._model
    inputs = checker._processor(images=images, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    flagged = set()
    try:
        for limit in (-0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4):
            model.concept_embeds_weights.data.fill_(limit)
            for special in (1.0, -1.0):
                model.special_care_embeds_weights.data.fill_(special)
                margins = checker(images)
                _, theirs = model(inputs, list(np.zeros((len(images), 1, 1))))
                assert (margins > 0).tolist() == theirs
                flagged |= set(theirs)
    finally:
        model.concept_embeds_weights.data = torch.ones(17)
        model.special_care_embeds_weights.data = torch.ones(3)
    assert flagged == {True, False}
    assert checker([]).shape == (0,)


def test_a_folder_without_a_checker_is_refused(tiny):
    with pytest.raises(ModelUnavailable, match="can't be loaded as StableDiffusionSafetyChecker"):
        SAFETY_CHECKER.load(entry(tiny / "inpaint", "safety_checker"), tiny / "inpaint", {})
