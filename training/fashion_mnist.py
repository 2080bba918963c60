"""Fashion-MNIST as Debian's package `dataset-fashion-mnist` ships it, as arrays to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from generators.sources.fashion_mnist import DEBIAN, idx_files
from generators.sources.reading.idx import read_idx

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
    images, labels = idx_files(part, folder)
    try:
        return read_idx(images), read_idx(labels).astype(np.int64)
    except FileNotFoundError as error:
        raise SystemExit(f"no Fashion-MNIST: {error}; install dataset-fashion-mnist or name its folder") from None
