"""ImageNet-E with other cutters than the defaults. SAM 2 has random weights; LaMa is a network with its inputs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hub_rows import rows_of
from skimage import data

from variorum.pixels import encode_png
from variorum.schemas.sample import PARTLY_GENERATED

pytestmark = pytest.mark.slow


@pytest.fixture
def cup(tmp_path):
    """The settings for a folder with one photograph: a cup of coffee on grass."""
    coffee = cv2.resize(data.coffee()[:, 100:500], (256, 256), interpolation=cv2.INTER_AREA)
    grass = cv2.cvtColor(cv2.resize(data.grass(), (256, 256), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    rows, columns = np.mgrid[:256, :256] - 128
    folder = tmp_path / "photographs" / "n07920052"
    folder.mkdir(parents=True)
    (folder / "cup.png").write_bytes(encode_png(np.where((np.hypot(rows, columns) < 56)[..., None], coffee, grass)))
    return "source.name=image_folder", f"source.path={tmp_path / 'photographs'}"


def test_plates_by_lama(hub_models, tmp_path, cup):
    hub_models("inpainter_lama")
    rows = rows_of(tmp_path, "imagenet_e", 1, *cup, "generate.attribute_edit.inpainter=inpainter_lama")
    (plate,) = [row for row in rows if row["variant"] == "plate"]
    assert "big-lama@" in plate["ops"]
    assert plate["digital_source_type"] == PARTLY_GENERATED


def test_masks_by_sam2(hub_models, tmp_path, cup):
    hub_models("segmenter_sam2")
    rows = rows_of(tmp_path, "imagenet_e", 1, *cup, "generate.attribute_edit.segmenter=segmenter_sam2")
    (ops,) = [row["ops"] for row in rows if "sam2.1-hiera-base-plus@" in str(row["ops"])][:1]
    assert all(f'"{name}"' in ops for name in ("mask_band", "mask_score", "mask_stability"))
