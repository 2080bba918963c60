"""The whole generator on real photographs, and its keys."""

from __future__ import annotations

import json
import logging
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermarking import keys as key_files
from variorum.generators.watermark.watermarking.keys import (
    key_hash,
    keys_id,
    new_keys,
    own_keys,
    payload_hash,
    read_keys,
)
from variorum.generators.watermark.watermarking.quality import psnr
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import CAPTURED, ENHANCED, Failure, Sample, source_id


class Models:
    """A profile in which no model can be had."""

    def why_unavailable(self, alias: str) -> str:
        return f"{alias} has no weights here"


CTX = Context(3, Models(), None)
SAMPLES = [
    Sample(source_id("test", name), getattr(skimage.data, name)(), digital_source_type=CAPTURED)
    for name in ("chelsea", "coffee", "astronaut", "rocket")
]


def watermark(*marks: dict, **fields: object) -> Watermark:
    built = build_component("generate", {"name": "watermark", **({"marks": marks} if marks else {}), **fields}, "here")
    assert isinstance(built, Watermark)
    return built


def test_the_original_and_a_picture_of_each_mark():
    marks = ({"name": "stdm"}, {"name": "dwt_dct_svd", "label": "svd", "keyed": "shared"}, {"name": "spread_spectrum"})
    made = list(watermark(*marks).generate(SAMPLES[:2], CTX))
    assert [one.variant for one in made] == ["original", "stdm", "svd", "spread_spectrum"] * 2
    keys = read_keys(None)
    for place, sample in enumerate(SAMPLES[:2]):
        original, stdm, svd, spread = made[4 * place : 4 * place + 4]
        assert original.ops[-1]["requested"] == {"mark": None, "frame": 256}
        assert original.ops[-1]["achieved"]["picture"] == sample.id
        assert original.ops[-1]["achieved"]["marks"]["svd"]["keyed"] == "shared"
        assert original.digital_source_type == CAPTURED
        assert stdm.digital_source_type == ENHANCED
        key, said = keys.of("stdm", sample.id), stdm.ops[-1]["achieved"]
        assert stdm.ops[-1]["requested"] == {
            "mark": "stdm",
            "settings": Stdm().identity(),
            "keyed": "picture",
            "frame": 256,
        }
        assert said["key"] == key_hash(key)
        assert said["payload"] == payload_hash(key, 32)
        assert said["bits_right"] == 1
        assert said["p_value"] == float(f"{2**-32:.3g}")
        assert said["psnr"] == pytest.approx(psnr(original.image, stdm.image), abs=1e-3)
        assert 0.95 < said["ssim"] < 1
        settings = stdm.ops[-1]["requested"]["settings"]
        found = build_component("marks", settings, "op").detect([stdm.image], [key], CTX)
        assert found.scores[0] > 5
        assert svd.ops[-1]["achieved"]["key"] == key_hash(keys.shared("svd"))
        assert "payload" not in spread.ops[-1]["achieved"]
        assert "bits_right" not in spread.ops[-1]["achieved"]


def test_each_picture_and_mark_has_a_key_of_its_own():
    made = watermark({"name": "stdm"}, {"name": "stdm", "label": "again"}).generate(SAMPLES, CTX)
    hashes = [one.ops[-1]["achieved"]["key"] for one in made if one.variant != "original"]
    assert len(set(hashes)) == 8


def test_pictures_are_the_same_alone_and_in_company():
    generator = watermark({"name": "stdm"}, {"name": "spread_spectrum"})
    together = list(generator.generate(SAMPLES * 5, CTX))
    alone = [one for sample in reversed(SAMPLES) for one in generator.generate([sample], CTX)]
    images = {one.id: one.image for one in together}
    assert len(images) == len(alone) == 12
    for one in alone:
        np.testing.assert_array_equal(images[one.id], one.image)


def test_what_cannot_be_marked_is_a_row_with_a_reason():
    small = Sample(source_id("test", "small"), SAMPLES[0].image[:80, :80])
    tiny = Sample(source_id("test", "tiny"), SAMPLES[0].image[:20, :20])
    nothing = Sample(source_id("test", "nothing"), b"")
    made = list(watermark(frame=None).generate([small, tiny, nothing, SAMPLES[0]], CTX))
    assert [getattr(one, "reason", "") for one in made] == [
        "", "too_small", "too_small", "too_small", "no_picture", "no_picture", "", "",
    ]  # fmt: skip
    assert all(isinstance(one, Failure) and one.status == "ineligible" for one in made if one.reason)
    assert made[1].detail == "80 x 80 pixels have 25 tiles of 16 for 32 bits"
    assert made[1].variant == "stdm"
    np.testing.assert_array_equal(made[0].image, small.image)
    assert made[-1].image.shape == SAMPLES[0].image.shape


def test_a_mark_whose_model_is_missing_is_a_row_with_the_reason():
    made = list(watermark({"name": "rivagan"}, {"name": "stdm"}).generate(SAMPLES[:2], CTX))
    assert [one.variant for one in made] == ["original", "rivagan", "stdm"] * 2
    assert isinstance(made[1], Failure)
    assert made[1].reason == "unavailable"
    assert made[1].detail.startswith("unavailable: ")
    assert "has no weights here" in made[1].detail
    assert isinstance(made[2], Sample)


def test_flat_pictures_are_marked():
    flat = Sample(source_id("test", "flat"), np.full((256, 256, 3), 255, np.uint8))
    _, marked = watermark(frame=None).generate([flat], CTX)
    assert marked.ops[-1]["achieved"]["bits_right"] == 1


def test_objects_and_masks_move_into_the_frame():
    mask = np.zeros(SAMPLES[0].image.shape[:2], np.uint8)
    mask[100:200, 150:300] = 255
    thing = Object((150.0, 100.0, 150.0, 100.0), "cat")
    sample = replace(SAMPLES[0], annotations=Annotations(objects=(thing,)), extras={"mask.png": mask})
    for one in watermark(frame=128).generate([sample], CTX):
        assert one.image.shape == (128, 128, 3)
        assert one.extras["mask.png"].shape == (128, 128)
        assert len(one.annotations.objects) == 1


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ([], "one or more marks"),
        ([{"name": "stdm"}, {"name": "stdm"}], "two marks are called 'stdm'"),
        ([{"name": "stdm", "label": "original"}], "no mark can be called 'original'"),
        ([{"name": "tree_ring"}], "while a model makes it"),
        ([{"name": "nonesuch"}], "no mark named 'nonesuch'"),
        ([{"name": "stdm", "decibels": 90}], "decibels"),
        ([{"name": "stdm", "label": "Bad Label"}], "label"),
    ],
)
def test_wrong_marks_are_refused(marks, said):
    with pytest.raises(RecipeError, match=said):
        build_component("generate", {"name": "watermark", "marks": marks}, "here")


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_of_keys_is_its_owners_and_is_never_overwritten(tmp_path):
    path = tmp_path / "folder" / "own.keys"
    keys = new_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == keys
    content = path.read_text()
    with pytest.raises(RecipeError, match="never overwritten"):
        new_keys(path)
    assert path.read_text() == content
    assert [one.name for one in path.parent.iterdir()] == ["own.keys"]
    assert json.loads(content)["secret"] not in repr(keys) + str(keys)
    assert new_keys(tmp_path / "other.keys").id != keys.id


def test_derived_keys_differ_by_mark_picture_and_purpose(tmp_path):
    keys = new_keys(tmp_path / "own.keys")
    found = [keys.of("a", "1"), keys.of("a", "2"), keys.of("b", "1"), keys.shared("a"), keys.wrong("a", "1")]
    assert len(set(found)) == 5
    assert {len(key) for key in found} == {32}
    assert read_keys(tmp_path / "own.keys").of("a", "1") == found[0]


def test_a_file_that_others_can_read_is_warned_of_once(tmp_path, caplog):
    path = tmp_path / "open.keys"
    new_keys(path)
    path.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        assert read_keys(path) == read_keys(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} holds secret watermark keys and others can read it; run: chmod 600 {path}"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no file of watermark keys"),
        (b"\xff\xfe\x00", "no file of watermark keys"),
        (b"[]", "no file of watermark keys"),
        (b"[" * 4000, "no file of watermark keys"),
        (b'{"secret": 5}', "no file of watermark keys"),
        (b'{"secret": "zz"}', "no file of watermark keys"),
        (b'{"secret": "c0ffee"}', "has 3 bytes and must have 32"),
        (b'{"secret": "' + b"c0" * 33 + b'"}', "has 33 bytes and must have 32"),
        (None, "no such file of watermark keys"),
    ],
)
def test_an_unusable_file_is_named_but_not_quoted(tmp_path, content, said):
    path = tmp_path / "bad.keys"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(SourceError, match=said) as raised:
        read_keys(path)
    assert str(path) in str(raised.value)
    assert "variorum keys FILE" in str(raised.value)
    assert "c0ffee" not in str(raised.value)
    with pytest.raises(SourceError, match=said):
        watermark(keys=str(path)).check(CTX)
    assert watermark(keys=str(path)).identity()["keys"] is None  # an edition can still be named


def test_content_stands_for_the_path_of_the_keys(tmp_path):
    new_keys(tmp_path / "one.keys")
    (tmp_path / "same.keys").write_bytes((tmp_path / "one.keys").read_bytes())
    new_keys(tmp_path / "other.keys")
    one, same, other = (watermark(keys=str(tmp_path / f"{name}.keys")) for name in ("one", "same", "other"))
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != other.fingerprint()
    assert one.identity()["keys"] == read_keys(tmp_path / "one.keys").id
    (tmp_path / "same.keys").write_bytes((tmp_path / "other.keys").read_bytes())
    assert same.fingerprint() == other.fingerprint()  # noticed in the same process


def test_the_users_own_file_is_made_once_with_a_word(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv(key_files.VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = tmp_path / "variorum" / "watermark.keys"
    with caplog.at_level(logging.WARNING):
        watermark().check(CTX)
        keys = own_keys()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert keys == read_keys(place)
    assert [record.getMessage() for record in caplog.records] == [
        f"made new watermark keys: keep {place}, without it nobody finds the marks again"
    ]


def test_a_place_that_cannot_be_is_an_error_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=r"file/new\.keys can't be written: .*file isn't a folder"):
        new_keys(tmp_path / "file" / "new.keys")
    with pytest.raises(RecipeError, match=r"'a\\x00b' can't be written"):
        new_keys(Path("a\0b"))
    with pytest.raises(SourceError, match=r"'a\\x00b': watermark keys can't be read"):
        read_keys(Path("a\0b"))
    assert keys_id(Path("a\0b")) is None
    monkeypatch.delenv(key_files.VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "variorum").touch()
    with pytest.raises(
        RecipeError, match=r"variorum isn't a folder; name another file of keys in VARIORUM_KEYS, made by"
    ):
        own_keys()
    (tmp_path / "variorum").unlink()
    (tmp_path / "variorum").mkdir()
    (tmp_path / "variorum" / "watermark.keys").symlink_to(tmp_path / "disk that isn't mounted")
    with pytest.raises(SourceError, match=r"watermark\.keys: no such file .* bring the file back"):
        own_keys()


def test_a_file_that_the_environment_names_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv(key_files.VARIABLE, str(tmp_path / "lost.keys"))
    with pytest.raises(SourceError, match=r"lost\.keys: no such file"):
        watermark().check(CTX)
    assert not Path(tmp_path / "lost.keys").exists()
