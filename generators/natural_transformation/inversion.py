"""The code of a photograph: a GAN makes about this photograph of it, or it turns out that the GAN can't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models.roles import Inverter, LatentPictures

RATE = 0.05
"""Of Adam's steps."""


def inverted(gan: LatentPictures, inverter: Inverter, image: Pixels, steps: int) -> Singles:
    """The code `[d]` whose picture is nearest to a picture, by the mean squared error.

    Adam starts at the inverter's guess, and the best code that it meets is returned.

    Args:
        gan: makes pictures.
        inverter: guesses.
        image: RGB `[size, size, 3]`, of the GAN's size.
        steps: of the search; 0 for the guess alone.

    Raises:
        ValueError: the guess isn't `[1, d]`, or the GAN's picture isn't `[1, 3, size, size]`.
    """
    import torch

    wanted = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None].to(gan.device) / 255
    with torch.no_grad():
        code = torch.as_tensor(inverter(wanted), dtype=torch.float32, device=gan.device).clone()
    if code.shape != (1, gan.style.shape[1]):
        raise ValueError(f"the inverter gave the shape {list(code.shape)}, not {[1, gan.style.shape[1]]}")
    code.requires_grad_(True)
    optimiser = torch.optim.Adam([code], lr=RATE)
    best, least = code.detach().clone(), float("inf")
    for step in range(steps + 1):
        made = gan(code)
        if made.shape != wanted.shape:
            raise ValueError(f"the GAN gave the shape {list(made.shape)}, not {list(wanted.shape)}")
        loss = torch.mean((made - wanted) ** 2)
        if (error := loss.item()) < least:
            best, least = code.detach().clone(), error
        if step < steps:
            (code.grad,) = torch.autograd.grad(loss, code)
            optimiser.step()
    return np.asarray(best[0].cpu().numpy(), np.float32)


def pictured(gan: LatentPictures, code: Singles) -> Pixels:
    """The picture of a code `[d]`, RGB `[size, size, 3]`; what isn't a number becomes black."""
    import torch

    with torch.no_grad():
        made: Any = gan(torch.from_numpy(np.asarray(code, np.float32))[None].to(gan.device))[0]
        values = torch.nan_to_num(made, nan=0.0).clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy())
