"""Writing parts of checkpoints as they were published: tensors under their old names, configurations with few keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
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
    found = {}
    for name, tensor in state.items():
        for today, then in names:
            name = re.sub(today, then, name)
        found[name] = tensor
    return found


def write_tensors(
    file: Path, module: Any, names: Names = NONE, *, half: bool = False, also: Mapping[str, Any] | None = None
) -> None:
    """Write a network's tensors under the published names, and those that no network of today has."""
    from safetensors.torch import save_file

    tensors = published(module.state_dict(), names)
    tensors = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in (tensors | dict(also or {})).items()}, file, {"format": "pt"}
    )


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
    return module.eval()


def seeded(seed: int) -> Any:
    """A context with PyTorch's random numbers from this seed."""
    import torch

    fork = torch.random.fork_rng()

    class Seeded:
        def __enter__(self) -> None:
            fork.__enter__()
            torch.manual_seed(seed)

        def __exit__(self, *error: Any) -> None:
            fork.__exit__(*error)

    return Seeded()
