"""API tests of DiT on random weights; its pictures are noise."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from diffusers import DiffusionPipeline
from hub_layouts import stable_diffusion
from hub_layouts.stable_diffusion import dit
from tiny_pipelines import offload_by_module

from variorum.generators.imagenet_g.class_conditional import ClassConditional
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable, pretrained
from variorum.models.diffusion import options as pipeline_options
from variorum.models.loaders.class_conditional import CLASS_DIFFUSION, dit_scheduler
from variorum.models.table_entries import Entry
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.sources.class_names import ClassNames

SIDE = 8 * stable_diffusion.SIDE
LEVELS = 1
SETTINGS = {"guidance": 3.0, "steps": 3, "sampler": "ddim"}


def entry(folder, **fields):
    place = {"path": str(folder)}
    return Entry(name="tiny", loader="class_diffusion", local=place, licence="none", source="random weights", **fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("transformer")
    dit(place)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return CLASS_DIFFUSION.load(entry(folder), folder, {})


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_a_picture_depends_on_its_seed_and_class_and_not_on_its_batch(model, sampler):
    settings = {**SETTINGS, "sampler": sampler}
    together = model([1, 2, 3], [11, 12, 13], **settings)
    assert together.shape == (3, SIDE, SIDE, 3)
    assert model.size == SIDE
    alone = [model([label], [seed], **settings)[0] for label, seed in ((1, 11), (2, 12), (3, 13))]
    assert np.abs(together.astype(int) - np.stack(alone)).max() <= LEVELS
    assert np.array_equal(model([2], [12], **settings)[0], alone[1])
    for other in (model([5], [12], **settings), model([2], [14], **settings)):
        assert not np.array_equal(other[0], alone[1])


def test_guidance_has_an_effect_and_nothing_may_be_asked_for(model):
    assert not np.array_equal(model([1], [1], **SETTINGS), model([1], [1], **{**SETTINGS, "guidance": 1.0}))
    assert model([], [], **SETTINGS).shape == (0, SIDE, SIDE, 3)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_it_makes_what_the_bare_pipeline_makes(model, folder, guidance, sampler):
    import diffusers
    import torch

    made = model([5, 7], [11, 12], guidance=guidance, steps=3, sampler=sampler)
    bare = diffusers.DiTPipeline.from_pretrained(folder)
    bare.set_progress_bar_config(disable=True)
    bare.scheduler = dit_scheduler(bare.scheduler.config, sampler)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in (11, 12)]
    theirs = bare([5, 7], guidance_scale=guidance, generator=generators, num_inference_steps=3, output_type="np").images
    assert np.abs(made - (theirs * 255).round()).max() <= LEVELS  # the pipeline multiplies by the scale, we divide


def test_decoding_goes_on_beside_denoising(model, monkeypatch):
    """One call decodes while another denoises: each waits for the other, and both finish."""
    meeting = threading.Barrier(2, timeout=30)
    decoded, denoised = model._decoded, model._denoised
    begun = threading.Event()

    def decode(latents):
        if not begun.is_set():
            begun.set()
            meeting.wait()
        return decoded(latents)

    def denoise(*args):
        if begun.is_set():
            meeting.wait()
        return denoised(*args)

    monkeypatch.setattr(model, "_decoded", decode)
    monkeypatch.setattr(model, "_denoised", denoise)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(model, [1], [11], **SETTINGS)
        assert begun.wait(30)
        second = pool.submit(model, [2], [12], **SETTINGS)
        pictures = first.result()[0], second.result()[0]
    monkeypatch.undo()
    assert np.array_equal(pictures[0], model([1], [11], **SETTINGS)[0])
    assert np.array_equal(pictures[1], model([2], [12], **SETTINGS)[0])


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "plain"},
        {"attention": "sliced"},
        {"vae_slicing": True},
        {"vae_tiling": True},
        {"offload": "model"},
        {"offload": "sequential"},
    ],
    ids=lambda o: "_".join(map(str, *o.items())),
)
def test_memory_savers_change_next_to_nothing(model, folder, monkeypatch, options):
    monkeypatch.setattr(DiffusionPipeline, "enable_sequential_cpu_offload", offload_by_module)
    saving = CLASS_DIFFUSION.load(entry(folder, options=options), folder, {})
    made = saving([1, 2], [11, 12], **SETTINGS)
    assert np.abs(made.astype(int) - model([1, 2], [11, 12], **SETTINGS)).max() <= LEVELS
    assert (saving._decoding is saving._denoising) == ("offload" in options)


def test_it_stands_behind_the_route_on_imagenets_classes(folder, tmp_path, monkeypatch):
    table = f'[dit]\nname = "tiny/dit"\nloader = "class_diffusion"\nlocal = {{ path = "{folder}" }}\n'
    (tmp_path / "models.toml").write_text(f'{table}licence = "none"\nsource = "random weights"\n')
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    source = ClassNames(per_class=1, only=("tench", "goldfish"))
    ctx = Context(0, ModelTable("embedded"), DiskMemo(tmp_path / "memo"), source)
    conf = ClassConditional(model="dit", steps=2)
    children = list(conf.generate(source.read(0, 2, ctx), ctx))
    assert [child.labels for child in children] == [("n01440764",), ("n01443537",)]
    clothes = ClassNames(table="fashion_mnist", per_class=1)
    with pytest.raises(RecipeError, match="knows no class 'tshirt_top'; it makes: n01440764"):
        list(conf.generate(clothes.read(0, 1, ctx), ctx))


def test_what_is_no_such_pipeline_is_refused(tmp_path, folder, tiny, monkeypatch):
    for module in (pretrained, pipeline_options):
        monkeypatch.setattr(module, "best_device", lambda: "cpu")
    with pytest.raises(ModelUnavailable, match=r"no model_index\.json"):
        CLASS_DIFFUSION.load(entry(tmp_path), tmp_path, {})
    with pytest.raises(ModelUnavailable, match="can't be loaded as DiTPipeline"):
        CLASS_DIFFUSION.load(entry(tiny / "text_to_image"), tiny / "text_to_image", {})
    assert "needs a GPU" in CLASS_DIFFUSION.problem(entry(folder, dtype="float16"))
    assert "needs a GPU" in CLASS_DIFFUSION.problem(entry(folder, options={"offload": "model"}))
    dit(tmp_path / "few", classes=10)
    with pytest.raises(ModelUnavailable, match="has 10 classes"):
        CLASS_DIFFUSION.load(entry(tmp_path / "few"), tmp_path / "few", {})
