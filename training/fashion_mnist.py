"""Fashion-MNIST from Debian's package `dataset-fashion-mnist`, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from variorum.sources.fashion_mnist import DEBIAN, idx_files
from variorum.sources.folders.idx import read_idx

if TYPE_CHECKING:
    from variorum.arrays import Ints, Pixels

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
"""Class ids in the order of the labels."""

Part = Literal["train", "t10k"]


def read(part: Part, folder: Path = DEBIAN) -> tuple[Pixels, Ints]:
    """Grey pictures `[N, 28, 28]` and class indices `[N]`: 60 000 for training, 10 000 (`t10k`) for testing.

    Raises:
        SystemExit: the data isn't in `folder`.
    """
    images, labels = idx_files(part, folder)
    try:
        return read_idx(images), read_idx(labels).astype(np.int64)
    except FileNotFoundError as error:
        raise SystemExit(
            f"Fashion-MNIST is missing: {error}; install dataset-fashion-mnist or name its folder"
        ) from None
