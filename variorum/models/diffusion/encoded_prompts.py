"""A cache of encoded prompts: a set of a thousand classes has few texts and many pictures.

Each text is encoded by itself, so its embedding depends on no other text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

MOST = 2048
"""Texts kept in main memory: 0.1 MB each in half precision, 0.3 MB for SDXL."""


class EncodedPrompts:
    """Prompts as inputs of a diffusers pipeline. Keeps the texts used last. Not thread-safe.

    Args:
        pipeline: Stable Diffusion 1, 2, XL or InstructPix2Pix; call it only if the pipeline has a text encoder.
        most: number of texts to keep.
    """

    def __init__(self, pipeline: Any, most: int = MOST) -> None:
        self._pipeline, self._most = pipeline, most
        self._kept: OrderedDict[str, tuple[Any, ...]] = OrderedDict()

    def __call__(self, prompts: Sequence[str], negatives: Sequence[str]) -> dict[str, Any]:
        """The inputs that replace `prompt` and `negative_prompt`.

        To SDXL, which was trained on zeros, no negative differs from an empty one; the pipeline then adds the zeros.

        Raises:
            ValueError: only some of the negatives are empty; the two kinds can't share a call.
        """
        if any(negatives) and not all(negatives):
            raise ValueError("either all pictures of a call have a negative prompt or none has")
        found = self._stacked("", prompts)
        if any(negatives) or not getattr(self._pipeline.config, "force_zeros_for_empty_prompt", False):
            found |= self._stacked("negative_", negatives or [""] * len(prompts))
        return found

    def _stacked(self, kind: str, texts: Sequence[str]) -> dict[str, Any]:
        import torch

        columns = zip(*(self._encode(text) for text in texts), strict=True)
        names = f"{kind}prompt_embeds", f"{kind}pooled_prompt_embeds"
        device = self._pipeline._execution_device
        return {name: torch.cat(column).to(device) for name, column in zip(names, columns, strict=False)}

    def _encode(self, text: str) -> tuple[Any, ...]:
        """Embedding `[1, tokens, d]` of a text and, for SDXL, its pooled embedding `[1, d]`."""
        if text not in self._kept:
            pipeline = self._pipeline
            inputs = {"device": pipeline._execution_device, "num_images_per_prompt": 1}
            if hasattr(pipeline, "encode_prompt"):
                made = pipeline.encode_prompt(prompt=[text], do_classifier_free_guidance=False, **inputs)
            else:  # InstructPix2Pix returns the embedding alone
                made = (pipeline._encode_prompt(prompt=[text], do_classifier_free_guidance=False, **inputs),)
            self._kept[text] = tuple(part.cpu() for part in made[::2] if part is not None)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]
