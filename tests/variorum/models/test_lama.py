"""LaMa's loader on a network with its inputs that fills a hole with the highest level it sees."""

from __future__ import annotations

import numpy as np
import pytest
from hub_layouts.vision import lama

from variorum.models import ModelTable
from variorum.models.loaders.lama import LAMA, Lama
from variorum.schemas.errors import ModelUnavailable


@pytest.fixture(scope="module")
def entry():
    return ModelTable("hub").entry("inpainter_lama")


@pytest.fixture(scope="module")
def inpainter(entry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lama")
    lama(folder)
    return LAMA.load(entry, folder / "lama_fp32.onnx", {})


COLOUR = (40, 120, 200)


def scene(height, width):
    """A plain picture with a white object in it, and the object's exact mask."""
    image, hole = np.empty((height, width, 3), np.uint8), np.zeros((height, width), bool)
    image[:] = COLOUR
    hole[height // 4 : height // 2, width // 3 : width // 3 + height // 5] = True
    image[hole] = 255
    return image, hole


@pytest.mark.parametrize("shape", [(97, 61), (256, 256), (512, 512), (700, 1100)])
def test_nothing_of_the_object_is_seen_at_any_size(inpainter, shape):
    image, hole = scene(*shape)
    (found,) = inpainter([image], [hole], [1])
    assert found.method == "lama"
    assert np.abs(found.image.astype(int) - COLOUR).max() <= 1


def test_only_the_hole_changes_and_negatives_and_seeds_have_no_effect(inpainter):
    rng = np.random.default_rng(0)
    image, hole = rng.integers(0, 256, (80, 120, 3)).astype(np.uint8), rng.random((80, 120)) > 0.9
    one, none = inpainter([image, image], [hole, np.zeros_like(hole)], [1, 2])
    assert np.array_equal(one.image[~hole], image[~hole])
    assert np.array_equal(none.image, image)
    assert none.method == "none"
    assert np.array_equal(inpainter([image], [hole], [9], ["a cat"])[0].image, one.image)
    assert inpainter([], [], []) == []


@pytest.mark.parametrize(("side", "white"), [(256, 1.0), (None, 255.0)])
def test_the_side_and_the_levels_are_the_files_own(entry, tmp_path, side, white):
    lama(tmp_path, side, white)
    image, hole = scene(200, 300)
    (found,) = LAMA.load(entry, tmp_path / "lama_fp32.onnx", {})([image], [hole], [1])
    assert np.abs(found.image.astype(int) - COLOUR).max() <= 1


def test_other_networks_are_refused(entry, tmp_path):
    import onnx

    path = tmp_path / "lama_fp32.onnx"
    lama(tmp_path, white=20.0)
    with pytest.raises(ModelUnavailable, match="isn't LaMa as ONNX: outside the mask it turns"):
        LAMA.load(entry, path, {})
    model = onnx.load(path)
    model.graph.input[1].name = "hole"
    for node in model.graph.node:
        node.input[:] = ["hole" if name == "mask" else name for name in node.input]
    onnx.save(model, path)
    with pytest.raises(ModelUnavailable, match="has the inputs image, hole; LaMa's are image and mask"):
        LAMA.load(entry, path, {})
    path.write_bytes(b"torchscript")
    with pytest.raises(ModelUnavailable, match="can't be opened as ONNX"):
        LAMA.load(entry, path, {})


class Failing:
    """A session whose network fails at everything but an even grey."""

    def run(self, _names, inputs):
        picture = inputs["image"]
        return [picture if np.ptp(picture[inputs["mask"].repeat(3, 1) == 0]) == 0 else picture * np.nan]


def test_a_result_that_is_not_finite_leaves_the_picture():
    image, hole = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8), np.eye(40, dtype=bool)
    (found,) = Lama(Failing(), 64, "failing")([image], [hole], [1])
    assert found.method == "blank"
    assert np.array_equal(found.image, image)
