"""Each class's masks corrected once, when a network that learns them is past that class's onset of memorisation.

Correcting again and again from current predictions, as published, can drift away from the pictures. Here the
predictions are averaged over epochs, a class changes once and from its given masks, and at most so much of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.masks.correction import class_iou, correct_class, moving_average, proposals, runs_away
from curation.masks.network import watch
from curation.masks.onset import Onset, find_onset, rarity

CONFIRMED = 3
"""Epochs in a row whose fits have to agree that a class is past its onset: a single fit to few points is fickle."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a run gives.

    Attributes:
        masks: corrected, `[N, H, W]`.
        confidence: of the averaged prediction where a pixel was changed, 0 elsewhere, `[N, H, W]`.
        history: IoU `[T, K]` of the predictions with the given masks after each epoch.
        onsets: by class, the background excepted; one without a refusal was corrected.
    """

    masks: NDArray[np.int64]
    confidence: NDArray[np.float32]
    history: NDArray[np.float64]
    onsets: dict[int, Onset]


def correct_masks(
    images: NDArray[np.uint8],
    given: NDArray[np.integer[Any]],
    k: int,
    *,
    seed: int,
    epochs: int = 60,
    ratio: float = 0.9,
    threshold: float = 0.8,
    decay: float = 0.7,
    most_changed: float = 0.2,
) -> Correction:
    """Train on given masks and correct each class at its onset; a class whose curve can't be trusted stays as it is.

    Training ends when every class that could be has been corrected. If the share of pixels that the network would
    change jumps between two onsets (`runs_away`), nothing more is corrected.

    Args:
        images: `[N, H, W, 3]`; H and W are multiples of 4.
        given: masks `[N, H, W]`, values 0 to k - 1, 0 the background.
        k: number of classes, the background included.
        seed: of the network.
        epochs: at most.
        ratio: share of the curve's first slope that is gone at the onset.
        threshold: least confidence of a change, in [0, 1].
        decay: of the moving average of predictions.
        most_changed: of a class's given pixels.
    """
    masks = given.astype(np.int64)
    confidence = np.zeros(given.shape, np.float32)
    onsets = {}
    for label in range(1, k):
        images_with = int((given == label).any(axis=(1, 2)).sum())
        onsets[label] = Onset(0, None, rarity(float(np.mean(given == label)) if given.size else 0.0, images_with))
    waiting = [label for label, onset in onsets.items() if not onset.refusal]
    agreed = dict.fromkeys(waiting, 0)
    updated: set[int] = set()
    average: NDArray[np.float32] | None = None
    history: list[NDArray[np.float64]] = []
    would_change: list[float] = []
    for probabilities in watch(images, masks, k, seed=seed, epochs=epochs) if waiting else ():
        average = moving_average(average, probabilities, decay)
        history.append(class_iou(probabilities.argmax(axis=-1), given, k))
        for label in waiting:
            onsets[label] = find_onset(np.array(history)[:, label], ratio)
            agreed[label] = agreed[label] + 1 if onsets[label].epoch else 0
        reached = {label for label in waiting if agreed[label] == CONFIRMED}
        if reached:
            updated |= reached
            would_change = []
        if not updated:
            continue
        proposed, sure = proposals(given, average, updated, threshold)
        would_change.append(float(np.mean(proposed >= 0)))
        if runs_away(would_change):
            for label in waiting:
                onsets[label] = Onset(0, onsets[label].curve, "the share of changed pixels jumped before")
            break
        for label in sorted(reached):
            masks[:] = correct_class(masks, given, proposed, sure, label, most_changed)
        waiting = [label for label in waiting if label not in reached]
        confidence = np.where((masks != given) & (confidence == 0), sure, confidence)
        if not waiting:
            break
    for label in waiting:
        if not onsets[label].refusal:
            why = f"past its onset in the last {agreed[label]} epochs, under {CONFIRMED}"
            onsets[label] = Onset(0, onsets[label].curve, why)
    return Correction(masks, confidence, np.array(history).reshape(-1, k), onsets)
