"""Fashion-MNIST as Debian's package `dataset-fashion-mnist` ships it: four gzipped IDX files, MIT licence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
CLASSES = (
    "tshirt_top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
)
"""Ids in the order of the labels."""

Part = Literal["train", "t10k"]


def read(part: Part, folder: Path = DEBIAN) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey pictures `[N, 28, 28]` and class indices `[N]`: 60 000 of them to train on, 10 000 (`t10k`) to test.

    Raises:
        SystemExit: when the data isn't in `folder`.
    """
    try:
        images = _after_header(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)
        labels = _after_header(folder / f"{part}-labels-idx1-ubyte.gz", 8).astype(np.int64)
    except FileNotFoundError as error:
        raise SystemExit(f"no Fashion-MNIST: {error}; install dataset-fashion-mnist or name its folder") from None
    return images, labels


def _after_header(path: Path, header: int) -> NDArray[np.uint8]:
    """An IDX file's bytes after its magic number and its sizes."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header).copy()  # writable, as PyTorch wants it
