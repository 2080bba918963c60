"""Segment Anything's own checkpoints: a state dict in a `.pth` file, whose network has one of three fixed sizes.

So only the file is small: all its tensors are views of one block of random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hub_layouts.saved import seeded

NUMBERS = 2**17
"""In the block that all tensors share."""


def sam(folder: Path, architecture: str, file: str) -> None:
    import torch
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in sam_model_registry[architecture]().state_dict().items()}
    with seeded(50):
        block = torch.randn(NUMBERS) * 0.02
    norms, tensors = 1 + block, {}
    for number, (name, shape) in enumerate(shapes.items()):
        steps = [*(5 * (place + 1) for place in range(len(shape) - 1)), 1]
        kind = norms if len(shape) == 1 and name.endswith("weight") else block
        tensors[name] = kind.as_strided(shape, steps, number)
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, target)


def sam_base(folder: Path) -> None:
    sam(folder, "vit_b", "checkpoints/sam_vit_b_01ec64.pth")


def sam_large(folder: Path) -> None:
    sam(folder, "vit_l", "checkpoints/sam_vit_l_0b3195.pth")


def sam_huge(folder: Path) -> None:
    sam(folder, "vit_h", "checkpoints/sam_vit_h_4b8939.pth")


BUILDERS: dict[str, Callable[[Path], None]] = {
    "segmenter": sam_base,
    "segmenter_large": sam_large,
    "segmenter_huge": sam_huge,
}
