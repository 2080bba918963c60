import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.annotations import box_of, decode_mask
from variorum.machine.memo import DiskMemo
from variorum.models.coco import CATEGORIES
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import CAPTURED, COMPOSITE
from variorum.sources.exports.composites import HIDDEN, WIDTHS, Cutout, compose
from variorum.sources.exports.cutouts import PLATES
from variorum.sources.exports.stamps import stamps_folder
from variorum.sources.folders.packaged_photographs import objects, outlines, photographs
from variorum.sources.sample_scenes import SampleScenes, stamp_table
from variorum.stages.job import models

NAMES = {item.name for item in CATEGORIES}
COLOURS = ((250, 0, 250), (0, 250, 250), (250, 250, 0), (0, 0, 250))
"""None of them is on a plate."""


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    monkeypatch.setenv("VARIORUM_BACKGROUNDS", str(tmp_path / "backgrounds"))
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def block(colour, high=60, wide=90) -> np.ndarray:
    """An opaque rectangle within a transparent margin."""
    stamp = np.zeros((high + 8, wide + 8, 4), np.uint8)
    stamp[4:-4, 4:-4] = (*colour, 255)
    return stamp


def test_tables_name_cocos_categories():
    assert {category for rows in outlines().values() for category, _ in rows} <= NAMES
    assert all(outlines().values())
    for kind in ("photograph", "drawing"):
        assert set(stamp_table(kind).values()) <= NAMES
        assert len(set(stamp_table(kind).values())) > 25
    assert not set(stamp_table("photograph")) & set(stamp_table("drawing"))


def test_packaged_photographs_have_their_objects(ctx):
    source = SampleScenes(stamps="none")
    samples = list(source.read(0, source.size(ctx), ctx))
    assert [sample.origin.split(" ")[0] for sample in samples] == ["skimage"] * 4 + ["matplotlib"]
    assert [sample.labels[0] for sample in samples] == [
        "person",
        "person",
        "cat",
        "dining table",
        "person",
    ]
    assert {sample.digital_source_type for sample in samples} == {CAPTURED}
    assert len(source.classes(ctx)) == 80
    assert source.annotated(ctx)
    for sample in samples:
        height, width = decode(sample.image).shape[:2]
        for item in sample.annotations.objects:
            left, top, wide, high = item.box
            assert 0 <= left < left + wide <= width
            assert 0 <= top < top + high <= height
            if item.mask:
                assert box_of(decode_mask(item, height, width)) == item.box


def test_outlines_follow_the_pictures(ctx):
    """What lies inside looks different from what lies around it."""
    source = SampleScenes(stamps="none")
    for name, inside, outside in (("astronaut", (60, 250), (60, 330)), ("coffee", (100, 280), (330, 520))):
        position = list(photographs()).index(name)
        (sample,) = source.read(position, position + 1, ctx)
        image = decode(sample.image)
        mask = decode_mask(next(item for item in sample.annotations.objects if item.mask), *image.shape[:2])
        assert mask[inside]
        assert not mask[outside]


def test_a_region_is_cut_out_of_debians_photographs(tmp_path, ctx):
    item = photographs()["canyon_wren"]
    file = tmp_path / "backgrounds" / item.path
    file.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((1400, 2500, 3), np.uint8)).save(file)
    source = SampleScenes(stamps="none")
    assert source.size(ctx) == 6
    sample = list(source.read(0, 6, ctx))[-1]
    assert decode(sample.image).shape == (480, 640, 3)
    assert sample.licence == "CC0-1.0"
    (bird,) = sample.annotations.objects
    assert bird == objects("canyon_wren", 480, 640)[0]
    file.write_bytes(b"no picture")
    broken = list(SampleScenes(stamps="none").read(0, 6, ctx))[-1]
    assert (broken.status, broken.reason) == ("failed", "unreadable")


@given(seed=st.integers(0, 2**32), number=st.integers(1, 4), drawn=st.booleans())
@settings(max_examples=12, deadline=None)
def test_masks_are_what_is_visible(seed, number, drawn):
    cutouts = [Cutout(block(COLOURS[place]), "cup", str(place)) for place in range(number)]
    picture, found, plates = compose(cutouts, np.random.default_rng(seed), drawn=drawn)
    height, width = picture.shape[:2]
    assert width in WIDTHS
    assert set(plates) <= set(PLATES)
    assert bool(plates) is not drawn
    assert found
    everything = np.zeros((height, width), int)
    for item in found:
        mask = decode_mask(item, height, width)
        assert box_of(mask) == item.box
        assert item.area == np.count_nonzero(mask)
        everything += mask
        seen = (abs(picture.astype(int) - COLOURS[int(item.origin)]) <= 2).all(axis=2)
        # only the soft edge of a resized cut-out may differ
        assert np.count_nonzero(seen ^ mask) <= 2 * (item.box[2] + item.box[3]) + 0.1 * item.area
    assert everything.max() == 1
    coloured = [(abs(picture.astype(int) - colour) <= 2).all(axis=2).any() for colour in COLOURS[:number]]
    assert sum(coloured) == len(found)  # what is left out isn't in the picture either


def test_what_is_hidden_is_left_out():
    """Many equal blocks in one picture: each that is kept shows at least half of itself."""
    cutouts = [Cutout(block(COLOURS[0], 300, 300), "cup", str(place)) for place in range(12)]
    kept = 0
    for seed in range(4):
        picture, found, _ = compose(cutouts, np.random.default_rng(seed), drawn=True)
        for item in found:
            assert item.area >= (1 - HIDDEN) * 0.99 * (0.18 * picture.shape[0]) ** 2
        kept += len(found)
    assert 4 <= kept < 48


def test_composites_depend_on_their_number_alone(tmp_path, ctx, monkeypatch):
    paths = [*list(stamp_table("photograph"))[:5], *list(stamp_table("drawing"))[:5]]
    for path in paths:
        file = tmp_path / "stamps" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(block((20, 160, 40))).save(file)
    monkeypatch.setenv("VARIORUM_STAMPS", str(tmp_path / "stamps"))
    source = SampleScenes(photographs=False, composites=6)
    samples = list(source.read(0, 6, ctx))
    assert [item for start in range(6) for item in source.read(start, start + 1, ctx)] == samples
    assert list(SampleScenes(photographs=False, composites=9).read(0, 6, ctx)) == samples
    assert all(sample.licence.startswith("GPL-2.0-or-later AND CC") for sample in samples)
    assert {sample.digital_source_type for sample in samples} == {COMPOSITE}
    assert source.pin(ctx) != SampleScenes(photographs=False, composites=6, pictures="drawings").pin(ctx)
    drawing = next(iter(SampleScenes(pictures="drawings").read(0, 1, ctx)))
    assert (drawing.variant, drawing.licence) == ("cartoon", "GPL-2.0-or-later")
    assert drawing.metadata == {"domain": "cartoon", "synthetic": False}
    (tmp_path / "stamps" / paths[0]).write_bytes(b"no picture")
    broken = [getattr(item, "reason", "") for item in SampleScenes(photographs=False).read(0, 24, ctx)]
    assert set(broken) == {"", "unreadable"}


def test_missing_stamps_are_said(tmp_path, ctx, monkeypatch):
    monkeypatch.setenv("VARIORUM_STAMPS", str(tmp_path / "gone"))
    assert SampleScenes().size(ctx) == 5
    with pytest.raises(SourceError, match="variorum doctor stamps --fetch"):
        SampleScenes(stamps="required").size(ctx)
    with pytest.raises(SourceError, match="no pictures"):
        SampleScenes(pictures="drawings").size(ctx)


@pytest.mark.skipif(stamps_folder() is None, reason="tuxpaint-stamps-default isn't installed")
def test_every_listed_stamp_is_there_and_has_a_cut_out_shape():
    folder = stamps_folder()
    for path in [*stamp_table("photograph"), *stamp_table("drawing")]:
        with Image.open(folder / path) as image:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
        assert (alpha > 127).any(), path


def test_a_photograph_keeps_its_own_bytes_or_is_a_png():
    assert photographs()["chelsea"].picture(b"as it is") == b"as it is"
    whole = encode_png(np.zeros((1740, 2572, 3), np.uint8))
    assert decode(photographs()["bowl"].picture(whole)).shape == (433, 640, 3)
