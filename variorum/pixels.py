"""Decoding and encoding of pictures, for the whole project.

`decode` turns encoded bytes into upright sRGB pixels, or raises an error that names the reason. `encode_png` writes
lossless PNG about fifteen times faster than Pillow's default, so that masters can stay lossless.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import deflate
import numpy as np
import simplejpeg
from PIL import Image, ImageCms, UnidentifiedImageError, features

from variorum.avif import largest_frame

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Reason = Literal["empty", "not_an_image", "truncated", "corrupt", "unsupported_mode", "bomb", "too_small"]

MAX_PIXELS = 89_478_485
"""A picture with more pixels counts as a decompression bomb (Pillow's own limit: a quarter of a GiB of RGB)."""
MIN_SIDE = 8
"""Pixels of the shorter side. Smaller pictures show nothing: tracking pixels, placeholders."""

# Raster formats. EPS, PDF and WMF are left out, because Pillow would start another program on them.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    *(("AVIF",) if features.check("avif") else ()),
)
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\x00", b"MM\x00*")
ROOM = 16 << 20
"""Bytes that a decoder or compressor wants at most beside a picture's own, with some to spare."""
MAX_CHUNKS = 100_000
"""Chunks of a file that are looked at. The largest picture, cut into the 8 KiB that encoders use, has fewer."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

BLURRED = 6
"""Patches along the longer side of a blurred picture. With twelve one still sees that there is a person, or a cup."""
SPREAD = 4
"""Pixels along the side of a patch, at least, so that small pictures are blurred too."""

DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError),
    *(struct.error, zlib.error),
)
"""What Pillow raises for files that are damaged."""

_quiet = threading.Lock()  # catch_warnings changes global state, so only one thread may use it at a time


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns about odd metadata; here it doesn't."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class UndecodableImage(ValueError):
    """The bytes can't be decoded to a picture. `reason` is one word for a `Failure`; the message has details."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason


def decode(data: bytes, *, min_side: int = MIN_SIDE) -> Pixels:
    """RGB pixels `[H, W, 3]` uint8: first frame, upright by EXIF, converted to sRGB, transparency laid over white.

    A colour profile is applied if it is readable and fits the picture, and ignored otherwise. 16-bit values are scaled
    to 8 bits, not clipped. All metadata is dropped.

    Raises:
        UndecodableImage: with a `Reason`. The size is checked before any pixel is decoded.
    """
    image = open_header(data, min_side)
    profile = image.info.get("icc_profile")
    if (pixels := _plain_jpeg(image, data, profile)) is not None:
        return pixels
    image = _loaded(image)
    alpha: Image.Image | None = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = _eight_bits(image) if image.mode[0] in "IF" else image.convert("RGB")
    image = to_srgb(image, profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        image = white
    return np.array(image)


def shows_more(data: bytes) -> bool:
    """Return whether a file has more to show than `decode` returns: further frames, or colours under its transparency.

    Raises:
        UndecodableImage: with a `Reason`.
    """
    image = open_header(data, 1)
    try:
        frames = getattr(image, "n_frames", 1)
    except DAMAGED:  # what follows the first one can't be read, but is there
        return True
    return frames > 1 or _transparent(image)


def transparent(data: bytes) -> bool:
    """Return whether a file's picture has pixels that aren't opaque.

    Raises:
        UndecodableImage: with a `Reason`.
    """
    return _transparent(open_header(data, 1))


def _transparent(image: Image.Image) -> bool:
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return False
    return bool(_loaded(image).convert("RGBA").getchannel("A").getextrema() != (255, 255))


def decode_mask(data: bytes) -> Pixels:
    """A mask's grey values `[H, W]` uint8. Colours become luma; transparency and colour profile are ignored.

    Raises:
        UndecodableImage: with a `Reason`.
    """
    image = _loaded(open_header(data, 1))
    if image.mode in ("PA", "P"):
        image = image.convert("RGBA")
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    elif image.mode in ("LA", "La"):
        image = image.getchannel("L")
    elif image.mode != "L":
        image = image.convert("RGB").convert("L")
    return np.array(image)


def blurred(image: Image.Image) -> Image.Image:
    """A picture of the same size in which nothing can be recognised: smooth patches of its colours.

    It is made of the average colours of a grid with `BLURRED` patches along the longer side. All else is gone from its
    pixels, so nothing can undo it. The pictures of an edition with a `Manifest.warning` are shown like this.
    """
    longer = max(image.size)
    patches = min(BLURRED, max(1, longer // SPREAD))
    width, height = (max(1, round(patches * side / longer)) for side in image.size)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def upright_size(data: bytes) -> tuple[int, int]:
    """Height and width that `decode` would return, read from the header alone.

    Raises:
        UndecodableImage: the header can't be read, or the picture is a bomb.
    """
    return upright_size_of(open_header(data, 1))


def upright_size_of(image: Image.Image) -> tuple[int, int]:
    """Height and width that a picture from `open_header` has once it is upright."""
    width, height = image.size
    # for a TIFF, Pillow swaps the sides itself when it opens the file
    return (width, height) if image.format != "TIFF" and orientation(image) in (5, 6, 7, 8) else (height, width)


def need_memory(size: int) -> None:
    """Raise MemoryError unless `size + ROOM` bytes can be had now.

    Libraries in C don't always say that memory ran out: some crash, and some call the picture broken.
    """
    np.empty(size + ROOM, np.uint8)


def encode_png(pixels: Pixels) -> bytes:
    """A lossless PNG of RGB `[H, W, 3]` or grey `[H, W]` uint8 pixels. The same pixels always give the same bytes.

    Each row is stored as its difference from the row above (PNG's Up filter), which takes NumPy one subtraction.

    Raises:
        ValueError: another dtype or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise ValueError(f"need uint8 pixels [H, W] or [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    need_memory(filtered.nbytes)  # without memory, libdeflate's binding crashes
    # libdeflate's output doesn't depend on the processor; igzip is faster, but once gave other bytes for a mask
    body = bytes(deflate.zlib_compress(filtered, 1))
    return b"".join((b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", header), *_chunk(b"IDAT", body), *_chunk(b"IEND", b"")))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk of a PNG, up to its end or to the first that is cut off."""
    view, place = memoryview(data), 8
    for _ in range(MAX_CHUNKS):
        if place + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data):
            return
        yield kind, view[place + 8 : place + 8 + length]
        if kind == b"IEND":
            return
        place += 12 + length


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    crc = deflate.crc32(data, deflate.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", crc)


def _plain_jpeg(image: Image.Image, data: bytes, profile: bytes | None) -> Pixels | None:
    """Pixels of an upright colour JPEG in sRGB; None for other pictures and for damaged ones.

    Pillow uses the same libjpeg-turbo. Calling it directly gives the same pixels in two thirds of the time.
    """
    if image.format != "JPEG" or image.mode != "RGB" or orientation(image) in TURNS:
        return None
    if profile and _transform(profile, "RGB") is not None:
        return None
    try:
        found = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False, strict=True)
    except ValueError:  # damaged, but Pillow may be able to read it
        return None
    return np.asarray(found) if found.shape == (image.height, image.width, 3) else None


def _loaded(image: Image.Image) -> Image.Image:
    """The first frame, upright, its pixels loaded."""
    try:
        image.load()
    except DAMAGED as error:
        cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise UndecodableImage("truncated" if cut else "corrupt", str(error) or type(error).__name__) from None
    turn = TURNS.get(orientation(image))
    return image if turn is None else _transposed(image, turn)


def open_header(data: bytes, min_side: int) -> Image.Image:
    """The picture, with only its header read and its size checked.

    Raises:
        UndecodableImage: the header can't be read, a side is shorter than `min_side`, or the picture is a bomb.
    """
    if not data:
        raise UndecodableImage("empty", "no bytes")
    with quiet():
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise UndecodableImage("bomb", str(error)) from None
        except UnidentifiedImageError:
            reason: Reason = "truncated" if data.startswith(MAGIC) else "not_an_image"
            raise UndecodableImage(reason, f"{len(data)} bytes starting {data[:8]!r} hold no picture") from None
        except DAMAGED as error:
            raise UndecodableImage("corrupt", str(error)) from None
    width, height = image.size
    if image.format == "AVIF" and width * height <= MAX_PIXELS:
        try:
            width, height = max(image.size, largest_frame(data), key=lambda size: size[0] * size[1])
        except ValueError as error:
            raise UndecodableImage("corrupt", str(error)) from None
    if width * height > MAX_PIXELS:
        raise UndecodableImage("bomb", f"{width} x {height} pixels, the limit is {MAX_PIXELS}")
    if min(image.size) < min_side:
        raise UndecodableImage(
            "too_small", f"{image.width} x {image.height} pixels, the shorter side must be {min_side}"
        )
    if image.format == "PNG":
        for kind, body in png_chunks(data):
            if kind == b"eXIf":  # it may come after the pixels, which Pillow hasn't read yet
                image.info["exif"] = b"Exif\0\0" + bytes(body)
    return image


def orientation(image: Image.Image) -> int:
    """Return how the picture is to be turned, as EXIF counts: 1 for not at all, see `TURNS`."""
    with quiet():
        try:
            value: Any = image.getexif().get(ORIENTATION, 1)
        except Exception:  # broken EXIF raises many kinds of errors, and the picture is usable without it
            return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _transposed(image: Image.Image, turn: Image.Transpose) -> Image.Image:
    upright = image.transpose(turn)
    upright.info = image.info
    return upright


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey, in any of Pillow's modes for it, as 8 bits."""
    if image.mode == "F":
        raise UndecodableImage("unsupported_mode", "floating-point pixels don't say which value is white")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UndecodableImage("unsupported_mode", "32-bit pixels don't say which value is white")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture in RGB, with its colour profile applied if it is readable and fits."""
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None if the profile is unreadable, for another mode, or sRGB itself."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(opened.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "RGB":
            return transform
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        moved = np.asarray(ImageCms.applyTransform(Image.fromarray(probe), transform)).astype(int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if abs(moved - probe).max() <= 2 else transform  # usual sRGB profiles change nothing
