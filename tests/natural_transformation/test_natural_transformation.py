"""Relit photographs through the real pipeline, and the latent route with a tiny GAN of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import skimage.data
from odd_pictures import write_odd_pictures
from PIL import Image

from variorum.annotations import encode_mask
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.natural_transformation.directions import directions, principal
from variorum.generators.natural_transformation.inversion import pictured
from variorum.generators.natural_transformation.natural import KINDS
from variorum.generators.natural_transformation.natural_transformation import NaturalTransformation
from variorum.generators.natural_transformation.route import played
from variorum.models import ModelTable
from variorum.pipeline import Job, Threads, build
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import deciding_models

CTX = Context(3, ModelTable("embedded"), lambda key, compute: compute())
IMAGE = np.ascontiguousarray(skimage.data.chelsea()[:240:2, :320:2])
SAMPLE = Sample(source_id("test", "chelsea"), IMAGE, labels=("n02123045",), digital_source_type=CAPTURED)
VARIANTS = [f"{name}_{strength}" for name in KINDS for strength in ("0.33", "0.67", "1")]
GAN = '''
import numpy as np
import torch


class TinyGan:
    """Random weights: it makes blurred noise, and only shows that the route works."""

    revision, size, device = "1", 32, torch.device("cpu")

    def __init__(self):
        random = torch.Generator().manual_seed(0)
        self.first = torch.randn(12, 8, generator=random) / 3
        self.last = torch.randn(12, 3, 8, 8, generator=random)
        self.style = self.first.numpy()

    def codes(self, seeds):
        return np.stack([np.random.default_rng(seed).standard_normal(8, np.float32) for seed in seeds])

    def __call__(self, codes):
        rough = torch.einsum("nk,kchw->nchw", codes @ self.first.T, self.last)
        return torch.sigmoid(torch.nn.functional.interpolate(rough, size=32, mode="bilinear") / 3)


def load():
    return TinyGan()


def guess():
    return lambda pictures: torch.zeros(len(pictures), 8)
'''


def made(sample: Sample = SAMPLE, ctx: Context = CTX, **fields: Any) -> dict[str, Sample | Failure]:
    fields = {"classifier": None, **fields}
    return {item.variant: item for item in NaturalTransformation(**fields).generate([sample], ctx)}


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made()


# ── closed form ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_original_and_one_picture_of_each_change_and_strength(whole):
    assert list(whole) == ["original", *VARIANTS]
    assert len({item.id for item in whole.values()}) == 22
    for variant, item in whole.items():
        assert isinstance(item, Sample), item
        assert item.image.shape == IMAGE.shape
        assert item.reason == ""
        assert item.digital_source_type == (CAPTURED if variant == "original" else ENHANCED)
        canonical_json(item.ops[-1])
    np.testing.assert_array_equal(whole["original"].image, IMAGE)


def test_a_record_says_what_was_asked_for_and_what_is_measured(whole):
    op = whole["brighter_0.67"].ops[-1]
    assert op["requested"] == {"attribute": "exposure", "strength": 0.67, "ev": 1.0}
    assert op["achieved"]["ev"] == pytest.approx(1, abs=0.02)
    assert whole["warmer_1"].ops[-1]["achieved"]["kelvin"] == pytest.approx(3000, abs=60)
    light = whole["light_direction_1"].ops[-1]["achieved"]
    assert abs((light["angle"] - light["drawn_angle"] + 180) % 360 - 180) < 10
    assert whole["shadow_1"].ops[-1]["achieved"]["left"] == pytest.approx(0.35, abs=0.03)
    for variant in VARIANTS:
        assert {"psnr", "ssim", "mean_level", "clipped"} <= set(whole[variant].ops[-1]["achieved"])
        assert set(whole[variant].ops[-1]["gates"]) == {"structure", "burnt_out", "blank"}
    for name in KINDS:
        found = [whole[f"{name}_{strength}"].ops[-1]["achieved"]["psnr"] for strength in ("0.33", "0.67", "1")]
        assert found == sorted(found, reverse=True), name


def test_strengths_share_what_is_drawn(whole):
    for name, drawn in (("light_direction", "drawn_angle"), ("shadow", "share"), ("shadow", "penumbra")):
        assert len({whole[f"{name}_{one}"].ops[-1]["achieved"][drawn] for one in ("0.33", "0.67", "1")}) == 1
    seeds = {name: {whole[f"{name}_{one}"].ops[-1]["seed"] for one in ("0.33", "0.67", "1")} for name in KINDS}
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == len(KINDS)
    alone = made(attributes=("shadow",), strengths=(1,))["shadow_1"]
    np.testing.assert_array_equal(alone.image, whole["shadow_1"].image)
    other = made(ctx=replace(CTX, seed=4), attributes=("shadow",), strengths=(1,))["shadow_1"]
    assert not np.array_equal(other.image, alone.image)


def test_objects_and_the_mask_stay():
    mask = np.zeros(IMAGE.shape[:2], np.uint8)
    mask[20:80, 30:90] = 255
    there = Annotations((Object((30, 20, 60, 60), "cat", mask=encode_mask(mask > 0)),))
    found = made(replace(SAMPLE, extras={"mask.png": mask, "plate.png": IMAGE}, annotations=there), strengths=(1,))
    for item in found.values():
        assert isinstance(item, Sample)
        assert item.annotations == there
        assert set(item.extras) == {"mask.png"}
        np.testing.assert_array_equal(item.extras["mask.png"], mask)


def test_the_probability_of_the_class_is_recorded_and_decides_nothing():
    generator = NaturalTransformation(attributes=("exposure",), strengths=(1,))
    found = list(generator.generate([SAMPLE, replace(SAMPLE, id="0" * 32, labels=("cat",))], CTX))
    values = [item.ops[-1]["gates"]["label_p"]["value"] for item in found[:3]]
    assert len(set(values)) == 3
    assert all(0 <= value <= 1 for value in values)
    assert all("label_p" not in item.ops[-1]["gates"] for item in found[3:])
    assert deciding_models(generator) == ()
    assert list(found[0].ops[-1]["models"]) == ["classifier_gate"]


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grey_picture_stays_grey_and_has_no_colour_of_light():
    grey = np.repeat(IMAGE[..., :1], 3, axis=2)
    found = made(replace(SAMPLE, image=grey))
    for variant, item in found.items():
        if variant.startswith(("warmer", "cooler")):
            assert (item.status, item.reason) == ("ineligible", "grey")
        else:
            assert isinstance(item, Sample)
            assert (item.image == item.image[..., :1]).all()


def test_black_stays_black_and_is_said_to_be_unchanged():
    found = made(replace(SAMPLE, image=np.zeros((40, 40, 3), np.uint8)), attributes=("exposure", "shadow", "haze"))
    assert found["original"].reason == "blank"
    for name in ("brighter_1", "darker_1", "shadow_1"):
        assert (found[name].status, found[name].reason) == ("ineligible", "unchanged")
    assert isinstance(found["haze_1"], Sample)
    white = made(replace(SAMPLE, image=np.full((40, 40, 3), 255, np.uint8)), attributes=("exposure", "light_direction"))
    assert white["brighter_1"].reason == "unchanged"
    assert white["darker_1"].reason == "blank"
    assert white["light_direction_1"].ops[-1]["achieved"]["angle"] is None


def test_what_is_burnt_out_is_quarantined():
    bright = (179 + IMAGE.astype(int) * 70 // IMAGE.max()).astype(np.uint8)
    found = made(replace(SAMPLE, image=bright), attributes=("exposure",))
    burnt = [found[f"brighter_{strength}"].ops[-1]["gates"]["burnt_out"]["value"] for strength in ("0.33", "0.67", "1")]
    assert burnt[0] < 0.1 < burnt[1] < burnt[2]
    assert found["brighter_0.67"].reason == found["brighter_1"].reason == "burnt_out"
    assert found["brighter_0.33"].reason == found["darker_1"].reason == ""


def test_whatever_a_folder_holds_becomes_pictures_or_rows(tmp_path):
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    photo = Image.fromarray(IMAGE)
    photo.save(folder / "colour.png")
    write_odd_pictures(folder, IMAGE)
    recipe = Recipe.parse(
        {
            "dataset": "mixed",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
            "generate": [{"name": "natural_transformation", "strengths": [1], "classifier": None}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    table = read_table(job.store, tables_of(build(job, Threads(1))))
    assert pc.count_distinct(table["id"]).as_py() == table.num_rows == 7 * 8 + 1
    rows = [(row["origin"].rpartition("/")[2], row["status"], row["reason"]) for row in table.to_pylist()]
    assert rows.count(("colour.png", "accepted", "")) == rows.count(("palette.png", "accepted", "")) == 8
    for name in ("grey.png", "sixteen.png"):
        assert rows.count((name, "accepted", "")) == 6
        assert rows.count((name, "ineligible", "grey")) == 2
    assert rows.count(("alpha.png", "ineligible", "alpha")) == rows.count(("tiny.png", "ineligible", "too_small")) == 8
    assert rows.count(("flat.png", "quarantined", "blank")) >= 3
    assert [row[1:] for row in rows if row[0] == "cut.jpg"] == [("failed", "truncated")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attributes": ["rain"]}, "attributes.*'exposure'"),
        ({"attributes": []}, "attributes: value error, must be one or more, each once"),
        ({"strengths": [1, 1]}, "strengths: value error, must be one or more, each once"),
        ({"strengths": [0.33, 0.34]}, "strengths has 0.33 and 0.34, which make the same brighter_0.34"),
        ({"strengths": [0.5, 0.50000001], "attributes": ["haze"]}, "which make the same haze_0.5"),
        ({"strengths": [0.33, 0.34], "route": "latent"}, r"which make the same direction_0_\+1"),
        ({"strengths": [1.5]}, "strengths.*less than or equal to 1"),
        ({"strengths": [0.01]}, r"strengths.*greater than or equal to 0\.05"),
        ({"latent": {"method": "pca"}}, "method.*'sefa' or 'ganspace'"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "natural_transformation", **fields}, "here")


# ── latent route ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def latent(tmp_path_factory) -> dict[str, Any]:
    """Fields for a GAN in a file of the user's own."""
    file = tmp_path_factory.mktemp("gan") / "tiny_gan.py"
    file.write_text(GAN)
    return {"gan": f"module:{file}:load", "inverter": f"module:{file}:guess", "directions": 2, "steps": 60}


def job_of(latent: dict[str, Any], root: Path) -> Job:
    fields = {"name": "natural_transformation", "route": "latent", "latent": latent, "classifier": None}
    photos = root / "photos" / "a"
    photos.mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGE).save(photos / "cat.png")
    recipe = {
        "dataset": "moved",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(root / "photos")},
        "generate": [fields],
    }
    return Job(Recipe.parse(recipe), str(root / "store"))


def test_without_a_gan_one_line_says_so_before_any_work(tmp_path):
    message = (
        "route latent: no model alias 'gan' in profile embedded; no GAN is shipped or configured, so name your own"
    )
    with pytest.raises(ModelUnavailable, match=message):
        _ = job_of({}, tmp_path).plan


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('"1", 32, torch', '"1", 8, torch', "ValueError: size is 8; it must be a whole number from 32 to 4096"),
        ("zeros(len(pictures), 8)", "zeros(len(pictures), 7)", r"ValueError: the inverter gave the shape \[1, 7\]"),
        ("size=32", "size=16", r"ValueError: the GAN gave the shape \[1, 3, 16, 16\], not \[1, 3, 32, 32\]"),
        (
            "standard_normal(8",
            "standard_normal(9",
            r"ValueError: codes has the shape \[2000, 9\]; it must be \[2000, 8\]",
        ),
        ("rough = ", "rough = 1 / 0 * ", r"ZeroDivisionError: division by zero \(.*gan.py:\d+\)"),
    ],
)
def test_a_gan_that_does_not_work_is_one_line(right, wrong, message, tmp_path):
    (tmp_path / "gan.py").write_text(GAN.replace(right, wrong))
    models = {"gan": f"module:{tmp_path}/gan.py:load", "inverter": f"module:{tmp_path}/gan.py:guess"}
    with pytest.raises(ModelFailed, match=f"^natural_transformation: the GAN module:.*can't be used: {message}.*$"):
        made(route="latent", latent={**models, "steps": 1, "least_ssim": 0})


def test_codes_move_along_directions(latent):
    there = Annotations((Object((30, 20, 60, 60), "cat"),))
    sample = replace(SAMPLE, annotations=there, extras={"mask.png": np.zeros(IMAGE.shape[:2], np.uint8)})
    found = made(sample, route="latent", latent={**latent, "least_ssim": 0}, strengths=(0.33, 1))
    assert len(found["original"].annotations.objects) == 1
    assert list(found)[:2] == ["original", "inverted"]
    moves = [f"direction_{number}_{sigmas}" for number in (0, 1) for sigmas in ("+1", "-1", "+3", "-3")]
    assert list(found)[2:] == moves
    for variant in ["inverted", *moves]:
        item = found[variant]
        assert isinstance(item, Sample), item
        assert item.image.shape == (32, 32, 3)
        assert item.digital_source_type == GENERATED
        assert not item.annotations.objects
        assert not item.extras
        assert "structure" in item.ops[-1]["achieved"]
        assert item.ops[-1]["gates"]["inversion"]["passed"]
    assert found["direction_0_+3"].ops[-1]["requested"]["reference"] == "inverted"
    far, near = (
        np.abs(found[f"direction_0_{one}"].image.astype(int) - found["inverted"].image).mean() for one in ("+3", "+1")
    )
    assert far > near > 0


@pytest.mark.parametrize("method", ["sefa", "ganspace"])
def test_a_picture_of_the_gan_is_found_again(latent, method):
    gan = played(CTX.models.get(latent["gan"]))
    image = pictured(gan, gan.codes([7])[0])
    fields = {**latent, "method": method, "steps": 150, "directions": 1}
    found = made(replace(SAMPLE, image=image), route="latent", latent=fields, strengths=(1,))
    assert found["inverted"].ops[-1]["achieved"]["ssim"] > 0.9
    assert found["inverted"].reason == ""
    guess = made(replace(SAMPLE, image=image), route="latent", latent={**fields, "steps": 0})["inverted"]
    assert (guess.status, guess.reason) == ("ineligible", "not_invertible")
    assert found["direction_0_+3"].ops[-1]["achieved"]["ssim"] < found["inverted"].ops[-1]["achieved"]["ssim"]


def test_a_photograph_that_the_gan_cannot_make_is_a_row_for_each_variant(latent, tmp_path):
    job = job_of(latent, tmp_path)
    rows = read_table(job.store, tables_of(build(job, Threads(1)))).to_pylist()
    assert [row["status"] for row in rows if row["variant"] == "original"] == ["accepted"]
    others = [row for row in rows if row["variant"] != "original"]
    assert len(others) == 1 + 2 * 6
    assert {(row["status"], row["reason"]) for row in others} == {("ineligible", "not_invertible")}


def test_directions_are_the_strongest_first():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    scales = np.array([5, 3, 1, 0.5, 0.2, 0.1])

    class Known:
        """A GAN whose codes and style layer have known directions."""

        style = ((rng.standard_normal((40, 6)) @ np.diag(scales)) @ turn.T).astype(np.float32)
        size, device = 32, None

        def codes(self, seeds):
            return ((np.random.default_rng(1).standard_normal((len(seeds), 6)) * scales) @ turn.T + 7).astype(
                np.float32
            )

        def __call__(self, codes):
            raise NotImplementedError

    found = directions(Known(), "ganspace", 3)
    assert (np.take_along_axis(found["vectors"], np.abs(found["vectors"]).argmax(axis=1)[:, None], axis=1) > 0).all()
    assert np.abs(np.sum(found["vectors"] * turn.T[:3], axis=1)).min() > 0.99
    np.testing.assert_allclose(found["deviations"], scales[:3], rtol=0.05)
    sefa = directions(Known(), "sefa", 2)["vectors"]
    assert np.abs(np.sum(sefa * turn.T[:2], axis=1)).min() > 0.9
    assert len(principal(np.eye(3), 9)) == 3
