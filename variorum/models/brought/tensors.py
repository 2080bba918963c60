"""PyTorch networks that take one tensor per picture: the same call for timm and torchvision."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from variorum.models.brought.networks import NetworkScores
from variorum.models.device import best_device
from variorum.models.memory import running_out
from variorum.models.pretrained import state_of
from variorum.schemas.lookup import cut


def scores_of(network: Any, prepare: Callable[[Any], Any], name: str) -> NetworkScores:
    """From pictures to the outputs `[N, K]` of a network, on the best device and without gradients.

    Args:
        network: takes `[N, 3, H, W]`.
        prepare: the library's own transform, from a PIL picture to `[3, H, W]`.
        name: of the model, for errors.

    Raises:
        ModelUnavailable: it doesn't fit into the GPU's memory.
    """
    import torch

    device = best_device()
    with running_out(f"model {name!r} doesn't fit"):
        network = network.to(device).eval().requires_grad_(False)
    return NetworkScores(network, prepare, device, torch.float32)


def read_state(path: Path, what: str) -> dict[str, Any]:
    """The tensors of a safetensors file, or of a PyTorch file that holds nothing else.

    Raises:
        ModelUnavailable: the file is neither, or it declares more numbers than it holds.
    """
    import torch
    from safetensors.torch import load_file

    with state_of(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on pickles of other versions, which are then refused or not
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        _refuse_bombs(path)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, AssertionError):  # its text advises to open the pickle
            raise ValueError("it holds more than tensors, or it is damaged") from None
        except MemoryError:
            raise ValueError("it declares more than fits into memory") from None
        for key in ("state_dict", "model"):  # as training scripts save it
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError("it must hold a state dict: tensors by name")
        for key, value in state.items():
            _refuse_hollow(str(key), value, path.stat().st_size)
        return {str(key).removeprefix("module."): value.detach() for key, value in state.items()}


def _refuse_bombs(path: Path) -> None:
    """Raise ValueError for an archive whose members are larger than it is; PyTorch doesn't compress them."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            code = any(member.filename.endswith("constants.pkl") for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(str(error)) from None
    if code:  # PyTorch's text advises to open it
        raise ValueError("it is TorchScript, which is code; save its state_dict() instead")
    if size > path.stat().st_size:
        raise ValueError("its members are larger than the file; save it uncompressed, as PyTorch does")


def _refuse_hollow(name: str, tensor: Any, size: int) -> None:
    """Raise ValueError for a tensor without its own numbers: a sparse one, one without data, or a value repeated."""
    import torch

    if tensor.is_nested or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"{cut(name)} isn't an ordinary tensor with its numbers")
    if tensor.numel() * tensor.element_size() > size:
        raise ValueError(f"{cut(name)} declares more numbers than the file holds")
