"""What the predictions of diffusion models mean: a network's output as the clean state, whatever it was trained to say.

With ᾱ the share of the signal, a noisy state is x = √ᾱ · clean + √(1 - ᾱ) · ε (Ho et al., arXiv 2006.11239).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelUnavailable
from variorum.models.roles import Denoised, Pixels

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Schedule:
    """A diffusers scheduler's configuration, as far as it says what a network's output means.

    Args:
        config: of any diffusers scheduler with betas.
        channels: of a state; a network with twice as many outputs has learned its variance.

    Raises:
        ModelUnavailable: for a kind of prediction that isn't known here.
    """

    def __init__(self, config: Any, channels: int) -> None:
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler.from_config(config)
        self.kind: str = scheduler.config.prediction_type
        if self.kind not in PREDICTIONS:
            raise ModelUnavailable(f"a denoiser that predicts {self.kind!r}; known are {', '.join(PREDICTIONS)}")
        self.signal: NDArray[np.float64] = scheduler.alphas_cumprod.double().numpy()
        self._channels = channels

    def denoised(self, output: Any, state: Any, step: int) -> Denoised:
        """The clean state that a network's output for a noisy one stands for, and its learned variance if any."""
        spread = None
        if output.shape[1] == 2 * self._channels:
            output, spread = output.split(self._channels, dim=1)
            spread = (spread + 1) / 2
        share, rest = float(self.signal[step]) ** 0.5, float(1 - self.signal[step]) ** 0.5
        if self.kind == "epsilon":
            return Denoised((state - rest * output) / share, spread)
        if self.kind == "v_prediction":
            return Denoised(share * state - rest * output, spread)
        return Denoised(output, spread)


def tensor(images: list[Pixels], device: Any) -> Any:
    """Pictures of one size as float32 `[N, 3, H, W]` in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).to(device).float() / 127.5 - 1


def pixels(values: Any) -> list[Pixels]:
    """Pictures of a tensor `[N, 3, H, W]` in [-1, 1], cut off outside it; what isn't finite comes as black."""
    levels = ((values.detach().float().nan_to_num(nan=-1, posinf=-1, neginf=-1).clamp(-1, 1) + 1) * 127.5).round()
    return list(levels.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8))
