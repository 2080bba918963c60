"""Choose the mask pixels that take a network's predictions, and the epoch at which to stop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Singles

BACKGROUND = 0


def class_iou(predicted: NDArray[np.integer[Any]], given: NDArray[np.integer[Any]], k: int) -> Floats:
    """Intersection over union `[K]` of two label maps of one shape, over all pixels; NaN for a class in neither map."""
    pairs = np.bincount(given.ravel().astype(np.int64) * k + predicted.ravel(), minlength=k * k).reshape(k, k)
    both = np.diag(pairs).astype(np.float64)
    either = pairs.sum(axis=0) + pairs.sum(axis=1) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def moving_average(average: Singles | None, probabilities: Singles, decay: float) -> Singles:
    """`decay` · average + (1 - `decay`) · probabilities, or the probabilities if there is no average yet."""
    return probabilities if average is None else decay * average + (1 - decay) * probabilities


def proposals(
    given: NDArray[np.integer[Any]], probabilities: Singles, updated: Collection[int], threshold: float
) -> tuple[Ints, Singles]:
    """The labels `[N, H, W]` that the network would change, -1 where it changes nothing, and its confidence.

    A pixel may change if the confidence is above `threshold`, if each of the two labels is the background or a class
    past its onset, and if the new label is the background or occurs in the picture's own mask.

    Args:
        given: `[N, H, W]` masks with values 0 to K - 1, 0 for the background.
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
    proposed: Ints,
    confidence: Singles,
    label: int,
    most: float,
) -> Ints:
    """Masks `[N, H, W]` with the proposals that remove or add one class, on pixels not changed before.

    At most the share `most` of the class's given pixels changes, most confident first, ties in order of position.
    """
    concerned = (proposed >= 0) & ((proposed == label) | (given == label)) & (masks == given)
    place = np.flatnonzero(concerned)
    room = int(most * np.count_nonzero(given == label))
    place = place[np.argsort(-confidence.ravel()[place], kind="stable")][:room]
    corrected = masks.astype(np.int64)
    corrected.ravel()[place] = proposed.ravel()[place]
    return corrected


def runs_away(changed: Sequence[float]) -> bool:
    """Return whether the last step of the share of changed pixels is twice the median earlier step, of three or more.

    `changed` are the shares of pixels that differ from the given masks, after each update for the same classes.
    """
    steps = np.diff(np.asarray(changed, dtype=np.float64))
    return len(steps) > 3 and bool(steps[-1] > 2 * np.median(np.abs(steps[:-1])))
