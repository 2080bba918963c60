"""The measures of `complexity` as differentiable PyTorch functions, to guide a diffusion model by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from variorum.kit.pictures import complexity

if TYPE_CHECKING:
    from variorum.arrays import Bools

Objective = Literal["masked_hf", "adm_compat"]


def objective(name: Objective, backgrounds: Sequence[Bools], device: Any) -> Callable[[Any], Any]:
    """A differentiable function from RGB pictures `[N, 3, H, W]` in [0, 1] to their complexities `[N]`.

    Args:
        name: `adm_compat` is ImageNet-E's, of the whole frame; `masked_hf` is of the background alone.
        backgrounds: `[H, W]` each, true where there is no object.
        device: where the pictures are.
    """
    return adm_compat if name == "adm_compat" else MaskedHf(backgrounds, device)


def adm_compat(pictures: Any) -> Any:
    """Mean |FFT2(x)| over channels and all frequencies, zero included (ImageNet-E, arXiv 2303.17096)."""
    import torch

    return torch.fft.fft2(pictures).abs().mean((1, 2, 3))


class MaskedHf:
    """The share of the background's spectral energy at high frequencies; see `complexity.masked_hf`.

    Args:
        backgrounds: one `[H, W]` per picture.
        device: where the pictures are.
    """

    def __init__(self, backgrounds: Sequence[Bools], device: Any) -> None:
        import torch

        found = [complexity.weighting(item) for item in backgrounds]
        width = backgrounds[0].shape[1]
        self._weight = torch.from_numpy(np.stack([weight for weight, _ in found])).to(device)
        self._inside = torch.from_numpy(np.stack(backgrounds).astype(np.float32)).to(device)
        high = found[0][1].astype(np.float32)
        twice = np.full(high.shape, 2, np.float32)  # a real FFT keeps one of each pair of conjugate columns
        twice[:, 0] = 1
        twice[:, (width + 1) // 2 :] = 1
        twice[0, 0] = 0
        self._all, self._high = torch.from_numpy(twice).to(device), torch.from_numpy(twice * high).to(device)

    def __call__(self, pictures: Any) -> Any:
        """C of each picture, in [0, 1]."""
        import torch

        grey = 0.299 * pictures[:, 0] + 0.587 * pictures[:, 1] + 0.114 * pictures[:, 2]
        area = self._inside.sum((1, 2)).clamp(min=1)
        mean = (grey * self._inside).sum((1, 2)) / area
        energy = torch.fft.rfft2((grey - mean[:, None, None]) * self._weight).abs().square()
        return (energy * self._high).sum((1, 2)) / (energy * self._all).sum((1, 2)).clamp(min=1e-9)
