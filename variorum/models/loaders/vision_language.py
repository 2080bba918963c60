"""Loaders `zero_shot` and `vision_language`: models of pictures and texts."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.diffusion.images import shrunk, to_pil
from variorum.models.loaders.classifiers import told_by
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pretrained, one_error, with_vocabulary
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


# ── zero_shot: CLIP, SigLIP 2 ─────────────────────────────────────────────────────────────────────────────────────────

TEXTS = 64
"""Texts encoded at a time."""


class ZeroShotOptions(StrictModel):
    """Options of `zero_shot`."""

    batch: int = 8


def load_zero_shot(entry: Entry, folder: Path, options: ZeroShotOptions, _used: Mapping[str, Any]) -> ZeroShot:
    """The CLIP or SigLIP 2 of a folder written by `save_pretrained`, with tokenizer and image processor.

    Raises:
        ModelUnavailable: the folder has no such model as safetensors.
    """
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    from variorum.models.loaders import siglip

    if siglip.is_siglip(folder, entry):
        return siglip.load_siglip(entry, folder, options.batch)
    model = load_pretrained(CLIPModel, folder, entry)
    with one_error(folder, "CLIP's tokenizer and image processor"):
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    with_vocabulary(tokenizer, folder)
    return ZeroShot(tokenizer, processor, model.to(best_device()).eval(), options.batch)


class ZeroShot:
    """A `roles.ZeroShot` and a `roles.Embedding`: CLIP (Radford et al., ICML 2021, arXiv 2103.00020).

    Keeps the embeddings of the last few lists of texts, as the classes of a dataset come again.
    """

    def __init__(self, tokenizer: Any, processor: Any, model: Any, batch: int) -> None:
        self._tokenizer, self._processor, self._model, self._batch = tokenizer, processor, model, batch
        self.temperature = float(model.logit_scale.exp().item())
        self.preprocessing = told_by(processor)
        self._texts = lru_cache(maxsize=8)(self.embed_texts)

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> Singles:
        """Cosine of every picture with every text, `[N, M]`; texts are cut at the model's context length."""
        if not images or not texts:
            return np.zeros((len(images), len(texts)), np.float32)
        return self.embed_pictures(images) @ self._texts(tuple(texts)).T

    def embed_pictures(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]` of length 1 of at least one picture."""
        return np.concatenate(
            [self._embedded_images(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        )

    def features(self, pictures: Any) -> Any:
        """The projected embedding `[N, d]` of whole pictures, squashed; not normalised."""
        import torch
        from torch.nn import functional

        model, processor = self._model, self._processor
        side = model.config.vision_config.image_size
        seen = pictures.to(model.device)
        if seen.shape[2:] != (side, side):
            seen = functional.interpolate(seen, (side, side), mode=self._resampling(), antialias=True)
        mean, std = (
            torch.tensor(part).to(seen).view(1, 3, 1, 1) for part in (processor.image_mean, processor.image_std)
        )
        inputs = ((seen - mean) / std).to(model.dtype)
        return self._image_vectors(inputs).float()

    def _embedded_images(self, images: Sequence[Pixels]) -> Singles:

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with inference():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            return _normalised(self._image_vectors(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Singles:
        """Embeddings `[M, d]` of length 1 of at least one text."""
        with inference():
            parts = [self._text_vectors(texts[i : i + TEXTS]) for i in range(0, len(texts), TEXTS)]
        return np.concatenate([_normalised(part) for part in parts])

    def _resampling(self) -> str:
        """PyTorch's name of the filter that pictures are resized by."""
        return "bicubic"

    def _image_vectors(self, pixels: Any) -> Any:
        """Embeddings `[N, d]` of normalised pictures `[N, 3, side, side]`, a tensor."""
        return self._model.visual_projection(self._model.vision_model(pixel_values=pixels).pooler_output)

    def _text_vectors(self, texts: Sequence[str]) -> Any:
        """Embeddings `[M, d]`, a tensor. All texts are padded to one length, so none depends on the others."""
        inputs = self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).to(self._model.device)
        return self._model.text_projection(self._model.text_model(**inputs).pooler_output)


def _normalised(vectors: Any) -> Singles:
    from torch.nn.functional import normalize

    found: Singles = normalize(vectors.float(), dim=-1).cpu().numpy()
    return found


ZERO_SHOT = Loader(
    revision=1, make=load_zero_shot, options=ZeroShotOptions, packages=("diffusers", "transformers", "torch")
)


# ── vision_language: chat models ─────────────────────────────────────────────────────────────────────────────────────


FLORENCE = "florence2"
"""Type of Florence-2's checkpoints in transformers' own layout."""
TASK = re.compile(r"<[A-Z_]+>")
"""What Florence-2 is asked by: `<OD>`, `<DETAILED_CAPTION>` and so on."""


class VisionLanguageOptions(StrictModel):
    """Options of `vision_language`."""

    most_tokens: int = Field(default=128, ge=1)
    """Highest number of tokens in an answer."""
    side: int | None = Field(default=1024, ge=28)
    """Larger pictures are shrunk to this longer side, pixels; some models' memory grows with the picture."""
    batch: int = Field(default=4, ge=1)
    """Pictures processed together."""


def load_vision_language(
    entry: Entry, folder: Path, options: VisionLanguageOptions, _used: Mapping[str, Any]
) -> VisionLanguage:
    """The chat model of a folder written by transformers' `save_pretrained`: Qwen2-VL to Qwen3-VL, LLaVA and others.

    Raises:
        ModelUnavailable: the folder has no such model as safetensors, or no chat template.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = load_pretrained(AutoModelForImageTextToText, folder, entry, trust_remote_code=False)
    with one_error(folder, "a vision-language model's processor"):
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if model.config.model_type == FLORENCE:
        return Florence(model.to(best_device()).eval(), processor, options)
    with_vocabulary(processor.tokenizer, folder)
    if not getattr(processor, "chat_template", None):
        raise ModelUnavailable(f"{entry.name} has no chat template, so it can't be asked anything")
    return VisionLanguage(model.to(best_device()).eval(), processor, options)


class VisionLanguage:
    """A `roles.VisionLanguage` that decodes greedily, whatever the checkpoint's generation settings say.

    Shorter questions are padded on the left, and the padding is masked.
    """

    def __init__(self, model: Any, processor: Any, options: VisionLanguageOptions) -> None:
        from transformers import GenerationConfig

        self._model, self._processor, self._options = model, processor, options
        processor.tokenizer.padding_side = "left"
        theirs = model.generation_config
        padding = next(
            token
            for token in (theirs.pad_token_id, processor.tokenizer.pad_token_id, _first(theirs.eos_token_id), 0)
            if token is not None
        )
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=options.most_tokens,
            bos_token_id=theirs.bos_token_id,
            eos_token_id=theirs.eos_token_id,
            pad_token_id=padding,
            decoder_start_token_id=theirs.decoder_start_token_id,
            forced_bos_token_id=theirs.forced_bos_token_id,
        )
        self._lock = threading.Lock()  # some models hold the positions of the current run

    def __call__(
        self, images: Sequence[Pixels], questions: Sequence[str], *, most_tokens: int | None = None
    ) -> list[str]:
        """One answer per picture and question, stripped of white space. Pictures of similar size share a batch.

        Args:
            images: pictures.
            questions: as many.
            most_tokens: of an answer; by default the option of this name.
        """
        pairs, size = list(zip(images, questions, strict=True)), self._options.batch
        most = most_tokens or self._options.most_tokens
        order = sorted(range(len(pairs)), key=lambda number: images[number].size, reverse=True)  # less is padded
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        answers: dict[int, str] = {}
        for part in parts:
            answers |= zip(part, self._answers([pairs[number] for number in part], most), strict=True)
        return [answers[number] for number in range(len(pairs))]

    def _answers(self, pairs: Sequence[tuple[Pixels, str]], most: int) -> list[str]:
        import torch

        chats = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": q}]}] for _, q in pairs]
        inputs = self._processor(
            images=[[to_pil(shrunk(image, side) if (side := self._options.side) else image)] for image, _ in pairs],
            text=self._processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=False),
            padding=True,
            return_tensors="pt",
        )
        inputs = inputs.to(self._model.device, self._model.dtype)
        try:
            with self._lock, inference():
                tokens = self._model.generate(**inputs, max_new_tokens=most)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        new = tokens[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self._processor.batch_decode(new, skip_special_tokens=True)]


class Florence(VisionLanguage):
    """A `roles.VisionLanguage` that is asked by tasks: Florence-2 (Xiao et al., CVPR 2024, arXiv 2311.06242).

    A question is a task's mark, such as `<OD>` for the names of objects or `<DETAILED_CAPTION>`; it answers no others.
    Of places in its answers only the names remain, separated by commas.
    """

    question = "<DETAILED_CAPTION>"
    """One that it answers."""

    def _answers(self, pairs: Sequence[tuple[Pixels, str]], most: int) -> list[str]:
        if odd := [question for _, question in pairs if not TASK.match(question)]:
            raise RecipeError(
                f"Florence-2 is asked by the mark of a task, such as <OD> or <DETAILED_CAPTION>, not by {cut(odd[0])!r}"
            )
        inputs = self._processor(
            images=[to_pil(image) for image, _ in pairs],
            text=[question for _, question in pairs],
            padding=True,
            return_tensors="pt",
        ).to(self._model.device, self._model.dtype)
        with self._lock, inference():
            tokens = self._model.generate(**inputs, max_new_tokens=most)
        return [names_of(text) for text in self._processor.batch_decode(tokens, skip_special_tokens=False)]


def names_of(text: str) -> str:
    """Florence-2's answer without its marks: names with places as `dog, cat`, captions as they are."""
    parts = re.sub(r"(?:<loc_\d+>)+", "\0", text).split("\0")
    plain = [" ".join(re.sub(r"</?[a-z]+>", " ", part).split()) for part in parts]
    return ", ".join(dict.fromkeys(part for part in plain if part))


def _first(tokens: int | Sequence[int] | None) -> int | None:
    return tokens if tokens is None or isinstance(tokens, int) else tokens[0]


VISION_LANGUAGE = Loader(
    revision=2,
    make=load_vision_language,
    options=VisionLanguageOptions,
    packages=("diffusers", "transformers", "torch", "torchvision"),
)
