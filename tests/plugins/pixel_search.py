"""Looks for a picture in everything that lies in a folder: as it was encoded, as pixels, and as any smaller version.

It knows the containers that this project writes (tar, parquet, npz, HTML with base64 and gzip in it), and finds PNG,
JPEG and WebP in any of them by how they begin.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")
ALIKE = 0.9
"""Correlation from which on a part of a picture shows the wanted one; unrelated patterns stay below 0.6."""
SIDES = tuple(round(24 * 1.07**step) for step in range(34))
"""Sides of the versions that are looked for, in pixels."""


def found(folder: Path, picture: Pixels, encoded: bytes = b"") -> list[str]:
    """Where something of a picture lies below a folder: file, and what it is.

    Args:
        folder: all of its files are opened, except links.
        picture: RGB `[H, W, 3]`, square.
        encoded: its file.
    """
    middle = len(encoded) // 2
    row = picture[len(picture) // 2].tobytes()
    traces = {"encoded bytes": encoded[middle : middle + 64], "a row of pixels": row, "its values": picture.tobytes()}
    said, known = [], dict[tuple[Any, ...], bool]()  # the same picture lies in many files
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        for data in unpacked(path.read_bytes()):
            said += [f"{path.name}: {what}" for what, trace in traces.items() if trace and trace in data]
            for one in pictures_in(data):
                key = one.shape, hashlib.sha256(one).digest()
                if key not in known:
                    known[key] = shows(one, picture)
                said += [f"{path.name}: a picture"] * known[key]
    return said


def unpacked(data: bytes, depth: int = 4) -> Iterator[bytes]:
    """A file's content, and that of everything in it."""
    yield data
    if depth:
        for part in _parts(data):
            yield from unpacked(part, depth - 1)


def _parts(data: bytes) -> Iterator[bytes]:
    if data[:4] == b"PAR1":
        yield from _parquet(data)
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if content := tar.extractfile(member):
                    yield content.read()
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    elif data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data.lstrip()[:1] in (b"<", b"{", b"["):
        for match in BASE64.finditer(data):
            try:
                yield base64.b64decode(match.group(), validate=True)
            except binascii.Error:
                continue


def _parquet(data: bytes) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for column in pq.read_table(io.BytesIO(data)).columns:
        for held in column.to_pylist():
            for value in held.values() if isinstance(held, dict) else (held,):  # `datasets` has pictures in structs
                if isinstance(value, str | bytes) and len(value) > 64:
                    yield value.encode() if isinstance(value, str) else value


def pictures_in(data: bytes) -> Iterator[Pixels]:
    """Every picture that begins somewhere in some bytes and can be decoded."""
    for beginning in BEGINNINGS:
        place = data.find(beginning)
        while place >= 0:
            image = cv2.imdecode(np.frombuffer(data, np.uint8, offset=place), cv2.IMREAD_COLOR_RGB)
            if image is not None and min(image.shape[:2]) >= 8:
                yield image
            place = data.find(beginning, place + 1)


def shows(image: Pixels, picture: Pixels) -> bool:
    """Whether a picture, or a part of it, is a version of the wanted one, of any size from 24 pixels on."""
    large = _grey(image)
    if max(large.shape) > 600:  # quicker; cells of sheets are large enough
        large = cv2.resize(large, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    if max(large.shape) < SIDES[0]:
        large = cv2.resize(large, (SIDES[0], SIDES[0]))
    for side in SIDES:
        if side <= min(large.shape):
            wanted = cv2.resize(_grey(picture), (side, side), interpolation=cv2.INTER_AREA)
            if cv2.matchTemplate(large, wanted, cv2.TM_CCOEFF_NORMED).max() > ALIKE:
                return True
    return False


def _grey(image: Pixels) -> Any:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
