"""Embeddings of EfficientNet-Lite, of transformers on random weights, and LPIPS.

LPIPS runs on an AlexNet of random weights, against its definition written out; the heads are the published ones.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from random_models import save_random_resnet
from safetensors.torch import load_file, save_file

from variorum.evaluation.imagenet_g.diversity import apart
from variorum.models import ModelTable
from variorum.models.loaders import embeddings
from variorum.models.loaders.embeddings import HEADS, PERCEPTUAL, backbone
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable


def test_embeddings_of_like_pictures_are_alike_and_do_not_depend_on_the_batch(table, cat):
    from skimage import data

    encoder = table.get("encoder")
    pictures = [cat, np.ascontiguousarray(cat[:, ::-1]), data.coffee(), data.rocket(), *[cat[n:] for n in range(6)]]
    together = encoder(pictures)
    assert np.array_equal(together, np.concatenate([encoder([picture]) for picture in pictures]))
    directions = together[:4] / np.linalg.norm(together[:4], axis=1, keepdims=True)
    cosine = directions @ directions.T
    assert cosine[0, 1] > 0.8 > 0.5 > max(cosine[0, 2], cosine[0, 3], cosine[2, 3])
    assert encoder([]).shape == (0, 1280)


def save_random_dinov2(folder):
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder, safe_serialization=True)
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)


def embedding_entry(folder):
    return Entry(
        name="random", loader="image_embedding", local={"path": str(folder)}, licence="none", source="random weights"
    )


def test_api_of_image_embedding_with_random_weights(tmp_path, cat):
    """An API test: a random network goes through the same calls as a checkpoint; its embedding means nothing."""
    import torch

    save_random_dinov2(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    encoder = embeddings.IMAGE_EMBEDDING.load(embedding_entry(tmp_path), tmp_path, {})
    embedding = encoder([cat, cat[:200, :150]] * 5)
    assert embedding.shape == (10, 32)
    assert embedding.dtype == np.float32
    assert embedding[1] == pytest.approx(encoder([cat[:200, :150]])[0], abs=1e-5)
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-3
    assert encoder([]).shape == (0, 32)
    pixels = encoder._processor(images=[cat], return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    with torch.inference_mode():  # DINOv2's own pooling is the class token
        assert embedding[0] == pytest.approx(encoder._model(pixels).pooler_output[0].numpy(), abs=1e-5)


def test_a_network_without_a_class_token_is_no_encoder(tmp_path):
    save_random_resnet(tmp_path, 10)
    with pytest.raises(ModelUnavailable, match="no class token"):
        embeddings.IMAGE_EMBEDDING.load(embedding_entry(tmp_path), tmp_path, {})


# ── perceptual ───────────────────────────────────────────────────────────────────────────────────────────────────────


def entry(path, **options):
    return Entry(
        name="m", loader="perceptual", local={"path": str(path)}, options=options, licence="BSD-3-Clause", source="x"
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A state dict as torchvision publishes it, without the large layers that aren't used."""
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    state = {}
    for layer, (out, into, side) in shapes.items():
        state[f"features.{layer}.weight"] = torch.randn(out, into, side, side) * (2 / (into * side**2)) ** 0.5
        state[f"features.{layer}.bias"] = torch.randn(out) * 0.1
    state["classifier.6.bias"] = torch.zeros(1000)
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, path)
    return path


def images(n, side, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def written_out(weights, first, second):
    """LPIPS, version 0.1, as its authors' package computes it for inputs in [-1, 1]."""
    state = torch.load(weights, weights_only=True)
    features = backbone({name[9:]: value for name, value in state.items() if name.startswith("features.")})
    heads = load_file(HEADS)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    x, y = (
        (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1 - shift) / scale
        for image in (first, second)
    )
    total, stage = 0.0, 0
    for layer in features:
        x, y = layer(x.clone()), layer(y.clone())
        if not isinstance(layer, torch.nn.ReLU):
            continue
        a, b = (value / (value.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for value in (x, y))
        head = heads[f"lin{stage}"].view(1, -1, 1, 1)
        total += float(torch.nn.functional.conv2d((a - b) ** 2, head).mean())
        stage += 1
    assert stage == 5
    return total


def test_squared_distances_are_lpips(weights):
    model = PERCEPTUAL.load(entry(weights, size=96, width=0), weights, {})
    pictures = images(3, 96)
    pictures[2] = np.clip(pictures[0].astype(int) + 9, 0, 255).astype(np.uint8)
    found = model(pictures)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = written_out(weights, pictures[i], pictures[j])
        assert ((found[i] - found[j]) ** 2).sum() == pytest.approx(expected, rel=1e-4)
    assert ((found[0] - found[2]) ** 2).sum() < 0.5 * ((found[0] - found[1]) ** 2).sum()


def test_pictures_of_any_size_come_as_one_square_and_batches_change_nothing(weights):
    model = PERCEPTUAL.load(entry(weights, size=64, batch=2, width=0), weights, {})
    wide = images(1, 80)[0][:64]
    pictures = [wide, wide[:, 8:72], *images(3, 28, seed=1)]
    found = model(pictures)
    assert found.shape == (5, 15 * 15 * 64 + 7 * 7 * 192 + 3 * 3 * (384 + 256 + 256))
    assert found.dtype == np.float32
    assert np.array_equal(found[0], found[1])  # only the middle square counts
    assert np.allclose(model(pictures[4:]), found[4:], atol=1e-6)
    assert model([]).shape == (0, found.shape[1])


def test_fewer_numbers_give_the_same_distances_nearly_and_their_mean_nearer(weights):
    pictures = [cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC) for small in images(24, 6, 2)]
    exact = PERCEPTUAL.load(entry(weights, size=64, width=0), weights, {})(pictures)
    few = PERCEPTUAL.load(entry(weights, size=64), weights, {})(pictures)
    assert few.shape == (24, 1024)
    pairs = np.triu_indices(24, 1)
    wanted, found = (((x[pairs[0]] - x[pairs[1]]) ** 2).sum(axis=1) for x in (exact, few))
    assert 0.01 < np.std(found / wanted) < 1.3 * np.sqrt(2 / 1024)
    assert found.mean() == pytest.approx(wanted.mean(), rel=0.02)
    assert apart(few) == pytest.approx(found.mean(), rel=1e-4)  # the figure of the evaluation


def test_safetensors_do_as_well(weights, tmp_path):
    path = tmp_path / "alexnet.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    pictures = images(1, 64)
    one, other = (PERCEPTUAL.load(entry(place, size=64), place, {})(pictures) for place in (weights, path))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("content", ["text", "other", "code"])
def test_what_is_no_alexnet_is_refused(tmp_path, content):
    path = tmp_path / "some.pth"
    if content == "text":
        path.write_text("not weights")
    elif content == "other":
        torch.save({"features.0.weight": torch.zeros(3, 3)}, path)
    else:
        torch.save({"features.0.weight": SimpleNamespace()}, path)
    with pytest.raises(ModelUnavailable, match=r"some\.pth isn't torchvision's AlexNet"):
        PERCEPTUAL.load(entry(path), path, {})


def test_the_doctor_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    status = ModelTable("hub").status("perceptual")
    assert status.state == "unavailable"
    assert "download https://download.pytorch.org/models/alexnet-owt-7be5be79.pth to there" in status.way_out
