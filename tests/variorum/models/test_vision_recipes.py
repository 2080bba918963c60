"""Recipes with other judges and cutters than the defaults, by settings. Their weights are random, LaMa's apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.pixels import encode_png
from variorum.reports.rows import edition_rows
from variorum.schemas.sample import PARTLY_GENERATED
from variorum.stages.recipe_files import load_recipe

pytestmark = pytest.mark.slow

COLUMNS = "variant", "status", "ops", "digital_source_type"
CUTTERS = "generate.attribute_edit.segmenter=", "generate.attribute_edit.inpainter="


@pytest.fixture
def rows_of(tmp_path, hub_models):
    """The rows of a recipe's first edition, run whole with these settings on the embedded profile and these models."""

    def made(name, limit, aliases, *settings):
        hub_models(*aliases)
        store = Store(str(tmp_path / "store"))
        recipe = load_recipe(name, ["evaluate=[]", *settings], limit)
        return edition_rows(run(Job(recipe, store)), store, COLUMNS).to_pylist()

    return made


def test_plates_of_imagenet_e_by_lama(rows_of, disc, tmp_path):
    coffee = cv2.resize(data.coffee()[:, 100:500], (256, 256), interpolation=cv2.INTER_AREA)
    grass = cv2.cvtColor(cv2.resize(data.grass(), (256, 256), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    (tmp_path / "photographs" / "n07920052").mkdir(parents=True)
    picture = np.where(disc(256, 0.15)[..., None], coffee, grass)
    (tmp_path / "photographs" / "n07920052" / "cup.png").write_bytes(encode_png(picture))
    source = "source.name=image_folder", f"source.path={tmp_path / 'photographs'}"
    rows = rows_of("imagenet_e", 1, ["inpainter_lama"], *source, CUTTERS[1] + "inpainter_lama")
    (plate,) = [row for row in rows if row["variant"] == "plate"]
    assert "big-lama@" in plate["ops"]
    assert plate["digital_source_type"] == PARTLY_GENERATED


def test_masks_of_imagenet_e_by_sam2(rows_of):
    rows = rows_of("imagenet_e", 3, ["segmenter_sam2"], CUTTERS[0] + "segmenter_sam2")
    assert any("sam2.1-hiera-base-plus@" in str(row["ops"]) for row in rows)


def test_multi_label_review_with_siglip_and_dinov3(rows_of):
    rows = rows_of(
        "multi_label_review",
        6,
        ["zero_shot_siglip2", "encoder_dinov3"],
        "curate.candidates.zero_shot=zero_shot_siglip2",
        "curate.features.encoder=encoder_dinov3",
    )
    assert len(rows) == 6


def test_pictures_move_in_siglips_embedding(rows_of):
    rows = rows_of(
        "watermark",
        2,
        ["zero_shot_siglip2"],
        "generate.watermark.marks=[{name: stdm}]",
        "generate.watermark_attack.attacks=[{name: adversarial_embedding, model: zero_shot_siglip2, steps: 3}]",
        "generate.watermark_attack.strengths=[1.0]",
    )
    assert any("embedding_moved" in str(row) for row in rows)
