"""Vision-language models of the transformers library that chat: Qwen2-VL, LLaVA, SmolVLM and others of their form.

From a folder that `save_pretrained` wrote, with the chat template that the checkpoint was trained with. The likeliest
token is taken each time, whatever the checkpoint's own settings for generation say, so an answer can be had again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.latent_diffusion import picture, resized
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Pixels

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_tokens: int = Field(default=128, ge=1)
    """An answer is cut after so many."""
    side: int | None = Field(default=1024, ge=28)
    """Longer side that larger pictures are made smaller to, pixels; some models' memory grows with the picture."""
    batch: int = Field(default=4, ge=1)
    """Pictures that are looked at together."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch", "torchvision") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> VisionLanguage:
    """The model on its device.

    Raises:
        ModelUnavailable: when the folder has no such model as safetensors, or no chat template.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    assert weights is not None
    model = loaded(AutoModelForImageTextToText, weights, entry, trust_remote_code=False)
    with reading(weights, "a vision-language model's processor"):
        processor = AutoProcessor.from_pretrained(weights, local_files_only=True, trust_remote_code=False)
    if not getattr(processor, "chat_template", None):
        raise ModelUnavailable(f"{entry.name} has no chat template, so there is no way to ask it")
    return VisionLanguage(model.to(best_device()).eval(), processor, Options.model_validate(entry.options))


class VisionLanguage:
    """A `roles.VisionLanguage`. Shorter questions are filled up from the left and that part is masked."""

    def __init__(self, model: Any, processor: Any, options: Options) -> None:
        from transformers import GenerationConfig

        self._model, self._processor, self._options = model, processor, options
        processor.tokenizer.padding_side = "left"
        ends = model.generation_config
        padding = next(
            token
            for token in (ends.pad_token_id, processor.tokenizer.pad_token_id, _first(ends.eos_token_id), 0)
            if token is not None
        )
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=options.most_tokens,
            bos_token_id=ends.bos_token_id,
            eos_token_id=ends.eos_token_id,
            pad_token_id=padding,
        )
        self._lock = threading.Lock()  # some models keep the positions of the run in themselves

    def __call__(self, images: Sequence[Pixels], questions: Sequence[str]) -> list[str]:
        """One answer a picture and its question, without white space around it."""
        pairs, size = list(zip(images, questions, strict=True)), self._options.batch
        return [answer for i in range(0, len(pairs), size) for answer in self._answers(pairs[i : i + size])]

    def _answers(self, pairs: Sequence[tuple[Pixels, str]]) -> list[str]:
        import torch

        chats = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": q}]}] for _, q in pairs]
        inputs = self._processor(
            images=[[picture(self._smaller(image))] for image, _ in pairs],
            text=self._processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=False),
            padding=True,
            return_tensors="pt",
        )
        inputs = inputs.to(self._model.device, self._model.dtype)
        try:
            with self._lock, torch.inference_mode():
                tokens = self._model.generate(**inputs)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        new = tokens[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self._processor.batch_decode(new, skip_special_tokens=True)]

    def _smaller(self, image: Pixels) -> Pixels:
        longer, most = max(image.shape[:2]), self._options.side
        if most is None or longer <= most:
            return image
        height, width = (max(1, round(side * most / longer)) for side in image.shape[:2])
        return resized(image, (height, width))


def _first(tokens: int | Sequence[int] | None) -> int | None:
    return tokens if tokens is None or isinstance(tokens, int) else tokens[0]
