"""EfficientNet-Lite on a photograph, its export, and classifiers of transformers on random weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from random_models import save_random_resnet

from variorum.models.loaders import classifiers, efficientnet_lite
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

LITE = ("classifier_gate", "classifier_small", "classifier")


@pytest.mark.parametrize("alias", LITE)
def test_efficientnet_lite_knows_a_cat(table, cat, alias):
    probabilities = table.get(alias)([cat, np.ascontiguousarray(cat[:, ::-1])])
    assert probabilities.shape == (2, 1000)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert set(probabilities.argmax(axis=1)) <= set(range(281, 288))  # ImageNet's cats
    assert (probabilities[:, 281:288].sum(axis=1) > 0.5).all()


def test_efficientnet_lite_does_not_depend_on_the_batch(table, cat):
    classifier = table.get("classifier_gate")
    pictures = [cat[n : n + 150, 3 * n : 3 * n + 200] for n in range(11)]
    together = classifier(pictures)
    alone = np.concatenate([classifier([picture]) for picture in pictures])
    assert np.array_equal(together, alone)
    assert classifier([]).shape == (0, 1000)


def test_the_export_computes_what_the_pytorch_network_does(table, cat):
    import torch

    entry = table.entry("classifier_gate")
    module = efficientnet_lite.torch_module(entry.name, table.fetch("classifier_gate"))
    assert not any(part.training for part in module.modules())
    x = efficientnet_lite.network_input(cat, 224)[None]
    with torch.inference_mode():
        logits, embedding = module(torch.from_numpy(x))
    exported = table.get("classifier_gate")._session.run(["logits", "embedding"], {"x": x})
    assert exported[0] == pytest.approx(logits.numpy(), abs=1e-4)
    assert exported[1] == pytest.approx(embedding.numpy(), abs=1e-4)


def test_the_embedding_is_what_the_classifier_sees(table, cat):
    """The logits are a linear map of the embedding, with the weights of the network's last layer."""
    pictures = [cat, np.ascontiguousarray(cat[:, ::-1]), cat[:150, :200]]
    embedding = table.get("encoder")(pictures)
    assert embedding.shape == (3, 1280)
    assert embedding.dtype == np.float32
    layer = efficientnet_lite.torch_module("efficientnet-lite0", table.fetch("encoder")).network._fc
    logits = embedding @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert efficientnet_lite.softmax(logits) == pytest.approx(table.get("classifier_gate")(pictures), abs=1e-5)
    np.testing.assert_array_equal(table.get("classifier_gate").features(pictures), embedding)


def test_a_model_sees_a_batch_once_unless_a_picture_changed(table, cat, monkeypatch):
    seen, kept = [], efficientnet_lite.network_input
    monkeypatch.setattr(efficientnet_lite, "network_input", lambda image, side: seen.append(side) or kept(image, side))
    pictures = [cat[:150, :200].copy(), cat[50:200, :200].copy()]
    classifier, encoder = table.get("classifier_gate"), table.get("encoder")
    answers, embeddings = classifier(pictures), encoder(pictures)
    classifier.features(pictures), classifier(list(pictures)), encoder.features(pictures)
    assert len(seen) == 4
    with pytest.raises(ValueError, match="read-only"):
        answers[0] = 0
    pictures[1][75, 100] ^= 255  # a single pixel
    assert (classifier(pictures)[1] != answers[1]).any()
    assert (encoder(pictures)[1] != embeddings[1]).any()
    assert len(seen) == 8
    classifier(pictures[:1])
    assert len(seen) == 9


def test_the_judges_embedding_is_that_of_its_encoder(table, cat):
    pictures = [cat, cat[:150, :200]]
    np.testing.assert_array_equal(table.get("judge").features(pictures), table.get("judge_encoder")(pictures))


def test_a_warm_cache_needs_neither_torch_nor_the_architecture(table):
    table.get("classifier_gate")
    code = (
        "import sys; from variorum.models import ModelTable; ModelTable('embedded').get('classifier_gate');"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "efficientnet_lite_pytorch", "onnx"} & set(done.stdout.split())


@pytest.mark.parametrize(("height", "width"), [(256, 256), (500, 333), (40, 300), (1, 1)])
def test_prepared_pictures_have_the_size_and_range_of_the_network(height, width):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    x = efficientnet_lite.network_input(picture, 224)
    assert x.shape == (3, 224, 224)
    assert x.min() >= -127 / 128
    assert x.max() <= 1
    if height == width == 256:  # at this size the published protocol only crops
        assert np.array_equal(x, (picture[16:240, 16:240].transpose(2, 0, 1).astype(np.float32) - 127) / 128)


def transformers_entry(folder):
    place = {"path": str(folder)}
    return Entry(
        name="random-resnet", loader="image_classification", local=place, licence="none", source="random weights"
    )


def test_api_of_image_classification_with_random_weights(tmp_path, cat):
    """An API test: a random network goes through the same calls as a checkpoint; its output means nothing."""
    save_random_resnet(tmp_path, 1000)
    classifier = classifiers.IMAGE_CLASSIFICATION.load(transformers_entry(tmp_path), tmp_path, {})
    probabilities = classifier([cat, cat[:200, :150]] * 5)
    assert probabilities.shape == (10, 1000)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(10), abs=1e-4)
    assert probabilities[1] == pytest.approx(classifier([cat[:200, :150]])[0], abs=1e-5)


def test_a_classifier_of_other_classes_is_refused(tmp_path):
    save_random_resnet(tmp_path, 10)
    with pytest.raises(ModelUnavailable, match="has 10 classes; a classifier needs"):
        classifiers.IMAGE_CLASSIFICATION.load(transformers_entry(tmp_path), tmp_path, {})


def test_a_temperature_divides_the_scores_of_attention(tmp_path, cat):
    """An API test with random weights: a temperature does what smaller queries do."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=32, patch_size=8, num_labels=1000, initializer_range=1.0, **size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ViTForImageClassification(config)
    plain, smaller = tmp_path / "plain", tmp_path / "smaller"
    for folder in (plain, smaller):
        network.save_pretrained(folder)
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
        with torch.no_grad():
            for name, weights in network.named_parameters():
                if ".query." in name or ".q_proj." in name:
                    weights /= 2

    def probabilities(folder, **options):
        entry = transformers_entry(folder).model_copy(update={"options": options})
        return classifiers.IMAGE_CLASSIFICATION.load(entry, folder, {})([cat])

    warm = probabilities(plain, temperature=2.0)
    assert warm == pytest.approx(probabilities(smaller), abs=1e-5)
    assert np.abs(warm - probabilities(plain)).max() > 1e-3
    save_random_resnet(tmp_path / "resnet", 1000)
    with pytest.raises(ModelUnavailable, match="random-resnet has no attention with a plain scale"):
        probabilities(tmp_path / "resnet", temperature=2.0)


def test_a_temperature_of_a_network_of_timm():
    import torch

    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=10).eval()
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in network.blocks:
            block.attn.qkv.weight *= 8
        before = network(x)
        assert classifiers.soften(network, 2.0) == 2
        after = network(x)
        for block in network.blocks:
            block.attn.qkv.weight[:192] /= 2
            block.attn.scale *= 2
        torch.testing.assert_close(network(x), after)
    assert (after - before).abs().max() > 1e-4
