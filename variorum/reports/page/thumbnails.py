"""Small versions of pictures: WebP for a page that holds thousands of them, JPEG where they are made on request."""

from __future__ import annotations

import io
from typing import Any

from variorum.pixels import (
    TURNS,
    UndecodableImage,
    blurred,
    decode,
    decode_mask,
    open_header,
    orientation,
    to_srgb,
    upright_size_of,
)

SIDES = ((300, 320), (1_500, 224), (10_000, 128), (30_000, 96))
"""(number of pictures, longer side in pixels up to that number): a page takes some fifty megabytes at most."""
SMALLEST = 64
"""The longer side with still more pictures."""
LARGER = ((200, 1024), (400, 768), (800, 512))
"""The same for the versions that one picture is looked at in. They take some forty megabytes at most."""
QUALITY = 80
METHOD = 2
"""Of WebP, 0 to 6. This one takes half the time of the default 4 and makes files 4 % larger; 1 would make them 20 %."""
SPARE = 2
"""A JPEG is decoded at a half, a quarter or an eighth of its size if that leaves this many times the side wanted."""
NEAR = 1.15
"""How far the longer side of a thumbnail that is made quickly may be from the one wanted, as a factor."""
LARGE = 1 << 16
"""Bytes of a JPEG from which that saves more time than another look at its header takes."""


def thumbnail_side(pictures: int) -> int:
    """The longer side of thumbnails on a page with this many pictures, in pixels."""
    return next((side for most, side in SIDES if pictures <= most), SMALLEST)


def larger_side(pictures: int) -> int:
    """The longer side of larger versions on a page with this many pictures, in pixels."""
    return next((side for most, side in LARGER if pictures <= most), LARGER[-1][1])


def larger(data: bytes, side: int, *, than: int) -> bytes:
    """A larger version as WebP; `b""` of a picture that a thumbnail with the side `than` shows whole.

    Raises:
        UndecodableImage: it can't be decoded.
    """
    return thumbnail(data, side) if max(upright_size_of(open_header(data, 1))) > than else b""


def small_mask(data: bytes, side: int) -> bytes:
    """A mask as PNG with one bit a pixel, its longer side reduced to `side` pixels; `b""` if it can't be decoded.

    A mask is about the object that is shown, so the picture is shown without it rather than not at all.
    """
    from PIL import Image

    try:
        image = Image.fromarray(decode_mask(data)).convert("L")
    except UndecodableImage:
        return b""
    image.thumbnail((side, side), Image.Resampling.BOX)
    packed = io.BytesIO()
    image.point(lambda value: 255 * (value > 127), "1").save(packed, "PNG", optimize=True)
    return packed.getvalue()


def thumbnail(data: bytes, side: int, *, blur: bool = False) -> bytes:
    """A picture as WebP, its longer side reduced to `side` pixels if it has more.

    Args:
        data: the encoded picture.
        side: in pixels.
        blur: whether nothing is to be recognised in it.

    Raises:
        UndecodableImage: it can't be decoded.
    """
    from PIL import Image

    image = _reduced_jpeg(data, side)
    if image is None:
        image = Image.fromarray(decode(data, min_side=1))
    # Hamming's window takes a third of the time of Lanczos', and at this size looks the same
    image.thumbnail((side, side), Image.Resampling.HAMMING, reducing_gap=SPARE)
    image = blurred(image) if blur else image
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=QUALITY, method=METHOD)
    return packed.getvalue()


def quick_thumbnail(data: bytes, side: int, *, blur: bool = False) -> bytes:
    """A picture as JPEG, its longer side reduced to about `side` pixels if it has more, within a factor of `NEAR`.

    Most JPEGs are decoded at a size in these bounds and needn't be resampled, so that a picture takes two milliseconds,
    a third of what `thumbnail` takes. The file is half as large again. Arguments and errors are those of `thumbnail`.
    """
    import numpy as np
    import simplejpeg
    from PIL import Image

    image = _near_jpeg(data, side)
    if image is None:
        image = Image.fromarray(decode(data, min_side=1))
    if max(image.size) > NEAR * side:
        image.thumbnail((side, side), Image.Resampling.HAMMING, reducing_gap=SPARE)
    pixels = np.ascontiguousarray(np.asarray(blurred(image) if blur else image))
    return bytes(simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorspace="RGB"))


def _near_jpeg(data: bytes, side: int) -> Any:
    """A colour JPEG decoded at about a size, upright and in sRGB; None for other pictures and for damaged ones."""
    from PIL import Image

    if not data.startswith(b"\xff\xd8"):
        return None
    header = open_header(data, 1)
    if header.format != "JPEG" or header.mode != "RGB":
        return None
    pixels = _decoded(data, header, side / NEAR, exact=False)
    if pixels is None:
        return None
    turn = TURNS.get(orientation(header))
    image = to_srgb(Image.fromarray(pixels), header.info.get("icc_profile"))
    return image if turn is None else image.transpose(turn)


def _reduced_jpeg(data: bytes, side: int) -> Any:
    """A large plain JPEG decoded at a fraction of its size, upright; None for other pictures and for damaged ones."""
    from PIL import Image

    if len(data) < LARGE or not data.startswith(b"\xff\xd8"):
        return None
    header = open_header(data, 1)
    if header.format != "JPEG" or header.mode != "RGB" or header.info.get("icc_profile"):
        return None
    if max(upright_size_of(header)) < 2 * SPARE * side:
        return None
    pixels = _decoded(data, header, SPARE * side)
    if pixels is None:
        return None
    turn = TURNS.get(orientation(header))
    image = Image.fromarray(pixels)
    return image if turn is None else image.transpose(turn)


def _decoded(data: bytes, header: Any, least: float, *, exact: bool = True) -> Any:
    """Pixels of a JPEG at the smallest of libjpeg's sizes whose longer side is at least `least`; None if damaged."""
    import simplejpeg

    scale = min(1, least / max(header.size))
    sides = {"min_width": max(1, round(header.width * scale)), "min_height": max(1, round(header.height * scale))}
    quick = {"fastdct": not exact, "fastupsample": not exact}
    try:
        return simplejpeg.decode_jpeg(data, min_factor=1, strict=True, **quick, **sides)
    except ValueError:
        return None
