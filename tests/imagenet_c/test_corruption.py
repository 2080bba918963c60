"""The whole generator on real photographs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow.compute as pc
import pytest
import skimage.data
from PIL import Image

from variorum.annotations import encode_mask, region
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.imagenet_c.corruption import Corruption
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.corrupt.frames import framed
from variorum.kit.corrupt.kinds import COMMON, KINDS
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, GENERATED, Failure, Sample, source_id

CTX = Context(3, None, None)
SAMPLES = [
    Sample(source_id("test", name), getattr(skimage.data, name)(), digital_source_type=CAPTURED)
    for name in ("chelsea", "coffee", "astronaut")
]


def made(sample: Sample = SAMPLES[0], ctx: Context = CTX, **fields: Any) -> dict[str, Sample | Failure]:
    return {item.variant: item for item in Corruption(**fields).generate([sample], ctx)}


def samples(found: dict[str, Sample | Failure]) -> Iterator[Sample]:
    for item in found.values():
        assert isinstance(item, Sample), item
        yield item


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made()


# ── what is made ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_original_and_one_picture_of_each_kind_and_severity(whole):
    assert list(whole) == ["original", *(f"{kind}_{severity}" for kind in COMMON for severity in range(1, 6))]
    for item in samples(whole):
        assert item.image.shape == (224, 224, 3)
        assert item.ops[-1]["gates"]["blank"]["passed"]
        assert item.reason == ""
    assert len({item.id for item in whole.values()}) == 76
    assert whole["original"].digital_source_type == CAPTURED
    assert whole["fog_3"].digital_source_type == ENHANCED
    np.testing.assert_array_equal(whole["original"].image, framed(SAMPLES[0], 224).image)


def test_a_record_says_what_was_asked_for_and_what_came_of_it(whole):
    op = whole["motion_blur_2"].ops[-1]
    assert op["requested"] == {"kind": "motion_blur", "severity": 2, "constants": [15, 5], "scale": 1.0, "frame": 224}
    assert -45 <= op["achieved"]["angle"] <= 45
    for item in list(samples(whole))[1:]:
        achieved = item.ops[-1]["achieved"]
        assert {"psnr", "ssim", "mean_level", "clipped"} <= set(achieved)
        assert 3 < achieved["psnr"] < 45
        assert 0 < achieved["ssim"] < 1
        assert achieved["mean_level"] == pytest.approx(item.image.mean(), abs=1e-3)
        canonical_json(op)
    for kind in ("gaussian_noise", "impulse_noise", "contrast"):
        found = [whole[f"{kind}_{severity}"].ops[-1]["achieved"]["psnr"] for severity in range(1, 6)]
        assert found == sorted(found, reverse=True)


def test_severities_share_their_random_numbers_and_kinds_do_not(whole):
    angles = {whole[f"motion_blur_{severity}"].ops[-1]["achieved"]["angle"] for severity in range(1, 6)}
    assert len(angles) == 1
    seeds = {whole[f"{kind}_{severity}"].ops[-1]["seed"] for kind in COMMON for severity in (1, 5)}
    assert len(seeds) == 15


def test_bytes_depend_on_seed_and_picture_not_on_the_company():
    fields = {"kinds": ("shot_noise", "fog", "elastic_transform"), "severities": (4, 2), "frame": 64}
    alone = [made(sample, **fields) for sample in SAMPLES]
    together = list(Corruption(**fields).generate(SAMPLES[::-1], CTX))
    assert len(together) == 3 * 7
    for found, chunk in zip(alone[::-1], [together[at : at + 7] for at in (0, 7, 14)], strict=True):
        for before, after in zip(samples(found), chunk, strict=True):
            assert before.id == after.id
            np.testing.assert_array_equal(before.image, after.image)
    alone_kind = made(kinds=("fog",), severities=(2,), frame=64)["fog_2"]
    np.testing.assert_array_equal(alone_kind.image, alone[0]["fog_2"].image)
    other = made(ctx=Context(4, None, None), **fields)
    assert not np.array_equal(other["fog_2"].image, alone[0]["fog_2"].image)


def test_all_kinds_at_another_size_scale_or_without_a_frame():
    square = replace(SAMPLES[0], image=np.ascontiguousarray(SAMPLES[0].image[:300, :300]))
    found = made(square, kinds=tuple(KINDS), severities=(3,), frame=None)
    assert all(item.image.shape == (300, 300, 3) for item in samples(found))
    assert found["fog_3"].ops[-1]["requested"]["scale"] == pytest.approx(300 / 224, abs=1e-6)
    absolute = made(square, kinds=("gaussian_blur",), severities=(3,), frame=None, scale="absolute")
    requested = absolute["gaussian_blur_3"].ops[-1]["requested"]
    assert requested == {"kind": "gaussian_blur", "severity": 3, "constants": [3], "scale": 1.0, "frame": None}
    sharper, softer = (cv2.Laplacian(one["gaussian_blur_3"].image, cv2.CV_64F).std() for one in (absolute, found))
    assert sharper > 1.1 * softer
    small = made(kinds=("gaussian_noise",), severities=(3,), frame=32)["gaussian_noise_3"].ops[-1]["requested"]
    assert (small["constants"], small["scale"]) == ([0.08], 1.0)


def test_published_files_are_jpegs():
    plain, published = (made(kinds=("fog",), severities=(1,), published_jpeg=one) for one in (False, True))
    np.testing.assert_array_equal(published["fog_1"].image, as_jpeg(plain["fog_1"].image, 85))
    np.testing.assert_array_equal(published["original"].image, plain["original"].image)
    assert published["fog_1"].id != plain["fog_1"].id


def test_what_a_model_made_stays_a_model_s():
    found = made(replace(SAMPLES[0], digital_source_type=GENERATED), kinds=("fog",), severities=(1,), frame=64)
    assert {item.digital_source_type for item in samples(found)} == {GENERATED}


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_objects_and_the_mask_move_with_the_pixels():
    y, x = np.indices((240, 320))
    mask = (x - 170) ** 2 + (y - 110) ** 2 < 40**2
    image = np.where(mask[..., None], np.array([0, 220, 0]), 90).astype(np.uint8)
    box = (130.5, 70.5, 79.0, 79.0)
    objects = (Object(box, "box", area=5000.0), Object(box, "mask", mask=encode_mask(mask)))
    sample = replace(
        SAMPLES[0],
        image=image,
        extras={"mask.png": mask.astype(np.uint8) * 255},
        annotations=Annotations(objects, (Text("a disk"),)),
    )
    found = made(sample, kinds=("elastic_transform", "zoom_blur", "motion_blur", "fog"))
    still = found["original"]
    for item in samples(found):
        green = item.image[..., 1].astype(int) - item.image[..., 0]
        seen = green > green.max() / 2
        for name, said in (
            ("mask.png", item.extras["mask.png"] > 127),
            *((one.label, region(one, 224, 224)) for one in item.annotations.objects),
        ):
            least = 0.6 if name == "box" else 0.75  # a disk fills 79 % of its box
            assert (said & seen).sum() / (said | seen).sum() > least, (item.variant, name)
        assert item.annotations.texts == sample.annotations.texts
    assert found["fog_5"].annotations == still.annotations
    np.testing.assert_array_equal(found["fog_5"].extras["mask.png"], still.extras["mask.png"])
    assert found["elastic_transform_2"].annotations != still.annotations


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_that_is_too_small_is_a_row_for_each_variant():
    tiny = replace(SAMPLES[0], image=np.ascontiguousarray(SAMPLES[0].image[:20, :50]))
    found = made(tiny)
    assert len(found) == 76
    assert {(item.status, item.reason) for item in found.values()} == {("ineligible", "too_small")}
    assert "50 x 20 pixels" in found["fog_3"].detail
    assert {item.id for item in found.values()}.isdisjoint({item.id for item in made(SAMPLES[1]).values()})
    prompt = replace(SAMPLES[0], image=b"", extras={"prompt.txt": b"x"})
    assert {item.reason for item in made(prompt, frame=None).values()} == {"no_picture"}


def test_a_picture_that_does_not_change_is_no_picture():
    grey = np.repeat(skimage.data.camera()[..., None], 3, axis=2)
    found = made(replace(SAMPLES[0], image=grey), kinds=("saturate", "contrast"), severities=(1, 3), frame=64)
    assert (found["saturate_1"].status, found["saturate_1"].reason) == ("ineligible", "unchanged")
    assert isinstance(found["contrast_3"], Sample)
    assert all((item.image == item.image[..., :1]).all() for item in found.values() if isinstance(item, Sample))


def test_a_flat_picture_is_quarantined_as_blank():
    flat = np.full((64, 64, 3), 77, np.uint8)
    found = made(replace(SAMPLES[0], image=flat), kinds=("gaussian_noise", "brightness", "contrast"), frame=None)
    assert found["original"].reason == "blank"
    assert found["brightness_1"].reason == "blank"
    assert found["contrast_1"].reason == "unchanged"
    assert found["gaussian_noise_1"].reason == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"kinds": ["rain"]},
            r"kinds: value error, no corruption is called 'rain'; there are: gaussian_noise, .*saturate",
        ),
        ({"kinds": []}, "kinds: value error, must be one or more kinds, each once"),
        ({"kinds": ["fog", "fog"]}, "kinds: value error, must be one or more kinds, each once"),
        ({"severities": [6]}, "severities: value error, severity 6 doesn't exist; there are 1 to 5"),
        ({"severities": []}, "severities: value error, must be one or more of 1 to 5, each once"),
        ({"frame": 31}, "frame: .*32"),
        ({"frame": 2000}, "frame: .*1024"),
        ({"scale": "double"}, "scale: .*'frame' or 'absolute'"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "corruption", **fields}, "here")


def test_whatever_a_folder_holds_becomes_pictures_or_rows(tmp_path):
    """Transparency is laid over white by the reader, never over black; grey and 16-bit pictures become RGB."""
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    photo = Image.fromarray(skimage.data.chelsea()[:120, :160])
    alpha = Image.new("L", photo.size, 0)
    alpha.paste(255, (40, 30, 120, 90))
    seen = photo.copy()
    seen.putalpha(alpha)
    seen.save(folder / "alpha.png")
    photo.convert("L").save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    Image.fromarray((np.asarray(photo.convert("L")).astype(np.uint16)) * 257).save(folder / "sixteen.png")
    photo.resize((20, 20)).save(folder / "tiny.png")
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    recipe = Recipe.parse(
        {
            "dataset": "mixed",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
            "generate": [{"name": "corruption", "kinds": ["contrast", "fog"], "severities": [1], "frame": 64}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    manifest = build(job, Threads(1))
    table = read_table(job.store, tables_of(manifest))
    assert pc.count_distinct(table["id"]).as_py() == table.num_rows == 5 * 3 + 1
    rows = [(row["origin"].rpartition("/")[2], row["status"], row["reason"]) for row in table.to_pylist()]
    for name in ("alpha.png", "grey.png", "palette.png", "sixteen.png"):
        assert rows.count((name, "accepted", "")) == 3
    assert rows.count(("tiny.png", "ineligible", "too_small")) == 3
    assert [row[1:] for row in rows if row[0] == "cut.jpg"] == [("failed", "truncated")]


def test_transparency_is_never_black():
    picture = Image.fromarray(skimage.data.chelsea()[:64, :64])
    picture.putalpha(0)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    sample = replace(SAMPLES[0], image=decode(stream.getvalue()))
    assert made(sample, kinds=("gaussian_noise",), frame=None)["gaussian_noise_1"].image.mean() > 240
