"""What a zero-shot model says of pictures, on record beside them: it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generators.editing.gates import label_gates, recorded
from generators.prompting.prompts import PHOTO, Template, Words
from schemas.sample import Gate

if TYPE_CHECKING:
    from generators.diffusion.draws import Ask
    from variorum.models.roles import ZeroShot


def opinions(
    scorer: ZeroShot, images: Sequence[NDArray[np.uint8]], asks: Sequence[Ask], words: Mapping[str, Words]
) -> list[dict[str, Gate]]:
    """For each picture what its label and its prompt are worth to the model.

    `label_p` is the softmax probability of its class among the dataset's, each described as `a photo of a …`
    (Radford et al., ICML 2021); `label_rank` is 1 at the top; `prompt_cosine` is the cosine of picture and prompt.
    """
    if not images:
        return []
    classes = list(words)
    photo = Template("photo", "neutral", PHOTO)
    texts = [photo.prompt({"name": words[identity].name}) for identity in classes]
    logits = scorer(images, texts) * scorer.temperature
    prompts = list(dict.fromkeys(ask.prompt for ask in asks if ask.prompt))
    cosines = scorer(images, prompts)
    found: list[dict[str, Gate]] = []
    for row, ask in enumerate(asks):
        notes: dict[str, Gate] = {}
        if ask.sample.labels and ask.sample.labels[0] in words:
            p = np.exp(logits[row] - logits[row].max())
            notes |= label_gates(p / p.sum(), classes.index(ask.sample.labels[0]))
        if ask.prompt:
            notes["prompt_cosine"] = recorded(float(cosines[row, prompts.index(ask.prompt)]))
        found.append(notes)
    return found
