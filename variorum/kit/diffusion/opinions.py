"""Record what a zero-shot model says of pictures. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.diffusion.drawing import Request
from variorum.kit.gates.gates import label_gates, recorded
from variorum.kit.prompts.prompts import PHOTO, Template, Words
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models.roles import ZeroShot


def opinions(
    scorer: ZeroShot, images: Sequence[Pixels], requests: Sequence[Request], words: Mapping[str, Words]
) -> list[dict[str, Gate]]:
    """For each picture, how well it fits its label and its prompt.

    `label_p` is the softmax probability of its class among the dataset's, each described as `a photo of a …` (Radford
    et al., ICML 2021); `label_rank` is 1 at the top; `prompt_cosine` is the cosine of picture and prompt.
    """
    if not images:
        return []
    classes = list(words)
    photo = Template("photo", "neutral", PHOTO)
    texts = [photo.prompt({"name": words[identity].name}) for identity in classes]
    logits = scorer(images, texts) * scorer.temperature
    prompts = list(dict.fromkeys(request.prompt for request in requests if request.prompt))
    cosines = scorer(images, prompts)
    found: list[dict[str, Gate]] = []
    for row, request in enumerate(requests):
        notes: dict[str, Gate] = {}
        labels = request.of.sample.labels
        if labels and labels[0] in words:
            p = np.exp(logits[row] - logits[row].max())
            notes |= label_gates(p / p.sum(), classes.index(labels[0]))
        if request.prompt:
            notes["prompt_cosine"] = recorded(float(cosines[row, prompts.index(request.prompt)]))
        found.append(notes)
    return found
