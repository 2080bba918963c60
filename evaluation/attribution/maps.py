"""Maps of what a classifier looks at in a picture, `[H, W]`; the larger, the more it counts.

`gradient` is the largest slope of a pixel's channels (Simonyan et al., 2014, arXiv 1312.6034), `input_x_gradient` the
slope times the way from a hidden picture, `integrated_gradients` the same with the mean slope on that way (Sundararajan
et al., ICML 2017, arXiv 1703.01365), `grad_cam` the network's last map, weighted by its slopes (Selvaraju et al., ICCV
2017, arXiv 1610.02391), and `rise` the mean of random masks, weighted by the answers (Petsiuk et al., BMVC 2018, arXiv
1806.07421), which asks for answers only. The floors know nothing: `random` numbers, and `centre`, a blob in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cv2
import numpy as np

from variorum.models.device import float32

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels, Singles

GRADIENTS: Final = ("gradient", "input_x_gradient", "integrated_gradients", "grad_cam")
"""Maps that ask for gradients."""
RISE, MASKS, CELLS, KEPT = "rise", 500, 8, 0.1
"""Its masks, their cells in each direction, and the share of cells that are kept."""
FLOORS = ("random", "centre")
STEPS, AT_ONCE = 16, 4
"""Of integrated gradients: pictures on the way, and how many of them are in memory with their gradients."""
NO_GRADIENTS = "gives no gradients"
NO_MAP = "has no layer near its end that gives a map"

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of the part of a picture that a classifier sees."""


def window_of(seen: Bools) -> Window:
    """The window around the pixels that are seen, `[H, W]`."""
    down, across = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)


def size_of(window: Window) -> tuple[int, int]:
    """Its height and width."""
    return window[0].stop - window[0].start, window[1].stop - window[1].start


def by_gradients(
    network: Any, image: Pixels, ground: Pixels, target: int, wanted: Collection[str], window: Window
) -> tuple[dict[str, Floats], dict[str, str], str]:
    """Those of `GRADIENTS` that are wanted, of the score of one class; why others can't be made; Grad-CAM's layer.

    `network` is a `roles.Adversary`; without a method `mapped`, as of several networks together, the score is the log
    probability, and there is no `grad_cam`. `ground` is the picture without anything to recognise.
    """
    import torch

    found, asked = dict[str, Any](), dict[str, Any]()
    with float32(), torch.enable_grad():
        picture, start = (
            torch.from_numpy(one.transpose(2, 0, 1)[None].astype(np.float32) / 255).to(network.device)
            for one in (image, ground)
        )
        score, last, layer = scored(network, picture.requires_grad_(), target)
        if not score.requires_grad:
            return {}, dict.fromkeys(wanted, NO_GRADIENTS), ""
        if {"gradient", "input_x_gradient"} & {*wanted}:
            asked["picture"] = picture
        if "grad_cam" in wanted and last is not None:
            asked["last"] = last
        slope = dict(zip(asked, torch.autograd.grad(score.sum(), [*asked.values()]) if asked else (), strict=True))
        if "gradient" in wanted:
            found["gradient"] = slope["picture"][0].abs().amax(0)
        if "input_x_gradient" in wanted:
            found["input_x_gradient"] = (slope["picture"] * (picture - start))[0].sum(0)
        if "integrated_gradients" in wanted:
            found["integrated_gradients"] = integrated(network, picture.detach(), start, target)[0].sum(0)
        if "last" in slope:
            small = (slope["last"].mean((2, 3), keepdim=True) * last).sum(1, keepdim=True).relu()
            found["grad_cam"] = torch.zeros(image.shape[:2])
            large = torch.nn.functional.interpolate(small, size_of(window), mode="bilinear")
            found["grad_cam"][window] = large[0, 0].detach().cpu()
        maps = {name: np.asarray(one.detach().cpu().numpy(), np.float64) for name, one in found.items()}
    lacks = {"grad_cam": NO_MAP} if {"grad_cam"} & {*wanted} - {*maps} else {}
    return maps, lacks, layer if "grad_cam" in maps else ""


def scored(network: Any, pictures: Any, target: int) -> tuple[Any, Any, str]:
    """The score of a class `[N]`, the network's last map or None, and the name of its layer."""
    scores, last, layer = network.mapped(pictures) if hasattr(network, "mapped") else (network(pictures), None, "")
    return scores[:, target], last, layer


def integrated(network: Any, picture: Any, start: Any, target: int, steps: int = STEPS) -> Any:
    """Integrated gradients on the way from `start`, `[1, 3, H, W]`, at the nodes of Gauss and Legendre."""
    import torch

    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shares, at = (torch.from_numpy(one).to(picture).view(-1, 1, 1, 1) for one in (weights / 2, (nodes + 1) / 2))
    total = torch.zeros_like(picture)
    for first in range(0, steps, AT_ONCE):
        part = (start + at[first : first + AT_ONCE] * (picture - start)).requires_grad_()
        (slope,) = torch.autograd.grad(scored(network, part, target)[0].sum(), part)
        total += (slope * shares[first : first + AT_ONCE]).sum(0, keepdim=True)
    return total * (picture - start)


def rise(
    ask: Callable[[Iterable[Pixels]], Singles],
    image: Pixels,
    ground: Pixels,
    window: Window,
    rng: np.random.Generator,
) -> Floats:
    """The mean of random masks over the window, each weighted by the probability `[n]` that `ask` gives the picture.

    Where a mask is 0, the picture is as `ground`. The mean is divided by the share of cells that are kept.
    """
    height, width = size_of(window)
    cells = -(-height // CELLS), -(-width // CELLS)
    grids = (rng.random((MASKS, CELLS, CELLS)) < KEPT).astype(np.float32)
    shifts = rng.integers(0, cells, (MASKS, 2))
    part, below = (one[window].astype(np.float32) for one in (image, ground))

    def mask(number: int) -> Singles:
        (down, across), size = shifts[number], ((CELLS + 1) * cells[1], (CELLS + 1) * cells[0])
        return np.asarray(cv2.resize(grids[number], size)[down : down + height, across : across + width], np.float32)

    def behind(number: int) -> Pixels:
        found = image.copy()
        found[window] = np.rint(below + (part - below) * mask(number)[..., None])
        return found

    total = np.zeros(image.shape[:2])
    for number, said in enumerate(ask(map(behind, range(MASKS))).tolist()):
        total[window] += said * mask(number)
    return total / (MASKS * KEPT)


def floors(shape: tuple[int, ...], window: Window, rng: np.random.Generator) -> dict[str, Floats]:
    """Maps that know nothing of the picture: random numbers, and a Gaussian in the middle of the window."""
    down, across = (np.linspace(-1, 1, side) for side in size_of(window))
    found = np.zeros(shape)
    found[window] = np.exp(-2 * (down[:, None] ** 2 + across**2))
    return {"random": rng.random(shape), "centre": found}
