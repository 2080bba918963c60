"""Masks corrected by a network's early predictions, cautiously: what may change, how much, and when to stop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 0


def class_iou(predicted: NDArray[np.integer[Any]], given: NDArray[np.integer[Any]], k: int) -> NDArray[np.float64]:
    """Intersection over union `[K]` of two label maps of one shape, over all pixels; NaN for a class in neither."""
    pairs = np.bincount(given.ravel().astype(np.int64) * k + predicted.ravel(), minlength=k * k).reshape(k, k)
    both = np.diag(pairs).astype(np.float64)
    either = pairs.sum(axis=0) + pairs.sum(axis=1) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def moving_average(
    average: NDArray[np.float32] | None, probabilities: NDArray[np.float32], decay: float
) -> NDArray[np.float32]:
    """`decay` of the average so far and the rest of the new probabilities, of any one shape."""
    return probabilities if average is None else decay * average + (1 - decay) * probabilities


def proposals(
    given: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float32],
    updated: Collection[int],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What the network would change in given masks `[N, H, W]`: the label there, -1 elsewhere, and its confidence.

    A pixel may change if the network is surer than `threshold`, if both labels are of classes past their onset or the
    background, and if the picture's own mask has the new label somewhere, or it is the background.

    Args:
        given: masks, values 0 to K - 1, 0 the background.
        probabilities: `[N, H, W, K]`.
        updated: classes past their onset.
        threshold: in [0, 1].
    """
    k = probabilities.shape[-1]
    sure = probabilities.max(axis=-1)
    best = probabilities.argmax(axis=-1).astype(np.int64)
    allowed = np.zeros(k, dtype=bool)
    allowed[[BACKGROUND, *updated]] = True
    tags = np.stack([(given == label).any(axis=(1, 2)) for label in range(k)], axis=1)
    tags[:, BACKGROUND] = True
    tagged = tags[np.arange(len(given))[:, None, None], best]
    change = (best != given) & (sure > threshold) & allowed[given] & allowed[best] & tagged
    return np.where(change, best, -1), sure


def correct_class(
    masks: NDArray[np.integer[Any]],
    given: NDArray[np.integer[Any]],
    proposed: NDArray[np.int64],
    confidence: NDArray[np.float32],
    label: int,
    most: float,
) -> NDArray[np.int64]:
    """Masks `[N, H, W]` with the proposals that concern one class, given or new, and that nothing has changed yet.

    At most the share `most` of the class's given pixels changes, the surest first, ties in order of place.
    """
    concerned = (proposed >= 0) & ((proposed == label) | (given == label)) & (masks == given)
    place = np.flatnonzero(concerned)
    room = int(most * np.count_nonzero(given == label))
    place = place[np.argsort(-confidence.ravel()[place], kind="stable")][:room]
    corrected = masks.astype(np.int64)
    corrected.ravel()[place] = proposed.ravel()[place]
    return corrected


def runs_away(changed: Sequence[float], factor: float = 2.0, least: int = 3) -> bool:
    """Whether the share of changed pixels just jumped: it grew by over `factor` times the median step before.

    Args:
        changed: share of pixels that differ from the given masks, after each update for the same classes.
        factor: how much of a jump is too much.
        least: steps that are needed to know what is usual.
    """
    steps = np.diff(np.asarray(changed, dtype=np.float64))
    return len(steps) > least and bool(steps[-1] > factor * np.median(np.abs(steps[:-1])))
