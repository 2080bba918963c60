import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from variorum.pixels import (
    MAX_PIXELS,
    UndecodableImage,
    decode,
    decode_mask,
    encode_png,
    need_memory,
    shows_more,
    upright_size,
)


def saved(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(UndecodableImage) as caught:
        decode(data)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def ramp(height: int = 32, width: int = 48) -> np.ndarray:
    """A smooth picture whose four corners differ, so that a wrong rotation shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 64], axis=-1).astype(np.uint8)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few dozen bytes whose header has this size."""
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))
)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
@settings(max_examples=80, deadline=None)
def test_png_is_bit_equal_through_pillow_and_deterministic(pixels):
    data = encode_png(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == ("L" if pixels.ndim == 2 else "RGB")
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert encode_png(np.asfortranarray(pixels)) == data


@given(
    st.tuples(st.integers(8, 70), st.integers(8, 70)),
    st.integers(1, 100),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_a_jpeg_gives_the_same_pixels_as_in_pillow(shape, quality, subsampling, progressive, seed):
    blocks = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    picture = Image.fromarray(blocks).resize(shape[::-1], Image.Resampling.BICUBIC)
    data = saved(picture, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decode(data), np.asarray(image))


def test_a_damaged_jpeg_is_read_or_refused_as_in_pillow():
    whole = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)), "JPEG")
    rng, read = np.random.default_rng(1), 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[int(rng.integers(640, len(whole)))] = int(rng.integers(256))
        try:
            with Image.open(io.BytesIO(damaged)) as image:
                expected = np.asarray(image.convert("RGB"))
        except OSError:
            assert reason(bytes(damaged)) in ("corrupt", "truncated")
        else:
            np.testing.assert_array_equal(decode(bytes(damaged)), expected)
            read += 1
    assert read > 10


def test_png_refuses_other_arrays():
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match="need uint8 pixels"):
            encode_png(wrong)


def test_ordinary_pictures_keep_their_pixels():
    pixels = ramp()
    for data in (saved(Image.fromarray(pixels), "PNG"), saved(Image.fromarray(pixels), "BMP"), encode_png(pixels)):
        np.testing.assert_array_equal(decode(data), pixels)
    jpeg = saved(Image.fromarray(pixels), "JPEG", quality=90)
    with Image.open(io.BytesIO(jpeg)) as image:
        np.testing.assert_array_equal(decode(jpeg), np.asarray(image))
    assert decode(jpeg).flags.writeable


def test_undecodable_bytes_have_a_reason():
    data = saved(Image.fromarray(ramp(64, 64)), "JPEG")
    png = saved(Image.fromarray(ramp(64, 64)), "PNG")
    broken = bytearray(png)
    broken[80] ^= 0xFF  # inside the compressed data
    assert reason(b"") == "empty"
    assert reason(data[: len(data) * 3 // 4]) == "truncated"
    assert reason(png[: len(png) // 2]) == "truncated"
    assert reason(data[:20]) == "truncated"
    assert reason(bytes(broken)) in {"corrupt", "truncated"}
    assert reason(b"this is a text file, whatever its name says") == "not_an_image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image"
    assert reason(saved(Image.new("RGB", (1, 1)), "PNG")) == "too_small"
    assert reason(saved(Image.new("RGB", (200, 3)), "GIF")) == "too_small"
    assert reason(saved(Image.new("F", (16, 16)), "TIFF")) == "unsupported_mode"


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\x00"])
)
@settings(max_examples=150, deadline=None)
def test_noise_raises_no_other_error(noise, magic):
    with pytest.raises(UndecodableImage):
        decode(magic + noise)


@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
@settings(max_examples=120, deadline=None)
def test_damaged_pictures_decode_or_have_a_reason(format, draw):
    data = bytearray(saved(Image.fromarray(ramp()), format))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableImage):
        assert decode(bytes(data)).dtype == np.uint8


def test_bombs_are_refused_by_their_header():
    assert reason(bomb(100_000, 100_000)) == "bomb"
    side = int(MAX_PIXELS**0.5) + 2  # over the limit at which Pillow only warns
    assert reason(bomb(side, side)) == "bomb"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = ramp(32, 48)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    for format in ("PNG", "TIFF"):
        data = saved(Image.fromarray(np.ascontiguousarray(turned)), format, exif=exif)
        np.testing.assert_array_equal(decode(data), upright)
        assert upright_size(data) == (32, 48)


def test_broken_exif_is_ignored():
    jpeg = saved(Image.fromarray(ramp()), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01")
    assert decode(jpeg).shape == (32, 48, 3)


def test_transparent_pictures_get_a_white_background():
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 8, 16))
    as_bytes = decode(saved(palette, "PNG", transparency=b"\x00\xff"))
    as_index = decode(saved(palette, "GIF", transparency=0))
    for pixels in (as_bytes, as_index):
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[0, 15].tolist() == [0, 0, 255]
    half = decode(saved(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG"))
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    grey = decode(saved(Image.new("LA", (16, 16), (10, 0)), "PNG"))
    assert grey[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bits_are_scaled():
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    expected = np.arange(256).reshape(16, 16)
    for format in ("PNG", "TIFF", "PPM"):
        pixels = decode(saved(Image.fromarray(values), format))
        assert abs(pixels.astype(int) - expected[..., None]).max() <= 1
    np.testing.assert_array_equal(decode_mask(saved(Image.fromarray(values), "PNG")), expected)


def test_grey_one_bit_and_cmyk():
    grey = ramp()[..., 0]
    assert (decode(saved(Image.fromarray(grey), "PNG")) == grey[..., None]).all()
    bits = Image.fromarray(grey > 99)
    assert set(np.unique(decode(saved(bits, "PNG")))) == {0, 255}
    cmyk = decode(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert cmyk[8, 8, 0] > 240
    assert cmyk[8, 8, 1:].max() < 20


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_animations_give_their_first_frame(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data)[8, 8].tolist() == [255, 0, 0]


def test_colour_profiles_are_applied_when_they_fit():
    pixels = ramp()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=srgb))
    np.testing.assert_array_equal(plain, pixels)
    for unfit in (b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), srgb[:200]):
        np.testing.assert_array_equal(decode(saved(Image.fromarray(pixels), "PNG", icc_profile=unfit)), pixels)
    swapped = bytearray(srgb)  # the red primary's tag now points to the blue one: red and blue change places
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    moved = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=bytes(swapped)))
    assert abs(moved[..., ::-1].astype(int) - pixels).max() <= 3


def test_masks_are_grey_and_ignore_alpha():
    mask = np.zeros((5, 7), np.uint8)
    mask[1:3, 2:5] = 255
    for image in (
        Image.fromarray(mask),
        Image.fromarray(mask > 0),
        Image.fromarray(np.stack([mask] * 3, axis=-1)),
        Image.fromarray(np.dstack([mask, mask, mask, np.zeros_like(mask)])),
        Image.fromarray(np.dstack([mask, np.zeros_like(mask)])),
    ):
        np.testing.assert_array_equal(decode_mask(saved(image, "PNG")), mask)
    palette = Image.fromarray(mask // 255).convert("P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    np.testing.assert_array_equal(decode_mask(saved(palette, "PNG", transparency=b"\xff\x00")), mask)


def test_memory_that_is_not_there_is_said_before_a_library_crashes():
    need_memory(1 << 20)
    with pytest.raises(MemoryError):
        need_memory(1 << 60)


@pytest.mark.parametrize("format", ["GIF", "TIFF"])
def test_a_damaged_second_frame_is_more_than_is_shown(format):
    """The first one is the picture, whatever follows."""
    first, second = (Image.new("L", (20, 10), shade) for shade in (9, 200))
    data = saved(first, format, save_all=True, append_images=[second])
    damaged = {
        "GIF": data[: data.rfind(b"\x2c") + 9],  # it ends in the second frame's size
        "TIFF": b"\xff\xff\x04".join(data.rsplit(b"\x00\x01\x04", 1)),  # the second frame has no width
    }[format]
    assert decode(damaged).shape == (10, 20, 3)
    assert shows_more(damaged)
