"""The hashes of picture files, whatever lies there: what can't be decoded still has the hash of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.copies.pdq import LEAST_QUALITY, TURNS, pdq, pixel_digest
from variorum.machine.prefetch import batched
from variorum.machine.retrying import open_file, steady, why
from variorum.pixels import UndecodableImage, decode

if TYPE_CHECKING:
    from variorum.arrays import Ints

TOGETHER = 256
"""Pictures that are looked at and looked up together."""
AT_ONCE = 4
"""Pictures that are decoded at once, at most; bounds the memory."""
LARGEST = 1 << 30
"""Bytes of a file; a larger one is no picture that anything here decodes."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The hashes of one file.

    Attributes:
        name: as given.
        sha256: of its bytes, 32 bytes; empty if it can't be read.
        pixels: digest of its pixels, 16 bytes; empty if it can't be decoded.
        turns: PDQ `[8, 32]`; None if it can't be decoded, or shows too little for its hash to mean anything.
        problem: why it can't be read or decoded.
    """

    name: str
    sha256: bytes = b""
    pixels: bytes = b""
    turns: NDArray[np.uint8] | None = None
    problem: str = ""

    @property
    def flat(self) -> bool:
        """Return whether it shows so little that only its bytes and pixels can be compared."""
        return bool(self.pixels) and self.turns is None


@dataclass(frozen=True, slots=True)
class Hashes:
    """The same of N files as arrays, with the position of the file that each hash belongs to."""

    files: NDArray[np.uint8]
    file_rows: Ints
    pixels: NDArray[np.uint8]
    pixel_rows: Ints
    turns: NDArray[np.uint8]
    turn_rows: Ints

    @classmethod
    def of(cls, looked: Sequence[Looked]) -> Hashes:
        """From files, in their order."""
        with_file = [row for row, one in enumerate(looked) if one.sha256]
        with_pixels = [row for row, one in enumerate(looked) if one.pixels]
        turns = [(row, one.turns) for row, one in enumerate(looked) if one.turns is not None]
        return cls(
            np.frombuffer(b"".join(looked[row].sha256 for row in with_file), np.uint8).reshape(-1, 32),
            np.array(with_file, np.int64),
            np.frombuffer(b"".join(looked[row].pixels for row in with_pixels), np.uint8).reshape(-1, 16),
            np.array(with_pixels, np.int64),
            np.stack([turned for _, turned in turns]) if turns else np.empty((0, TURNS, 32), np.uint8),
            np.array([row for row, _ in turns], np.int64),
        )


def look(name: str, path: Path) -> Looked:
    """Hash a file's bytes, and its pixels if it is a picture.

    Raises:
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        data = steady(lambda: _content(path), path)
    except OSError as error:
        return Looked(name, problem=f"can't be read: {why(error)}")
    except OverflowError:
        return Looked(name, problem=f"larger than {LARGEST >> 20} MiB")
    sha256 = hashlib.sha256(data).digest()
    try:
        pixels = decode(data)
    except UndecodableImage as error:
        return Looked(name, sha256, problem=str(error))
    turns, quality = pdq(pixels)
    return Looked(name, sha256, pixel_digest(pixels).tobytes(), turns if quality >= LEAST_QUALITY else None)


def look_at(files: Iterable[tuple[str, Path]]) -> Iterator[list[Looked]]:
    """`look` at files by name and path, `TOGETHER` at a time and in order. Raises as `look` does."""
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        for some in batched(files, TOGETHER):
            yield list(pool.map(lambda one: look(*one), some))


def _content(path: Path) -> bytes:
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise OverflowError
        return file.read()
