import numpy as np
import pytest
from PIL import Image

from variorum.machine.memo import DiskMemo
from variorum.models.imagenet_classes import is_wnid
from variorum.pixels import decode, decode_mask
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import CAPTURED, COMPOSITE
from variorum.sources.exports.cutouts import PLATES
from variorum.sources.exports.packaged_source import compose
from variorum.sources.exports.stamps import stamps_folder
from variorum.sources.samples import FRAME, SCALE, Samples, stamp_table
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def disc(side: int = 120, hidden: int = 255) -> np.ndarray:
    """A green disc with a soft edge; `hidden` is the colour under its transparent pixels."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = ((side / 2 - 4 - np.hypot(x, y)) * 64 + 128).clip(0, 255)
    stamp = np.full((side, side, 4), hidden, np.uint8)
    stamp[alpha > 0, :3] = (20, 160, 40)
    stamp[..., 3] = alpha
    return stamp


def test_the_table_names_imagenet_classes():
    assert len(stamp_table()) > 80
    assert all(is_wnid(wnid) for wnid in stamp_table().values())


def test_photographs_are_scikit_images_own(ctx):
    source = Samples(stamps="none")
    cat, coffee = source.read(0, source.size(ctx), ctx)
    assert (cat.labels, coffee.labels) == (("n02123045",), ("n07920052",))
    assert decode(cat.image).shape == (300, 451, 3)
    assert not cat.extras
    assert cat.digital_source_type == coffee.digital_source_type == CAPTURED
    assert len(source.classes(ctx)) == 1000


def test_a_composite_is_the_plate_outside_its_mask():
    for number in range(12):
        picture, mask, plate, licence = compose(disc(), f"disc {number}", "samples", FRAME, SCALE)
        assert picture.shape == plate.shape == (FRAME, FRAME, 3)
        np.testing.assert_array_equal(picture[mask == 0], plate[mask == 0])
        assert abs(picture[mask == 255].astype(int) - (20, 160, 40)).max() <= 1
        assert licence in {item.licence for item in PLATES}
        rows = np.flatnonzero((mask > 127).any(axis=1))
        assert 0.3 * FRAME < np.ptp(rows) + 1 < 0.7 * FRAME
        edges = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert (edges > 0).mean() < 0.2  # it may touch the frame, never leave it


def test_colours_under_transparent_pixels_make_no_fringe():
    white, black = (compose(disc(hidden=hidden), "a", "samples", FRAME, SCALE) for hidden in (255, 0))
    for one, other in zip(white[:3], black[:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_stamps_are_found_by_variable(tmp_path, ctx, monkeypatch):
    monkeypatch.setenv("VARIORUM_STAMPS", str(tmp_path / "gone"))
    assert Samples().size(ctx) == 2
    with pytest.raises(SourceError, match="variorum doctor stamps --fetch"):
        Samples(stamps="required").size(ctx)
    alone = Samples().pin(ctx)
    keys = list(stamp_table())[:3]
    for key in keys:
        file = tmp_path / "stamps" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc()).save(file)
    monkeypatch.setenv("VARIORUM_STAMPS", str(tmp_path / "stamps"))
    source = Samples()
    samples = list(source.read(0, source.size(ctx), ctx))
    assert [sample.origin.split(" ", 1)[1] for sample in samples] == ["chelsea.png", "coffee.png", *keys]
    assert [sample.labels for sample in samples[2:]] == [(stamp_table()[key],) for key in keys]
    assert [set(sample.extras) for sample in samples[1:3]] == [set(), {"mask.png", "plate.png"}]
    assert {sample.digital_source_type for sample in samples[2:]} == {COMPOSITE}
    bare = list(Samples(masks=False).read(0, 5, ctx))
    assert [(sample.image, sample.extras) for sample in bare] == [(sample.image, {}) for sample in samples]
    assert source.pin(ctx) != alone
    assert source.fingerprint() == Samples().fingerprint()
    for start, stop in ((0, 1), (1, 3), (2, 5), (4, 4)):
        assert list(source.read(start, stop, ctx)) == samples[start:stop]
    (tmp_path / "stamps" / keys[1]).write_bytes(b"no picture")
    assert [getattr(item, "reason", "") for item in Samples(photographs=False).read(0, 3, ctx)] == [
        "",
        "unreadable",
        "",
    ]


@pytest.mark.skipif(stamps_folder() is None, reason="tuxpaint-stamps-default isn't installed")
def test_every_real_stamp_makes_a_picture(ctx):
    source = Samples(stamps="required", photographs=False)
    samples = list(source.read(0, source.size(ctx), ctx))
    assert len(samples) > 80
    for sample in samples:
        mask, plate = decode_mask(sample.extras["mask.png"]), decode(sample.extras["plate.png"])
        picture = decode(sample.image)
        assert 0.01 < (mask > 127).mean() < 0.3
        np.testing.assert_array_equal(picture[mask == 0], plate[mask == 0])
