"""Pictures without metadata look the same, and say neither where nor by whom they were taken."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from variorum.bare_pictures import without_metadata
from variorum.picture_facts import has_position
from variorum.pixels import TURNS, decode, open_header, orientation

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" exif:GPSLatitude="48,8.2N">hidden</x:xmpmeta>'
SECRETS = (b"Ann", b"hidden", b"exif:", b"GPS", b"<x:xmpmeta")
PLACED = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}


def pixels(height=24, width=40):
    return np.random.default_rng(5).integers(0, 255, (height, width, 3)).astype(np.uint8)


def picture(form, *, turn=1, xmp=XMP, mode="RGB", **options):
    """A file with all the metadata that Pillow writes."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist], exif[ExifTags.Base.Orientation] = "Ann", turn
    exif[ExifTags.IFD.GPSInfo] = PLACED
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB" if mode == "LAB" else "sRGB")).tobytes()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "hidden")
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=form == "PNG" and turn == 1)
    more = {"PNG": {"pnginfo": texts}, "JPEG": {"comment": b"hidden", "xmp": xmp}, "WEBP": {"xmp": xmp}}[form]
    packed = io.BytesIO()
    Image.fromarray(pixels()).convert(mode).save(packed, form, exif=exif, icc_profile=profile, **more, **options)
    return packed.getvalue()


FILES = [
    *(("JPEG", {"turn": turn}) for turn in (1, *TURNS)),
    ("JPEG", {"progressive": True, "subsampling": 0}),
    ("JPEG", {"restart_marker_blocks": 1}),
    ("JPEG", {"mode": "CMYK"}),
    ("JPEG", {"mode": "L", "turn": 6}),
    *(("PNG", {"turn": turn}) for turn in (1, 6)),
    ("PNG", {"mode": "P"}),
    *(("WEBP", {"turn": turn}) for turn in (1, 6)),
    ("WEBP", {"lossless": True, "mode": "RGBA"}),
]


@pytest.mark.parametrize(("form", "options"), FILES)
def test_a_picture_keeps_its_looks_and_loses_the_rest(form, options):
    data = picture(form, **options)
    bare = without_metadata(data)
    assert np.array_equal(decode(bare), decode(data))
    assert not [word for word in SECRETS if word in bare]
    before, after = (open_header(one, 1) for one in (data, bare))
    assert orientation(after) == orientation(before) == options.get("turn", 1)
    assert after.info["icc_profile"] == before.info["icc_profile"]
    assert set(after.getexif()) <= {ExifTags.Base.Orientation}
    assert after.getexif().get_ifd(ExifTags.IFD.GPSInfo) == {}
    assert "xmp" not in after.info
    assert has_position(data)
    assert not has_position(bare)
    assert without_metadata(bare) == bare


def test_what_a_camera_adds_behind_its_picture_is_cut_off():
    data, extra = picture("JPEG"), picture("JPEG", turn=3)
    assert without_metadata(data + extra) == without_metadata(data)
    assert without_metadata(data[:2] + b"\xff\xff" + data[2:]) == without_metadata(data)


def test_the_thumbnail_in_a_jfif_header_goes():
    packed = io.BytesIO()
    Image.fromarray(pixels()).save(packed, "JPEG")
    data = packed.getvalue()
    small = b"\x01\x01" + b"hid"
    assert data[2:4] == b"\xff\xe0"
    assert without_metadata(data[:4] + struct.pack(">H", 19) + data[6:18] + small + data[20:]) == data


def test_a_profile_in_text_is_found_and_goes():
    """ImageMagick keeps EXIF like this."""
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = PLACED
    block = exif.tobytes()
    raw = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(raw)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    packed = io.BytesIO()
    Image.fromarray(pixels()).save(packed, "PNG")
    data = packed.getvalue()
    assert has_position(data[:33] + chunk + data[33:])
    assert without_metadata(data[:33] + chunk + data[33:]) == data


@pytest.mark.parametrize("form", ["TIFF", "AVIF", "BMP", "GIF"])
def test_other_formats_are_left_to_be_encoded_anew(form):
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = PLACED
    packed = io.BytesIO()
    Image.fromarray(pixels()).save(packed, form, **({"exif": exif.tobytes()} if form in ("TIFF", "AVIF") else {}))
    assert without_metadata(packed.getvalue()) is None
    assert has_position(packed.getvalue()) == (form in ("TIFF", "AVIF"))


def test_exif_without_a_position_has_none():
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ann"
    exif[ExifTags.IFD.GPSInfo] = {0: b"\2\2\0\0"}  # a camera without a signal writes its version alone
    packed = io.BytesIO()
    Image.fromarray(pixels()).save(packed, "JPEG", exif=exif)
    assert not has_position(packed.getvalue())


WHOLE = {form: picture(form) for form in ("JPEG", "PNG", "WEBP")}


@pytest.mark.parametrize("form", WHOLE)
@given(data=st.data())
def test_a_damaged_file_raises_nothing(form, data):
    whole = bytearray(WHOLE[form])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    has_position(damaged)
    without_metadata(damaged)
