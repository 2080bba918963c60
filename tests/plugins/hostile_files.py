"""About 150 files that have broken programs that read folders of pictures, and what is to become of each."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import struct
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, features

ACCEPTED, ROW, ANY, COUNTED, SILENT = "accepted", "row", "any", "counted", "silent"
"""A picture; a row with some reason; one of both, as decoders differ; a part of a warning; neither, as a README."""
COUNTS = re.compile(r"^image_folder: (\d+) [a-z ]+ in ")
"""A warning with the number of files that are no pictures."""


def hostile_files(folder: Path) -> dict[str, str]:
    """Write the files.

    Args:
        folder: a new or an empty one. Remove it as the same user.

    Returns:
        Relative path, as the key of a picture, to ACCEPTED, ROW, ANY, COUNTED, SILENT, or the reason of its row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fate: dict[str, str] = {}
    seed = iter(range(1000))

    def put(name: str | bytes, data: bytes, becomes: str, key: str = "") -> None:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)
        fate[key or os.fsdecode(name)] = becomes

    def new(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
        rng = np.random.default_rng(next(seed))
        return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)

    _modes(put, new)
    _damaged(put, new)
    _no_pictures(put)
    _bombs(put, new)
    _names(put, lambda: encoded(new(), "JPEG"))
    _not_read(put, folder, fate, encoded(new(), "JPEG"))
    _not_files(folder, fate, encoded(new(), "JPEG"))
    return fate


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@contextmanager
def nobody() -> Iterator[Path]:
    """A folder of a user whom permissions stop, as whom the block runs."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


Put = Callable[..., None]
New = Callable[..., Image.Image]


def _modes(put: Put, new: New) -> None:
    """Pictures that are fine and unusual."""
    for mode in ("L", "CMYK"):
        put(f"modes/{mode}.jpg", encoded(new(mode), "JPEG"), ACCEPTED)
    for mode in ("1", "L", "LA", "P", "RGBA"):
        put(f"modes/{mode}.png", encoded(new(mode), "PNG"), ACCEPTED)
    for mode in ("1", "L", "RGB", "CMYK", "RGBA", "P"):
        put(f"modes/{mode}.tif", encoded(new(mode), "TIFF"), ACCEPTED)
    for mode in ("1", "L", "P", "RGB"):
        put(f"modes/{mode}.bmp", encoded(new(mode), "BMP"), ACCEPTED)
    put("modes/transparent.png", encoded(new("P"), "PNG", transparency=3), ACCEPTED)
    put("modes/transparent_rgb.png", encoded(new(), "PNG", transparency=(1, 2, 3)), ACCEPTED)
    put("modes/transparent.gif", encoded(new("P"), "GIF", transparency=0), ACCEPTED)
    put("modes/alpha.webp", encoded(new("RGBA"), "WEBP"), ACCEPTED)
    put("modes/lossless.webp", encoded(new(), "WEBP", lossless=True), ACCEPTED)
    put("modes/progressive.jpeg", encoded(new(), "JPEG", progressive=True), ACCEPTED)
    put("modes/upper.JPG", encoded(new(), "JPEG", subsampling=0, quality=100), ACCEPTED)
    put("modes/quality1.jfif", encoded(new(), "JPEG", quality=1), ACCEPTED)
    put("modes/lzw.tiff", encoded(new(), "TIFF", compression="tiff_lzw"), ACCEPTED)
    put("modes/fax.tiff", encoded(new("1"), "TIFF", compression="group4"), ACCEPTED)
    put("modes/colours.ppm", encoded(new(), "PPM"), ACCEPTED)
    put("modes/grey.pgm", encoded(new("L"), "PPM"), ACCEPTED)
    put("modes/text.ppm", b"P3 9 9 255 " + b"7 " * 243, ACCEPTED)
    for name, form in (("animated.gif", "GIF"), ("animated.webp", "WEBP"), ("animated.png", "PNG"), ("p.tif", "TIFF")):
        put(f"modes/{name}", encoded(new(), form, save_all=True, append_images=[new(), new()]), ACCEPTED)
    wide = np.random.default_rng(1).integers(0, 65536, (32, 48, 3), dtype=np.uint16)
    for name, pixels in (("rgb16.png", wide), ("grey16.png", wide[..., 0]), ("rgb16.tif", wide)):
        put(f"modes/{name}", cv2.imencode(name[-4:], pixels)[1].tobytes(), ACCEPTED)
    put("modes/float.tif", encoded(Image.fromarray(np.zeros((16, 16), np.float32)), "TIFF"), "unsupported_mode")
    put("modes/int32.tif", encoded(Image.fromarray(np.full((16, 16), 1 << 20, np.int32)), "TIFF"), "unsupported_mode")
    for turn in range(10):
        exif = Image.Exif()
        exif[0x0112] = turn
        put(f"exif/{turn}.jpg", encoded(new(), "JPEG", exif=exif), ACCEPTED)
    put("exif/broken.jpg", encoded(new(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9)), ACCEPTED)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    undated = profile[:24] + bytes(12) + profile[36:]
    put("modes/lab_profile.jpg", encoded(new(), "JPEG", icc_profile=undated), ACCEPTED)
    put("modes/broken_profile.png", encoded(new(), "PNG", icc_profile=b"no profile" * 9), ACCEPTED)
    put("modes/interlaced.png", interlaced(np.asarray(new("L", (16, 16)))), ACCEPTED)
    put("modes/long.png", encoded(new("RGB", (10_000, 10)), "PNG"), ACCEPTED)
    put("modes/edge.png", encoded(new("RGB", (8, 8)), "PNG"), ACCEPTED)
    put("modes/a_png_inside.jpg", encoded(new(), "PNG"), ACCEPTED)
    put("modes/a_jpeg_inside.gif", encoded(new(), "JPEG"), ACCEPTED)
    put("modes/more_behind.jpg", encoded(new(), "JPEG") + b"PK\x03\x04" + bytes(999), ACCEPTED)
    put("modes/more_behind.png", encoded(new(), "PNG") + b"<?php evil(); ?>", ACCEPTED)
    if features.check("avif"):
        put("modes/a.avif", encoded(new(), "AVIF"), ACCEPTED)
    if features.check("jpg_2000"):
        put("modes/a.jp2", encoded(new(), "JPEG2000"), ACCEPTED)


def _damaged(put: Put, new: New) -> None:
    """Cut off and otherwise damaged pictures."""
    for kind, ending in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("TIFF", "tif")):
        data = encoded(new(), kind)
        for place in (1, 4, 12, 25, 50, 90):
            size = place if place < 20 else len(data) * place // 100
            put(f"cut/{place}.{ending}", data[:size], ROW)
        put(f"cut/last.{ending}", data[:-2], ANY)
        put(f"cut/zeros.{ending}", data[:30] + bytes(len(data) - 30), ANY)
    put("cut/half.bmp", encoded(new(), "BMP")[:500], ROW)
    put("cut/half.ppm", encoded(new(), "PPM")[:500], ROW)
    png = encoded(new(), "PNG")
    put("damaged/header_sum.png", png[:29] + bytes(4) + png[33:], ROW)
    put("damaged/pixel_sum.png", png[:-16] + bytes(4) + png[-12:], ANY)
    put("damaged/no_size.png", png_of(0, 0, b""), ROW)
    put("damaged/bad_depth.png", png_of(9, 9, bytes(90), depth=3), ROW)
    put("damaged/bad_deflate.png", png_of(9, 9, b"no deflate at all", packed=True), ROW)
    jpeg = encoded(new(size=(200, 200)), "JPEG")
    put("damaged/noise_in_scan.jpg", jpeg[:3000] + bytes(range(256)) * 8 + jpeg[5048:], ANY)
    put("damaged/no_tables.jpg", jpeg.replace(b"\xff\xdb", b"\xff\xfe"), ROW)


def _no_pictures(put: Put) -> None:
    """Other files with the ending of a picture."""
    for name, data in {
        "html.jpg": b"<!DOCTYPE html><title>404</title>",
        "text.png": "Grüße".encode("utf-16"),
        "script.gif": b"#!/bin/sh\nrm -rf /\n",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "entities.png": b'<!DOCTYPE a [<!ENTITY a "&b;&b;"><!ENTITY b "&a;&a;">]><svg>&a;</svg>',
        "document.jpg": b"%PDF-1.7\n1 0 obj\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
        "metafile.jpg": b"\xd7\xcd\xc6\x9a" + bytes(40),
        "archive.jpg": b"PK\x03\x04" + bytes(30),
        "packed.webp": b"\x1f\x8b\x08" + bytes(20),
        "program.jpg": b"\x7fELF" + bytes(60),
        "phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41",
        "icon.png": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(40),
        "pickle.png": b"\x80\x04\x8c\x05posix\x8c\x06system\x93",
        "zeros.jpg": bytes(5000),
        "ones.png": b"\xff" * 5000,
    }.items():
        put(f"other/{name}", data, "not_an_image")
    put("other/empty.jpg", b"", "empty")
    put("other/pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "not_an_image")


def _bombs(put: Put, new: New) -> None:
    """Small files of large pictures, and pictures that are too small."""
    put("bombs/png.png", png_of(50_000, 50_000, bytes(99)), "bomb")
    put("bombs/just.png", png_of(9_460, 9_460, bytes(99)), "bomb")
    put("bombs/gif.gif", b"GIF89a" + struct.pack("<2H", 65_535, 65_535) + bytes(3) + encoded(new("P"), "GIF")[13:], ROW)
    put("bombs/bmp.bmp", b"BM" + struct.pack("<3I3I2H6I", 99, 0, 54, 40, 60_000, 60_000, 1, 24, *(0,) * 6), "bomb")
    put("bombs/ppm.ppm", b"P6 99999 99999 255\n" + bytes(99), "bomb")
    jpeg = bytearray(encoded(new(), "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = b"\xff\xdc\xff\xdc"
    put("bombs/jpeg.jpg", bytes(jpeg), "bomb")
    text = zlib.compress(bytes(8_000_000), 9)
    png = encoded(new(), "PNG")
    put("bombs/text.png", png[:33] + chunk(b"zTXt", b"a\0\0" + text) + png[33:], ANY)
    for width, height in ((1, 1), (7, 100), (100, 7)):
        put(f"small/{width}x{height}.png", encoded(new("RGB", (width, height)), "PNG"), "too_small")


def _names(put: Put, picture: Callable[[], bytes]) -> None:
    """Fine pictures with odd names. Those that aren't UTF-8, and those that look like their keys, have other keys."""
    for name in (
        "with space .jpg",
        "line\nbreak.jpg",
        "tab\tand\rreturn.jpg",
        "\x1b[31mred\x07.jpg",
        "-rf.jpg",
        "--help.png.jpg",
        "quote'\"`$(id).jpg",
        "per%cent%s%00.jpg",
        "<b>&amp;|a|.jpg",
        "back\\slash.jpg",
        "comma,semi;colon:.jpg",
        "CON.jpg",
        "dots...jpg",
        "émoji 🐈‍⬛.jpg",
        "\u202egpj.right to left.jpg",
        "zero\u200bwidth.jpg",
        unicodedata.normalize("NFC", "façade.jpg"),
        unicodedata.normalize("NFD", "façade.jpg"),
        "Case.jpg",
        "case.jpg",
        "same.jpg",
        "same.jpeg",
        "n" * 251 + ".jpg",
        "/".join("d" * 120) + "/deep.jpg",
        "folder.jpg/inside.jpg",
    ):
        put(f"names/{name}", picture(), ACCEPTED)
    for name, key in (
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        (rb"caf\xe9.jpg", r"caf\x5cxe9.jpg"),
        (rb"caf\x5cxe9.jpg", r"caf\x5cx5cxe9.jpg"),
        (b"\x93\xfa\x96{.jpg", r"\x93\xfa\x96{.jpg"),
        (b"half\xed\xa0\xbd.jpg", r"half\xed\xa0\xbd.jpg"),
        (b"ordner \xfc/in.jpg", r"ordner \xfc/in.jpg"),
    ):
        put(b"names/" + name, picture(), ACCEPTED, key=f"names/{key}")
    put(b"names/empty \xff.jpg", b"", "empty", key=r"names/empty \xff.jpg")


def _not_read(put: Put, folder: Path, fate: dict[str, str], picture: bytes) -> None:
    """What is no picture by its name, hidden, or outside."""
    for name in ("a.heic", "b.heic", "c.HEIC", "d.jxl", "e.svg", "f.zip", "no_ending", "g.jpg.part", ".hidden.jpg"):
        put(f"unread/{name}", picture, COUNTED)
    put("unread/._apple.jpg", b"\0\5\x16\7", COUNTED)
    for name in ("README", "LICENSE.md", "labels.txt", "checksums.sha256", "Thumbs.db", ".DS_Store", ".git/x.jpg"):
        put(f"unread/{name}", picture, SILENT)
    put("unread/.secret/in.jpg", picture, SILENT)
    fate["unread/.secret"] = COUNTED
    fate["names/folder.jpg"] = COUNTED
    outside = folder.with_name(f"{folder.name} outside")
    outside.mkdir()
    (outside / "x.jpg").write_bytes(picture)
    links = folder / "links"
    links.mkdir()
    (links / "real.jpg").write_bytes(picture + b"real")
    fate["links/real.jpg"] = ACCEPTED
    for name, target, becomes in (
        ("inside.jpg", "real.jpg", ACCEPTED),
        ("twice.jpg", "inside.jpg", ACCEPTED),
        ("out.jpg", str(outside / "x.jpg"), COUNTED),
        ("out_and_gone.jpg", "/nowhere/x.jpg", COUNTED),
        ("to_device.jpg", "/dev/zero", COUNTED),
        ("to_folder", "..", COUNTED),
        ("to_folder.jpg", ".", COUNTED),
        ("dangling.jpg", "nothing.jpg", "unreadable"),
        ("itself.jpg", "itself.jpg", "unreadable"),
        ("ring_a.jpg", "ring_b.jpg", "unreadable"),
        ("ring_b.jpg", "ring_c.jpg", "unreadable"),
        ("ring_c.jpg", "ring_a.jpg", "unreadable"),
        ("through_a_file.jpg", "real.jpg/x.jpg", "unreadable"),
        ("to_fifo.jpg", "../special/fifo.jpg", "unreadable"),
    ):
        (links / name).symlink_to(target)
        fate[f"links/{name}"] = becomes
    (links / "hard.jpg").hardlink_to(links / "real.jpg")
    fate["links/hard.jpg"] = ACCEPTED


def _not_files(folder: Path, fate: dict[str, str], picture: bytes) -> None:
    """FIFOs, sockets, devices, and what permissions and long paths put out of reach."""
    special = folder / "special"
    special.mkdir()
    os.mkfifo(special / "fifo.jpg")
    os.mkfifo(special / "pipe")
    place = os.open(special, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{place}/socket.png")  # the path of a socket has at most 107 bytes
    os.close(place)
    fate |= {"special/fifo.jpg": "unreadable", "special/pipe": COUNTED, "special/socket.png": "unreadable"}
    try:
        os.mknod(special / "zero.jpg", 0o20666, os.makedev(1, 5))
        fate["special/zero.jpg"] = "unreadable"
    except OSError:
        pass  # only root may, and not everywhere
    root = os.geteuid() == 0
    closed = folder / "closed"
    (closed / "folder").mkdir(parents=True)
    for file in (closed / "file.jpg", closed / "folder" / "in.jpg"):
        file.write_bytes(picture + os.fsencode(file.name))
    (closed / "file.jpg").chmod(0)
    (closed / "folder").chmod(0)
    fate |= {"closed/file.jpg": ACCEPTED if root else "unreadable"}
    fate |= {"closed/folder/in.jpg": ACCEPTED} if root else {"closed/folder": COUNTED}
    (folder / "too_long").mkdir()
    place = os.open(folder / "too_long", os.O_RDONLY)
    for _ in range(25):  # no system call takes such a path as a whole
        os.mkdir("l" * 200, dir_fd=place)
        inner = os.open("l" * 200, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("unreachable.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=place))
    os.close(place)
    fate["too_long"] = COUNTED


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, rows: bytes, *, depth: int = 8, lace: int = 0, packed: bool = False) -> bytes:
    """A grey PNG with these bytes for its pixels, right or wrong."""
    header = struct.pack(">2I5B", width, height, depth, 0, 0, 0, lace)
    body = rows if packed else zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def interlaced(grey: np.ndarray) -> bytes:
    """An interlaced PNG of grey pixels, which Pillow can't write."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    parts = [grey[top::down, left::right] for top, down, left, right in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    return png_of(grey.shape[1], grey.shape[0], rows, lace=1)
