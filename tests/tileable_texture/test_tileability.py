"""Seams, light, repetition and evenness of pictures, and the detector on them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import skimage.data
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from variorum.curation.tileable_texture.tileability import Tileability
from variorum.kit.pictures.seams import border_step, evenness, evenness_at, repetition, seam_ratio
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample, source_id
from variorum.schemas.table import Table
from variorum.schemas.uses import required_models


def grey(values):
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


GRASS = grey(skimage.data.grass())
SMOOTH = np.random.default_rng(0).normal(128, 20, (96, 96))
WAVES = grey(128 + 8 * gaussian_filter(SMOOTH - 128, 3, mode="wrap"))
"""Periodic in both directions, and smooth."""


def test_a_periodic_picture_has_a_seam_ratio_of_1_and_a_mirrored_one_of_0():
    assert seam_ratio(WAVES) == pytest.approx(1, abs=0.2)
    quarter = GRASS[:48, :48]
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    assert seam_ratio(np.concatenate([half, half[::-1]])) == 0
    assert seam_ratio(WAVES[:90]) > 2
    assert seam_ratio(WAVES[:, :88]) > 2


def test_the_seam_ratio_by_hand():
    row = np.array([[0, 10, 20, 30, 40, 50]] * 4)  # neighbours differ by 10, the ends by 50; rows don't differ at all
    assert seam_ratio(grey(row)) == pytest.approx(5)
    assert seam_ratio(np.swapaxes(grey(row), 0, 1)) == pytest.approx(5)
    assert seam_ratio(grey(np.full((40, 40), 7))) == 0
    assert seam_ratio(grey(np.full((1, 1), 7))) == 0


def test_a_seam_is_compared_with_eight_pairs_on_either_side():
    steps = [1, 1, 1] + [10] * 5 + [0] * 4 + [10] * 5 + [1, 1, 1]
    row = np.concatenate([[0], np.cumsum(steps)])
    assert seam_ratio(grey(np.tile(row, (4, 1)))) == pytest.approx(row[-1] / 10)


def test_light_that_falls_off_jumps_at_the_border():
    ramp = np.linspace(0, 60, 96)
    lit, even = grey(SMOOTH + ramp), grey(SMOOTH)
    assert border_step(lit) > 30
    assert border_step(np.swapaxes(lit, 0, 1)) == pytest.approx(border_step(lit), abs=1e-3)
    assert border_step(even) < 2
    assert border_step(grey(np.full((8, 8), 7))) == 0


def test_repetition_of_a_pattern_of_noise_and_of_a_flat_picture():
    board = grey(255 * (np.indices((128, 128)) // 16).sum(axis=0) % 2 * 200)
    assert repetition(board) > 0.9
    assert repetition(grey(SMOOTH)) < 0.15
    assert repetition(grey(np.full((64, 64), 7))) == 0
    assert repetition(grey(np.full((1, 1), 7))) == 0
    assert repetition(np.tile(GRASS[:60, :60], (4, 4, 1))) > 0.8
    noise = np.random.default_rng(1).normal(0, 20, (128, 128))
    assert repetition(grey(128 + noise + np.roll(noise, 20, axis=1))) > 0.4  # once more, 20 pixels to the right
    assert repetition(grey(128 + noise + np.roll(noise, 5, axis=1))) < 0.2  # too near
    slow = 20 * np.sin(np.arange(128) * 2 * np.pi / 64)
    assert repetition(grey(128 + noise + slow)) < 0.25
    assert repetition(np.tile(grey(128 + noise[:6, :6]), (40, 40, 1))) > 0.8  # is still seen at the size it works on


def test_a_texture_is_even_and_a_scene_is_not():
    assert evenness(GRASS).unevenness < 0.3
    assert evenness(GRASS).contrast == pytest.approx(GRASS[..., 0].std() * 100 / 255, rel=0.1)
    sky = np.concatenate([np.full((48, 96), 200.0), SMOOTH[:48]])
    assert evenness(grey(sky)).unevenness > 1
    sky[:80] = 200
    assert evenness(grey(sky)).contrast == 0  # there is something in less than half of it
    places = np.array([0, 100])
    found = evenness_at(GRASS, places, places, (64, 64))[0]
    alone = [evenness(np.ascontiguousarray(GRASS[at : at + 64, at : at + 64])).unevenness for at in places]
    np.testing.assert_allclose(found, alone, rtol=0.02)  # the edges at its border are seen in a part of a picture only


def test_a_thing_of_another_colour_or_direction_is_uneven():
    """Each has the light and the contrast of the grass around it."""
    grass = GRASS[:96, :96]
    red = grass.copy()
    red[:40, :40] = np.clip(grass[:40, :40] * (1.7, 0.85, 0.6), 0, 255)
    lines = 128 + 40 * np.sin(np.indices((96, 96)).sum(axis=0) * 0.8)
    turned = grey(lines)
    turned[:, :48] = turned[:, :48][::-1]
    assert evenness(red).unevenness > evenness(grass).unevenness + 0.5
    assert evenness(turned).unevenness > evenness(grey(lines)).unevenness + 0.5


class Scorer:
    """Stands for models: the score is the width in thousandths, and only of squares; all others are classifiers."""

    def get(self, alias):
        if alias != "tileability_scorer":
            return lambda images: np.full((len(images), 3), 1 / 3)
        return lambda images: [
            image.shape[1] / 1000 if image.shape[0] == image.shape[1] else np.nan for image in images
        ]


def measured(images, **fields):
    detector = Tileability(**fields)
    ctx = Context(1, Scorer(), None)
    samples = [Sample(source_id("test", str(number)), image) for number, image in enumerate(images)]
    rows = [
        {"variant": f"v{number % 2}", **{f"tileability.{name}": value for name, value in row.items()}}
        for number, row in enumerate(detector.measure(samples, ctx))
    ]
    table = Table(pa.Table.from_pylist(rows), "tileability")
    return detector, table, detector.score(table, ctx), ctx


def test_what_is_flagged_and_why():
    quarter = GRASS[:48, :48]
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    mirrored = np.concatenate([half, half[::-1]])
    lit = grey(np.full((96, 96), 90.0) + np.linspace(0, 12, 96))
    detector, table, found, ctx = measured([WAVES, WAVES[:90], mirrored, lit])
    assert found["issue"] == ["", "not_tileable", "mirrored", "not_tileable"]
    assert found["flag"].tolist() == [False, True, False, True]
    assert found["mirrored"].tolist() == [False, False, True, False]
    assert (found["score"] > 0).tolist() == found["flag"].tolist()
    assert set(found) | {"seam_ratio", "low_frequency", "repetition", "unevenness"} == set(detector.known_columns())
    whole = Table(
        table.arrow.append_column("tileability.flag", pa.array(found["flag"])).append_column(
            "tileability.issue", pa.array(found["issue"])
        ),
        "tileability",
    )
    figures = detector.figures(whole, ctx)
    assert figures["flagged"] == 2
    assert figures["issues"] == {"mirrored": 1, "not_tileable": 2}
    assert figures["by_variant"]["v1"] == {
        "n": 2,
        "flagged_rate": 1.0,
        "median_seam_ratio": pytest.approx(np.median(table["seam_ratio"][1::2]), abs=1e-3),
    }
    assert measured([WAVES[:90]], seam=100)[2]["issue"] == [""]


def test_light_alone_is_enough_even_with_equal_borders():
    lit = SMOOTH + np.linspace(0, 20, 96)
    equal = np.tile(np.linspace(60, 140, 96), (96, 1))
    equal[:, [0, -1]] = 100
    _, table, found, _ = measured([grey(lit), grey(equal)])
    assert table["seam_ratio"][0] < 1.5
    assert table["seam_ratio"][1] == 0
    assert found["issue"] == ["not_tileable", "not_tileable"]
    assert not found["mirrored"].any()


def test_a_scorer_gives_a_column_and_no_value_for_a_picture_that_is_not_square():
    detector, table, _, _ = measured([WAVES, WAVES[:90]], scorer="tileability_scorer")
    assert required_models(detector) == ("tileability_scorer",)
    assert table["textile"][0] == pytest.approx(0.096)
    assert np.isnan(table["textile"][1])
    assert "textile" in detector.known_columns()
    assert "textile" not in Tileability().known_columns()
    assert required_models(Tileability()) == ()


def test_another_model_is_no_scorer():
    with pytest.raises(RecipeError, match=r"^curate.tileability: scorer 'classifier' doesn't give one number for each"):
        measured([WAVES], scorer="classifier")


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match=r"mirror is 2; it must be below seam, which is 1.5"):
        Tileability(mirror=2)
