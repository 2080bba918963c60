"""Backgrounds measured on the pixels, paired with originals and with the variants that edits started from."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.evaluation.imagenet_e.background_complexity import BackgroundComplexity
from variorum.kit.pictures import complexity
from variorum.models import ModelTable
from variorum.pixels import encode_png
from variorum.schemas.component import Context
from variorum.schemas.sample import Op, Sample, child_id, source_id
from variorum.schemas.table import Table

SIDE = 96
CONTEXT = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())


def mask(shift=0):
    return cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (40 + shift, 40), 16, 255, -1)


def picture(number):
    return cv2.resize(skimage.data.coffee()[:, 20 * number : 400 + 20 * number], (SIDE, SIDE))


def made(number, variant, pixels, requested=None, alpha=None):
    """A picture as stored in an edition, with an encoded mask."""
    op = Op(name="edit", revision=1, requested=requested or {}, achieved={}, gates={}, models={}, seed=0)
    source = source_id("test", str(number))
    return Sample(
        child_id(source, "f", variant, {}),
        pixels,
        parent=source,
        variant=variant,
        ops=(op,),
        extras={} if alpha is None else {"mask.png": encode_png(alpha)},
    )


def samples():
    for number in range(3):
        clean = picture(number)
        yield made(number, "original", clean, alpha=mask())
        yield made(number, "guided_control", cv2.GaussianBlur(clean, (0, 0), 0.7), alpha=mask())
        blurred = cv2.GaussianBlur(clean, (0, 0), 2)
        yield made(number, "guided_down", blurred, {"reference": "guided_control"}, mask())
        yield made(number, "position", clean, alpha=mask(9))
    yield made(7, "guided_control", picture(4), alpha=mask())  # without its original
    yield made(8, "original", picture(5))  # and this one has no mask


def figures_of(rows):
    table = Table(pa.Table.from_pylist(rows), "background_complexity")
    return BackgroundComplexity().figures(table, CONTEXT)


@pytest.fixture(scope="module")
def figures():
    rows = list(BackgroundComplexity().measure(list(samples()), CONTEXT))
    assert len(rows) == 14
    return figures_of(rows)["variants"]


def test_means_are_those_of_the_pictures(figures):
    away = mask() == 0
    clean = [picture(number) for number in range(3)]
    soft = [cv2.GaussianBlur(item, (0, 0), 0.7) for item in clean]
    found = figures["guided_control"]
    assert found["n"] == 3
    known = [np.mean([complexity.masked_hf(item, away)[0] for item in items]) for items in (clean, soft)]
    assert [found["masked_hf"]["original"], found["masked_hf"]["edited"]] == pytest.approx(known, abs=1e-4)
    assert found["masked_hf"]["change"] == pytest.approx(known[1] - known[0], abs=2e-4)
    known = np.mean([complexity.adm_compat(item) for item in soft])
    assert found["adm_compat"]["edited"] == pytest.approx(known, abs=1e-4)
    assert "reference" not in found


def test_an_edit_is_set_against_what_it_started_from(figures):
    found = figures["guided_down"]
    assert (found["reference"], found["n_reference"]) == ("guided_control", 3)
    control = figures["guided_control"]["masked_hf"]["edited"]
    assert found["masked_hf"]["change_vs_reference"] == pytest.approx(found["masked_hf"]["edited"] - control, abs=2e-4)
    assert found["masked_hf"]["change_vs_reference"] < 0
    assert found["masked_hf"]["risen"] == 0


def test_a_background_around_another_mask_is_not_compared(figures):
    assert set(figures) == {"guided_control", "guided_down"}


def test_without_masks_there_is_nothing_to_say():
    rows = list(BackgroundComplexity().measure([made(0, "original", picture(0))], CONTEXT))
    assert rows[0]["masked_hf"] is None
    assert figures_of(rows) == {"variants": {}}


def test_pixels_of_a_mask_serve_as_well_as_bytes():
    sample = made(0, "original", picture(0), alpha=mask())
    plain = Sample(sample.id, sample.image, parent=sample.parent, extras={"mask.png": mask()})
    first, second = (next(BackgroundComplexity().measure([item], CONTEXT)) for item in (sample, plain))
    assert first["masked_hf"] == second["masked_hf"]
    assert first["mask"] == second["mask"]
