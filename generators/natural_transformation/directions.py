"""Directions among the codes of a GAN, found without labels: nobody knows what they change before looking.

SeFa (Shen & Zhou, CVPR 2021, arXiv 2007.06600) takes the directions that the first style layer amplifies most, GANSpace
(Härkönen et al., NeurIPS 2020, arXiv 2004.02546) those in which random codes vary most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Singles
    from variorum.models.roles import LatentPictures

Method = Literal["sefa", "ganspace"]
SAMPLES = 2000
"""Random codes that directions and their deviations are computed from."""


def directions(gan: LatentPictures, method: Method, count: int) -> Mapping[str, Array]:
    """The strongest directions of a GAN.

    Returns:
        `vectors`, unit vectors `[count, d]`, and `deviations`, the standard deviation of random codes along each,
        `[count]`; fewer if codes have fewer dimensions.

    Raises:
        ValueError: codes don't fit the style layer, or aren't numbers.
    """
    codes = np.asarray(gan.codes(range(SAMPLES)), np.float64)
    if codes.shape != (SAMPLES, gan.style.shape[1]) or not np.isfinite(codes).all():
        raise ValueError(f"codes has the shape {list(codes.shape)}; it must be {[SAMPLES, gan.style.shape[1]]}, finite")
    codes -= codes.mean(axis=0)
    found = principal(codes if method == "ganspace" else np.asarray(gan.style, np.float64), count)
    return {"vectors": found, "deviations": (codes @ found.T).std(axis=0).astype(np.float32)}


def principal(rows: Array, count: int) -> Singles:
    """The first right singular vectors of `[n, d]`, `[count, d]`; the largest component of each is positive."""
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:count]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.asarray(vectors * np.sign(largest), np.float32)
