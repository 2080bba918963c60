import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.loaders import classifiers, efficientnet_lite, embeddings, segmenters, shift_map
from variorum.models.onnx import exported
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable


@pytest.fixture(scope="module")
def table():
    return ModelTable("embedded")


@pytest.fixture(scope="module")
def cat():
    from skimage import data

    return data.chelsea()


def disc(size, share):
    rows, columns = np.mgrid[:size, :size]
    radius = size * np.sqrt(share / np.pi)
    return (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < radius**2


# ── segmenters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_u2net_finds_a_textured_disc_on_grass(table):
    from skimage import data

    grass = cv2.cvtColor(cv2.resize(data.grass(), (240, 240), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    coffee = cv2.resize(data.coffee()[:, 100:500], (240, 240), interpolation=cv2.INTER_AREA)
    truth = disc(240, 0.15)
    (found,) = table.get("segmenter")([np.where(truth[..., None], coffee, grass)])
    mask = found.mask > 0.5
    assert np.logical_and(mask, truth).sum() / np.logical_or(mask, truth).sum() > 0.9
    assert found.mask.dtype == np.float32
    assert np.isnan(found.score)
    assert found.stability > 0.9


def test_u2net_masks_have_their_pictures_sizes_and_do_not_depend_on_the_batch(table, cat):
    segmenter = table.get("segmenter")
    pictures = [cat, cat[:90, :70], np.full((40, 60, 3), 200, np.uint8)]
    together = segmenter(pictures)
    for picture, found in zip(pictures, together, strict=True):
        assert found.mask.shape == picture.shape[:2]
        assert 0 <= found.mask.min() <= found.mask.max() <= 1
        assert np.array_equal(found.mask, segmenter([picture])[0].mask)


def test_stability_is_an_overlap_by_hand():
    assert segmenters.stability(np.array([[0.9, 0.5, 0.1, 0.3]]), 0.27, 0.73) == pytest.approx(1 / 3)
    assert segmenters.stability(np.zeros((2, 2)), 0.27, 0.73) == 0.0
    assert segmenters.stability(np.array([[4.0, 0.5, -0.5, -4.0]]), -1, 1) == pytest.approx(1 / 3)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_bounding_box_is_inclusive(a, b, c, d):
    left, right, top, bottom = min(a, b), max(a, b), min(c, d), max(c, d)
    mask = np.zeros((10, 10), bool)
    mask[top, left] = mask[bottom, right] = True
    assert segmenters.bounding_box(mask).tolist() == [left, top, right, bottom]
    assert segmenters.bounding_box(np.zeros((4, 4), bool)) is None


def random_sam():
    """A SAM of the right shape and 64-pixel input, with random weights: its masks mean nothing."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam(
            ImageEncoderViT(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, out_chans=32),
            PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4),
            MaskDecoder(
                transformer_dim=32,
                transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=32),
                num_multimask_outputs=3,
                iou_head_hidden_dim=32,
            ),
        ).eval()


def test_api_of_sam_with_random_weights(table, cat):
    """An API test only: a random network goes through the same calls as a checkpoint, and its masks mean nothing."""
    segmenter = segmenters.Sam(random_sam(), table.get("salience"))
    small = np.ascontiguousarray(cat[:120, 100:260])
    first, second = segmenter([cat, small])
    for picture, found in ((cat, first), (small, second)):
        assert found.mask.shape == picture.shape[:2]
        assert found.mask.dtype == np.float32
        assert 0 <= found.mask.min() <= found.mask.max() <= 1
        assert np.isfinite(found.score)
        assert 0 <= found.stability <= 1
    assert np.array_equal(segmenter([small])[0].mask, second.mask)


def test_api_of_sam_keeps_the_mask_with_the_best_predicted_iou(table, cat):
    """An API test on random weights: which of the three masks is kept, not how good it is."""
    model = random_sam()
    segmenter = segmenters.Sam(model, table.get("salience"))
    (found,) = segmenter([cat])
    salient = table.get("salience")([cat])[0].mask > 0.5
    _, scores, _ = segmenter._predictor.predict(box=segmenters.bounding_box(salient), multimask_output=True)
    assert found.score == pytest.approx(float(scores.max()))
    assert len(set(scores.tolist())) == 3


@pytest.mark.slow
def test_api_of_loading_a_sam_checkpoint_with_random_weights(table, cat, tmp_path):
    """An API test only: a ViT-B of the published size, random, saved and loaded as a checkpoint is."""
    import torch
    from segment_anything import sam_model_registry

    path = tmp_path / "sam.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    used = {"salience": table.get("salience")}
    (found,) = segmenters.SAM.load(ModelTable("hub").entry("segmenter"), path, used)([cat])
    assert found.mask.shape == cat.shape[:2]
    assert np.isfinite(found.score)


# ── classifiers ──────────────────────────────────────────────────────────────────────────────────────────────────────

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


@pytest.mark.slow
def test_exporting_leaves_the_network_in_evaluation_mode_and_no_half_file(table, tmp_path):
    import shutil

    weights = tmp_path / "w.pth"
    shutil.copy(table.fetch("classifier_gate"), weights)
    entry = table.entry("classifier_gate")
    first = efficientnet_lite.EFFICIENTNET_LITE.load(entry, weights, {})
    assert sorted(item.name for item in tmp_path.iterdir()) == ["w.export2.onnx", "w.export2.onnx.sha256", "w.pth"]
    picture = [np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)]
    assert np.array_equal(first(picture), table.get("classifier_gate")(picture))


@pytest.mark.parametrize("damage", ["content", "cut", "checksum", "no checksum"])
def test_a_damaged_export_is_made_again(tmp_path, damage):
    written = []

    def export(path):
        written.append(path)
        path.write_bytes(b"network")

    path = tmp_path / "w.onnx"
    checksum = tmp_path / "w.onnx.sha256"
    for _ in range(2):
        assert exported(path, export) == path
    assert len(written) == 1
    if damage == "no checksum":
        checksum.unlink()
    elif damage == "checksum":
        checksum.write_text("")
    else:
        path.write_bytes(b"netw0rk" if damage == "content" else b"net")
    for _ in range(2):
        assert exported(path, export).read_bytes() == b"network"
    assert len(written) == 2
    assert {item.name for item in tmp_path.iterdir()} == {path.name, checksum.name}


def test_the_embedding_is_what_the_classifier_sees(table, cat):
    """The logits are a linear map of the embedding, with the weights of the network's last layer."""
    pictures = [cat, np.ascontiguousarray(cat[:, ::-1]), cat[:150, :200]]
    embedding = table.get("encoder")(pictures)
    assert embedding.shape == (3, 1280)
    assert embedding.dtype == np.float32
    layer = efficientnet_lite.torch_module("efficientnet-lite0", table.fetch("encoder")).network._fc
    logits = embedding @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert efficientnet_lite.softmax(logits) == pytest.approx(table.get("classifier_gate")(pictures), abs=1e-5)


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
    if height == width == 256:  # the published protocol on its own size is a plain crop
        assert np.array_equal(x, (picture[16:240, 16:240].transpose(2, 0, 1).astype(np.float32) - 127) / 128)


def save_random_resnet(folder, classes):
    import torch
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=classes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetForImageClassification(config).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)


def transformers_entry(folder):
    place = {"path": str(folder)}
    return Entry(
        name="random-resnet", loader="image_classification", local=place, licence="none", source="random weights"
    )


def test_api_of_image_classification_with_random_weights(tmp_path, cat):
    """An API test only: a random network goes through the same calls as a checkpoint, and its opinion means nothing."""
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


# ── encoders of transformers ─────────────────────────────────────────────────────────────────────────────────────────


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
    """An API test only: a random network goes through the same calls as a checkpoint, its embedding means nothing."""
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


# ── the inpainter ────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(table, image, hole):
    return table.get("inpainter")([image], [hole], [0])[0]


@pytest.mark.parametrize(("share", "method"), [(0.0, "none"), (0.05, "shift_map"), (0.6, "push_pull")])
def test_only_the_hole_changes(table, cat, share, method):
    picture = np.ascontiguousarray(cat[20:276, 100:356])
    hole = disc(256, share)
    before = picture.copy()
    filled = fill(table, picture, hole)
    assert filled.method == method
    assert filled.image.dtype == np.uint8
    assert np.array_equal(filled.image[~hole], picture[~hole])
    assert np.array_equal(picture, before)
    if share:
        assert (filled.image[hole] != picture[hole]).any(axis=-1).mean() > 0.9


def test_grass_in_place_of_an_object_is_grass(table):
    from skimage import data

    grass = cv2.cvtColor(cv2.resize(data.grass(), (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    hole = disc(128, 0.1)
    with_object = np.where(hole[..., None], np.array([255, 0, 0]), grass).astype(np.uint8)
    image = fill(table, with_object, cv2.dilate(hole.astype(np.uint8), np.ones((5, 5))) > 0).image
    inside, outside = image[hole].astype(float), grass.astype(float)
    assert abs(inside.mean() - outside.mean()) < 0.2 * outside.std()
    assert inside.std() == pytest.approx(outside.std(), rel=0.2)  # texture, not a blur
    assert not (image == [255, 0, 0]).all(axis=-1).any()


def test_a_fill_does_not_depend_on_threads_or_seeds(table, cat):
    picture, hole = np.ascontiguousarray(cat[20:148, 150:278]), disc(128, 0.15)
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            cv2.setRNGSeed(threads)
            results.append(fill(table, picture, hole).image)
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(*results)


def test_what_shift_map_leaves_open_is_noticed():
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    hole = np.ones((96, 96), bool)
    hole[:8] = False  # far too little to copy from
    filled, unfilled = shift_map.shift_map(picture, hole)
    assert unfilled.any()
    assert not unfilled[:8].any()
    assert np.array_equal(filled[:8], picture[:8])
    generous = shift_map.ShiftMap(shift_map.ShiftMapOptions(largest=1.0))
    assert generous([picture], [hole], [0])[0].method == "push_pull"


def test_large_pictures_are_filled_at_a_smaller_size(table, cat):
    picture = np.ascontiguousarray(cat)
    hole = np.zeros(cat.shape[:2], bool)
    hole[100:150, 200:260] = True
    filled = shift_map.ShiftMap(shift_map.ShiftMapOptions(side=128))([picture], [hole], [0])[0]
    assert filled.image.shape == picture.shape
    assert np.array_equal(filled.image[~hole], picture[~hole])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_push_pull_keeps_the_known_and_stays_within_it(height, width, level, seed):
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < rng.random()
    flat = np.full((height, width, 3), level, np.uint8)
    if not hole.all():
        assert np.array_equal(shift_map.push_pull(np.where(hole[..., None], 255 - flat, flat), hole), flat)
    noisy = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert np.array_equal(shift_map.push_pull(noisy, hole)[~hole], noisy[~hole])
