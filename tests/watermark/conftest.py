"""Photographs of packages, and keys, for the tests of all marks."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import skimage.data
from PIL import Image

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "moon", "ihc", "retina")


def key_of(*what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).digest()


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """16 pictures of 256 x 256 pixels: the whole of eight photographs, and a part of each."""
    found = []
    for name in NAMES:
        load = skimage.data.immunohistochemistry if name == "ihc" else getattr(skimage.data, name)
        image = Image.fromarray(load()).convert("RGB")
        short = min(image.size)
        found.append(np.asarray(image.crop((0, 0, short, short)).resize((256, 256), Image.Resampling.LANCZOS)))
        left, top = (image.size[0] - 256) // 2, (image.size[1] - 256) // 2
        found.append(np.asarray(image.crop((left, top, left + 256, top + 256))))
    return found


@pytest.fixture(scope="session")
def keys(photographs) -> list[bytes]:
    """A key for each photograph."""
    return [key_of("picture", place) for place in range(len(photographs))]
