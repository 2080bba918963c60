"""Loader `learned_watermark`: an encoder and a decoder of 32 bits that training/watermark.py trains.

No weights are shipped: a mark that can be read should not be seen, and this one shows in smooth pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.models.device import inference
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry, StrictModel
from variorum.models.weights import local_path
from variorum.pixels import decode

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

WEIGHTS = "model.fp16.safetensors"
COMMAND = "python -m training.watermark --steps 2250 --out checkpoints/watermark"
PASSES = 3
"""Clipping and rounding change a mark's strength a little; it is measured and corrected this many times."""
MOST = 1.5
"""Times that a mark may be amplified to make up for clipping, in all."""
ROUNDS, PUSH = 4, 0.5
"""How often, and how much, bits that a JPEG copy shows worse than others get more of the mark's strength."""
QUALITY = 40
"""Of that copy."""


def load_learned_watermark(
    _entry: Entry, folder: Path, _options: StrictModel, _used: Mapping[str, Any]
) -> LearnedWatermark:
    """The watermark of a folder with `model.fp16.safetensors`."""
    import torch
    from safetensors.torch import load_file

    from variorum.models.watermark_network import BITS, SIDE, Watermark

    network = Watermark(torch.zeros(BITS, 2, SIDE, SIDE))
    with state_of(folder / WEIGHTS, "a state dict of the learned watermark"):
        network.load_state_dict(load_file(folder / WEIGHTS))
    return LearnedWatermark(network.eval().requires_grad_(False))


class LearnedWatermark:
    """A `roles.LearnedWatermark`. It has no key: whoever has the network reads the payload.

    It computes on the CPU, one picture at a time, so that a mark depends neither on a GPU nor on other pictures.
    """

    bits = 32

    def __init__(self, network: Any) -> None:
        self._network = network

    def embed(self, images: Sequence[Pixels], payloads: Bools, decibels: float) -> list[Pixels]:
        """Each picture with its payload, `[N, 32]`, at a PSNR; pictures may differ in size.

        A JPEG copy is read a few times to see which bits need more of the mark's strength. Where most of a mark is
        clipped, as in a white picture, the PSNR is higher.
        """
        return [self._embed(image, bits, decibels) for image, bits in zip(images, payloads, strict=True)]

    def _embed(self, image: Pixels, bits: Bools, decibels: float) -> Pixels:
        import torch

        signs = torch.from_numpy(np.where(bits, 1, -1).astype(np.float32))[None]
        clean = _tensor(image)
        with inference():
            read = self._network.read(clean)
            marked = _added(image, self._network.residual(clean, signs, read), decibels)
            for _ in range(ROUNDS):
                margins = signs * self._network.read(_tensor(_jpeg(marked)))
                read = read + PUSH * signs * (margins - margins.mean())
                marked = _added(image, self._network.residual(clean, signs, read), decibels)
        return marked

    def read(self, images: Sequence[Pixels]) -> Singles:
        """Soft bits `[N, 32]`: positive where a 1 is read, negative for a 0; the larger, the surer."""
        out = np.zeros((len(images), self.bits), np.float32)
        with inference():
            for row, image in zip(out, images, strict=True):
                row[...] = self._network.read(_tensor(image))[0].numpy()
        return out


def _added(image: Pixels, residual: Any, decibels: float) -> Pixels:
    """A picture with a mark of root mean square 1, brought to a PSNR."""
    shape = residual[0].permute(1, 2, 0).numpy()
    wanted = 255 * 10 ** (-decibels / 20)
    gain, marked = 1.0, image
    for _ in range(PASSES):
        marked = np.clip(np.rint(image + np.float32(gain * wanted) * shape), 0, 255).astype(np.uint8)
        found = float(np.sqrt(np.mean((marked.astype(np.float32) - image) ** 2)))
        gain = min(MOST, gain * wanted / max(found, 1e-6))
    return marked


def _jpeg(image: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return decode(data.tobytes())


def _tensor(image: Pixels) -> Any:
    """`[1, 3, H, W]` in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None] / 255


def _untrained(entry: Entry, _options: StrictModel) -> str:
    if entry.local is None or local_path(entry.local).exists():
        return ""
    return (
        f"{entry.local.path} doesn't exist, as no weights are shipped: at 38 dB all bits survive JPEG at quality 50, "
        f"but the mark shows in smooth and dark places; `{COMMAND}` trains it in 13 minutes of CPU time"
    )


LEARNED_WATERMARK = Loader(
    revision=1, make=load_learned_watermark, packages=("safetensors", "torch"), obstacle=_untrained
)
