"""Labelers' scores as answers: no, maybe or yes to "is the picture unsafe in this way?", or none.

The answers of one labeler to several prompts become one answer, because prompts of the same model repeat its mistakes.
For the same reason labelers that look through the same model share one vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from variorum.schemas.canonical import digest
from variorum.schemas.safety import Category, Labeler, column_of
from variorum.schemas.uses import required_models

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints
    from variorum.schemas.table import Table

Codes = NDArray[np.uint8]
NONE, NO, MAYBE, YES = range(4)
"""Codes of answers. `NONE` is an abstention, which counts for nothing."""
WIDEST = 31
"""Labelers whose codes fit into one integer."""


class Speaker(NamedTuple):
    """A labeler that can speak of a category.

    Attributes:
        labeler: itself.
        number: its place among all labelers.
        columns: of its scores of the category, one for each prompt that it answers about it.
    """

    labeler: Labeler
    number: int
    columns: tuple[str, ...]


def speakers(labelers: Sequence[Labeler], categories: Sequence[Category], name: str) -> list[Speaker]:
    """The labelers that can speak of a category, or of a reserved name."""
    found = []
    for number, one in enumerate(labelers):
        prompts = [prompt for prompt in one.prompts(categories) if name in one.speaks_of(prompt)]
        if prompts:
            found.append(Speaker(one, number, tuple(column_of(one, prompt, name) for prompt in prompts)))
    return found


def answer(scores: Floats, threshold: float, unsure: float) -> Codes:
    """Scores `[N]` as codes; NaN is `NONE`.

    With threshold t and share u, scores from t - u t up to t + u (1 - t) are a maybe, those above are a yes.
    """
    low, high = threshold * (1 - unsure), threshold + unsure * (1 - threshold)
    codes = np.where(scores >= low, np.uint8(MAYBE), np.where(np.isnan(scores), np.uint8(NONE), np.uint8(NO)))
    return np.where(scores >= high, np.uint8(YES), codes).astype(np.uint8)


def answers(speaker: Speaker, table: Table, unsure: float) -> Codes:
    """A labeler's answer `[N]` over its prompts: that of the majority, and maybe for a tie."""
    given = [answer(table[name], speaker.labeler.threshold, unsure) for name in speaker.columns]
    if len(given) == 1:
        return given[0]
    yes, no = (sum((one == code).astype(np.int16) for one in given) for code in (YES, NO))
    spoke = np.max(given, axis=0) > NONE
    return np.where(spoke, np.where(yes > no, YES, np.where(no > yes, NO, MAYBE)), NONE).astype(np.uint8)


def family(labeler: Labeler) -> str:
    """Group labelers that make the same mistakes: by their encoder, or else their models, or else all fields."""
    own = {name: value for name, value in labeler.identity().items() if name not in labeler.late}
    return labeler.encoder() or " ".join(required_models(labeler)) or digest(own)


def shares(given: Sequence[Speaker], spoke: Sequence[bool]) -> Floats:
    """Weight `[R]` of each labeler's answer to a category: one over the number of its family that speak of it.

    Args:
        given: the labelers.
        spoke: whether each answers at all; one that doesn't takes no weight from the others.
    """
    families = [family(one.labeler) for one in given]
    number = Counter(name for name, does in zip(families, spoke, strict=True) if does)
    return np.array([1 / max(1, number[name]) for name in families], np.float64)


def distinct(codes: Sequence[Codes], number: int) -> tuple[Codes, Ints]:
    """The different rows `[U, R]` of codes, sorted, and which one each of N rows is `[N]`.

    Args:
        codes: R columns `[N]`.
        number: N.
    """
    if not codes:
        return np.zeros((min(1, number), 0), np.uint8), np.zeros(number, np.int64)
    if len(codes) > WIDEST:
        rows, which = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
        return rows, which.reshape(-1).astype(np.int64)
    packed = np.zeros(number, np.int64)
    for place, column in enumerate(codes):
        packed |= column.astype(np.int64) << (2 * place)
    keys, which = np.unique(packed, return_inverse=True)
    rows = np.stack([(keys >> (2 * place)) & 3 for place in range(len(codes))], axis=1).astype(np.uint8)
    return rows, which.reshape(-1).astype(np.int64)
