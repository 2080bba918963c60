"""API tests on random weights of pipelines conditioned on a picture, its edges or a layout."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from tiny_pipelines import SIDE, save_conditioned

from variorum.models import ModelTable
from variorum.models.diffusion.images import canny_edges
from variorum.models.loaders.stable_diffusion import CONTROL_NETWORK, DIFFUSION
from variorum.models.table_entries import Entry, read_table
from variorum.schemas.errors import ModelUnavailable

LEVELS = 1
"""Grey levels by which a pixel may change with the batch."""
PROMPTS = ["make it snow", "a dog", "turn it into clay", "the sea"]
SEEDS = [11, 12, 13, 14]
LEFT = np.array([[0.0, 0.1, 0.5, 0.9]])
BOTH = np.array([[0.0, 0.1, 0.5, 0.9], [0.5, 0.0, 1.0, 1.0]])
LAYOUTS = [(LEFT, ["a cat"]), (BOTH, ["a cat", "a tree"]), (LEFT, ["a cat"]), (LEFT, ["a boat"])]
TASKS = ["instruction_edit", "edge_to_image", "layout_to_image"]


def entry(folder, loader="diffusion", uses=(), dtype="float32", **options):
    return Entry(
        name="tiny",
        loader=loader,
        local={"path": str(folder)},
        options=options,
        uses=uses,
        dtype=dtype,
        licence="none",
        source="random weights",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("conditioned")
    save_conditioned(place)
    return place


@pytest.fixture(scope="module")
def control(folder):
    return CONTROL_NETWORK.load(entry(folder / "control", "control_network"), folder / "control", {})


@pytest.fixture(scope="module")
def models(folder, tiny, control):
    found = {}
    for task in TASKS:
        place = tiny / "text_to_image" if task == "edge_to_image" else folder / task
        used = {"edge_network": control} if task == "edge_to_image" else {}
        found[task] = DIFFUSION.load(entry(place, task=task), place, used)
    return found


def photo(seed, height=SIDE, width=SIDE):
    """Blocks of flat colours, so that there are edges."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.ascontiguousarray(blocks.repeat(height // 4, 0).repeat(width // 4, 1))


def make(models, task, numbers, **changes):
    """Pictures `numbers` of four requests, each with a picture, a layout, a text and a seed."""
    images, prompts = [photo(n) for n in numbers], [PROMPTS[n] for n in numbers]
    seeds, nothing = [SEEDS[n] for n in numbers], [""] * len(numbers)
    settings = {"steps": 2, "guidance": 4.0, **changes}
    model = models[task]
    if task == "instruction_edit":
        return model(images, prompts, seeds, **{"image_guidance": 1.5, **settings})
    if task == "edge_to_image":
        return model(images, prompts, nothing, seeds, **{"scale": 1.0, **settings})
    boxes, phrases = [LAYOUTS[n][0] for n in numbers], [LAYOUTS[n][1] for n in numbers]
    return model(prompts, nothing, boxes, phrases, seeds, **{"grounded": 1.0, "size": None, **settings})


def furthest(first, second):
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_depends_on_its_seed_and_not_on_its_batch(models, task):
    alone = [make(models, task, [n])[0] for n in range(4)]
    assert all(picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8 for picture in alone)
    assert all(picture.std() > 2 for picture in alone)
    assert furthest(make(models, task, range(4)), alone) <= LEVELS
    assert furthest(make(models, task, [3, 0, 2, 1]), [alone[n] for n in (3, 0, 2, 1)]) <= LEVELS
    assert np.array_equal(make(models, task, [2])[0], alone[2])
    assert make(models, task, []) == []


def test_the_global_random_state_is_neither_used_nor_moved(models):
    import torch

    for task in TASKS:
        first = make(models, task, [0])
        torch.manual_seed(99)
        before = torch.get_rng_state()
        assert np.array_equal(first, make(models, task, [0]))
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("instruction_edit", {"guidance": 2.0}),
        ("instruction_edit", {"image_guidance": 3.0}),
        ("edge_to_image", {"guidance": 2.0}),
        ("edge_to_image", {"scale": 0.0}),
        ("layout_to_image", {"guidance": 2.0}),
        ("layout_to_image", {"grounded": 0.0}),
    ],
)
def test_settings_have_an_effect(models, task, changes):
    assert not np.array_equal(make(models, task, [0])[0], make(models, task, [0], **changes)[0])


def test_the_picture_to_edit_has_an_effect_and_keeps_its_size(models):
    model, settings = models["instruction_edit"], {"steps": 3, "guidance": 4.0, "image_guidance": 1.5}
    (first,), (second,) = (model([photo(n)], ["snow"], [1], **settings) for n in (1, 2))
    assert not np.array_equal(first, second)
    assert model([photo(1, 96, 64)], ["snow"], [1], **settings)[0].shape == (96, 64, 3)
    assert model.multiple == 8
    assert model.size == SIDE
    assert model.cut(["x" * 76, "snow"]) == [True, False]
    with pytest.raises(ValueError, match=r"one size, got \[\(64, 64\), \(96, 64\)\]"):
        model([photo(1), photo(1, 96, 64)], ["snow"] * 2, [1, 2], **settings)
    with pytest.raises(ValueError, match="60 and 64 pixels are no multiples of 8"):
        model([photo(1, 60, 64)], ["snow"], [1], **settings)
    with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
        model([photo(1)], ["snow"], [1], **{**settings, "image_guidance": 0.5})


def test_an_edit_is_the_bare_pipelines(models):
    import torch
    from PIL import Image

    model = models["instruction_edit"]
    generators = [torch.Generator("cpu").manual_seed(SEEDS[0])]
    bare = model.pipeline(
        prompt=PROMPTS[:1],
        image=[Image.fromarray(photo(0))],
        num_inference_steps=2,
        guidance_scale=4.0,
        image_guidance_scale=1.5,
        generator=generators,
        output_type="np",
    ).images
    assert np.array_equal(make(models, "instruction_edit", [0])[0], (bare[0] * 255).round().astype(np.uint8))


def test_nothing_of_a_picture_but_its_edges_is_seen(models):
    model, settings = models["edge_to_image"], {"scale": 1.0, "steps": 3, "guidance": 4.0}

    def made(image):
        return model([image], ["a dog"], [""], [1], **settings)[0]

    dark = np.zeros((SIDE, SIDE, 3), np.uint8)
    dark[16:48, 16:48] = 120
    shifted = np.roll(dark, 8, axis=1)
    assert np.array_equal(made(dark), made(dark + np.uint8(100)))
    assert not np.array_equal(made(dark), made(shifted))
    assert made(np.zeros((SIDE, 96, 3), np.uint8)).shape == (SIDE, 96, 3)


def test_edges_are_white_lines_on_black():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    found = canny_edges(image, 100, 200)
    assert found.shape == image.shape
    assert set(np.unique(found)) == {0, 255}
    assert found[:, 31:33].any(axis=(1, 2)).all()
    assert not found[:, :30].any()
    assert not found[:, 34:].any()
    assert not canny_edges(np.full((64, 64, 3), 9, np.uint8), 100, 200).any()


def test_boxes_and_phrases_have_an_effect(models):
    model = models["layout_to_image"]

    def made(boxes, phrases, size=None):
        settings = {"grounded": 1.0, "steps": 3, "guidance": 4.0, "size": size}
        return model(["a park"], [""], [boxes], [phrases], [1], **settings)[0]

    plain = made(LEFT, ["a cat"])
    moved = LEFT + np.array([0.2, 0, 0.2, 0])
    for other in (made(moved, ["a cat"]), made(LEFT, ["a dog"]), made(BOTH, ["a cat", "a dog"])):
        assert not np.array_equal(plain, other)
    assert np.array_equal(plain, made(LEFT, ["a cat"]))  # a call leaves no state behind
    assert made(LEFT, ["a cat"], size=96).shape == (96, 96, 3)


@pytest.mark.parametrize(
    ("boxes", "phrases", "message"),
    [
        (np.zeros((0, 4)), [], "1 to 30 boxes"),
        (np.tile(LEFT, (31, 1)), ["a cat"] * 31, r"got boxes \[31, 4\] and 31 phrases"),
        (LEFT, ["a cat", "a dog"], r"boxes \[1, 4\] and 2 phrases"),
        (LEFT * 64, ["a cat"], "as fractions of the sides, 0 to 1"),
        (LEFT[:, [2, 1, 0, 3]], ["a cat"], "left, top, right, bottom"),
        (LEFT * np.nan, ["a cat"], "0 to 1"),
        (LEFT, ["x" * 90], "longer than the text encoder reads"),
    ],
)
def test_a_layout_that_is_none_is_refused(models, boxes, phrases, message):
    settings = {"grounded": 1.0, "steps": 3, "guidance": 4.0, "size": None}
    with pytest.raises(ValueError, match=message):
        models["layout_to_image"](["a park"], [""], [boxes], [phrases], [1], **settings)


def test_thirty_boxes_are_taken(models):
    many, names = np.tile(LEFT, (30, 1)), ["a cat"] * 30
    settings = {"grounded": 0.5, "steps": 2, "guidance": 4.0, "size": None}
    (made,) = models["layout_to_image"](["a park"], [""], [many], [names], [1], **settings)
    assert made.shape == (SIDE, SIDE, 3)


# ── what isn't loaded ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("task", "message"),
    [("instruction_edit", "isn't trained to edit"), ("layout_to_image", "attention isn't gated")],
)
def test_another_model_than_the_tasks_is_refused(tiny, task, message):
    place = tiny / "text_to_image"
    with pytest.raises(ModelUnavailable, match=message):
        DIFFUSION.load(entry(place, task=task), place, {})


def test_edges_want_one_control_network_that_fits(tiny, folder, control):
    import torch

    place, task = tiny / "text_to_image", {"task": "edge_to_image"}
    with pytest.raises(ModelUnavailable, match="edge_to_image uses a control network"):
        DIFFUSION.load(entry(place, **task), place, {})
    with pytest.raises(ModelUnavailable, match="it uses a model that isn't a pipeline with a U-Net"):
        DIFFUSION.load(entry(place, task="text_to_image"), place, {"edge_network": control})
    half = CONTROL_NETWORK.load(entry(folder / "control", "control_network", dtype="bfloat16"), folder / "control", {})
    assert half.dtype == torch.bfloat16
    with pytest.raises(ModelUnavailable, match=r"fit together: .* computed in torch\.float32 and torch\.bfloat16"):
        DIFFUSION.load(entry(place, **task), place, {"edge_network": half})


def test_a_control_network_that_is_a_pickle_is_refused(folder, tmp_path):
    copied = shutil.copytree(folder / "control", tmp_path / "control")
    weights = copied / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin")).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ModelUnavailable, match="can't be loaded as ControlNetModel with safetensors weights"):
        CONTROL_NETWORK.load(entry(copied, "control_network"), copied, {})


def test_a_table_puts_the_two_together(tiny, folder, tmp_path, monkeypatch):
    rest = 'licence = "none"\nsource = "random weights"\n'
    (tmp_path / "models.toml").write_text(
        f'[edge_to_image]\nname = "tiny/edges"\nloader = "diffusion"\nuses = ["edge_network"]\n'
        f'local = {{ path = "{tiny / "text_to_image"}" }}\noptions = {{ task = "edge_to_image" }}\n{rest}'
        f'[edge_network]\nname = "tiny/control"\nloader = "control_network"\n'
        f'local = {{ path = "{folder / "control"}" }}\n{rest}'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    table = ModelTable("embedded", tmp_path / "cache")
    assert table.pin("edge_to_image").endswith(f";edge_network={table.pin('edge_network')}")
    settings = {"scale": 1.0, "steps": 2, "guidance": 2.0}
    (made,) = table.get("edge_to_image")([photo(0)], ["a dog"], [""], [1], **settings)
    assert made.shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    "alias",
    sorted(
        alias for alias, (found, _) in read_table("hub").items() if found.loader == "diffusion" and not found.optional
    ),
)
def test_the_files_that_the_hub_table_names_are_enough(alias, folder, tiny, control, tmp_path):
    found, _ = read_table("hub")[alias]
    task = found.options["task"]
    whole = {
        "text_to_image": tiny / "xl",
        "text_to_image_small": tiny / "text_to_image",
        "image_to_image": tiny / "text_to_image",
        "edge_to_image": tiny / "text_to_image",
    }.get(alias, tiny / task if (tiny / task).is_dir() else folder / task)
    for name in (name.replace(".fp16.", ".") for name in found.hub_repo.files):
        part = "tokenizer.json" if name.startswith("tokenizer") else ""  # how the tiny ones are saved
        place = (whole / name).with_name(part) if part else whole / name
        target = tmp_path / place.relative_to(whole)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(place, target)
    DIFFUSION.load(entry(tmp_path, task=task), tmp_path, {"edge_network": control} if found.uses else {})
