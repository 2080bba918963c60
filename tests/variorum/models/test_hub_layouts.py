"""The checkpoints of profile hub in the layouts that were published, tiny and with random weights."""

from __future__ import annotations

import gzip
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_layouts import builders, entries
from hub_layouts.chat import FLAT
from hub_layouts.classifiers import VIT
from hub_layouts.clip import write_tokenizer
from hub_layouts.detectors import GROUNDED, write_owl_tokenizer
from hub_layouts.flow import MODEL
from hub_layouts.saved import CHECKER, NONE, TEXT, VAE, published

from variorum.machine.cache import cache_dir
from variorum.models.download import fetch
from variorum.models.loaders import find_loader
from variorum.models.table_entries import Entry, Wheel
from variorum.models.weights import locate
from variorum.schemas.errors import ModelUnavailable

pytestmark = pytest.mark.slow

LARGE = {"segmenter_large", "segmenter_huge"}
"""Same loader and layout as `segmenter`, but gigabytes in memory."""
ALIASES = sorted(set(builders()) - LARGE)
PHOTO = (np.mgrid[:96, :128].sum(0)[..., None] * np.array([1, 2, 3]) % 256).astype(np.uint8)
NAMES = {
    "CLIPTextModel": TEXT,
    "StableDiffusionSafetyChecker": CHECKER,
    "ViTForImageClassification": VIT,
    "Dinov2Model": VIT,
    "GroundingDinoForObjectDetection": GROUNDED,
    "Qwen2VLForConditionalGeneration": FLAT,
    "Qwen2_5_VLForConditionalGeneration": FLAT,
    "Qwen3Model": MODEL,
}
"""What was published in place of the names of today, by class."""
SHARED = {"edge_to_image", "encoder_independent", "detector_grounded", "clip_embedding"}
"""Aliases of a repository and loader that another alias has, too."""
OLD_TOKENIZERS = ("vocab.json", "merges.txt", "vocab.txt")
ONCE = [alias for alias in ALIASES if alias not in SHARED]
OURS = [
    alias
    for alias in ONCE
    if builders()[alias].__module__.split(".")[1]
    in ("chat", "classifiers", "clip", "detectors", "distilled", "flow", "segment_anything", "stable_diffusion")
]
OLD_BUFFERS = re.compile(r"position_ids$|relative_position_index$")
UNUSED = re.compile(r"conv_encoder\.model\.layernorm")
"""Tensors that a class of today has, but never uses: the norm after Grounding DINO's backbone."""
UNREAD = {"clip_embedding": re.compile("text_|logit_scale")}
"""Tensors of a shared file that an alias's loader has no use for."""
UNKEPT = {"denoiser": {"text_encoder"}}
"""Parts that a loader lets go when it has used them."""


def square(side):
    return np.ascontiguousarray(np.resize(PHOTO, (side, side, 3)))


def answered(alias, model):
    """What a model says to one call, as arrays."""
    import torch

    photos, texts, nothing, seeds = [square(128), square(128)[::-1]], ["a cat", "ein Café, 12-mal"], ["", ""], [1, 2]
    pictures = [np.ascontiguousarray(photo) for photo in photos]
    hole = np.zeros((128, 128), bool)
    hole[30:60, 30:90] = True
    distilled = entries()[alias].options.get("most_guidance") == 1
    steps = {"steps": 2, "guidance": 1.0 if distilled else 5.0}
    boxes = [np.array([[0.0, 0.1, 0.5, 0.9]])] * 2
    entry = entries()[alias]
    if entry.loader == "diffusion":
        return {
            "text_to_image": lambda: model(texts, nothing, seeds, **steps, size=None),
            "image_to_image": lambda: model(pictures, texts, nothing, seeds, strength=0.9, **steps),
            "image_variation": lambda: model(pictures, seeds, **steps, size=None),
            "inpaint": lambda: [one.image for one in model(pictures, [hole, hole], seeds, ["cat", "dog"])],
            "instruction_edit": lambda: model(pictures, texts, seeds, **steps, image_guidance=1.5),
            "edge_to_image": lambda: model(pictures, texts, nothing, seeds, scale=1.0, **steps),
            "layout_to_image": lambda: model(
                texts, nothing, boxes, [["cat"], ["dog"]], seeds, grounded=1.0, **steps, size=None
            ),
        }[entry.options["task"]]()
    if entry.loader == "control_network":
        shapes = (1, 4, 16, 16), (1, 77, 32), (1, 3, 128, 128)
        state, prompt, edges = (torch.linspace(0, 1, int(np.prod(shape))).reshape(shape) for shape in shapes)
        with torch.inference_mode():
            return [found.numpy() for found in model(state, 5, prompt, edges).down_block_res_samples]
    if entry.loader == "tiny_autoencoder":
        with torch.inference_mode():
            return [model.decode(torch.linspace(-1, 1, 4 * 64).reshape(1, 4, 8, 8)).sample.numpy()]
    if entry.loader == "latent_denoiser":
        state = model.encode(pictures)
        return [*model.decode(model.predict(state, 5).clean), model.preview(state).detach().numpy()]
    if entry.loader == "vision_language":
        return [np.frombuffer(text.encode(), np.uint8) for text in model(pictures, texts, most_tokens=3)]
    found = {
        "autoencoder": lambda: model.decode(model.encode(pictures)),
        "class_diffusion": lambda: list(model([1, 999], seeds, guidance=4.0, steps=2, sampler="ddim")),
        "detection": lambda: [part for one in model(pictures[:1], texts) for part in one],
        "zero_shot": lambda: [model(pictures, texts)],
    }
    if entry.loader in found:
        return found[entry.loader]()
    return [model(pictures)]


def networks(thing, seen):
    """All PyTorch modules that a loaded model holds, the outermost ones."""
    import torch

    if id(thing) in seen or isinstance(thing, str | int | float | np.ndarray | torch.Tensor | type):
        return
    seen.add(id(thing))
    if isinstance(thing, torch.nn.Module):
        yield thing
        return
    inside = list(thing.values()) if isinstance(thing, dict) else list(getattr(thing, "__dict__", {}).values())
    inside += list(thing) if isinstance(thing, list | tuple) else []
    for one in inside:
        yield from networks(one, seen)


def tensors_of(file: Path):
    """The tensors of a weights file; those of all shards together."""
    import torch
    from safetensors.torch import load_file

    if file.suffix == ".pth":
        return torch.load(file, weights_only=True)
    shards = sorted(file.parent.glob("*-of-*.safetensors")) if "-of-" in file.name else [file]
    return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}


def same(network, stored, unread):
    """Whether a network has all tensors of a file under the published names, and no others but tied ones."""
    import torch

    state = network.state_dict()
    theirs = {name for name in stored if not OLD_BUFFERS.search(name) and not (unread and unread.match(name))}
    for names in (NAMES.get(type(network).__name__, NONE), VAE, NONE):
        ours = published(state, names)
        if theirs <= set(ours):
            read = {ours[name].data_ptr() for name in theirs}
            added = [name for name in set(ours) - theirs if ours[name].data_ptr() not in read]
            equal = all(torch.equal(ours[name], stored[name].to(ours[name].dtype)) for name in theirs)
            return equal and all(UNUSED.search(name) for name in added)
    return False


def weights_files(folder, alias):
    """One file of each part of a checkpoint that has weights."""
    if folder.is_file():
        return [folder]
    named = [name for name in entries()[alias].hub_repo.files if name.endswith(".safetensors")]
    return [folder / name for name in named if "-00002-of-" not in name]


def without(folder: Path, name: str, target: Path) -> Path:
    """A copy of a checkpoint, of links, without the file of this name."""
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() != name:
            link = target / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    return target


def loaded(alias, table, folder):
    entry = table.entry(alias)
    return find_loader(entry.loader).load(entry, folder, {name: table.get(name) for name in entry.uses})


OPENED: set[str] = set()
sys.addaudithook(lambda event, told: event == "open" and isinstance(told[0], str) and OPENED.add(told[0]))
ELSEWHERE = re.compile(r"\.safetensors$|tokenizer\.json$|vocab\.json$|merges\.txt$|spiece\.model$")
"""Opened by compiled code."""
UNLESS_TOLD = re.compile(r"(special_tokens_map|added_tokens)\.json$")
"""Opened where the tokenizer's configuration doesn't say the same."""
KEPT: dict[str, tuple[Any, Path, set[str]]] = {}


@pytest.fixture
def checkpoint(hub_models, tmp_path):
    """Loads an alias's model once: the model, the folder, and the files in it that were opened."""

    def load(alias):
        table = hub_models(alias)
        if alias not in KEPT:
            place = locate(table.entry(alias), table.cache)
            folder = without(place, "", tmp_path / "copy") if place.is_dir() else place
            OPENED.clear()
            model = loaded(alias, table, folder)
            KEPT[alias] = model, place, {os.path.relpath(file, folder) for file in OPENED}
        return KEPT[alias]

    return load


@pytest.mark.parametrize("alias", [alias for alias in ONCE if entries()[alias].hub_repo])
def test_a_published_layout_needs_the_listed_files_and_no_others(alias, checkpoint):
    _, _, opened = checkpoint(alias)
    listed = set(entries()[alias].hub_repo.files)
    assert not {name for name in listed if not ELSEWHERE.search(name) and not UNLESS_TOLD.search(name)} - opened
    for name in listed:
        if name.endswith("tokenizer.json"):  # it has what these say
            assert not listed & {name.replace("tokenizer.json", other) for other in OLD_TOKENIZERS}


@pytest.mark.parametrize("alias", OURS)
def test_every_tensor_of_a_published_layout_is_read(alias, checkpoint):
    model, folder, _ = checkpoint(alias)
    held = list(networks(model, set()))
    for file in weights_files(folder, alias):
        if file.parent.name in UNKEPT.get(alias, ()):
            continue
        assert any(same(network, tensors_of(file), UNREAD.get(alias)) for network in held), file


@pytest.mark.parametrize(
    "alias", [alias for alias in OURS if entries()[alias].loader not in ("flow_transformer", "sam")]
)
def test_a_published_layout_answers_a_call(alias, checkpoint):
    """Segment Anything isn't called, as only its file is small; test_flow_transformers.py calls the others."""
    found = answered(alias, checkpoint(alias)[0])
    assert all(np.isfinite(part).all() for part in found)
    assert max(float(np.std(part)) for part in found) > 0


@pytest.mark.parametrize("alias", [alias for alias in OURS if entries()[alias].hub_repo])
def test_a_published_layout_that_lacks_a_tensor_is_refused(alias, checkpoint, hub_models, tmp_path, caplog):
    from safetensors.torch import load_file, save_file

    _, folder, _ = checkpoint(alias)
    file = weights_files(folder, alias)[0]
    name = file.relative_to(folder).as_posix()
    cut = without(folder, name, tmp_path / "cut")
    stored = load_file(file)
    unread = UNREAD.get(alias, OLD_BUFFERS)
    weights = [one for one in sorted(stored) if not OLD_BUFFERS.search(one) and not unread.match(one)]
    gone = weights[len(weights) // 2]
    save_file({one: tensor for one, tensor in stored.items() if one != gone}, cut / name, {"format": "pt"})
    caplog.clear()
    with pytest.raises(ModelUnavailable, match="has no tensor") as refused:
        loaded(alias, hub_models(alias), cut)
    assert len(str(refused.value).splitlines()) == 1
    assert not caplog.records


def test_sdxl_in_half_precision_decodes_in_single(hub_models):
    """A CPU can: its picture alone is the same as in a batch, and the autoencoder is in half precision again."""
    table = hub_models("text_to_image")
    entry = table.entry("text_to_image").model_copy(update={"dtype": "float16"})
    model = find_loader("diffusion").load(entry, locate(entry, table.cache), {})
    settings = {"steps": 2, "guidance": 5.0, "size": None}
    both = model(["a cat", "a dog"], ["", ""], [1, 2], **settings)
    (alone,) = model(["a dog"], [""], [2], **settings)
    assert {str(part.dtype) for part in (model.pipeline.unet, model.pipeline.vae)} == {"torch.float16"}
    assert both[1].std() > 5
    assert np.abs(both[1].astype(int) - alone).max() <= 1


PROMPTS = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "a café crème in a naïve São Paulo façade": [
        *(320, 15304, 1075, 12138, 614, 530, 320, 1097, 35689, 563, 45911, 21628, 778, 10067, 1928)
    ],
    "3 dogs, 12-year-old at 5:30": [274, 3255, 267, 272, 273, 268, 935, 268, 896, 536, 276, 281, 274, 271],
    "state-of-the-art, well-lit still-life": [
        *(1295, 268, 539, 268, 518, 268, 794, 267, 1123, 268, 4350, 1170, 268, 970)
    ],
    "Kühlschrank & Ångström's 2nd": [74, 6522, 8297, 844, 11501, 261, 23176, 10352, 807, 7255, 332, 568, 273, 1764],
}
"""Numbers that OpenAI's own tokenizer gives."""
VOCABULARY = Wheel(
    package="open-clip-torch==3.3.0",
    member="open_clip/bpe_simple_vocab_16e6.txt.gz",
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
)


def test_tokens_of_published_tokenizers_are_those_of_clip(tmp_path):
    """In all three layouts, with CLIP's whole vocabulary."""
    from transformers import AutoTokenizer, CLIPTokenizer

    entry = Entry(name="clip-vocabulary", loader="none", wheel=VOCABULARY, licence="MIT", source="OpenAI")
    lines = gzip.decompress(fetch(entry, cache_dir()).read_bytes()).decode().splitlines()
    merges = lines[1 : 49152 - 256 - 2 + 1]
    write_tokenizer(tmp_path / "first", merges=merges)
    write_tokenizer(tmp_path / "second", pad="!", merges=merges)
    write_owl_tokenizer(tmp_path / "owl", merges)
    first, second = (CLIPTokenizer.from_pretrained(tmp_path / name) for name in ("first", "second"))
    for tokenizer in (first, second, AutoTokenizer.from_pretrained(tmp_path / "owl")):
        assert len(tokenizer) == 49408
        assert tokenizer(list(PROMPTS)).input_ids == [[49406, *numbers, 49407] for numbers in PROMPTS.values()]
    padded = first(["a"], padding="max_length"), second(["a"], padding="max_length")
    assert [one.input_ids[0][3:] for one in padded] == [[49407] * 74, [0] * 74]
    assert [one("!!").input_ids[1:-1] for one in (first, second)] == [[748], [0, 0]]  # as diffusers has it
