"""U²-Net on photographs, and SAM's calls on random weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.loaders import segmenters


def test_u2net_finds_a_textured_disc_on_grass(table, disc):
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
    pictures = [cat[:90, :70], np.full((40, 60, 3), 200, np.uint8)]
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
    """A SAM with 64-pixel input and random weights."""
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
    """An API test: a random network goes through the same calls as a checkpoint; its masks mean nothing."""
    segmenter = segmenters.Sam(random_sam(), table.get("salience"))
    cat = cat[:200, :260]
    small = np.ascontiguousarray(cat[:120, 100:260])
    first, second = segmenter([cat, small])
    for picture, found in ((cat, first), (small, second)):
        assert found.mask.shape == picture.shape[:2]
        assert found.mask.dtype == np.float32
        assert 0 <= found.mask.min() <= found.mask.max() <= 1
        assert np.isfinite(found.score)
        assert 0 <= found.stability <= 1
    assert np.array_equal(segmenter([small])[0].mask, second.mask)
    segmenter._predictor.set_image(small)  # the package's own way, a picture at a time
    box = segmenters.bounding_box(table.get("salience")([small])[0].mask > 0.5)
    logits, scores, _ = segmenter._predictor.predict(box=box, return_logits=True)
    alone = 1 / (1 + np.exp(-logits[scores.argmax()]))
    assert np.abs(alone - second.mask).max() < 1e-5
    assert second.score == pytest.approx(float(scores.max()))  # of the three masks, the one with the best is kept
    assert len(set(scores.tolist())) == 3


@pytest.mark.slow
def test_api_of_loading_a_sam_checkpoint_with_random_weights(table, cat, tmp_path):
    """An API test: a random ViT-B of the published size, saved and loaded like a checkpoint."""
    import torch
    from segment_anything import sam_model_registry

    path = tmp_path / "sam.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    used = {"salience": table.get("salience")}
    (found,) = segmenters.SAM.load(ModelTable("hub").entry("segmenter"), path, used)([cat])
    assert found.mask.shape == cat.shape[:2]
    assert np.isfinite(found.score)
