"""PyTorch networks that take one tensor per picture: the same call for timm and torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.models.device import best_device
from variorum.models.memory import running_out
from variorum.models.pretrained import state_of

if TYPE_CHECKING:
    from variorum.arrays import Pixels


def scores_of(network: Any, prepare: Callable[[Any], Any], name: str) -> Callable[[Sequence[Pixels]], Any]:
    """From pictures to the outputs `[N, K]` of a network, on the best device and without gradients.

    Args:
        network: takes `[N, 3, H, W]`.
        prepare: the library's own transform, from a PIL picture to `[3, H, W]`.
        name: of the model, for errors.

    Raises:
        ModelUnavailable: it doesn't fit into the GPU's memory.
    """
    import torch
    from PIL import Image

    device = best_device()
    with running_out(f"model {name!r} doesn't fit"):
        network = network.to(device).eval().requires_grad_(False)

    def scores(images: Sequence[Pixels]) -> Any:
        with torch.inference_mode():
            batch = torch.stack([prepare(Image.fromarray(image)) for image in images])
            return network(batch.to(device)).float()

    return scores


def read_state(path: Path, what: str) -> dict[str, Any]:
    """The tensors of a safetensors file, or of a PyTorch file that holds nothing else.

    Raises:
        ModelUnavailable: the file is neither.
    """
    import torch
    from safetensors.torch import load_file

    with state_of(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on pickles of other versions, which are then refused or not
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):  # as training scripts save it
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError("it must hold a state dict: tensors by name")
        return {str(key).removeprefix("module."): value for key, value in state.items()}
