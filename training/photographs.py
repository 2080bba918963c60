"""Photographs of installed packages: to train on, and others to measure on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.pixels import decode

if TYPE_CHECKING:
    from variorum.arrays import Pixels

HELD_OUT = (
    ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


def pyramids(
    folder: Path, names: Iterable[str], scikit: Iterable[str], sides: Sequence[int], packages: str
) -> list[list[Pixels]]:
    """Each photograph as RGB, shrunk to each of these short sides that it is large enough for.

    Args:
        folder: of Debian's backgrounds.
        names: of files in it.
        scikit: of files of scikit-image.
        sides: in pixels.
        packages: that the folder is of, for the message where a file is missing.
    """
    files = [folder / name for name in names] + [_of_package("skimage", f"data/{name}") for name in scikit]
    if missing := [file for file in files if not file.is_file()]:
        raise SystemExit(f"{missing[0]} is missing; install {packages} or name its folder with --data")
    return [_pyramid(file, sides) for file in files]


def _pyramid(file: Path, sides: Sequence[int]) -> list[Pixels]:
    picture = decode(file.read_bytes())
    height, width = picture.shape[:2]
    scales = [side / min(height, width) for side in sides if side <= min(height, width)]
    sizes = [(round(width * scale), round(height * scale)) for scale in scales]
    return [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8) for size in sizes]


def _of_package(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / path


def held_out(folder: Path | None, side: int, every: int = 1) -> list[Pixels]:
    """Square pictures: packaged ones that training left out, or every n-th of a folder."""
    if folder is not None:
        suffixes = (".jpg", ".jpeg", ".png")
        files = sorted(item for item in folder.iterdir() if item.suffix.lower() in suffixes)[::every]
    else:
        files = [_of_package(*one) for one in HELD_OUT]
    return [_square(file, side) for file in files]


def _square(file: Path, side: int) -> Pixels:
    picture = decode(file.read_bytes())
    shorter = min(picture.shape[:2])
    top, left = ((length - shorter) // 2 for length in picture.shape[:2])
    return resized(picture[top : top + shorter, left : left + shorter], side)


def resized(picture: Pixels, side: int) -> Pixels:
    """A square picture at another size."""
    way = cv2.INTER_AREA if side < len(picture) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)
