"""From the output of a denoising network to the clean state, for each kind of prediction.

With ᾱ the share of the signal, a noisy state is x = √ᾱ · clean + √(1 - ᾱ) · ε (Ho et al., arXiv 2006.11239).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from variorum.models.roles import Denoised
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Floats

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Schedule:
    """The meaning of a network's output, by the configuration of a diffusers scheduler.

    Args:
        config: of any diffusers scheduler with betas.
        channels: of a state; a network with twice as many outputs has learned its variance.

    Raises:
        ModelUnavailable: the kind of prediction isn't supported.
    """

    def __init__(self, config: Any, channels: int) -> None:
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler.from_config(config)
        self.kind: str = scheduler.config.prediction_type
        if self.kind not in PREDICTIONS:
            raise ModelUnavailable(f"the denoiser predicts {self.kind!r}; supported are {', '.join(PREDICTIONS)}")
        self.signal: Floats = scheduler.alphas_cumprod.double().numpy()
        self._channels = channels

    def denoised(self, output: Any, state: Any, step: int) -> Denoised:
        """The clean state according to a network's output for a noisy one, and the learned variance if any."""
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
