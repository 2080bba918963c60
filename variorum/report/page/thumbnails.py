"""Small WebP versions of pictures, for a page that holds thousands of them."""

from __future__ import annotations

import io
from typing import Any

from variorum.pixels import TURNS, decode, open_header, orientation, upright_size_of

SIDES = ((300, 320), (1_500, 224), (10_000, 128), (30_000, 96))
"""(number of pictures, longer side in pixels up to that number): a page takes some fifty megabytes at most."""
SMALLEST = 64
"""The longer side with still more pictures."""
QUALITY = 80
METHOD = 2
"""Of WebP, 0 to 6. This one takes half the time of the default 4 and makes files 4 % larger; 1 would make them 20 %."""
SPARE = 2
"""A JPEG is decoded at a half, a quarter or an eighth of its size if that leaves so many times the side wanted."""
LARGE = 1 << 16
"""Bytes of a JPEG from which that saves more time than another look at its header takes."""


def thumbnail_side(pictures: int) -> int:
    """The longer side of thumbnails on a page with this many pictures, in pixels."""
    return next((side for most, side in SIDES if pictures <= most), SMALLEST)


def thumbnail(data: bytes, side: int) -> bytes:
    """A picture as WebP, its longer side reduced to `side` pixels if it has more.

    Args:
        data: the encoded picture.
        side: in pixels.

    Raises:
        UndecodableImage: it can't be decoded.
    """
    from PIL import Image

    image = _reduced_jpeg(data, side)
    if image is None:
        image = Image.fromarray(decode(data, min_side=1))
    # Hamming's window takes a third of the time of Lanczos', and at this size looks the same
    image.thumbnail((side, side), Image.Resampling.HAMMING, reducing_gap=SPARE)
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=QUALITY, method=METHOD)
    return packed.getvalue()


def _reduced_jpeg(data: bytes, side: int) -> Any:
    """A large plain JPEG decoded at a fraction of its size, upright; None for other pictures and for damaged ones."""
    import simplejpeg
    from PIL import Image

    if len(data) < LARGE or not data.startswith(b"\xff\xd8"):
        return None
    header = open_header(data, 1)
    if header.format != "JPEG" or header.mode != "RGB" or header.info.get("icc_profile"):
        return None
    if max(upright_size_of(header)) < 2 * SPARE * side:
        return None
    scale = SPARE * side / max(header.size)
    least = {"min_width": max(1, round(header.width * scale)), "min_height": max(1, round(header.height * scale))}
    try:
        pixels = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False, min_factor=1, strict=True, **least)
    except ValueError:
        return None
    turn = TURNS.get(orientation(header))
    image = Image.fromarray(pixels)
    return image if turn is None else image.transpose(turn)
