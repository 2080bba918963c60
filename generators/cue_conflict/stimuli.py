"""The stimuli by name: which there are, what they need, and those that change a whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from variorum.generators.cue_conflict import bands, outlines

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Stimulus = Literal[
    "grey",
    "low_pass",
    "high_pass",
    "scrambled",
    "edges",
    "silhouette",
    "object",
    "texture_fill",
    "style_transfer",
]
EVERY: tuple[Stimulus, ...] = get_args(Stimulus)
"""All, in the order in which they are made. The network's come last, as a record names all models used before it."""
STIMULI: tuple[Stimulus, ...] = EVERY[:-1]
"""What is made by default. Classifiers hardly ever answer with a texture that `style_transfer` brings."""
ALONE: tuple[Stimulus, ...] = ("silhouette", "object")
"""Stimuli that need a mask."""
CONFLICTS: tuple[Stimulus, ...] = ("texture_fill", "style_transfer")
"""Stimuli that need a mask and another picture."""

Sigma = Annotated[float, Field(gt=0, le=64)]
Grid = Annotated[int, Field(ge=2, le=32)]


class Edges(BaseModel):
    """Canny's edges: sigma of the blur in pixels at a frame of 224, and the two thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    sigma: Sigma = Field(default=1.4, description="pixels of the blur before edges are looked for")
    low: float = Field(default=50, gt=0, description="gradient at which an edge goes on")
    high: float = Field(default=120, gt=0, description="gradient at which an edge starts")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, and must be at most high, {self.high:g}")
        return self


def changed(image: Pixels, stimulus: str, *, sigma: float, edges: Edges, order: Sequence[int]) -> Pixels:
    """A whole picture without some of its cues.

    Args:
        image: RGB `[H, W, 3]`.
        stimulus: one that needs no mask.
        sigma: in pixels of this picture, where the stimulus takes one.
        edges: thresholds of the edges.
        order: of the tiles of a scrambled picture.
    """
    if stimulus == "grey":
        return bands.grey(image)
    if stimulus == "low_pass":
        return bands.low_pass(image, sigma)
    if stimulus == "high_pass":
        return bands.high_pass(image, sigma)
    if stimulus == "edges":
        return outlines.edges(image, sigma, edges.low, edges.high)
    return bands.scrambled(image, order)


def tile_order(grid: int, rng: np.random.Generator) -> list[int]:
    """An order of `grid`² tiles in which not all of them stay in place."""
    while True:
        order: list[int] = rng.permutation(grid**2).tolist()
        if order != sorted(order):
            return order
