"""Making a picture anew by a generative model: what the attacks by diffusion and by autoencoders have in common.

Pictures go through a model one at a time. A network's sums differ in the last digit between batch sizes, and so would
the pictures. On a CPU that costs next to nothing; a GPU could make several small pictures in the time of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from variorum.models.device import inference, one_thread
from variorum.models.diffusion.images import blanked, fitted, restored
from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Refused

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models.roles import Autoencoder, Denoiser


def blank(made: Pixels, image: Pixels) -> Refused | None:
    """The reason for a picture of one colour in place of one that a model made anew, such as after an overflow."""
    return Refused("blank", "the model made a picture of one colour") if blanked(made, image) else None


def purified(
    image: Pixels, denoiser: Denoiser, rng: np.random.Generator, *, t: int, steps: int = 1, eta: float = 0.0
) -> Pixels:
    """A picture, noised up to a step of the diffusion and denoised again.

    DiffPure (Nie et al., ICML 2022, arXiv 2205.07460) with the steps of DDIM (Song et al., ICLR 2021, arXiv
    2010.02502).

    Args:
        image: RGB `[H, W, 3]` uint8.
        denoiser: the model; it sees a picture that is smaller than those of its training enlarged to their side.
        rng: of the noise.
        t: step of the model's training; √ᾱ(t) is the share of the picture that is left.
        steps: ways back; one is the model's estimate of the clean picture.
        eta: 0 for a way back without noise, 1 for that of DDPM, which is DiffPure's.

    Raises:
        RecipeError: the model doesn't know so much noise.
        ValueError: the model can't work on such a picture.
    """
    if t >= denoiser.known:
        raise RecipeError(
            f"purification: the denoiser knows only the first {denoiser.known} of its {len(denoiser.signal)} steps; "
            f"t {t} is too much noise, take less than {denoiser.known}"
        )

    model = denoiser.fixed or denoiser

    def noise() -> object:
        values = rng.standard_normal(tuple(clean.shape), np.float32)
        if denoiser.fixed:
            return values
        import torch

        return torch.from_numpy(values).to(clean)

    path = sorted({round(t * number / steps) for number in range(1, steps + 1)} - {0}, reverse=True)
    shares = [float(denoiser.signal[step]) for step in path]
    with nullcontext() if denoiser.fixed else _in_torch(denoiser):
        clean = model.encode([fitted(image, denoiser.multiple, denoiser.size)])
        state = shares[0] ** 0.5 * clean + (1 - shares[0]) ** 0.5 * noise()
        for place, (step, share) in enumerate(zip(path, shares, strict=True)):
            clean = model.predict(state, step).clean
            if place == len(path) - 1:
                break
            after = shares[place + 1]
            spread = eta * ((1 - after) / (1 - share) * (1 - share / after)) ** 0.5
            rest = (state - share**0.5 * clean) / (1 - share) ** 0.5
            state = after**0.5 * clean + (1 - after - spread**2) ** 0.5 * rest + spread * noise()
        return restored(model.decode(clean)[0], image.shape[:2], denoiser.size)


@contextmanager
def _in_torch(denoiser: Denoiser) -> Iterator[None]:
    with one_thread(), inference(denoiser.tf32):
        yield


def recoded(image: Pixels, autoencoder: Autoencoder, rng: np.random.Generator, noise: float) -> Pixels:
    """A picture, encoded and decoded again.

    After Zhao et al., Invisible Image Watermarks Are Provably Removable Using Generative AI, NeurIPS 2024, arXiv
    2306.01953.

    Args:
        image: RGB `[H, W, 3]` uint8.
        autoencoder: the model.
        rng: of the noise.
        noise: standard deviation of white noise that is added to the latents, which have about 1.
    """
    import torch

    with one_thread(), inference():
        latents = autoencoder.encode([fitted(image, autoencoder.multiple)])
        drawn = torch.from_numpy(rng.standard_normal(tuple(latents.shape), np.float32)).to(latents)
        return restored(autoencoder.decode(latents + noise * drawn)[0], image.shape[:2])
