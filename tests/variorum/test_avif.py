"""The size of an AVIF's frames, whatever the file says outside of them."""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from variorum import pixels
from variorum.avif import _sizes, largest_frame
from variorum.pixels import UndecodableImage, decode

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def avif(size, mode="RGB", frames=1, **options):
    file, picture = io.BytesIO(), Image.new(mode, size, "red")
    more = [Image.new(mode, size, "blue")] * (frames - 1)
    picture.save(file, "AVIF", save_all=frames > 1, append_images=more, speed=10, **options)
    return file.getvalue()


def saying(data, width, height):
    """The same file, with another size in all its boxes that state one."""
    return re.sub(rb"(?s)(?<=ispe.{4}).{8}", struct.pack(">2I", width, height), data)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(8, 8), (65, 130), (300, 200)])
def test_honest_files_have_frames_of_their_size(size, mode, frames):
    data = avif(size, mode, frames)
    assert largest_frame(data) == size
    assert largest_frame(saying(data, 9, 9)) == size
    assert decode(data).shape == (*size[::-1], 3)


def test_a_small_file_that_says_it_is_small_is_a_bomb(monkeypatch):
    monkeypatch.setattr(pixels, "MAX_PIXELS", 10_000)
    lie = saying(avif((300, 200)), 10, 10)
    with Image.open(io.BytesIO(lie)) as image:
        assert image.size == (10, 10)
    with pytest.raises(UndecodableImage, match="bomb: 300 x 200 pixels, the limit is 10000"):
        decode(lie)
    assert decode(avif((100, 100))).shape == (100, 100, 3)


def unit(kind, bits):
    """A unit of AV1 data."""
    bits = bits.replace(" ", "") + "1"
    body = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes([kind << 3 | 2, len(body)]) + body


def test_a_frame_may_have_a_size_of_its_own():
    """A header for frames of 8 × 8, which are numbered with 16 bits, and then a frame that states another size."""
    sequence = unit(
        1, "000 0 0 0 0 00000 000000000000 00000 1111 1111 0000000000000111 0000000000000111 0 000 0000 0 1 1"
    )
    assert _sizes(memoryview(sequence)) == [(8, 8)]
    usual, own = (unit(6, f"0 00 1 0 0 {flag} 0000000000000111") for flag in (0, 1))
    assert _sizes(memoryview(sequence + usual)) == [(8, 8)]
    assert _sizes(memoryview(sequence + own)) == [(8, 8), (1 << 16, 1 << 16)]


def test_files_without_frames_are_corrupt(tmp_path):
    data = avif((20, 20))
    for damaged in (data.replace(b"av01", b"av09"), data.replace(b"iloc", b"free"), data.replace(b"iinf", b"free")):
        with pytest.raises(ValueError, match="AV1"):
            largest_frame(damaged)


WHOLE = [avif((40, 30)), avif((40, 30), "RGBA", 2)] if features.check("avif") else [b""]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=5),
    st.integers(0, 99),
)
def test_damaged_files_are_pictures_or_have_a_reason(data, edits, cut):
    changed = bytearray(data)
    for place, value in edits:
        changed[place % len(changed)] = value
    changed = bytes(changed[: len(changed) - cut // 10 * cut])
    with suppress(ValueError):
        width, height = largest_frame(changed)
        assert min(width, height) >= 0
    with suppress(UndecodableImage):
        decode(changed)
