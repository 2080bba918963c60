"""Measure the traces that JPEG's grid of 8 x 8 pixels leaves in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats

LUMA = np.array([0.299, 0.587, 0.114])
GRID = 8
"""Side of JPEG's blocks in pixels."""
LEAST_SIDE = 3 * GRID
FINE = 4
"""DCT coefficients from this frequency on, in both directions, are rounded to 0 by most JPEGs."""
ZERO = 0.5
"""Below it in size a coefficient counts as 0."""


def traces(luma: Floats) -> dict[str, float]:
    """The traces in a luma `[H, W]` of at least 24 pixels a side.

    `comb` is the share of fine DCT coefficients that are 0 on the grid, minus `zeros`, the same off the grid.
    `blockiness` is the step between pixels across the grid, over that elsewhere.
    """
    on, off = _zeros(luma), _zeros(luma[GRID // 2 :, GRID // 2 :])
    return {"comb": on - off, "blockiness": (_steps(luma) + _steps(luma.T)) / 2, "zeros": off}


def _zeros(luma: Floats) -> float:
    """Share of fine DCT coefficients that are 0, over all blocks of 8 x 8."""
    height, width = (side // GRID for side in luma.shape)
    blocks = luma[: height * GRID, : width * GRID].reshape(height, GRID, width, GRID).swapaxes(1, 2)
    fine = _DCT[FINE:] @ blocks @ _DCT[FINE:].T
    return float((np.abs(fine) < ZERO).mean())


def _steps(luma: Floats) -> float:
    """Mean step between columns across the grid, over that elsewhere."""
    steps = np.abs(np.diff(luma, axis=1)).mean(axis=0)
    across = np.arange(len(steps)) % GRID == GRID - 1
    inside = float(steps[~across].mean())
    return float(steps[across].mean()) / inside if inside > 0 else 1.0


_DCT = np.sqrt(2 / GRID) * np.cos(np.outer(np.arange(GRID), np.arange(GRID) + 0.5) * np.pi / GRID)
_DCT[0] /= np.sqrt(2)
