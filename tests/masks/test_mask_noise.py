import json

import cv2
import numpy as np
import pyarrow as pa
import pytest
from copied_pictures import measured

from variorum.arrays import arrow_column
from variorum.curation.masks.mask_noise import MaskNoise, disagreement, mean_where, redrawn
from variorum.pixels import decode_mask, encode_png
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

CONTEXT = Context(0, None, lambda key, compute: compute())
STEP = MaskNoise(side=32)


def samples(number, size=64, seed=0, spoil=0.5):
    """Bright discs on a dark ground, half with a part of the mask cut off; the true masks; which ones are cut."""
    rng = np.random.default_rng(seed)
    found, truth, wrong = [], [], []
    for n in range(number):
        picture = 70 + 60 * cv2.GaussianBlur(rng.normal(0, 1, (size, size, 3)), (0, 0), 3)
        mask = np.zeros((size, size), np.uint8)
        (x, y), r = (int(v) for v in rng.integers(18, size - 18, 2)), int(rng.integers(10, 16))
        cv2.circle(mask, (x, y), r, 255, -1)
        picture[mask > 0] = (200, 150, 90)
        given = mask.copy()
        wrong.append(bool(rng.random() < spoil))
        if wrong[-1]:
            side = int(rng.integers(4))
            cut = np.rot90(given, side)
            cut[:, int(np.quantile(np.nonzero(cut)[1], 0.6)) :] = 0
        picture = np.clip(picture + rng.normal(0, 15, picture.shape), 0, 255).astype(np.uint8)
        found.append(Sample(f"{n:032x}", picture, extras={"mask.png": encode_png(given)}))
        truth.append(mask)
    return found, np.stack(truth), np.array(wrong)


def scored(table, step=STEP):
    found = step.score(Table(table, "mask_noise"), CONTEXT)
    for name, values in found.items():
        table = table.append_column(f"mask_noise.{name}", arrow_column(values))
    return found, step.figures(Table(table, "mask_noise"), CONTEXT)


@pytest.fixture(scope="module")
def judged():
    pictures, truth, wrong = samples(60)
    found, figures = scored(measured([STEP], pictures))
    return pictures, truth, wrong, found, figures


def test_spoilt_masks_are_flagged_and_come_nearer_to_the_truth(judged):
    pictures, truth, wrong, found, figures = judged
    assert figures["refusal"] == ""
    flag = found["flag"]
    assert flag[wrong].mean() > 0.5
    assert flag[~wrong].mean() < 0.1
    assert np.median(found["score"][wrong]) > 5 * np.median(found["score"][~wrong])
    given = np.stack([decode_mask(sample.extras["mask.png"]) for sample in pictures])
    corrected = np.stack([decode_mask(data) for data in found["corrected"]])

    def iou(masks):
        a, b = masks >= 128, truth >= 128
        return (a & b).sum() / (a | b).sum()

    assert iou(corrected) > iou(given) + 0.02
    assert corrected.shape == given.shape


def test_the_columns_agree_with_one_another(judged):
    pictures, _, _, found, figures = judged
    changed = found["changed_fraction"] > 0
    assert (found["score"][changed] > 0).all()
    assert (found["confidence_on_changed"][changed] > STEP.confidence).all()
    assert np.isnan(found["confidence_on_changed"][~changed]).all()
    for sample, new, touched in zip(pictures, found["corrected"], changed, strict=True):
        assert (new == sample.extras["mask.png"]) == (not touched)
    assert figures["judged"] == 60
    assert figures["flagged"] == int(found["flag"].sum())
    assert 0 < figures["changed_fraction"] < STEP.most_changed
    assert len(figures["iou_history"]) >= 8
    assert 0 < figures["onset_epoch"] <= len(figures["iou_history"])


def test_a_second_run_gives_the_same():
    table = Table(measured([STEP], samples(12)[0]), "mask_noise")
    few = STEP.model_copy(update={"epochs": 9})
    one, two = few.score(table, CONTEXT), few.score(table, CONTEXT)
    assert one["report"] == two["report"]
    assert one["corrected"] == two["corrected"]


@pytest.mark.parametrize(("number", "why"), [(9, "in 9 masks, under 10"), (1, "in 1 masks, under 10")])
def test_with_few_masks_it_says_that_there_is_no_evidence(number, why):
    found, figures = scored(measured([STEP], samples(number)[0]))
    assert found["corrected"] == [None] * number
    assert np.isnan(found["score"]).all()
    assert not found["flag"].any()
    assert (figures["refusal"], figures["judged"], figures["flagged"]) == (why, 0, 0)
    assert json.loads(found["report"][0])["onset_epoch"] == 0


def test_with_few_epochs_it_says_so():
    found, _ = scored(measured([STEP], samples(12)[0]), STEP.model_copy(update={"epochs": 4}))
    assert "epochs since its IoU rose, under 8" in json.loads(found["report"][0])["refusal"]


def test_pictures_without_a_mask_are_not_judged():
    bare = [Sample(f"{n:032x}", np.zeros((20, 30, 3), np.uint8)) for n in range(3)]
    found, figures = scored(measured([STEP], bare))
    assert found["corrected"] == [None] * 3
    assert figures["judged"] == 0


def test_masks_may_be_pixels_and_of_any_size():
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:30] = 255
    row = next(
        iter(STEP.measure([Sample("0" * 32, np.zeros((80, 100, 3), np.uint8), extras={"mask.png": mask})], CONTEXT))
    )
    assert (decode_mask(row["mask"]) == mask).all()
    assert row["picture"].shape == (32 * 32 * 3,)


def test_only_changed_cells_are_painted_and_soft_edges_stay():
    mask = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    changed = np.zeros((32, 32), bool)
    changed[3, 5] = True
    corrected = np.zeros((32, 32), np.int64)
    corrected[3, 5] = 1
    after = decode_mask(redrawn(encode_png(mask), corrected, changed))
    expected = mask.copy()
    expected[6:8, 10:12] = 255
    assert (after == expected).all()
    data = encode_png(mask)
    assert redrawn(data, corrected, np.zeros((32, 32), bool)) is data


def test_disagreement_is_one_minus_iou():
    one = np.array([[[1, 1, 0]], [[0, 0, 0]], [[1, 0, 0]]])
    other = np.array([[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]])
    assert disagreement(one, other) == pytest.approx([0.5, 0, 1])
    means = mean_where(np.full((3, 1, 3), 0.9, np.float32), one != other)
    assert means[[0, 2]] == pytest.approx([0.9, 0.9])
    assert np.isnan(means[1])


def test_an_edition_without_pictures():
    assert scored(pa.table({"id": pa.array([], pa.string())})) == ({}, {})


def test_it_is_found_by_name_and_names_the_member_that_a_release_adds():
    step = build_component("curate", {"name": "mask_noise"}, "curate.0")
    assert step.adds == {"mask_corrected.png": "corrected"}
