import numpy as np
import pytest
from PIL import Image

from variorum.pixels import decode, decode_mask
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import COMPOSITE, Failure, Sample, source_id
from variorum.sources.exports.stamps import stamps_folder
from variorum.sources.sample_groups import FRAME, NAMES, SampleGroups, stamp_table

CTX = Context(0, None, None)


def stamped(folder, monkeypatch, chosen):
    """A folder with a disc for each of these rows of the table."""
    y, x = np.mgrid[:90, :120]
    disc = np.zeros((90, 120, 4), np.uint8)
    disc[(x - 60) ** 2 + (y - 45) ** 2 < 40**2] = (20, 160, 40, 255)
    for path in chosen:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc).save(folder / path)
    monkeypatch.setenv("VARIORUM_STAMPS", str(folder))


def test_every_group_has_enough_photographs_for_five_shots_and_ten_queries():
    groups = list(stamp_table().values())
    assert set(groups) == set(NAMES)
    assert len(groups) == 185
    assert {group: groups.count(group) for group in NAMES} == {
        "bird": 34,
        "hoofed_animal": 29,
        "pawed_animal": 20,
        "flower": 24,
        "fruit": 26,
        "vegetable": 17,
        "coin": 18,
        "vehicle": 17,
    }


def test_a_picture_is_the_plate_outside_its_mask(tmp_path, monkeypatch):
    birds = [path for path, group in stamp_table().items() if group == "bird"][:3]
    coin = next(path for path, group in stamp_table().items() if group == "coin")
    stamped(tmp_path, monkeypatch, [*birds, coin])
    source = SampleGroups(per_group=2)
    assert source.size(CTX) == 3
    found = list(source.read(0, 9, CTX))
    assert [one.labels for one in found] == [("bird",), ("bird",), ("coin",)]
    assert [(one.id, one.labels) for one in source.outline(0, 9, CTX)] == [(one.id, one.labels) for one in found]
    assert found[0].id == source_id("sample_groups", birds[0])
    for one in found:
        picture, plate = decode(one.image), decode(one.extras["plate.png"])
        mask = decode_mask(one.extras["mask.png"])
        assert picture.shape == plate.shape == (FRAME, FRAME, 3)
        np.testing.assert_array_equal(picture[mask == 0], plate[mask == 0])
        assert 0.4 * FRAME < np.ptp(np.flatnonzero((mask > 127).any(axis=0))) + 1 < 0.9 * FRAME
        assert one.digital_source_type == COMPOSITE
    assert SampleGroups().pin(CTX) != source.pin(CTX)


def test_a_damaged_stamp_is_a_row_and_a_missing_folder_is_said(tmp_path, monkeypatch):
    first, second, third = list(stamp_table())[:3]
    stamped(tmp_path, monkeypatch, [first, second, third])
    (tmp_path / first).write_bytes(b"no picture")
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / second)
    one, other, good = SampleGroups().read(0, 3, CTX)
    assert isinstance(one, Failure)
    assert isinstance(other, Failure)
    assert one.reason == other.reason == "unreadable"
    assert "is transparent" in other.detail
    assert isinstance(good, Sample)
    monkeypatch.setenv("VARIORUM_STAMPS", str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="install tuxpaint-stamps-default"):
        SampleGroups().size(CTX)


@pytest.mark.skipif(stamps_folder() is None, reason="Debian's tuxpaint-stamps-default isn't installed")
def test_the_installed_stamps_are_those_of_the_table():
    folder = stamps_folder()
    assert [path for path in stamp_table() if not (folder / path).is_file()] == []
    assert [path for path in stamp_table() if (folder / path).with_suffix(".svg").exists()] == []  # those are drawn
