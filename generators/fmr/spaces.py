"""Ways of changing a picture by a few numbers, all 0 at the picture itself, differentiable in PyTorch.

A step moves each number by the same length, so each is in a unit that means something: grey levels, or pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Kind = Literal["low_frequency", "colour", "warp"]
STEPS: dict[Kind, float] = {"low_frequency": 1.0, "colour": 1.0, "warp": 0.3}
"""Usual length of a step: root mean square of the change in grey levels; grey levels; root mean square of the
displacement in pixels."""
CUTOFFS: dict[Kind, int] = {"low_frequency": 16, "warp": 16}
"""Usual number of frequencies in each direction."""
NODES = 8
"""Of a tone curve, at equal distances from black to white."""


class Space(NamedTuple):
    """The numbers that change N pictures.

    Attributes:
        start: where nothing is changed, `[N, C, ., .]`; C channels, or directions.
        pictures: from numbers to pictures `[N, 3, H, W]` in grey levels, not rounded; differentiable.
        grey: pictures whose channels must stay equal, so that their numbers move alike, `[N]`.
    """

    start: Any
    pictures: Callable[[Any], Any]
    grey: Any

    def stored(self, state: Any) -> list[Pixels]:
        """The pictures as they are stored, `[H, W, 3]` uint8."""
        import torch

        with torch.no_grad():
            made = self.pictures(state).round().clamp(0, 255).to(torch.uint8)
        return [np.ascontiguousarray(one) for one in made.permute(0, 2, 3, 1).numpy()]


def space(kind: Kind, images: Sequence[Pixels], cutoff: int | None = None) -> Space:
    """The space of pictures of one size.

    `low_frequency` adds the lowest frequencies of a discrete cosine transform to each channel. `colour` adds an affine
    map of the colours and a tone curve for each channel. `warp` displaces pixels by a smooth field of low frequencies.

    Args:
        kind: of the space.
        images: `[H, W, 3]` uint8.
        cutoff: number of frequencies in each direction, by default the usual one; `colour` has none.
    """
    import torch

    x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    number, _, height, width = x.shape
    grey = (x == x[:, :1]).flatten(1).all(1)
    if kind == "colour":
        terms = _colour_terms(x)
        start = torch.zeros(number, *terms.shape[1:3], 1)
        return Space(start, lambda z: (x + torch.einsum("ncp,ncphw->nchw", z[..., 0], terms)).clamp(0, 255), grey)
    cutoff = cutoff or CUTOFFS[kind]
    down, across = _waves(height, cutoff), _waves(width, cutoff)

    def field(z: Any) -> Any:
        return torch.einsum("nckl,kh,lw->nchw", z, down, across) / cutoff

    if kind == "low_frequency":
        return Space(torch.zeros(number, 3, cutoff, cutoff), lambda z: (x + field(z)).clamp(0, 255), grey)
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))[[1, 0]]
    scale = torch.tensor([2 / width, 2 / height]).view(1, 2, 1, 1)

    def warped(z: Any) -> Any:
        where = (places + 0.5 + field(z)) * scale - 1
        return torch.nn.functional.grid_sample(x, where.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)

    return Space(torch.zeros(number, 2, cutoff, cutoff), warped, torch.zeros_like(grey))


def _waves(length: int, cutoff: int) -> Any:
    """The first cosines of the DCT over this many pixels, `[cutoff, length]`, each with a mean square of 1."""
    import torch

    phase = torch.outer(torch.arange(cutoff), torch.arange(length) + 0.5) * (torch.pi / length)
    return phase.cos() * torch.tensor([1.0] + [2**0.5] * (cutoff - 1))[:, None]


def _colour_terms(x: Any) -> Any:
    """What each number of `colour` is multiplied by, `[N, 3, 4 + NODES, H, W]`, from -1 to 1.

    Of each channel: the three channels around mid-grey, a constant, and the shares of the nodes of its tone curve.
    """
    import torch

    nodes = torch.arange(NODES).view(1, 1, NODES, 1, 1)
    tones = (1 - (x[:, :, None] * ((NODES - 1) / 255) - nodes).abs()).clamp_min(0)
    mixed = (x / 127.5 - 1)[:, None].expand(-1, 3, -1, -1, -1)
    return torch.cat([mixed, torch.ones_like(mixed[:, :, :1]), tones], 2)
