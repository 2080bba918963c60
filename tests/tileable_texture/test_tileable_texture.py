"""Tiles with and without a seam, from real textures and through the pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.tileable_texture.tileable_texture import TileableTexture
from variorum.kit.pictures.seams import border_step, seam_ratio
from variorum.kit.pictures.tiling import (
    crossfaded,
    cut_least,
    even_windows,
    mirrored,
    misaligned,
    ramped,
    ring_cut,
    tiled,
)
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, Failure, Sample, source_id
from variorum.sources.sample_textures import TEXTURES, SampleTextures

CTX = Context(3, None, None)
GRAVEL = np.repeat(skimage.data.gravel()[..., None], 3, axis=2)
SAMPLE = Sample(source_id("test", "gravel"), GRAVEL, ("gravel",), digital_source_type=CAPTURED)
WINDOW = np.ascontiguousarray(GRAVEL[100:260, 60:220])


def made(sample: Sample = SAMPLE, **fields: Any) -> list[Sample | Failure]:
    return list(TileableTexture(**fields).generate([sample], CTX))


# ── pure functions ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_seamless_tiles_continue_as_the_window_does():
    assert seam_ratio(WINDOW[:128, :128]) > 2
    for make in (crossfaded, cut_least):
        tile = make(WINDOW, 128)
        assert tile.shape == (128, 128, 3)
        assert seam_ratio(tile) < 1.6
        # beyond the fade a tile is the window, and it ends where the window goes on at its beginning
        np.testing.assert_array_equal(tile[32:, 32:], WINDOW[32:128, 32:128])
    assert np.abs(crossfaded(WINDOW, 128)[32:, 0].astype(int) - WINDOW[32:128, 128]).mean() < 2
    np.testing.assert_array_equal(cut_least(WINDOW, 128)[0, 32:], WINDOW[128, 32:128])  # no cut at the border itself
    mirror = mirrored(WINDOW, 128)
    np.testing.assert_array_equal(mirror, mirror[::-1, ::-1])
    assert seam_ratio(mirror) == 0


def test_a_seam_that_is_shifted_and_light_that_falls_off_show():
    assert seam_ratio(misaligned(WINDOW, 128, 50)) > 2
    np.testing.assert_array_equal(misaligned(WINDOW, 128, 0), crossfaded(WINDOW, 128))
    flat = np.full((64, 64, 3), 100, np.uint8)
    lit = ramped(flat, 40, 0)
    assert (lit[:, -1] - lit[:, 0] == 40).all()
    np.testing.assert_array_equal(lit[0], lit[-1])
    assert border_step(lit) > 25
    np.testing.assert_array_equal(ramped(flat, 40, np.pi / 2), np.swapaxes(lit, 0, 1))
    assert tiled(WINDOW).shape == (320, 320, 3)


def test_the_cut_of_least_error_closes_and_is_the_cheapest():
    error = np.random.default_rng(0).random((4, 7)).astype(np.float32)
    line = ring_cut(error)
    steps = np.abs(np.diff(line, append=line[0]))
    assert steps.max() <= 1
    lines = np.stack(np.meshgrid(*[np.arange(4)] * 7, indexing="ij"), -1).reshape(-1, 7)
    closed = lines[(np.abs(np.diff(lines, axis=1, append=lines[:, :1])) <= 1).all(axis=1)]
    costs = error[closed, np.arange(7)].sum(axis=1)
    assert error[line, np.arange(7)].sum() == pytest.approx(costs.min(), rel=1e-5)


def test_even_windows_are_those_of_the_texture():
    picture = np.full((200, 400, 3), 90, np.uint8)
    picture[:, 200:] = skimage.data.grass()[:200, :200, None]
    (first, *others) = even_windows(picture, 96, 4)
    assert first[1] >= 180
    places = [first, *others]
    assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) >= 48 for i, a in enumerate(places) for b in places[:i])
    assert even_windows(picture[:96, :96], 96, 4) == [(0, 0)]
    assert (
        len(even_windows(np.repeat(skimage.data.grass()[:32, :128, None], 3, axis=2), 32, 9)) >= 4
    )  # two may share a half


# ── the generator ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_truths_of_a_window_with_their_checks():
    found = {item.variant: item for item in made()}
    assert list(found) == ["crossfade", "min_cut", "mirror", "crop", "shifted_seam", "ramp"]
    for name, item in found.items():
        assert isinstance(item, Sample)
        op = item.ops[-1]
        assert op["requested"]["truth"] == (
            "tileable" if name in ("crossfade", "min_cut", "mirror") else "not_tileable"
        )
        assert item.image.shape == (128, 128, 3)
        np.testing.assert_array_equal(item.extras["tiled.png"], np.tile(item.image, (2, 2, 1)))
        assert op["achieved"]["seam_ratio"] == pytest.approx(seam_ratio(item.image), abs=1e-3)
        assert item.reason == ""
        assert item.labels == ("gravel",)
        assert item.digital_source_type == (CAPTURED if name == "crop" else ENHANCED)
    top, left = (found["crop"].ops[-1]["achieved"][name] for name in ("top", "left"))
    np.testing.assert_array_equal(found["crop"].image, GRAVEL[top : top + 128, left : left + 128])
    assert 32 <= found["shifted_seam"].ops[-1]["achieved"]["shift"] <= 96
    assert 32 <= found["ramp"].ops[-1]["achieved"]["levels"] <= 64


def test_light_that_jumps_at_the_border_of_a_tileable_picture_is_ambiguous():
    gates = [
        TileableTexture()._gates(WINDOW, WINDOW, {"seam_ratio": 1.0, "low_frequency": step}, tileable=True)
        for step in (8.0, 8.1)
    ]
    assert [one["light"]["passed"] for one in gates] == [True, False]


def test_windows_differ_and_bytes_depend_on_the_seed_alone():
    found = made(windows=3, methods=("crossfade",), negatives=("ramp",), tile=64)
    assert len({item.id for item in found}) == 6
    assert len({item.image.tobytes() for item in found}) == 6
    again = made(windows=1, methods=("crossfade",), negatives=("ramp",), tile=64)
    assert not np.array_equal(again[1].image, again[0].image)
    other = list(TileableTexture(negatives=("ramp",), methods=(), tile=64).generate([SAMPLE], Context(4, None, None)))
    assert not np.array_equal(other[0].image, again[1].image)
    np.testing.assert_array_equal(again[1].image, made(methods=(), negatives=("ramp",), tile=64)[0].image)


def test_what_the_borders_do_not_confirm_is_ambiguous_and_a_scene_is_no_texture():
    strict = {item.variant: item.reason for item in made(seamless=0.1, seam=50)}
    assert strict == {
        "crossfade": "ambiguous",
        "min_cut": "ambiguous",
        "mirror": "",
        "crop": "ambiguous",
        "shifted_seam": "ambiguous",
        "ramp": "",  # its light alone is enough
    }
    scene = replace(SAMPLE, image=np.ascontiguousarray(skimage.data.coffee()))
    assert {item.reason for item in made(scene)} <= {"untextured", "blank"}
    flat = replace(SAMPLE, image=np.full((200, 200, 3), 90, np.uint8))
    assert {item.reason for item in made(flat)} == {"blank"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": [], "negatives": []}, "methods and negatives are both empty"),
        ({"methods": ["mirror", "mirror"]}, "must be different methods, each once"),
        ({"methods": ["quilt"]}, "methods.0: .*'crossfade', 'min_cut' or 'mirror'"),
        ({"tile": 33}, "tile: .*multiple of 2"),
        ({"tile": 1024}, "tile: .*512"),
        ({"seamless": 3}, "seamless is 3; it must be at most seam, which is 2"),
        ({"light": 20}, "light: .*12"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "tileable_texture", **fields}, "here")


def test_whatever_a_folder_holds_becomes_pictures_or_rows(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.fromarray(skimage.data.grass()[:160, :200])
    seen = photo.convert("RGB")
    seen.putalpha(Image.new("L", photo.size, 128))
    seen.save(folder / "alpha.png")
    photo.save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    Image.fromarray(np.asarray(photo).astype(np.uint16) * 257).save(folder / "sixteen.png")
    photo.crop((0, 0, 100, 70)).save(folder / "tiny.png")
    Image.new("RGB", (100, 100), (9, 9, 9)).save(folder / "level.png")
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    recipe = Recipe.parse(
        {
            "dataset": "mixed",
            "version": "1.0.0",
            "configs": "truth",
            "source": {"name": "image_folder", "path": str(folder)},
            "generate": [{"name": "tileable_texture", "tile": 64, "windows": 2, "most_uneven": 1}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    manifest = build(job, Threads(1))
    table = read_table(job.store, tables_of(manifest)).to_pylist()
    assert len({row["id"] for row in table}) == len(table) == 6 * 12 + 1
    reasons: dict[str, set[tuple[str, str]]] = {}
    for row in table:
        reasons.setdefault(row["origin"].rpartition("/")[2], set()).add((row["status"], row["reason"]))
    for name in ("grey.png", "palette.png", "sixteen.png"):
        assert ("accepted", "") in reasons[name]
    assert reasons["alpha.png"] == {("ineligible", "alpha")}
    assert reasons["tiny.png"] == {("ineligible", "too_small")}
    assert reasons["level.png"] == {("quarantined", "blank"), ("ineligible", "no_room")}
    assert reasons["cut.jpg"] == {("failed", "truncated")}
    assert {row["config"] for row in table if row["status"] == "accepted"} == {"tileable", "not_tileable"}


def test_the_packaged_textures():
    source = SampleTextures()
    samples = list(source.read(0, source.size(CTX), CTX))
    assert [one.labels[0] for one in samples] == [info.id for info in source.classes(CTX)]
    assert len({one.id for one in samples}) == len(TEXTURES)
    for one, texture in zip(samples, TEXTURES, strict=True):
        assert min(decode(one.image).shape[:2]) >= 300
        assert one.licence == texture.licence
        assert one.metadata == {"credit": texture.credit}
    assert [one.id for one in source.read(2, 4, CTX)] == [one.id for one in samples[2:4]]
