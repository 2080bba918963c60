"""Heads over embeddings: each kind against its formula, converted ones against PyTorch, and the encoder's fit."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from hub_layouts.clip import clip_large
from safetensors.numpy import load_file, save_file
from tiny_pipelines import save_checker

from training.convert_safety_heads import HEADS, convert
from variorum.curation.safety.harms.alignment import alignment
from variorum.curation.safety.labelers.head import Head
from variorum.curation.safety.labelers.nudenet import Nudenet
from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.curation.safety.labelers.stable_diffusion_filter import StableDiffusionFilter
from variorum.kit.harms.categories import unsafebench
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.loaders.embedding_head import (
    EMBEDDING_HEAD,
    EmbeddingHead,
    HeadHeader,
    certainty,
    encoder_id,
    save_head,
)
from variorum.models.table_entries import Entry
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.safety import ANY, Shown
from variorum.schemas.sample import Sample

WIDTH = 768
RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, WIDTH)).astype(np.float32)
ENCODER = "git:abc+clip_embedding.1"


def loaded(file):
    entry = Entry(
        name="head", loader="embedding_head", local={"path": str(file)}, licence="none", source="random weights"
    )
    assert not EMBEDDING_HEAD.problem(entry)
    return EMBEDDING_HEAD.load(entry, file, {})


def test_a_linear_head_is_a_logistic_regression_whatever_the_batch(tmp_path):
    weight, bias = RNG.normal(size=(2, WIDTH)) / 30, np.array([0.5, -1.0])
    header = HeadHeader(kind="linear", outputs={"hate": 1, "spam": 0}, encoder=ENCODER)
    save_head(tmp_path / "h.safetensors", header, {"weight": weight, "bias": bias})
    head = loaded(tmp_path / "h.safetensors")
    expected = 1 / (1 + np.exp(-(X @ weight.T + bias)))
    assert head.categories == ("hate", "spam")
    np.testing.assert_allclose(head(X), expected[:, [1, 0]], atol=1e-6)
    assert np.array_equal(head(X), np.concatenate([head(X[n : n + 1]) for n in range(5)]))
    assert head(X[:0]).shape == (0, 2)


def test_converted_networks_compute_what_pytorch_computes(tmp_path):
    torch.manual_seed(0)
    networks = {}
    for name in HEADS:
        parts = (torch.nn.Linear(WIDTH, 12), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(12))
        network = torch.nn.Sequential(*parts, torch.nn.Linear(12, 1))
        network(torch.randn(64, WIDTH))  # moves the running statistics
        torch.save(network.eval().state_dict(), tmp_path / f"{name}.pt")
        networks[name] = network
    convert("multiheaded", tmp_path, tmp_path / "h.safetensors", ENCODER)
    head = loaded(tmp_path / "h.safetensors")
    assert head.categories == ("sexual", "violence", "shocking", "hate", "political")
    with torch.no_grad():
        expected = torch.cat([network(torch.from_numpy(X)).sigmoid() for network in networks.values()], 1)
    np.testing.assert_allclose(head(X), expected.numpy(), atol=1e-5)


def test_the_nsfw_head_normalises_first(tmp_path):
    sizes = [WIDTH, 64, 512, 256, 1]
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    mean, variance = torch.randn(WIDTH) / 30, torch.rand(WIDTH) / 100 + 0.001
    state = {"norm.mean": mean, "norm.variance": variance}
    for number, layer in enumerate(linear, 1):
        state |= {f"linear_{number}.{part}": value for part, value in layer.state_dict().items()}
    torch.save(state, tmp_path / "nsfw.pth")
    convert("nsfw_head", tmp_path / "nsfw.pth", tmp_path / "h.safetensors", ENCODER)
    x = torch.nn.functional.normalize(torch.from_numpy(X))
    x = (x - mean) / variance.sqrt()
    with torch.no_grad():
        for number, layer in enumerate(linear):
            x = layer(torch.relu(x) if number else x)
    head = loaded(tmp_path / "h.safetensors")
    assert head.categories == ("sexual", "harassment")
    np.testing.assert_allclose(head(X), x.sigmoid().numpy().repeat(2, 1), atol=1e-4)


def test_learned_texts_and_concepts(tmp_path):
    texts = RNG.normal(size=(2, WIDTH))
    np.save(tmp_path / "prompts.npy", texts)
    convert("q16", tmp_path / "prompts.npy", tmp_path / "q16.safetensors", ENCODER)
    cosines = (X / np.linalg.norm(X, axis=1, keepdims=True)) @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
    expected = np.exp(100 * cosines) / np.exp(100 * cosines).sum(1, keepdims=True)
    head = loaded(tmp_path / "q16.safetensors")
    assert len(head.categories) == 9
    np.testing.assert_allclose(head(X)[:, 0], expected[:, 1], atol=1e-5)

    concepts = X[:1] + RNG.normal(size=(1, WIDTH))  # near the first picture
    cosine = float((X[0] / np.linalg.norm(X[0])) @ (concepts[0] / np.linalg.norm(concepts[0])))
    tensors = {"concepts": concepts, "limits": [cosine + 0.005], "special": X[:1], "special_limits": [2.0]}
    header = HeadHeader(kind="concepts", outputs={"sexual": 0}, encoder=ENCODER)
    assert EmbeddingHead(header, tensors)(X)[0, 0] == pytest.approx(certainty(-0.005), abs=1e-4)
    assert EmbeddingHead(header, {**tensors, "special_limits": [0.5]})(X)[0, 0] == pytest.approx(
        certainty(0.005), abs=1e-4
    )


def test_pickles_and_other_files_are_refused(tmp_path):
    np.save(tmp_path / "prompts.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelUnavailable, match="isn't the published head q16"):
        convert("q16", tmp_path / "prompts.npy", tmp_path / "h.safetensors", ENCODER)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "nsfw.pth")  # a whole module, which is code
    with pytest.raises(ModelUnavailable, match="isn't the published head nsfw_head"):
        convert("nsfw_head", tmp_path / "nsfw.pth", tmp_path / "h.safetensors", ENCODER)
    save_file({"weight": np.zeros((1, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelUnavailable, match="says nothing of a head"):
        loaded(tmp_path / "other.safetensors")
    wrong = {"kind": "linear", "outputs": {"hate": 3}, "encoder": ENCODER}
    tensors = {"weight": np.zeros((1, 2), np.float32), "bias": np.zeros(1, np.float32)}
    save_file(tensors, tmp_path / "wrong.safetensors", {"head": json.dumps(wrong)})
    with pytest.raises(ModelUnavailable, match="outputs from 0 to 0"):
        loaded(tmp_path / "wrong.safetensors")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A context with a tiny CLIP as encoder, a checker, and heads for this encoder and for another."""
    root = tmp_path_factory.mktemp("heads")
    clip_large(root / "clip")
    save_checker(root / "checker", 1.0)
    entries = {
        "clip_embedding": ("clip_embedding", root / "clip"),
        "safety_checker": ("safety_checker", root / "checker"),
    }
    entries |= {name: ("embedding_head", root / f"{name}.safetensors") for name in ("q16", "multiheaded")}
    text = "".join(
        f'[{alias}]\nname = "tiny"\nloader = "{loader}"\nlocal = {{ path = "{path}" }}\n'
        'licence = "none"\nsource = "random weights"\n'
        for alias, (loader, path) in entries.items()
    )
    (root / "models.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(root / "models.toml"))
        table = ModelTable("embedded")
    images = [np.full((40, 30, 3), value, np.uint8) for value in (0, 90, 200)]
    width = table.get("clip_embedding")(images).shape[1]
    texts = np.random.default_rng(3).normal(size=(2, width))
    outputs = dict.fromkeys(alignment()["q16"].categories, 0)
    header = HeadHeader(kind="texts", outputs=outputs, encoder=encoder_id(table.pin("clip_embedding")))
    save_head(root / "q16.safetensors", header, {"texts": texts})
    other = HeadHeader(kind="texts", outputs={"sexual": 0}, encoder="git:other+clip_embedding.1")
    save_head(root / "multiheaded.safetensors", other, {"texts": texts})
    return Context(0, table, DiskMemo(root / "memo")), images


def shown(ctx, images):
    return Shown(images, ctx.models.get("clip_embedding")(images), "", unsafebench())


def test_the_labeler_speaks_of_what_its_head_is_scored_on(hub):
    ctx, images = hub
    labeler = Head(model="q16")
    assert (labeler.called, labeler.encoder()) == ("q16", "clip_embedding")
    opinions = labeler.opinions(shown(ctx, images), ctx)
    assert {*opinions[0].scores} == {one.id for one in unsafebench()} - {"sexual", "spam"}
    assert len({round(score, 9) for score in opinions[0].scores.values()}) == 1
    (one,) = {*Head(model="q16", as_any=True).opinions(shown(ctx, images), ctx)[0].scores.items()}
    assert one == (ANY, opinions[0].scores["hate"])


def test_a_head_of_another_encoder_is_refused(hub):
    ctx, images = hub
    with pytest.raises(RecipeError, match="labeler multiheaded: the head was trained on embeddings of git:other"):
        Head(model="multiheaded").opinions(shown(ctx, images), ctx)


def test_the_filter_of_stable_diffusion(hub):
    ctx, images = hub
    distances = ctx.models.get("safety_checker")(images)
    scores = [one.scores["sexual"] for one in StableDiffusionFilter().opinions(shown(ctx, images), ctx)]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-50 * distances)), rtol=1e-4)
    assert all((score > 0.5) == (distance > 0) for score, distance in zip(scores, distances, strict=True))


def test_embeddings_are_clips_own(hub):
    from transformers import CLIPModel

    ctx, images = hub
    samples = [Sample(str(n), image) for n, image in enumerate(images)]
    found = ctx.models.get("clip_embedding")([one.image for one in samples])
    folder = ctx.models.entry("clip_embedding").local.path
    model = CLIPModel.from_pretrained(folder).eval()
    from transformers import CLIPImageProcessor

    pixels = CLIPImageProcessor.from_pretrained(folder)(
        images=images, return_tensors="pt", input_data_format="channels_last"
    )
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(**pixels).pooler_output)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_the_filter_becomes_a_head_only_over_its_own_encoder(tmp_path, hub):
    ctx, _ = hub
    checker = load_file(f"{ctx.models.entry('safety_checker').local.path}/safety_checker/model.safetensors")
    clip = {name.removeprefix("vision_model."): value for name, value in checker.items() if "vision_model.v" in name}
    clip["visual_projection.weight"] = checker["visual_projection.weight"]
    save_file(checker, tmp_path / "checker.safetensors")
    save_file(clip, tmp_path / "clip.safetensors")
    convert(
        "filter", tmp_path / "checker.safetensors", tmp_path / "h.safetensors", ENCODER, tmp_path / "clip.safetensors"
    )
    assert loaded(tmp_path / "h.safetensors").categories == ("sexual",)
    save_file({**clip, "visual_projection.weight": clip["visual_projection.weight"] + 1}, tmp_path / "clip.safetensors")
    with pytest.raises(ModelUnavailable, match=r"visual_projection\.weight differs"):
        convert(
            "filter",
            tmp_path / "checker.safetensors",
            tmp_path / "h.safetensors",
            ENCODER,
            tmp_path / "clip.safetensors",
        )


def test_the_alignment_names_known_categories_and_what_the_labelers_say():
    known = {one.id for one in unsafebench()}
    for name, row in alignment().items():
        assert set(row.categories) <= known, name
    for labeler in (OpenNsfw(), Nudenet(), StableDiffusionFilter()):
        assert labeler.scored() == ("sexual",)
    with pytest.raises(ValueError, match="give the categories"):
        Head(model="my_probe")
    assert Head(model="my_probe", categories=("hate",)).scored() == ("hate",)
