"""Verdicts of curation. A verdict names the picture by id and by content, so it never applies to a changed picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Action = Literal["keep", "drop", "withhold", "relabel", "review", "unasked", "weight", "audit", "note"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement on one sample.

    Attributes:
        id: the sample's id.
        sha256: hash of the encoded image that was judged; for another image the verdict is stale.
        action: what to do; `withhold` takes the picture out and leaves a row with its id, hash and labels, `review`
            keeps the sample and asks people, `unasked` keeps it and takes such a question back, `weight` lowers its
            weight in training, `audit` asks people in addition to any other action but `withhold`, `note` does nothing
            but say another reason.
        by: name of the decider.
        reason: one word, such as `bottom_ranked`.
        labels: the new labels of a `relabel`, or those that a `review` proposes.
        value: the number behind the verdict: a score, or the weight in [0, 1]; NaN if there is none.
        worth: of a `review`, the expected value of asking: the chance that something is wrong, times what it is worth
            to know; NaN if unknown.
    """

    id: str
    sha256: str
    action: Action
    by: str
    reason: str
    labels: tuple[str, ...] = ()
    value: float = math.nan
    worth: float = math.nan


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Judgements of one kind on many samples, made by `table.verdicts(rows, action, reason)`.

    Attributes:
        rows: `[M]` rows of the table that the decider was given.
        action: as in `Verdict`.
        by: name of the decider.
        reason: one word.
        labels: `[M]` one label each, or None.
        value: `[M]`.
        worth: `[M]`.
    """

    rows: NDArray[np.int64]
    action: Action
    by: str
    reason: str
    labels: Sequence[str] | None
    value: NDArray[np.float64]
    worth: NDArray[np.float64]

    def __iter__(self) -> Iterator[Verdicts]:
        """Yield these judgements themselves, so that a decider may yield them, return them, or `yield from` them."""
        yield self
