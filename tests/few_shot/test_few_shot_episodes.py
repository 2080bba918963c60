"""The whole generator on real photographs: difficulties, bad input, listings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage.data
from PIL import Image

from variorum.annotations import box_of, encode_mask
from variorum.edition.editions import folder_of
from variorum.edition.tables import read_table
from variorum.evaluation.few_shot.few_shot_accuracy import FewShotAccuracy
from variorum.generators.few_shot.camouflage import difference
from variorum.generators.few_shot.difficulties import View, blurred
from variorum.generators.few_shot.few_shot_episodes import FewShotEpisodes
from variorum.kit.corrupt.kinds import corrupt
from variorum.models import ModelTable
from variorum.pipeline import Job, Threads, build
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, COMPOSITE, ENHANCED, Failure, Sample, source_id
from variorum.schemas.table import Table
from variorum.schemas.uses import deciding_models, required_models
from variorum.stages.pieces import edition_pieces

CTX = Context(3, None, None)
SIDE = 160
NO_OBJECTS = ("clean", "blurred", "low_light", "shrunk")


def composed(radius: int = 40) -> Sample:
    """A piece of a cat on gravel, with its mask and its plate."""
    plate = cv2.resize(np.repeat(skimage.data.gravel()[..., None], 3, axis=2), (SIDE, SIDE))
    cat = cv2.resize(skimage.data.chelsea()[:300, 60:360], (SIDE, SIDE))
    y, x = np.indices((SIDE, SIDE))
    alpha = (np.clip(radius - np.hypot(x - 90, y - 80), 0, 1) * 255).astype(np.uint8)
    cover = alpha[..., None] / 255
    picture = np.rint(plate * (1 - cover) + cat * cover).astype(np.uint8)
    mask = alpha > 127
    box = (90.0 - radius, 80.0 - radius, 2.0 * radius, 2.0 * radius)
    return Sample(
        source_id("test", f"cat {radius}"),
        picture,
        ("cat",),
        extras={"mask.png": alpha, "plate.png": plate},
        annotations=Annotations((Object(box, "cat", mask=encode_mask(mask)),)),
        digital_source_type=COMPOSITE,
    )


def made(sample: Sample, **fields: Any) -> dict[str, Sample | Failure]:
    maker = FewShotEpisodes(frame=SIDE, **fields)
    return {item.variant: item for item in maker.generate([sample], CTX)}


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made(composed())


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_picture_in_every_difficulty(whole):
    assert list(whole) == ["clean", "camouflaged", "small", "blurred", "low_light"]
    for item in whole.values():
        assert isinstance(item, Sample), item
        assert item.reason == "", (item.variant, item.ops[-1]["gates"])
        assert item.image.shape == (SIDE, SIDE, 3)
        assert item.labels == ("cat",)
        assert item.extras["mask.png"].shape == (SIDE, SIDE)
        canonical_json(item.ops[-1])
    np.testing.assert_array_equal(whole["clean"].image, composed().image)
    assert len({item.id for item in whole.values()}) == 5
    kinds = {name: item.digital_source_type for name, item in whole.items()}
    assert kinds == {name: COMPOSITE if name in ("clean", "small") else ENHANCED for name in whole}


def test_a_camouflaged_object_comes_near_its_ground(whole):
    item, alpha = whole["camouflaged"], composed().extras["mask.png"]
    achieved = item.ops[-1]["achieved"]
    assert achieved["delta_e"] == pytest.approx(difference(item.image, alpha), abs=1e-3)
    assert achieved["delta_e"] <= 0.5 * achieved["delta_e_before"]
    assert item.ops[-1]["gates"]["camouflage"]["passed"]
    np.testing.assert_array_equal(item.image[alpha == 0], whole["clean"].image[alpha == 0])
    hidden = replace(composed(), image=item.image, extras={**composed().extras})
    again = made(hidden, difficulties=("clean", "camouflaged"))["camouflaged"]
    assert isinstance(again, Sample)
    assert again.reason == "camouflage"  # it was near already, so the difference doesn't halve


def test_a_small_object_has_at_most_half_its_area_on_its_own_plate(whole):
    item, plate = whole["small"], composed().extras["plate.png"]
    mask = item.extras["mask.png"]
    achieved = item.ops[-1]["achieved"]
    assert (mask > 127).mean() == pytest.approx(achieved["target"], rel=0.06)
    assert achieved["target"] in (0.05, 0.02)
    np.testing.assert_array_equal(item.image[mask == 0], plate[mask == 0])
    (found,) = item.annotations.objects
    assert found.area == pytest.approx((mask > 127).sum(), rel=0.15)
    tiny = made(composed(16), difficulties=("clean", "small"))["small"]
    assert isinstance(tiny, Failure)
    assert (tiny.status, tiny.reason) == ("ineligible", "small_already")


class Plates(Source):
    """A cat whose plate must be made, and a dog with a plate of grass."""

    def pin(self, ctx: Context) -> str:
        return "0"

    def size(self, ctx: Context) -> int:
        return 2

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return (ClassInfo("cat", "cat"), ClassInfo("dog", "dog"))

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        cat, dog = composed(), replace(composed(35), labels=("dog",))
        grass = np.repeat(skimage.data.grass()[:SIDE, :SIDE, None], 3, axis=2) // np.array([2, 1, 2], np.uint8)
        mask = cat.extras["mask.png"]
        yield from [
            replace(cat, extras={"mask.png": mask}),
            replace(dog, extras={"mask.png": dog.extras["mask.png"], "plate.png": grass}),
        ][start:stop]


def test_a_small_object_gets_a_lent_plate_where_its_own_shows_what_was_filled():
    ctx = replace(CTX, source=Plates(), models=ModelTable("embedded"), memo=lambda key, compute: compute())
    source, kept = Plates(), {}
    for hole in (0.5, 0.01):
        maker = FewShotEpisodes(
            frame=SIDE, classifier=None, difficulties=("clean", "small"), gates={"max_moved_hole": hole}
        )
        kept[hole] = list(maker.generate(source.read(0, 1, ctx), ctx))[1]
    own, lent = kept[0.5], kept[0.01]
    assert isinstance(own, Sample)
    assert isinstance(lent, Sample)
    assert own.reason == lent.reason == ""
    assert own.made_of() == ()
    (lender,) = lent.made_of()
    assert lender["id"] == lent.ops[-1]["achieved"]["plate_sample"]
    away = lent.extras["mask.png"] == 0
    grass = next(source.read(1, 2, ctx)).extras["plate.png"]
    np.testing.assert_array_equal(lent.image[away], grass[away])


def test_blur_and_low_light_say_what_was_drawn(whole):
    hazy, dark, clean = (whole[name] for name in ("blurred", "low_light", "clean"))
    assert hazy.ops[-1]["requested"]["kind"] in ("motion_blur", "defocus_blur")
    sharpness = [cv2.Laplacian(item.image, cv2.CV_64F).std() for item in (clean, hazy)]
    assert sharpness[1] < 0.5 * sharpness[0]
    assert dark.image.mean() < 0.4 * clean.image.mean()
    assert len(np.unique(dark.image)) > 16  # as a converter of 12 bits gives, and one of 4 bits doesn't
    assert {"shot", "read", "snr_db", "psnr", "ssim", "mean_level", "clipped"} <= set(dark.ops[-1]["achieved"])
    shrunk = made(composed(), difficulties=("clean", "shrunk"))["shrunk"]
    assert isinstance(shrunk, Sample)
    middle = slice(SIDE * 3 // 8, SIDE * 5 // 8)
    small = cv2.resize(clean.image, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk.image[middle, middle], small)
    (before,), (after,) = clean.annotations.objects, shrunk.annotations.objects
    assert after.area == pytest.approx(np.pi * 40**2 / 16, rel=0.1)
    assert after.box[2] == pytest.approx(before.box[2] / 4, abs=2)


def test_a_mask_that_does_not_fit_fails_in_every_difficulty():
    misfit = replace(composed(), extras={**composed().extras, "mask.png": np.zeros((10, 10), np.uint8)})
    outcome = {(item.status, item.reason) for item in made(misfit).values() if isinstance(item, Failure)}
    assert outcome == {("failed", "size_mismatch")}
    assert {item.reason for item in made(misfit, difficulties=NO_OBJECTS).values()} == {"size_mismatch"}


def test_masks_and_boxes_follow_where_motion_blur_moves_the_object():
    disc = composed(30)
    view = View(disc.image, disc.extras["mask.png"], disc.annotations, None, COMPOSITE)
    (before,) = disc.annotations.objects
    found = blurred(view, "motion_blur", 5, np.random.default_rng(1))
    (after,) = found.annotations.objects
    assert found.mask is not None
    assert after.box == box_of(found.mask > 127)
    assert np.hypot(after.box[0] - before.box[0], after.box[1] - before.box[1]) > 2
    alone = np.repeat(disc.extras["mask.png"][..., None], 3, axis=2)
    smeared = blurred(replace(view, image=alone), "motion_blur", 5, np.random.default_rng(1)).image[..., 0]
    middles = [np.average(np.indices(one.shape), axis=(1, 2), weights=one) for one in (smeared, found.mask)]
    np.testing.assert_allclose(*middles, atol=1)
    expected = corrupt(disc.image, "motion_blur", 5, np.random.default_rng(1), scale=SIDE / 224).image
    np.testing.assert_array_equal(found.image, expected)  # lengths that look the same in every frame


def test_bytes_depend_on_seed_and_picture_not_on_the_company():
    one, two = composed(), composed(35)
    maker = FewShotEpisodes(frame=SIDE)
    together = list(maker.generate([two, one], CTX))
    alone = list(maker.generate([one], CTX))
    for first, second in zip(together[5:], alone, strict=True):
        assert first.id == second.id
        np.testing.assert_array_equal(first.image, second.image)
    other = list(maker.generate([one], replace(CTX, seed=4)))
    assert [item.id for item in other][:2] == [item.id for item in alone][:2]
    assert not np.array_equal(other[-1].image, alone[-1].image)


def photographs(folder: Path, good: int = 5) -> Path:
    """A grey, a transparent, a 16-bit, a tiny and a blank PNG, and some good photographs of another class."""
    image = skimage.data.coffee()[:120, :160]
    for name in ("bad", "good"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(image[..., 0]).save(folder / "bad" / "grey.png")
    Image.fromarray(np.dstack([image, np.full(image.shape[:2], 90, np.uint8)])).save(folder / "bad" / "alpha.png")
    Image.fromarray(image[..., 1].astype(np.uint16) * 257).save(folder / "bad" / "deep.png")
    Image.fromarray(image[:31, :60]).save(folder / "bad" / "tiny.png")
    Image.fromarray(np.full((64, 64, 3), 7, np.uint8)).save(folder / "bad" / "blank.png")
    for number in range(good):
        crop = Image.fromarray(np.roll(image, 20 * number, axis=1))
        crop.save(folder / "good" / f"{number}.png")
    return folder


def job(folder: Path, store: Path, **fields: Any) -> Job:
    recipe = {
        "dataset": "episodes",
        "version": "1.0.0",
        "samples_per_shard": 3,
        "source": {"name": "image_folder", "path": str(folder)},
        "generate": [
            {
                "name": "few_shot_episodes",
                "frame": 64,
                "way": 2,
                "shot": [1, 2],
                "queries": 1,
                "episodes": 3,
                "difficulties": list(NO_OBJECTS),
                **fields,
            }
        ],
    }
    return Job(Recipe.parse(recipe), str(store))


def rows_of(manifest: Manifest, work: Job) -> list[dict[str, Any]]:
    return list(read_table(work.store, manifest.rows).to_pylist())


def test_bad_pictures_are_rows_and_too_few_photographs_are_listed(tmp_path):
    folder = photographs(tmp_path / "photos")
    work = job(folder, tmp_path / "store")
    manifest = build(work, Threads(2))
    rows = rows_of(manifest, work)
    outcome = {Path(row["origin"]).stem: (row["status"], row["reason"]) for row in rows if row["variant"] == "blurred"}
    assert outcome["tiny"] == ("ineligible", "too_small")
    assert outcome["alpha"] == ("ineligible", "alpha")
    assert outcome["blank"] == ("ineligible", "unchanged")
    assert outcome["grey"] == outcome["deep"] == outcome["0"] == ("accepted", "")
    blank = {row["variant"]: row["reason"] for row in rows if "blank.png" in row["origin"]}
    assert blank["clean"] == "blank"
    assert blank["low_light"] in ("blank", "unchanged")
    listings = Path(folder_of(manifest, work.store)) / "listings"
    classes = pq.read_table(listings / "episode_classes.parquet").to_pylist()
    assert [(row["class"], row["photographs"], row["status"]) for row in classes] == [
        ("bad", 2, "too_few"),
        ("good", 5, "used"),
    ]
    assert not (listings / "episodes.parquet").exists()  # one usable class, and an episode has two
    pieces = edition_pieces(manifest, [FewShotAccuracy()], work)
    assert {str(piece.chosen) for piece in pieces} == {"{'few_shot_accuracy': {}}"}  # so no embedding is computed


def test_the_same_seed_gives_the_same_episodes_whatever_the_units(photos, tmp_path):
    one, two = job(photos, tmp_path / "one"), job(photos, tmp_path / "two")
    first, second = build(one, Threads(2)), build(two)
    assert first.listings["episodes"].sha256 == second.listings["episodes"].sha256
    listing = pq.read_table(Path(folder_of(first, one.store)) / "listings" / "episodes.parquet").to_pylist()
    assert {row["difficulty"] for row in listing} == set(NO_OBJECTS)
    assert len(listing) == 3 * 2 * (2 + 4)
    assert not any(piece.chosen for piece in edition_pieces(first, [FewShotAccuracy()], one))  # all are measured


def test_episodes_are_of_the_test_split_alone(caplog):
    ids = [f"{label}{number}" for label in range(2) for number in range(8)]
    table = Table(
        pa.table(
            {
                "id": ids,
                "parent": ids,
                "photograph": ids,
                "variant": ["clean"] * 16,
                "label": [0] * 8 + [1] * 8,
                "labels": [["a"]] * 8 + [["b"]] * 8,
                "split": ["train"] * 3 + ["test"] * 5 + ["train"] * 4 + ["test"] * 4,
            }
        )
    )
    maker = FewShotEpisodes(way=2, shot=(1,), queries=3, episodes=5, difficulties=("clean",))
    ctx = replace(CTX, classes=(ClassInfo("a", "a"), ClassInfo("b", "b")))
    found = maker.listings(table, ctx)
    tested = {identity for identity, split in zip(ids, table["split"], strict=True) if split == "test"}
    assert set(found["episodes"]["id"]) <= tested
    assert found["episode_classes"]["photographs"] == [5, 4]
    assert caplog.text == ""
    assert "episodes" not in replace_fields(maker, queries=4).listings(table, ctx)
    assert "way is 2 and 1 of 2 classes have the 5 accepted photographs" in caplog.text


def test_a_picture_with_several_labels_is_in_no_episode():
    ids = [f"{label}{number}" for label in "ab" for number in range(4)]
    labels = [[identity[0]] for identity in ids]
    labels[2] = ["a", "b"]
    photographs = [*ids[:4], "p", "p", *ids[6:]]
    columns = {"id": ids, "parent": ids, "photograph": photographs}
    rows = {**columns, "variant": ["clean"] * 8, "label": [0] * 4 + [1] * 4, "labels": labels, "split": ["test"] * 8}
    maker = FewShotEpisodes(way=2, shot=(1,), queries=2, episodes=20, difficulties=("clean",))
    ctx = replace(CTX, classes=(ClassInfo("a", "a"), ClassInfo("b", "b")))
    found = maker.listings(Table(pa.table(rows)), ctx)
    assert found["episode_classes"]["photographs"] == [3, 3]  # two pictures of b are of one photograph
    assert set(found["episodes"]["id"]) == set(ids) - {"a2"}


def replace_fields(maker: FewShotEpisodes, **fields: Any) -> FewShotEpisodes:
    return FewShotEpisodes(**{**maker.model_dump(), **fields})


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_too_few_classes_are_an_error_before_any_work(photos):
    source = build_component("source", {"name": "image_folder", "path": str(photos)}, "here")
    assert isinstance(source, Source)
    ctx = replace(CTX, source=source)
    FewShotEpisodes(way=3, shot=(1,), queries=3).check(ctx)
    with pytest.raises(RecipeError, match="way is 4, and 3 of 3 classes have the 4 photographs"):
        FewShotEpisodes(way=4, shot=(1,), queries=3).check(ctx)
    with pytest.raises(RecipeError, match=r"0 of 3 .* has 4, .*lower queries, shot or way, or merge classes"):
        FewShotEpisodes(way=3, shot=(1,), queries=4).check(ctx)
    flat = build_component("source", {"name": "image_folder", "path": str(photos), "labels": "none"}, "here")
    with pytest.raises(RecipeError, match="no classes"):
        FewShotEpisodes().check(replace(CTX, source=flat))


class Listed(Source):
    """Pictures by class, split and further labels, without pixels, of so many photographs."""

    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    photographs: int = 100

    def pin(self, ctx: Context) -> str:
        return "0"

    def size(self, ctx: Context) -> int:
        return len(self.rows)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return (ClassInfo("a", "a"), ClassInfo("b", "b"))

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        for place, (label, split, more) in enumerate(self.rows):
            photograph = str(place % self.photographs)
            yield Sample(f"{place:032x}", b"", (label, *more), split=split, photograph=photograph)


def test_what_episodes_cannot_have_is_not_counted_before_work():
    maker = FewShotEpisodes(way=2, shot=(1,), queries=2)
    few = tuple((label, split, ()) for label in "ab" for split in ("test", "", "train", "train", "train"))
    with pytest.raises(RecipeError, match=r"0 of 2 .* the 3 photographs of the split test that .*b has 2, a has 2"):
        maker.check(replace(CTX, source=Listed(rows=few)))
    maker.check(replace(CTX, source=Listed(rows=few), splits={"test": 0.5}))  # a recipe's shares come first
    maker.check(replace(CTX, source=Listed(rows=tuple((label, "train", more) for label, _, more in few))))
    enough = (*few, ("a", "test", ()), ("b", "test", ()))
    maker.check(replace(CTX, source=Listed(rows=enough)))
    with pytest.raises(RecipeError, match=r"0 of 2 .*b has 2"):
        maker.check(replace(CTX, source=Listed(rows=enough, photographs=2)))
    with pytest.raises(RecipeError, match=r"1 of 2 .*left out for having several labels: 1"):
        maker.check(replace(CTX, source=Listed(rows=(*enough[:-1], ("b", "test", ("a",))))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"way": 51}, "way"),
        ({"shot": []}, "one or more"),
        ({"shot": [5, 5]}, "each once"),
        ({"difficulties": ["small"]}, "must have clean"),
        ({"difficulties": ["clean", "rainy"]}, "difficulties"),
        ({"sizes": [0.05, 1.5]}, "shares of the frame"),
        ({"sizes": [0.05, 0.05]}, "each once"),
        ({"blur": 6}, "severity 6"),
        ({"episodes": 10_000}, "4,000,000 rows"),
    ],
)
def test_what_cannot_be_is_said(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "few_shot_episodes", **fields}, "here")


def test_models_are_asked_for_only_where_an_object_must_be_known():
    assert required_models(FewShotEpisodes()) == ("segmenter", "inpainter", "classifier_small")
    assert required_models(FewShotEpisodes(difficulties=NO_OBJECTS)) == ()
    assert deciding_models(FewShotEpisodes()) == ("classifier_small",)


@pytest.mark.slow
def test_bad_pictures_are_rows_where_models_take_them_apart_too(tmp_path):
    folder = photographs(tmp_path / "photos", good=3)
    work = job(folder, tmp_path / "store", difficulties=["clean", "camouflaged", "small"])
    manifest = build(work, Threads(2))
    rows = rows_of(manifest, work)
    assert len(rows) == 3 * 8
    outcome = {(Path(row["origin"]).stem, row["variant"]): row["reason"] for row in rows}
    assert outcome["tiny", "small"] == "too_small"
    assert outcome["alpha", "camouflaged"] == "alpha"
    assert outcome["blank", "camouflaged"]
    assert CAPTURED not in {row["digital_source_type"] for row in rows if row["variant"] == "camouflaged"}
