"""Writing parts of checkpoints as they were published: tensors under their old names, configurations with few keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5]

Names = Iterable[tuple[str, str]]
"""Patterns of the library's names of today, and what was published in their place."""

TEXT: Names = (("^", "text_model."),)
"""Of a `CLIPTextModel`."""
CHECKER: Names = (("^vision_model", "vision_model.vision_model"),)
VAE: Names = (
    (r"(mid_block\.attentions\.0)\.to_q", r"\1.query"),
    (r"(mid_block\.attentions\.0)\.to_k", r"\1.key"),
    (r"(mid_block\.attentions\.0)\.to_v", r"\1.value"),
    (r"(mid_block\.attentions\.0)\.to_out\.0", r"\1.proj_attn"),
)
"""Of an `AutoencoderKL` before diffusers 0.17."""
NONE: Names = ()


def published(state: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """A state dict under the names that were published."""
    return {reduce(lambda name, pair: re.sub(*pair, name), names, name): tensor for name, tensor in state.items()}


def write_tensors(
    file: Path, module: Any, names: Names = NONE, *, half: bool = False, also: Mapping[str, Any] | None = None
) -> None:
    """Write a network's tensors under the published names, and those that no network of today has."""
    tensors = published(module.state_dict(), names) | dict(also or {})
    write_safetensors(file, tensors, "float16" if half else "float32")


def write_safetensors(file: Path, tensors: Mapping[str, Any], dtype: str = "float32") -> None:
    import torch
    from safetensors.torch import save_file

    kind = getattr(torch, dtype)
    file.parent.mkdir(parents=True, exist_ok=True)
    cast = {name: value.to(kind) if value.is_floating_point() else value for name, value in tensors.items()}
    save_file({name: value.clone().contiguous() for name, value in cast.items()}, file, {"format": "pt"})


def write_json(file: Path, values: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2) + "\n")


def positions(prefix: str, number: int) -> dict[str, Any]:
    """The buffer that transformers saved until 4.30."""
    import torch

    return {f"{prefix}.position_ids": torch.arange(number).expand(1, -1).contiguous()}


def randomised(module: Any) -> Any:
    """The network with no two tensors alike, as trained ones are: fresh norms are all one, fresh biases all zero."""
    import torch

    with torch.no_grad():
        for weights in module.parameters():
            if weights.ndim < 2 or not weights.any():
                weights.add_(torch.randn_like(weights) * 0.05)
        for name, statistics in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                statistics.add_(torch.rand_like(statistics) * 0.1)
    return module.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers from this seed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def labels() -> dict[str, Any]:
    """Both maps of a classifier's configuration."""
    names = {str(number): f"class {number}" for number in range(1000)}
    return {"id2label": names, "label2id": {name: int(number) for number, name in names.items()}}
