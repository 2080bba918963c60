"""Photographs moved by pixels: the content that two windows share is the same to the byte, and objects move along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import write_odd_pictures
from PIL import Image
from pydantic import ValidationError

from variorum.annotations import encode_mask, region
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.translation.translation import Translation
from variorum.generators.translation.windows import apart, margin, shifts, shown, window
from variorum.kit.corrupt.frames import framed
from variorum.pipeline import Job, Threads, build
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, Failure, Sample, source_id

CTX = Context(3, None, None)
PHOTOGRAPH = Sample(source_id("test", "chelsea"), skimage.data.chelsea(), digital_source_type=CAPTURED)


def made(sample: Sample = PHOTOGRAPH, **fields: Any) -> dict[str, Sample | Failure]:
    return {item.variant: item for item in Translation(**fields).generate([sample], CTX)}


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shifts_are_by_powers_of_two_up_to_the_radius():
    assert shifts(0, "square") == ()
    assert len(shifts(1, "square")) == 8
    assert set(shifts(1, "axes")) == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    assert {abs(x) for x, _ in shifts(32, "axes")} == {0, 1, 2, 4, 8, 16, 32}
    assert max(max(map(abs, one)) for one in shifts(7, "square")) == 4


def test_borders_by_hand():
    field = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert shown(field, 2, (0, 0), "photograph").tolist() == [[5, 6], [9, 10]]
    assert shown(field, 2, (1, 0), "photograph").tolist() == [[6, 7], [10, 11]]
    assert shown(field, 2, (1, 0), "cyclic").tolist() == [[6, 5], [10, 9]]
    assert shown(field, 2, (1, 0), "zero").tolist() == [[6, 0], [10, 0]]
    assert shown(field, 2, (0, -1), "zero").tolist() == [[0, 0], [5, 6]]
    assert shown(field, 2, (-1, 1), "zero").tolist() == [[0, 9], [0, 0]]
    assert (margin(field, 2, (1, 0)), margin(field, 2, (0, 2))) == (0, -1)
    with pytest.raises(ValueError, match="leaves the picture"):
        window(field, 2, (0, 2))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(40, 90),
    st.integers(40, 90),
    st.sampled_from([shift for steps in ("square", "axes") for shift in shifts(4, steps)]),
    st.sampled_from(["photograph", "cyclic", "zero"]),
)
def test_what_two_windows_share_is_the_same_to_the_byte(seed, height, width, shift, border):
    field = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    base, moved = (shown(field, 32, one, border) for one in ((0, 0), shift))
    assert apart(base, moved, shift) == 0
    x, y = shift
    np.testing.assert_array_equal(base[16 + y, 16 + x], moved[16, 16])
    assert apart(base, shown(field, 32, (shift[0], -shift[1] or 1), border), shift) > 0


# ── the generator ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made(radius=2, borders=("photograph", "cyclic", "zero"))


def test_an_original_and_one_picture_per_shift_and_border(whole):
    assert len(whole) == 1 + 3 * 16
    assert {"original", "shift_+1_0", "shift_-2_+2", "cyclic_0_-1", "zero_+2_0"} <= set(whole)
    assert len({item.id for item in whole.values()}) == len(whole)
    base = whole["original"].image
    np.testing.assert_array_equal(base, framed(PHOTOGRAPH, 260, larger=1).image[2:-2, 2:-2])
    for item in whole.values():
        assert item.image.shape == (256, 256, 3)
        op = item.ops[-1]
        canonical_json(op)
        assert all(gate["passed"] for gate in op["gates"].values())
        if item.variant != "original":
            shift = op["requested"]["dx"], op["requested"]["dy"]
            assert apart(base, item.image, shift) == op["gates"]["exact"]["value"] == 0
            assert op["achieved"]["pixels"] == max(map(abs, shift))
    assert whole["original"].ops[-1]["achieved"]["scale"] == pytest.approx(260 / 300, abs=1e-6)
    assert whole["original"].digital_source_type == CAPTURED
    assert whole["shift_+1_0"].digital_source_type == ENHANCED
    assert whole["shift_+2_0"].ops[-1]["gates"]["margin"] == {"value": 0, "limit": ">= 0", "passed": True}


def test_radius_0_moves_nothing():
    assert list(made(radius=0)) == ["original"]


def test_a_shift_of_the_photograph_is_less_than_a_pixel_of_the_frame():
    found = made(at="source", frame=128, steps="axes")
    moved = found["shift_+1_0"]
    side = PHOTOGRAPH.image.shape[0] - 2
    assert moved.ops[-1]["achieved"]["pixels"] == pytest.approx(128 / side, abs=1e-6)
    assert moved.ops[-1]["achieved"]["scale"] == moved.ops[-1]["achieved"]["pixels"]  # of one pixel
    assert set(moved.ops[-1]["gates"]) == {"margin", "blank"}
    difference = np.abs(moved.image.astype(int) - found["original"].image).mean()
    whole = made(frame=128, steps="axes")
    assert difference < np.abs(whole["shift_+1_0"].image.astype(int) - whole["original"].image).mean()


@pytest.mark.parametrize("border", ["photograph", "cyclic", "zero"])
@pytest.mark.parametrize("at", ["frame", "source"])
def test_objects_and_the_mask_move_along(border, at):
    y, x = np.indices(PHOTOGRAPH.image.shape[:2])
    mask = (x - 240) ** 2 + (y - 140) ** 2 < 60**2
    image = np.where(mask[..., None], np.uint8([0, 250, 0]), PHOTOGRAPH.image // 2)
    marks = (Object((180.0, 80.0, 120.0, 120.0), "ball", mask=encode_mask(mask)), Object((180, 80, 120, 120), "box"))
    sample = replace(PHOTOGRAPH, image=image, extras={"mask.png": mask * np.uint8(255)}, annotations=Annotations(marks))
    found = made(sample, frame=128, radius=8, borders=(border,), at=at)
    for item in found.values():
        green = (item.image[..., 1].astype(int) - item.image[..., 0] > 100).astype(bool)
        for said in (region(item.annotations.objects[0], 128, 128), item.extras["mask.png"] > 127):
            assert (said & green).sum() / (said | green).sum() > 0.97
        columns = np.flatnonzero(green.any(axis=0))
        assert item.annotations.objects[1].box[0] == pytest.approx(columns[0], abs=1.6)


def test_a_window_of_the_photograph_has_32_pixels():
    sizes = {side: replace(PHOTOGRAPH, image=PHOTOGRAPH.image[:side, :200]) for side in (35, 36)}
    found = {side: made(sample, at="source", radius=2, steps="axes", frame=64) for side, sample in sizes.items()}
    assert {item.reason for item in found[35].values()} == {"too_small"}
    assert "200 x 35 pixels, the shorter side must be 36" in found[35]["shift_+2_0"].detail
    assert {item.reason for item in found[36].values()} == {""}


def test_fields_say_what_they_take():
    for wrong in ({"frame": 32}, {"radius": 33}, {"borders": ()}, {"borders": ("zero", "zero")}, {"steps": "round"}):
        with pytest.raises(ValidationError):
            Translation(**wrong)


def test_odd_pictures_are_rows_with_a_reason(tmp_path):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    write_odd_pictures(folder, np.asarray(Image.fromarray(skimage.data.chelsea()).resize((96, 64))))
    recipe = {
        "dataset": "odd",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
        "generate": [{"name": "translation", "frame": 64, "steps": "axes"}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    table = read_table(job.store, tables_of(build(job, Threads(1)))).to_pylist()
    found: dict[str, set[str]] = {}
    for row in table:
        found.setdefault(row["origin"].rpartition("/")[2], set()).add(row["reason"])
    assert found == {
        "alpha.png": {"alpha"},
        "cut.jpg": {"truncated"},
        "flat.png": {"blank", "unchanged"},
        "grey.png": {""},
        "palette.png": {""},
        "sixteen.png": {""},
        "tiny.png": {"too_small"},
    }
    assert {row["status"] for row in table if row["reason"] == "unchanged"} == {"ineligible"}
