"""JPEG, PNG and WebP files without what says where, when and by whom a picture was taken. Pixels aren't encoded again.

What stays beside the pixels is what they need to look the same: colour profiles and the like, the frames of an
animation, and how the picture is turned, in an EXIF block that has nothing else.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from variorum.pixels import ORIENTATION, UndecodableImage, open_header, orientation

JPEG, PNG, RIFF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""What ends the coded pixels of a JPEG's scan: a marker that isn't one of restarts."""
_OF_PNG = frozenset(b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI acTL fcTL fdAT".split())
_OF_WEBP = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF"))
_HAS_EXIF, _HAS_XMP = 0x08, 0x04  # flags of VP8X


def without_metadata(data: bytes) -> bytes | None:
    """A picture's file without metadata; None for another format, or a file that isn't built as it should be."""
    try:
        bare = _rebuilt(data, b"")
        if bare is not None and bare != data and (turn := orientation(open_header(data, 1))) != 1:
            bare = _rebuilt(data, struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, turn, 0, 0))
        return bare
    except (UndecodableImage, ValueError, IndexError, struct.error):
        return None


def _rebuilt(data: bytes, exif: bytes) -> bytes | None:
    if data.startswith(JPEG):
        return b"".join(_jpeg(data, exif))
    if data.startswith(PNG):
        return b"".join(_png(data, exif))
    if data.startswith(RIFF) and data[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_webp(data, exif))
        return RIFF + struct.pack("<I", len(body)) + body
    return None


def _jpeg(data: bytes, exif: bytes) -> Iterator[bytes]:
    """The segments that stay, up to the end of the picture: cameras add further pictures behind it."""
    yield JPEG
    if exif:
        yield struct.pack(">2sH6s", b"\xff\xe1", len(exif) + 8, b"Exif\0\0") + exif
    place = 2
    while True:
        start = place
        while data[place : place + 2] == b"\xff\xff":  # markers may have any number of these in front
            place += 1
        kind = data[place + 1]
        if data[place] != 0xFF or kind < 0xC0 or 0xD0 <= kind <= 0xD8:
            raise ValueError(f"no marker at byte {start}")
        if kind == 0xD9:
            yield b"\xff\xd9"
            return
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment, body = data[place : place + 2 + length], data[place + 4 : place + 2 + length]
        if length < 2 or len(segment) < 2 + length:
            raise ValueError(f"the segment at byte {start} is cut off")
        place += 2 + length
        of_colour = (kind, body[:12]) == (0xE2, b"ICC_PROFILE\0") or (kind, body[:5]) == (0xEE, b"Adobe")
        if kind == 0xE0 and body[:5] == b"JFIF\0" and length >= 16:
            yield b"\xff\xe0\x00\x10" + body[:12] + b"\0\0"  # without its thumbnail
        elif of_colour or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            yield segment
        if kind == 0xDA:
            found = _MARKER.search(data, place)
            if found is None:
                raise ValueError("it has no end")
            yield data[place : found.start()]
            place = found.start()


def _png(data: bytes, exif: bytes) -> Iterator[bytes]:
    """The chunks that stay, up to the end."""
    yield PNG
    place, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + length]
        if len(chunk) < 12 + length or (kind not in _OF_PNG and kind[:1].isupper()):
            raise ValueError(f"the chunk at byte {place} is cut off, or one that isn't known")
        if kind in _OF_PNG:
            yield chunk
        if kind == b"IHDR" and exif:
            yield struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        place += 12 + length


def _webp(data: bytes, exif: bytes) -> Iterator[bytes]:
    """The chunks that stay."""
    place, end = 12, 8 + struct.unpack_from("<I", data, 4)[0]
    while place + 8 <= min(end, len(data)):
        kind, length = struct.unpack_from("<4sI", data, place)
        chunk = data[place : place + 8 + length]
        if len(chunk) < 8 + length:
            raise ValueError(f"the chunk at byte {place} is cut off")
        if kind == b"VP8X":
            flags = chunk[8] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if exif else 0)
            chunk = chunk[:8] + bytes([flags]) + chunk[9:]
        if kind in _OF_WEBP:
            yield chunk + b"\0" * (length % 2)
        place += 8 + length + length % 2
    if exif:
        yield struct.pack("<4sI", b"EXIF", len(exif)) + exif
