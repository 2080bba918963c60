"""RivaGAN, the text detector and TrustMark's loader: real weights, wrong files, and what is said of missing ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.loaders.rivagan import RIVAGAN, RIVAGAN_DECODER
from variorum.models.loaders.text_detection import TEXT_DETECTION, working_size
from variorum.models.loaders.trustmark import TRUSTMARK, load_trustmark
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

ENTRY = Entry(name="tiny", loader="rivagan", licence="none", source="somewhere")


def psnr(before, after):
    return 10 * np.log10(255**2 / np.mean((before.astype(float) - after) ** 2))


# ── RivaGAN ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def rivagan(table):
    return table.get("rivagan")


@pytest.fixture(scope="module")
def crops(cat):
    return [np.ascontiguousarray(cat[:160, 100:260]), np.ascontiguousarray(cat[60:220, 150:310])]


@pytest.fixture(scope="module")
def payloads():
    return np.random.default_rng(0).random((2, 32)) < 0.5


def test_rivagan_hides_bits_and_reads_them(rivagan, crops, payloads):
    marked = rivagan.embed(crops, payloads)
    found = rivagan.read(marked)
    assert found.shape == (2, 32)
    assert ((found > 0) == payloads).mean() > 0.9
    assert all(41 < psnr(before, after) < 45 for before, after in zip(crops, marked, strict=True))
    assert 0.3 < ((rivagan.read(crops) > 0) == payloads).mean() < 0.7


def test_rivagan_works_on_each_picture_alone(rivagan, crops, payloads):
    small = [crop[:64, :80] for crop in crops]
    together = rivagan.embed(small, payloads)
    for number in range(2):
        (alone,) = rivagan.embed(small[number : number + 1], payloads[number : number + 1])
        assert (alone == together[number]).all()
        assert (rivagan.read([alone]) == rivagan.read(together)[number]).all()
    assert rivagan.embed([], payloads[:0]) == []
    assert rivagan.read([]).shape == (0, 32)


def test_rivagan_is_two_files_of_one_package(table):
    entries = [table.entry(alias) for alias in ("rivagan", "rivagan_decoder")]
    assert {entry.wheel.package for entry in entries} == {"invisible-watermark==0.2.0"}
    assert entries[0].uses == ("rivagan_decoder",)
    assert table.pin("rivagan_decoder") in table.pin("rivagan")


def test_a_missing_rivagan_says_how_to_fetch_it(own_cache):
    why = ModelTable("embedded").why_unavailable("rivagan")
    assert "variorum doctor rivagan --fetch" in why


@pytest.mark.parametrize("loader", [RIVAGAN, RIVAGAN_DECODER, TEXT_DETECTION])
def test_other_files_are_refused(loader, tmp_path, table):
    used = {"rivagan_decoder": None} if loader is RIVAGAN else {}
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelUnavailable, match="can't be opened as ONNX"):
        loader.load(ENTRY, tmp_path / "text.onnx", used)
    from variorum.models import weights

    segmenter = weights.locate(table.entry("style_network"), table.cache)
    with pytest.raises(ModelUnavailable, match="isn't"):
        loader.load(ENTRY, segmenter, used)


def test_rivagan_needs_its_decoder(tmp_path):
    with pytest.raises(ModelUnavailable, match="uses one model, the decoder"):
        RIVAGAN.load(ENTRY, tmp_path, {})


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_the_text_detector_sees_multiples_of_32(height, width):
    sides = working_size(height, width, 256, 1024)
    assert all(side % 32 == 0 and 32 <= side <= 1024 for side in sides)
    if max(height, width) <= 4 * min(height, width):
        assert min(sides) >= 240
    if min(height, width) >= 256 and max(height, width) <= 1024:
        assert all(abs(seen - side) <= 16 for seen, side in zip(sides, (height, width), strict=True))


def test_the_text_detector_finds_a_word_where_it_is(table, cat):
    picture = np.ascontiguousarray(cat[:256, :384])
    detect = table.get("text_detector")
    written = cv2.putText(picture.copy(), "VARIORUM", (60, 230), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3)
    before, after = detect([picture, written])
    assert before.shape == after.shape == (256, 384)
    assert after.dtype == np.float32
    assert before.max() < 0.3
    inside = np.abs(written.astype(int) - picture).max(-1) > 0
    rows, columns = np.nonzero(after > 0.3)
    assert after.max() > 0.9
    assert after[inside].mean() > 0.4
    assert rows.min() > 180
    assert columns.min() > 40
    (alone,) = detect([written])
    assert (alone == after).all()


# ── TrustMark ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trustmark_is_known_to_the_hub_profile_and_says_what_is_missing():
    why = ModelTable("hub").why_unavailable("trustmark")
    assert "trustmark" in why
    assert "needs the package" in why or "doesn't exist" in why
    assert "profile hub has it" in ModelTable("embedded").why_unavailable("trustmark")
    assert TRUSTMARK.packages == ("trustmark",)
    assert callable(load_trustmark)
