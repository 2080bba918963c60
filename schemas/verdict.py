"""What curation says of a sample. A verdict names the picture by id and by content, so that it can't outlive it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Action = Literal["keep", "drop", "relabel", "review", "weight", "audit"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement on one sample.

    Attributes:
        id: the sample's id.
        sha256: of the encoded image that was judged; a verdict on another picture is stale.
        action: what to do; `review` asks people first, `weight` gives the sample less say, `audit` asks people too,
            whatever else is done.
        by: the curation step's name.
        reason: in a word (`bottom_ranked`).
        labels: the new labels of a `relabel`.
        value: the number behind it: a score, or the weight in [0, 1]; NaN when there is none.
    """

    id: str
    sha256: str
    action: Action
    by: str
    reason: str
    labels: tuple[str, ...] = ()
    value: float = math.nan
