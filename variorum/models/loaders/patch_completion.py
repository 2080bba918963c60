"""Loader `patch_completion`: fills holes with patches of the same picture, or smoothly if there is too little of it.

Each 7 x 7 patch that touches the hole gets the known patch that is most like it, and hole pixels are the mean of what
the patches over them say, again and again, from a coarse picture to the full one. Copies are then joined by their
gradients. After Wexler et al., Space-Time Completion of Video, PAMI 2007; Barnes et al., PatchMatch, SIGGRAPH 2009; and
Newson et al., Video Inpainting of Complex Scenes, SIAM J. Imaging Sci. 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.models.loaders.holes import HoleFiller, push_pull
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.loaders.patch_completion_blend import blended
from variorum.models.loaders.patch_completion_level import Level
from variorum.models.roles import Filled
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

RATIO = 2**0.5
"""Between the sides of two levels. At 2 the finer level can't undo what the coarser one got wrong."""
LEAST_SIDE = 32
"""Short side of the coarsest level: shorter ones leave the object's silhouette, longer ones broken lines."""
LEAST_SOURCES = 20
"""Known patches without which a level is skipped."""
ROUNDS = (8, 5, 4, 3, 3, 2, 2)
"""Rounds of each level from the coarsest; levels beyond these have two."""


class PatchCompletionOptions(StrictModel):
    """Options of `patch_completion`.

    Attributes:
        side: longer pictures are shrunk to this side and the fill is enlarged.
        largest: holes with a larger share of the picture are filled smoothly: patches take long and repeat there.
    """

    side: int = 512
    largest: float = 0.3


def load_patch_completion(
    _entry: Entry, _weights: None, options: PatchCompletionOptions, _used: Mapping[str, Any]
) -> PatchCompletion:
    """The inpainter; it has no weights."""
    return PatchCompletion(options)


class PatchCompletion(HoleFiller):
    """Fills by `patches`, or by `push_pull` where there is too little to copy from."""

    def __init__(self, options: PatchCompletionOptions) -> None:
        super().__init__(options.side)
        self._largest = options.largest

    def fill(self, image: Pixels, hole: Bools) -> Filled:
        """By patches, or smoothly."""
        if hole.mean() <= self._largest and (filled := completed(image, hole)) is not None:
            return Filled(filled, "patches")
        return Filled(push_pull(image, hole), "push_pull")


def completed(image: Pixels, hole: Bools) -> Pixels | None:
    """The picture with its hole filled by patches; None if no scale of it has enough known ones.

    Args:
        image: `[H, W, 3]` uint8.
        hole: `[H, W]`, true somewhere.
    """
    level: Level | None = None
    scales = pyramid(image.astype(np.float32), hole)
    for number, (colours, gap) in enumerate(reversed(scales)):
        finer = Level(colours, gap)
        if finer.sources < LEAST_SOURCES:
            continue
        if level is None:
            finer.peel()
        else:
            finer.carry(level)
        level = finer
        for _ in range(ROUNDS[number] if number < len(ROUNDS) else ROUNDS[-1]):
            level.search()
            level.vote()
    if level is None or level.shape != hole.shape:
        return None
    origins = level.origins()
    joined = blended(image.astype(np.float32), hole, origins)
    out = image.copy()
    out[hole] = np.clip(np.rint(joined), 0, 255).astype(np.uint8)
    return out


def pyramid(image: Singles, hole: Bools) -> list[tuple[Singles, Bools]]:
    """The picture and its hole at ever smaller sizes, the full one first. No colour of the hole gets into any of them.

    Args:
        image: `[H, W, 3]`, 0 to 255.
        hole: `[H, W]`.
    """
    known = (~hole).astype(np.float32)
    scales = [(image * known[..., None], hole)]
    height, width = hole.shape
    while min(height, width) / RATIO ** len(scales) >= LEAST_SIDE:
        shrink = RATIO ** len(scales)
        size = round(width / shrink), round(height / shrink)
        share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        finer = scales[-1][0] * known[..., None]
        colours = cv2.resize(finer, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
        known = (share >= 0.5).astype(np.float32)
        scales.append((colours * known[..., None], known == 0))
    return scales


PATCH_COMPLETION = Loader(
    revision=2, make=load_patch_completion, options=PatchCompletionOptions, obstacle=no_obstacle, has_weights=False
)
