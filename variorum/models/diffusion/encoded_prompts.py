"""A cache of encoded prompts: a set of a thousand classes has few texts and many pictures.

Each text is encoded by itself, so its embedding depends on no other text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST = 2048
"""Texts kept in main memory: 0.1 MB each in half precision, 0.3 MB for SDXL."""


def stable_diffusion(pipeline: Any, text: str) -> dict[str, Any]:
    """Encode a text for Stable Diffusion 1, 2, XL or InstructPix2Pix: `[1, tokens, d]`, for XL also pooled `[1, d]`."""
    inputs = {"device": pipeline._execution_device, "num_images_per_prompt": 1}
    if hasattr(pipeline, "encode_prompt"):
        made = pipeline.encode_prompt(prompt=[text], do_classifier_free_guidance=False, **inputs)
    else:  # InstructPix2Pix returns the embedding alone
        made = (pipeline._encode_prompt(prompt=[text], do_classifier_free_guidance=False, **inputs),)
    found = dict(zip(("prompt_embeds", "pooled_prompt_embeds"), made[::2], strict=False))
    return {name: part for name, part in found.items() if part is not None}


def concatenated(parts: Sequence[Any]) -> Any:
    """Encoded texts of one length as the input of a call."""
    import torch

    return torch.cat(list(parts))


class EncodedPrompts:
    """Prompts as inputs of a diffusers pipeline. Keeps the texts used last. Not thread-safe.

    Args:
        pipeline: call it only if the pipeline has a text encoder.
        encode: gives the inputs for one text, by name.
        stack: makes one input of those of several texts.
        most: number of texts to keep.
    """

    def __init__(
        self,
        pipeline: Any,
        encode: Callable[[Any, str], Mapping[str, Any]] = stable_diffusion,
        stack: Callable[[Sequence[Any]], Any] = concatenated,
        most: int = MOST,
    ) -> None:
        self._pipeline, self._encode, self._stack, self._most = pipeline, encode, stack, most
        self._kept: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def __call__(self, prompts: Sequence[str], negatives: Sequence[str]) -> dict[str, Any]:
        """The inputs that replace `prompt` and `negative_prompt`.

        To SDXL, which was trained on zeros, no negative differs from an empty one; the pipeline then adds the zeros.

        Raises:
            ValueError: only some of the negatives are empty; the two kinds can't share a call.
        """
        if any(negatives) and not all(negatives):
            raise ValueError("either all pictures of a call have a negative prompt or none has")
        found = self.stacked("", prompts)
        if any(negatives) or not getattr(self._pipeline.config, "force_zeros_for_empty_prompt", False):
            found |= self.stacked("negative_", negatives or [""] * len(prompts))
        return found

    def stacked(self, kind: str, texts: Sequence[str]) -> dict[str, Any]:
        """The inputs for texts; `kind` goes before their names."""
        parts, device = [self._of(text) for text in texts], self._pipeline._execution_device
        return {f"{kind}{name}": self._stack([one[name].to(device) for one in parts]) for name in parts[0]}

    def _of(self, text: str) -> Mapping[str, Any]:
        """The inputs for one text, in main memory."""
        if text not in self._kept:
            self._kept[text] = {name: part.cpu() for name, part in self._encode(self._pipeline, text).items()}
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]
