"""Pictures of every format that is read, damaged at random, and their decoding in a process that has little memory.

`python mutants.py FORMAT SEED` decodes `MUTANTS` of them; the number of each stands in its output before it is tried.
"""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import sys
import zlib
from contextlib import suppress

import numpy as np
from PIL import Image

from variorum.pixels import FORMATS, UndecodableImage, decode, decode_mask, png_chunks, shows_more, upright_size

MUTANTS = 600 * int(os.environ.get("VARIORUM_FUZZ", "1"))
MEMORY = 4 << 30
"""Bytes of addresses. OpenJPEG takes 18 bytes for a pixel of the largest pictures that are decoded."""
ODD = (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def whole(format: str) -> list[bytes]:
    """Small pictures of a format, in its modes and ways of packing."""
    ramp = np.add.outer(np.arange(24) * 9, np.arange(40) * 3).astype(np.uint8)
    colour = Image.fromarray(np.stack([ramp, ramp.T.copy().reshape(24, 40), 255 - ramp], axis=-1))
    grey, clear = Image.fromarray(ramp), colour.copy()
    clear.putalpha(grey)
    ways: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (colour, {"exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"}),
            (grey, {"progressive": True}),
            (colour.convert("CMYK"), {"restart_marker_rows": 1}),
        ],
        "PNG": [
            (clear, {}),
            (colour.quantize(16), {"transparency": 3}),
            (grey.convert("I;16"), {}),
            (grey, {"bits": 1}),
        ],
        "WEBP": [
            (colour, {}),
            (clear, {"lossless": True}),
            (clear, {"save_all": True, "append_images": [clear.rotate(9)]}),
        ],
        "GIF": [(grey, {}), (colour, {"save_all": True, "append_images": [colour.rotate(9)], "transparency": 0})],
        "BMP": [(colour, {}), (grey, {}), (grey.convert("1"), {})],
        "TIFF": [
            (clear, {}),
            (colour, {"compression": "tiff_lzw"}),
            (colour, {"compression": "jpeg"}),
            (grey.convert("I;16"), {"compression": "tiff_adobe_deflate"}),
            (grey.convert("1"), {"compression": "group4"}),
        ],
        "PPM": [(colour, {}), (grey.convert("1"), {}), (grey.convert("I;16"), {})],
        "JPEG2000": [(colour, {}), (clear, {"tile_size": (16, 16)}), (grey, {"no_jp2": True, "irreversible": True})],
        "AVIF": [
            (colour, {"speed": 10}),
            (clear, {"save_all": True, "append_images": [clear.rotate(9)], "speed": 10}),
        ],
    }
    found = []
    for picture, options in ways[format]:
        file = io.BytesIO()
        picture.save(file, format, **options)
        found.append(file.getvalue())
    return found


def mutant(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with one to eight places damaged: bits, numbers, parts removed, repeated, exchanged or cut off."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(max(1, min(len(made), rng.choice((64, 512, 1 << 30)))))
        match rng.randrange(6):
            case 0:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                width = rng.choice("BHIbB")
                number = rng.choice(ODD) & (1 << 8 * struct.calcsize(width)) - 1
                made[at : at + struct.calcsize(width)] = struct.pack(rng.choice("<>") + width.upper(), number)
            case 2:
                del made[at : at + rng.choice((1, 4, 64))]
            case 3:
                made[at:at] = made[at : at + rng.choice((1, 12, 300))]
            case 4:
                size, there = rng.choice((4, 64, 1000)), rng.randrange(len(other))
                made[at : at + size] = other[there : there + size]
            case 5 if not rng.randrange(4):
                del made[max(at, 20) :]
    return bytes(made)


def repaired(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, as otherwise nothing behind them is ever reached."""
    made = data[:8]
    with suppress(struct.error):
        for kind, body in png_chunks(data):
            made += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
    return made


def main(format: str, seed: str) -> None:
    """Decode the mutants of a format in every way. Anything but a picture or a reason ends in a traceback."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rng, there = random.Random(f"{format} {seed}"), whole(format)
    for number in range(MUTANTS):
        data = mutant(rng.choice(there), rng.choice(there), rng)
        data = repaired(data) if format == "PNG" and number % 2 else data
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        for way in (upright_size, decode, decode_mask, shows_more):
            with suppress(UndecodableImage):
                way(data)


if __name__ == "__main__":
    assert sys.argv[1] in FORMATS
    main(*sys.argv[1:])
