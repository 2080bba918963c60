"""Loader `esrgan`: enlarges pictures by a residual dense network in the files of TensorFlow.js.

The network of the package (Zhang et al., Residual Dense Network for Image Super-Resolution, CVPR 2018, arXiv
1802.08797) was trained adversarially like ESRGAN (Wang et al., arXiv 1809.00219). `model.json` lists Keras layers of
six kinds in their order, so PyTorch runs them as they stand there. Nothing in it is code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.device import best_device, inference, one_thread
from variorum.models.loaders.loader import Loader, NoOptions, no_obstacle
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

GRAPH, NUMBERS = "model.json", "group1-shard1of1.bin"


def load_esrgan(entry: Entry, folder: Path, _options: NoOptions, _used: Mapping[str, Any]) -> Enlarger:
    """The network of a folder with `model.json` and its float32 numbers.

    Raises:
        ModelUnavailable: the files aren't such a network.
    """
    try:
        said = json.loads((folder / GRAPH).read_text(encoding="utf-8"))
        listed = said["weightsManifest"][0]["weights"]
        numbers = np.fromfile(folder / NUMBERS, "<f4")
        tensors: dict[str, Singles] = {}
        place = 0
        for one in listed:
            size = int(np.prod(one["shape"]))
            tensors[one["name"]] = numbers[place : place + size].reshape(one["shape"])
            place += size
        layers = said["modelTopology"]["model_config"]["config"]["layers"]
        steps = [_step(layer, tensors) for layer in layers]
        (factor,) = (int(one["config"]["size"][0]) for one in layers if one["class_name"] == "UpSampling2D")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"{entry.name}: {folder} has no network of Keras layers ({error})") from error
    if place != len(numbers):
        raise ModelUnavailable(f"{entry.name}: {NUMBERS} has {len(numbers)} numbers, {GRAPH} names {place}")
    return Enlarger(steps, factor)


class Enlarger:
    """A `roles.Enlarger`. Pictures go through one by one, so the result depends on its picture alone."""

    def __init__(self, steps: Sequence[tuple[str, Sequence[str], Callable[..., Any]]], factor: int) -> None:
        self._steps, self.factor = steps, factor

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Each picture at `factor` times its height and width."""
        import torch

        made = []
        with inference(), one_thread():
            for image in images:
                found = {"": torch.from_numpy(image).to(best_device()).permute(2, 0, 1)[None].float()}
                for name, inputs, step in self._steps:
                    found[name] = step(*(found[one] for one in inputs))
                values = found[self._steps[-1][0]][0].permute(1, 2, 0).round().clip(0, 255)
                made.append(np.ascontiguousarray(values.to(torch.uint8).cpu().numpy()))
        return made


def _step(layer: Mapping[str, Any], tensors: Mapping[str, Singles]) -> tuple[str, list[str], Callable[..., Any]]:
    """A layer: its name, those of its inputs, and what it does to them.

    Raises:
        ValueError: it is of no kind that the network has.
    """
    import torch
    from torch.nn import functional

    name, said = layer["name"], layer["config"]
    inputs = [one[0] for node in layer["inbound_nodes"] for one in node] or [""]
    kind = layer["class_name"]
    if kind == "Conv2D" and (said["activation"], said["strides"]) == ("linear", [1, 1]):
        padding = said["padding"]
        kernel = torch.from_numpy(np.ascontiguousarray(tensors[f"{name}/kernel"].transpose(3, 2, 0, 1)))
        kernel, bias = (one.to(best_device()) for one in (kernel, torch.from_numpy(tensors[f"{name}/bias"].copy())))
        return name, inputs, lambda x: functional.conv2d(x, kernel, bias, padding=padding)
    if kind == "UpSampling2D" and said["interpolation"] == "nearest":
        factor = int(said["size"][0])
        return name, inputs, lambda x: functional.interpolate(x, scale_factor=factor)
    others: Mapping[str, Callable[..., Any]] = {
        "InputLayer": lambda x: x,
        "Activation": functional.relu,
        "Concatenate": lambda *parts: torch.cat(parts, 1),
        "Add": lambda one, other: one + other,
    }
    if kind not in others or said.get("activation", "relu") != "relu":
        raise ValueError(f"its layer {name!r} is an unknown {kind}")
    return name, inputs, others[kind]


ESRGAN = Loader(revision=1, make=load_esrgan, packages=("torch",), obstacle=no_obstacle)
