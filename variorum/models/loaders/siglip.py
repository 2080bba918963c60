"""SigLIP 2 for the loaders `zero_shot` and `image_embedding` (Tschannen et al., arXiv 2502.14786).

Texts are read as in its training: in lower case, closed by a mark, and padded to 64 tokens that aren't masked, as a
text's vector is that of its last place. Libraries do this only for some of the checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from variorum.models.device import best_device
from variorum.models.loaders.vision_language import ZeroShot
from variorum.models.pretrained import load_pretrained, one_error
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

SIGLIP = "siglip"
"""Type of the checkpoints for pictures of one size. Those of SigLIP 1 have it too."""
NAFLEX = "siglip2"
"""Type of the checkpoints for pictures of any size."""
MARKS = ("<eos>", "<pad>")
"""What Gemma's tokenizer, which SigLIP 2 uses, calls the end of a text and the padding."""


def is_siglip(folder: Path, entry: Entry) -> bool:
    """Return whether a folder's configuration is SigLIP's.

    Raises:
        ModelUnavailable: it is SigLIP 2 NaFlex's.
    """
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    except (OSError, ValueError, LookupError, TypeError):  # whoever loads the model says what is wrong
        return False
    if found == NAFLEX:
        raise ModelUnavailable(
            f"{entry.name} is SigLIP 2 NaFlex, which isn't supported; use a checkpoint for pictures of one size, "
            "such as google/siglip2-base-patch16-224"
        )
    return bool(found == SIGLIP)


def load_siglip(entry: Entry, folder: Path, batch: int) -> Siglip:
    """The zero-shot model of a folder with SigLIP 2, its tokenizer and its image processor.

    Raises:
        ModelUnavailable: the folder has no SigLIP 2 as safetensors.
    """
    from tokenizers import Tokenizer
    from transformers import SiglipImageProcessor, SiglipModel

    model = load_pretrained(SiglipModel, folder, entry)
    with one_error(folder, "SigLIP's image processor"):
        processor = SiglipImageProcessor.from_pretrained(folder, local_files_only=True)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # its library raises no other class
        raise ModelUnavailable(f"{folder} has no tokenizer of SigLIP 2: {error}") from error
    if None in [tokenizer.token_to_id(mark) for mark in MARKS]:
        raise ModelUnavailable(
            f"{entry.name} has no tokens {' and '.join(MARKS)}: only SigLIP 2 is supported, which has Gemma's tokenizer"
        )
    return Siglip(tokenizer, processor, model.to(best_device()).eval(), batch)


class Siglip(ZeroShot):
    """A `roles.ZeroShot` and a `roles.Embedding`: SigLIP 2.

    Its own probability of a text is the sigmoid of the cosine times `temperature` plus a bias, whatever the other texts
    are. If exactly one of several texts fits, the probabilities are in the ratio of the odds, e to the power of these
    sums: the softmax of the cosines times `temperature`, without the bias. So `temperature` means what it does for
    CLIP.
    """

    def _resampling(self) -> str:
        from PIL.Image import Resampling

        return Resampling(self._processor.resample).name.lower()

    def _image_vectors(self, pixels: Any) -> Any:
        return self._model.vision_model(pixel_values=pixels).pooler_output

    def _text_vectors(self, texts: Sequence[str]) -> Any:
        import torch

        most = self._model.config.text_config.max_position_embeddings
        end, padding = (self._tokenizer.token_to_id(mark) for mark in MARKS)
        rows = []
        for text in texts:
            tokens = self._tokenizer.encode(text.lower(), add_special_tokens=False).ids[: most - 1]
            rows.append([*tokens, end, *[padding] * (most - 1 - len(tokens))])
        return self._model.text_model(input_ids=torch.tensor(rows, device=self._model.device)).pooler_output
