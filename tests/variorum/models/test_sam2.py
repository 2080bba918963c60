"""SAM 2.1 on random weights, laid out as the published checkpoint; its masks mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hub_layouts.vision import sam2
from safetensors.torch import load_file, save_file

from variorum.models import ModelTable
from variorum.models.loaders.sam2 import SAM2
from variorum.models.loaders.segmenters import bounding_box, stability
from variorum.models.roles import Segmentation
from variorum.schemas.errors import ModelUnavailable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sam2")
    sam2(place)
    return place


@pytest.fixture(scope="module")
def entry():
    return ModelTable("hub").entry("segmenter_sam2")


class Middle:
    """Calls the middle third of a picture salient, and nothing of an all-black one."""

    def __call__(self, images):
        found = []
        for image in images:
            mask, (height, width) = np.zeros(image.shape[:2], np.float32), image.shape[:2]
            if image.any():
                mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
            found.append(Segmentation(mask, float("nan"), 1.0))
        return found


@pytest.fixture(scope="module")
def segmenter(folder, entry):
    return SAM2.load(entry, folder, {"salience": Middle()})


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


IMAGES = [noise(0, 60, 90), noise(1, 97, 41), np.zeros((50, 50, 3), np.uint8), *(noise(n, 64, 64) for n in range(2, 6))]


def test_sam2_gives_what_transformers_own_classes_give(segmenter, folder):
    import torch
    from transformers import Sam2ImageProcessor, Sam2Model, Sam2Processor

    processor = Sam2Processor(Sam2ImageProcessor.from_pretrained(folder))
    model = Sam2Model.from_pretrained(folder).eval()
    images = [image for image in IMAGES if image.any()]
    for image, found in zip(images, segmenter(images), strict=True):
        box = bounding_box(Middle()([image])[0].mask > 0.5).tolist()
        inputs = processor(images=image, input_boxes=[[box]], return_tensors="pt")
        with torch.inference_mode():
            said = model(**{name: inputs[name] for name in ("pixel_values", "input_boxes")})
        (masks,) = processor.post_process_masks(said.pred_masks, inputs["original_sizes"], binarize=False)
        scores = said.iou_scores[0, 0].tolist()
        logits = masks[0, scores.index(max(scores))].numpy()
        assert len(set(scores)) == 3
        assert found.mask.shape == image.shape[:2]
        assert found.mask == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
        assert found.score == pytest.approx(max(scores), abs=1e-5)
        assert found.stability == pytest.approx(stability(logits, -1.0, 1.0), abs=0.01)


def test_a_mask_depends_on_its_picture_alone(segmenter):
    together = segmenter(IMAGES)
    for image, found in zip(IMAGES, together, strict=True):
        assert np.array_equal(segmenter([image])[0].mask, found.mask)
    assert np.array_equal(segmenter(IMAGES[::-1])[0].mask, together[-1].mask)
    assert len({found.mask.tobytes() for found in together}) == len(IMAGES)
    assert segmenter([]) == []


def test_nothing_salient_no_mask(segmenter):
    (found,) = segmenter([IMAGES[2]])
    assert not found.mask.any()
    assert np.isnan(found.score)
    assert found.stability == 0


def test_sam2_is_complete_or_refused(folder, entry, tmp_path):
    with pytest.raises(ModelUnavailable, match="uses one model"):
        SAM2.load(entry, folder, {})
    weights = load_file(folder / "model.safetensors")
    lost = "mask_decoder.iou_prediction_head.proj_in.weight"
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_file({name: weights[name] for name in weights if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=lost):
        SAM2.load(entry, tmp_path, {"salience": Middle()})
    (tmp_path / "config.json").write_text('{"model_type": "sam2_video"}')
    with pytest.raises(ModelUnavailable, match="can't be loaded as SAM 2's configuration"):
        SAM2.load(entry, tmp_path, {"salience": Middle()})
