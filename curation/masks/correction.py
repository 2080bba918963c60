"""Corrects the masks of each class once, at the epoch when a network starts to memorise that class.

Correcting repeatedly from current predictions, as published, can drift away from the pictures. Here predictions are
averaged over epochs, and each class changes once, starting from its given masks and up to a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.curation.masks.changes import class_iou, correct_class, moving_average, proposals, runs_away
from variorum.curation.masks.network import watch
from variorum.curation.masks.onset import Onset, find_onset, rarity

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Pixels, Singles

CONFIRMED = 3
"""Consecutive epochs that must put a class past its onset, because a single fit to few points is unreliable."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The result of `correct_masks`.

    Attributes:
        masks: `[N, H, W]`, corrected.
        confidence: `[N, H, W]` of the averaged prediction where a pixel was changed, 0 elsewhere.
        history: `[T, K]` IoU of the predictions with the given masks after each epoch.
        onsets: by class, without the background. A class without a refusal was corrected.
    """

    masks: Ints
    confidence: Singles
    history: Floats
    onsets: dict[int, Onset]


def correct_masks(
    images: Pixels,
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
    """Train on given masks and correct each class at its onset. A class with an unreliable curve is left unchanged.

    Training ends when all classes that can be are corrected. If the share of pixels that the network would change jumps
    between two onsets (`runs_away`), nothing more is corrected.

    Args:
        images: `[N, H, W, 3]`; H and W are multiples of 4.
        given: `[N, H, W]` masks with values 0 to k - 1, 0 for the background.
        k: number of classes, including the background.
        seed: of the network.
        epochs: most epochs.
        ratio: share of the curve's initial slope that is gone at the onset.
        threshold: a change needs a confidence above this, in [0, 1].
        decay: of the moving average of predictions.
        most_changed: largest share of a class's given pixels that changes.
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
    average: Singles | None = None
    history: list[Floats] = []
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
